"""The networks by onnxruntime are the trained ones; a folded map is read and localized in without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from core_scene import TINY, blob_raster, random_bundle

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.errors import ConfigError, MissingExtraError, ModelError
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import DECODE_HALO, Decoder
from foldmap.lidar.defaults import bundle_named
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.model import LidarModel
from foldmap.lidar.presets import PRESETS, Preset
from foldmap.lidar.runtime import session
from foldmap.lidar.runtime.networks import localizing_shapes
from foldmap.lidar.runtime.session import OnnxDecoder, networks_of
from foldmap.lidar.stored import StoredModel
from foldmap.lidar.unfold import FoldedLidar

BLOCKLESS = replace(PRESETS["tiny-8x"], name="blockless", decoder_blocks=0)
BOXES = [(0, 30, 10, 70), (30, 48, 0, 64), (100, 290, 3, 90), (120, 121, 100, 101)]


def _stored(bundle: Bundle) -> StoredModel:
    return StoredModel.from_bytes(bundle.to_bytes(localize_only=True))


@pytest.mark.parametrize("preset", [*PRESETS.values(), BLOCKLESS], ids=lambda preset: preset.name)
def test_the_shapes_are_those_of_the_networks(preset: Preset) -> None:
    state = LidarModel(preset).state_dict()
    wanted = ("sweep_embedding.", "decoder.", "log_temperature")
    expected = {k: tuple(v.shape) for k, v in state.items() if k.startswith(wanted) and "num_batches" not in k}
    assert localizing_shapes(preset) == expected


@pytest.mark.parametrize("name", ["tiny-8x", "small-16x", "small-8x", "coarse-4x"])
def test_the_graphs_compute_what_the_networks_do(name: str) -> None:
    pytest.importorskip("onnxruntime")
    bundle = Bundle.from_bytes(random_bundle(PRESETS[name]).to_bytes())
    onnx, exact = OnnxDecoder(_stored(bundle)), Decoder(bundle, fast=False)
    preset, rng = bundle.preset, np.random.default_rng(0)
    seen = (rng.random((70, 91)) < 0.7).astype(np.float32)
    x = np.stack([rng.standard_normal(seen.shape).astype(np.float32) * seen, seen])
    expected = exact.embed(x)
    np.testing.assert_allclose(onnx.embed(x), expected, rtol=1e-4, atol=1e-5 * float(np.abs(expected).max()))
    scale, shape, first = preset.downsample, (300, 130), (DECODE_HALO * preset.downsample + 3,) * 2
    cells = [-(-(side + 3) // scale) + 2 * DECODE_HALO for side in shape]
    codes = rng.integers(0, preset.group_channels + 1, (preset.groups, *cells)).astype(np.uint8)
    expected = exact.decode_window(codes, first, shape, BOXES)
    window = onnx.decode_window(codes, first, shape, BOXES)
    np.testing.assert_allclose(window, expected, rtol=1e-4, atol=1e-5 * float(np.abs(expected).max()))
    assert (window[:, 40, 70:] == 0).all()
    with pytest.raises(ConfigError, match="around"):
        onnx.decode_window(codes, (0, 0), shape, BOXES)
    with pytest.raises(ModelError, match="do not fit"):
        onnx.decode_window(codes + np.uint8(200), first, shape, BOXES)


def test_the_runtime_is_the_faster_of_those_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    bundle = random_bundle(TINY)
    stored = _stored(bundle)

    def chosen(bf16: bool, installed: set[str], runtime: str | None = None, fast: bool = True) -> type:
        monkeypatch.setattr(session, "has_bfloat16", lambda: bf16)
        monkeypatch.setattr(session, "is_installed", lambda module: module in installed)
        return type(networks_of(stored, lambda: bundle, fast=fast, runtime=runtime))

    both = {"torch", "onnxruntime"}
    assert chosen(True, both) is Decoder
    assert chosen(True, both, fast=False) is OnnxDecoder
    assert chosen(False, both) is OnnxDecoder
    assert chosen(True, {"onnxruntime"}) is OnnxDecoder
    assert chosen(False, {"torch"}) is Decoder
    assert chosen(True, both, "onnx") is OnnxDecoder
    assert chosen(False, both, "torch") is Decoder
    with pytest.raises(MissingExtraError, match="torch"):
        chosen(True, {"onnxruntime"}, "torch")
    with pytest.raises(ConfigError, match="runtime"):
        chosen(True, both, "tflite")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="onnxruntime"):
        chosen(True, set())


_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it fails
import numpy as np, foldmap
from foldmap.lidar.observation import Observation
from foldmap.localize.lidar.localizer import LidarLocalizer
with foldmap.open(sys.argv[1]) as place:
    folded = place.lidar
    given = np.load(sys.argv[2])
    seen = Observation(given["intensity"], given["observed"], folded.grid.resolution_m, *given["half_m"].tolist())
    found = LidarLocalizer.open(folded).localize(seen, foldmap.SE2(*given["prior"].tolist()))
    offset = found.pose
    print(found.status.value, *(offset.x_m, offset.y_m) if offset else ())
"""


def test_a_map_is_localized_in_without_torch(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    raster = blob_raster(700, 700, seed=3, holes=False)
    raster = replace(raster, grid=replace(raster.grid, resolution_m=0.33))
    with FoldWriter(tmp_path / "map.fold") as writer:
        fold_lidar(writer, raster, LidarPlan(bundle_named("coarse-4x-4")))
    cut, half_m = np.s_[200:500, 150:550], (200 * raster.grid.resolution_m, 150 * raster.grid.resolution_m)
    middle = raster.grid.world_of(np.array([[349.5, 349.5]]))[0]
    seen = {"intensity": raster.intensity[cut], "observed": raster.observed[cut]}
    prior = np.array([middle[0] + 0.3, middle[1] - 0.2, 0.01])
    np.savez(tmp_path / "query.npz", **seen, half_m=np.array(half_m), prior=prior)
    command = [sys.executable, "-c", _WITHOUT_TORCH, str(tmp_path / "map.fold"), str(tmp_path / "query.npz")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    status, *pose = ran.stdout.split()
    with FoldFile.open(tmp_path / "map.fold") as file:
        assert isinstance(FoldedLidar(file, runtime="torch")._decoder, Decoder)
    assert status in ("ok", "degraded")
    assert np.hypot(*(np.array(pose, float) - middle)) < raster.grid.resolution_m
