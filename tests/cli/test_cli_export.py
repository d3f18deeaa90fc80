"""``foldmap export``: graphs that onnxruntime computes alone, to the same estimate; a map without networks has none."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from cli_place import Run
from street_place import town_map, write_model

from foldmap.api.reshaping import exporting
from foldmap.api.reshaping.exporting import INT8_MOST
from foldmap.atlas import FoldFile
from foldmap.formats.street.geojson import write_geojson
from foldmap.lidar.unfold import FoldedLidar
from foldmap.runtime.graph import quantized


def test_the_files_compute_what_the_map_s_own_networks_do(run: Run, place: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    ran = run("export", place / "map.fold", "-o", tmp_path / "device", "--json").done()
    told = json.loads((tmp_path / "device" / "device.json").read_text())
    assert told["networks"] == json.loads(ran.out)["networks"]
    assert [one["file"] for one in told["networks"]] == ["lidar-sweep.onnx", "lidar-cells.onnx", "lidar-pixels.onnx"]
    for one in told["networks"]:
        data = (tmp_path / "device" / one["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (one["bytes"], one["sha256"])
        assert 0 <= one["difference"] < 1e-4
        short = (tmp_path / "device" / one["int8"]["file"]).read_bytes()
        assert (len(short), hashlib.sha256(short).hexdigest()) == (one["int8"]["bytes"], one["int8"]["sha256"])
        assert len(short) < 0.4 * len(data)
    session = onnxruntime.InferenceSession(str(tmp_path / "device" / "lidar-sweep.onnx"))
    rng = np.random.default_rng(1)
    x = np.stack([rng.standard_normal((48, 64)), np.ones((48, 64))]).astype(np.float32)
    with FoldFile.open(place / "map.fold") as file:
        expected = FoldedLidar(file, runtime="torch", fast=False)._decoder.embed(x)  # type: ignore[attr-defined]
    (found,) = session.run(None, {"x": x[None]})
    np.testing.assert_allclose(found[0], expected, atol=1e-4 * np.abs(expected).max())
    session = onnxruntime.InferenceSession(str(tmp_path / "device" / "lidar-sweep.int8.onnx"))
    (found,) = session.run(None, {"x": x[None]})
    assert np.abs(found[0] - expected).max() < 2 * INT8_MOST * np.abs(expected).max()


@pytest.mark.parametrize("axis", [0, 1])
def test_kernels_are_half_a_step_off_at_most_along_the_better_axis(axis: int) -> None:
    rng = np.random.default_rng(2)
    sizes = 10.0 ** rng.uniform(-3, 1, (6, 1, 1, 1) if axis == 0 else (1, 6, 1, 1))
    kernel = (sizes * rng.uniform(-1, 1, (6, 6, 3, 3))).astype(np.float32)
    whole, scale, along = quantized(kernel)
    assert (whole.dtype, whole.shape, scale.shape, along) == (np.int8, kernel.shape, (6,), axis)
    steps = scale.reshape(sizes.shape)
    assert (np.abs(whole * steps - kernel) <= 0.5001 * steps).all()


def test_streets_export(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "INT8_MOST", 0.0)
    write_geojson(town_map(), tmp_path / "town.geojson")
    model = write_model(tmp_path / "model.safetensors")
    run("fold", tmp_path / "town.geojson", "-o", tmp_path / "town.fold", "--model", model, "--spacing", 60).done()
    ran = run("export", tmp_path / "town.fold", "-o", tmp_path / "device", "--json").done()
    (one,) = json.loads(ran.out)["networks"]
    assert one["file"] == "street-field.onnx"
    # what differs too much is told, and not written
    assert one["int8"]["file"] is None
    assert one["int8"]["difference"] > 0
    assert not list((tmp_path / "device").glob("*.int8.onnx"))
    assert 0 <= one["difference"] < 1e-4


def test_a_map_without_networks_says_so(run: Run, tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "golden" / "v1-marks.fold"
    run("export", golden, "-o", tmp_path / "device").refused("without any network")
    assert list(tmp_path.iterdir()) == []
