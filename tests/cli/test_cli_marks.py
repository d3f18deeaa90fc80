"""Maps of marks from the command line: folded, seen, unfolded, verified, updated, localized in."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cli_place import Run, write_tif

from foldmap.atlas import FoldFile
from foldmap.geometry import SE2
from foldmap.lidar.folded import open_lidar
from foldmap.lidar.marks.unfold import FoldedMarks
from foldmap.localize.evidence import MapCalibration
from foldmap.localize.lidar.confidence import DISTINCTION
from tests.localize.outlined_street import MARKS

sys.path.append(str(Path(__file__).resolve().parents[1] / "lidar"))
from painted_ground import RESOLUTION_M, painted_map, write_seen

SEED, SIDE_PX = 3, 1000
HALF_M = 0.5 * SIDE_PX * RESOLUTION_M
TRUTHS = tuple(SE2(-1.0 + 0.8 * frame, 0.5 * frame, 0.4) for frame in range(3))


def write_painted(path: Path, values: np.ndarray) -> Path:
    """A GeoTIFF of 5 cm pixels about the origin, nodata -1."""
    return write_tif(path, values, transform=rasterio.Affine(RESOLUTION_M, 0, -HALF_M, 0, -RESOLUTION_M, HALF_M))


def painted() -> np.ndarray:
    """Intensity (1000, 1000), -1 where nothing was observed."""
    raster = painted_map(SEED, SIDE_PX)
    return np.where(raster.observed, raster.intensity, -1.0)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """map.tif, sweeps/ (KITTI), prior.txt off by 0.5 m, and map.fold; read only."""
    from foldmap.api.folding import fold

    folder = tmp_path_factory.mktemp("marked")
    write_painted(folder / "map.tif", painted())
    write_seen(folder / "sweeps", SEED, TRUTHS, SIDE_PX)
    rows = []
    for frame, truth in enumerate(TRUTHS):
        turn = f"0 0 {math.sin(truth.heading_rad / 2):.9f} {math.cos(truth.heading_rad / 2):.9f}"
        rows.append(f"{100 + 0.1 * frame:.3f} {truth.x_m + 0.4:.6f} {truth.y_m - 0.3:.6f} 1.73 {turn}")
    (folder / "prior.txt").write_text("\n".join(rows) + "\n")
    fold(folder / "map.tif", folder / "map.fold", lidar=MARKS)
    return folder


def test_marks_are_folded_shown_and_verified(
    run: Run, marked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places are few here, for speed."""
    from foldmap.api.folding import rasters

    monkeypatch.setattr(rasters, "_PLACES", 2)
    out = tmp_path / "map.fold"
    ran = run("fold", marked / "map.tif", "-o", out, "--codec", "marks", "--json")
    summary = ran.told()
    assert all("simulated on the map" in line for line in ran.err.splitlines()), ran.err  # what was tried, and no more
    assert summary["model"].startswith("marks-")
    assert summary["file_bytes"] == out.stat().st_size
    assert summary["bit_per_m2"] == pytest.approx(8 * summary["payload_bytes"] / summary["observed_m2"])
    codes, embedding = tmp_path / "codes.png", tmp_path / "embedding.png"
    ran = run("show", out, "--json", "--codes", codes, "--embedding", embedding)
    assert (ran.status, ran.err) == (0, "")
    assert json.loads(ran.out)["layers"]["lidar"]["tile_bytes"] == summary["payload_bytes"]
    assert all(image.read_bytes().startswith(b"\x89PNG") for image in (codes, embedding))
    assert run("verify", out).status == 0


def test_verify_finds_marks_that_do_not_decode(run: Run, marked: Path, tmp_path: Path) -> None:
    from foldmap.atlas import FoldUpdater

    path = tmp_path / "sealed.fold"
    path.write_bytes((marked / "map.fold").read_bytes())
    with FoldUpdater(path) as updater:  # every checksum is right, the payload is rubbish
        updater.put_tile("lidar", 0, 0, b"\xff" * 9)
    ran = run("verify", path)
    assert ran.status == 1
    assert "tile (0, 0) does not decode" in ran.out


def test_unfolded_marks_are_those_of_the_file(run: Run, marked: Path, tmp_path: Path) -> None:
    ran = run("unfold", marked / "map.fold", "-o", tmp_path / "marks.tif", "--json")
    assert (ran.status, ran.err) == (0, "")
    with FoldFile.open(marked / "map.fold") as file, rasterio.open(tmp_path / "marks.tif") as dataset:
        folded = open_lidar(file)
        assert isinstance(folded, FoldedMarks)
        values, centres_m = dataset.read(1), folded.marks_near(0.0, 0.0, HALF_M)
        row = np.floor((HALF_M - centres_m[:, 1]) / RESOLUTION_M).astype(int)
        col = np.floor((centres_m[:, 0] + HALF_M) / RESOLUTION_M).astype(int)
        assert dataset.transform == rasterio.Affine(RESOLUTION_M, 0, -HALF_M, 0, -RESOLUTION_M, HALF_M)
        assert len(centres_m) > 100
        assert (values[row, col] == 1).all()
        assert np.nansum(values) == pytest.approx(len(centres_m) * folded.cell_px**2, rel=0.02)  # cut at the rim


def test_sweeps_are_localized_in_marks(run: Run, marked: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen.txt"
    run("localize", marked / "map.fold", marked / "sweeps", "--poses", marked / "prior.txt", "-o", out).done()
    poses = np.atleast_2d(np.loadtxt(out))
    assert len(poses) == len(TRUTHS)
    for pose, truth in zip(poses, TRUTHS, strict=True):
        assert math.hypot(pose[1] - truth.x_m, pose[2] - truth.y_m) < 0.1
        assert abs(2 * math.atan2(pose[6], pose[7]) - truth.heading_rad) < math.radians(0.5)


def test_an_update_of_marks_folds_what_changed(run: Run, marked: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.fold"
    out.write_bytes((marked / "map.fold").read_bytes())
    ran = run("fold", "--update", out, marked / "map.tif", "--json")
    assert (ran.status, json.loads(ran.out)["tiles_changed"]) == (0, 0), ran.err
    values = painted()
    values[20:220, 20:220] = values[20:220, 20:220][::-1]
    write_painted(tmp_path / "new.tif", values)
    with FoldFile.open(out) as file:
        before = {key: file.tile("lidar", *key) for key in file.tiles("lidar")}
    ran = run("fold", "--update", out, tmp_path / "new.tif", "--json").done()
    with FoldFile.open(out) as file:
        after = {key: file.tile("lidar", *key) for key in file.tiles("lidar")}
    assert {key for key in after if after[key] != before[key]} == {(0, 0)}
    assert json.loads(ran.out)["tiles_changed"] == 1
    assert run("verify", out).status == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--codec", "nonsense"], "a raster has no codec 'nonsense'"),
        (["--codec", "marks", "--model", "any.safetensors"], "--model says which code, too"),
        (["--codec", "marks", "--rate", "0.001"], "no marks for 0.05 m pixels of 0.001 bit/m2 ship"),
    ],
)
def test_codecs_that_do_not_exist_are_one_line(
    run: Run, marked: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    run("fold", marked / "map.tif", "-o", tmp_path / "x.fold", *more).refused(message)
    assert list(tmp_path.iterdir()) == []


def test_auto_says_what_it_tried(run: Run, marked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places are few here, for speed; the choice among what they measure is `best_code`'s."""
    from foldmap.api.folding import rasters

    monkeypatch.setattr(rasters, "_PLACES", 1)
    for room in ("lidar.choosing", "lidar.calibrate", "tail"):
        monkeypatch.setattr(f"foldmap.localize.{room}.LEAST", 3)
    out = tmp_path / "map.fold"
    ran = run("fold", marked / "map.tif", "-o", out, "--json").done()
    with FoldFile.open(out) as file:
        worth = MapCalibration.read(open_lidar(file).parameters, "lidar")
    assert worth is not None
    assert None not in (worth.errors, worth.fit, worth.rival, worth.chance.get(DISTINCTION))
    summary, shown = json.loads(ran.out), run("show", out, "--json").told()
    tried = summary["tried"]
    assert shown["provenance"]["tried"] == tried
    assert len(tried) >= 2
    assert summary["model"] in {one["model"] for one in tried}
    for one in tried:
        assert one["places"] == 1
        assert f"{one['model']}: {one['bit_per_m2']:.2f} bit/m2" in ran.err
        assert one["sweeps"] == "simulated"


def test_a_report_shows_codes_and_picture(
    run: Run, marked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of the marks is taken, as of all codes."""
    from foldmap.api.folding import rasters
    from foldmap.localize.lidar import choosing

    monkeypatch.setattr(rasters, "_PLACES", 2)
    monkeypatch.setattr(choosing, "_LOST_ANSWERS", 1.1)  # marks that lose the place: richer ones are tried, too
    monkeypatch.setattr(choosing, "_LOST_M", -1.0)
    out, page = tmp_path / "map.fold", tmp_path / "page"
    ran = run("fold", marked / "map.tif", "-o", out, "--codec", "marks", "--report", page, "--json").done()
    tried = json.loads(ran.out)["tried"]
    assert [one["model"] for one in tried] == ["marks-fine-8", "marks-fine-5", "marks-fine-9"]
    assert tried[2]["bit_per_m2"] > 1.5 * tried[0]["bit_per_m2"]
    trials = [choosing.CodeTrial(**one) for one in tried]
    assert (
        json.loads(ran.out)["model"] == tried[choosing.best_code(trials, json.loads(ran.out)["observed_m2"])]["model"]
    )
    words = (page / "raster.html").read_text()
    assert words.count("<img ") == 2
    assert all(one["model"] in words for one in tried)
    assert "share the map&#x27;s errors" in words
    assert (page / "raster.svg").is_file()
    assert not (page / "index.html").exists()  # that is of a scene
    ran = run("fold", "--update", out, marked / "map.tif", "--report", page)
    assert (ran.status, ran.err.count("\n")) == (2, 1)
