"""Scenes brought into the map's frame before they are folded: by positions of photos, by ground control."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldmap.api.folding import StreetOptions, VisualOptions, fold
from foldmap.api.folding.aligning import align_scene
from foldmap.atlas import FoldFile
from foldmap.errors import PoseInputError
from foldmap.geometry.similarity import Similarity
from foldmap.street.unfold import FoldedStreet
from foldmap.visual.source import SceneModel
from foldmap.visual.unfold import FoldedVisual
from tests.cli.scene_place import room_scene, write_scene

_TURN = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
AWAY = Similarity(0.37, _TURN, np.array([4.0, -2.0, 9.0]))
EAST_NORTH = np.array([691000.0, 5335000.0, 500.0])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scene/ in a frame of its own, map/ the same in the map's frame; positions.csv and control.txt."""
    folder = tmp_path_factory.mktemp("place")
    true = _in_map(room_scene())
    own = replace(
        true,
        points_world=AWAY.apply(true.points_world - EAST_NORTH),
        camera_SE3_world=AWAY.move_cameras(_shifted(true)),
    )
    write_scene(own, folder / "scene")
    rng = np.random.default_rng(0)
    rows = [
        f"{name},{x:.4f},{y:.4f},{z:.4f}\n"
        for name, (x, y, z) in zip(
            true.image_names, true.centres_world + rng.normal(0, 0.005, (len(true.image_names), 3)), strict=True
        )
    ]
    rows[3] = f"{true.image_names[3]},{EAST_NORTH[0] + 50:.3f},{EAST_NORTH[1]:.3f},500\n"  # a fix that jumped
    (folder / "positions.csv").write_text("name,x,y,z\n" + "".join(rows))
    pairs = np.concatenate([own.points_world, true.points_world], axis=1)[::100]
    np.savetxt(folder / "control.txt", pairs, fmt="%.6f")
    return folder


def _in_map(scene: SceneModel) -> SceneModel:
    return replace(scene, points_world=scene.points_world + EAST_NORTH, camera_SE3_world=_shifted(scene, -1))


def _shifted(scene: SceneModel, sign: int = 1) -> np.ndarray:
    poses = scene.camera_SE3_world.copy()
    poses[:, :3, 3] += sign * poses[:, :3, :3] @ EAST_NORTH
    return poses


def test_positions_in_degrees_are_refused_also_at_the_equator(tmp_path: Path) -> None:
    """There a degree east is as long as one north: a similarity fits, of a scene that is millimetres large."""
    scene = room_scene()
    rows = [f"{n} {103.8 + x / 111319:.9f} {1.3 + y / 110574:.9f} 20" for n, (x, y, _) in zip(
        scene.image_names, scene.centres_world, strict=True
    )]  # fmt: skip
    (tmp_path / "positions.txt").write_text("\n".join(rows))
    with pytest.raises(PoseInputError, match=r"within 0\.05 m of each other"):
        align_scene(replace(scene, metric=False), tmp_path / "positions.txt", None)


@pytest.mark.parametrize("given", [("positions",), ("align",), ("positions", "align")])
def test_a_scene_is_folded_where_it_is(given: tuple[str, ...], place: Path, tmp_path: Path) -> None:
    files = {"positions": place / "positions.csv", "align": place / "control.txt"}
    options = VisualOptions(step=0.1, images=True, **{name: files[name] for name in given})
    summary = fold(place / "scene", tmp_path / "a.fold", visual=options)["visual"]
    true = _in_map(room_scene())
    with FoldFile.open(tmp_path / "a.fold") as file:
        folded = FoldedVisual(file)
        points, images = folded.whole().points_world, folded.images()
        assert folded.parameters["metric"] is True
        assert file.metadata()["visual"]["aligned"]["rms_m"] == summary["aligned"]["rms_m"]
    apart = np.linalg.norm(points[:, None] - true.points_world, axis=2).min(axis=1)
    assert np.percentile(apart, 95) < 0.02
    assert images.image_names == true.image_names
    centres = -np.einsum("iba,ib->ia", images.camera_SE3_world[:, :3, :3], images.camera_SE3_world[:, :3, 3])
    assert np.linalg.norm(centres - true.centres_world, axis=1).max() < 0.03
    said = summary["aligned"]
    assert said["scale"] == pytest.approx(1 / 0.37, rel=0.01)
    assert said["rms_m"] < 0.02
    assert said["left_out"] == (["photo 03.jpg"] if "positions" in given else [])
    assert said["pairs"] == said["agree"] + len(said["left_out"])


def test_an_aligned_scene_updates_its_file(place: Path, tmp_path: Path) -> None:
    options = VisualOptions(step=0.1, align=place / "control.txt")
    fold(place / "scene", tmp_path / "a.fold", visual=options)
    before = (tmp_path / "a.fold").read_bytes()
    done = fold(place / "scene", tmp_path / "a.fold", update=True, visual=VisualOptions(align=place / "control.txt"))
    assert done["visual"]["tiles_changed"] == 0
    assert (tmp_path / "a.fold").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("photo 00.jpg 1 2\n", "line 1: 3 columns|expected name x y z"),
        ("other.jpg 1 2 3\n", "names none of 24 photos"),
        ("photo 00.jpg 1 2 3\nphoto 00.jpg 1 2 3\n", "comes twice"),
        ("photo 00.jpg 1 2 nan\n", "NaN"),
        ("photo 00.jpg 1 2 3\nphoto 01.jpg 2 2 3\n", "2 pairs of points align nothing"),
        ("".join(f"photo {k:02}.jpg {k} 0 0\n" for k in range(24)), "on one line"),
        ("".join(f"photo {k:02}.jpg {k * 7919 % 24} {k * 104729 % 23} {k % 5}\n" for k in range(24)), "do not fit"),
    ],
)
def test_positions_that_do_not_fit_are_refused(text: str, said: str, place: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(text)
    with pytest.raises(PoseInputError, match=said):
        fold(place / "scene", tmp_path / "a.fold", visual=VisualOptions(step=0.1, positions=tmp_path / "p.txt"))
    assert not (tmp_path / "a.fold").exists()


def test_a_scene_in_metres_keeps_its_size(place: Path, tmp_path: Path) -> None:
    options = VisualOptions(step=0.1, metric=True, align=place / "control.txt")
    with pytest.raises(PoseInputError, match=r"2\.703 times as large in the map.*--not-metric"):
        fold(place / "scene", tmp_path / "a.fold", visual=options)


def test_streets_are_turned_and_shifted_into_the_frame(tmp_path: Path) -> None:
    rows = [(k, x, 4.0 * k + 15 * np.sin(x / 40)) for k in range(3) for x in range(0, 400, 10)]
    turn = np.exp(0.3j)
    for name, move in (("own", lambda z: z), ("map", lambda z: z * turn + 120 - 40j)):
        moved = [(k, move(complex(x, y))) for k, x, y in rows]
        lines = "".join(f"{k},{z.real:.4f},{z.imag:.4f}\n" for k, z in moved)
        (tmp_path / f"{name}.csv").write_text("line,x_m,y_m\n" + lines)
    pairs = [complex(x, y) for x, y in ((0, 0), (400, 20), (150, -30), (250, 60), (90, 10))]
    there = [z * turn + 120 - 40j for z in pairs]
    there[4] += 25  # a point that was mistaken
    (tmp_path / "control.txt").write_text(
        "".join(f"{a.real} {a.imag} {b.real:.3f} {b.imag:.3f}\n" for a, b in zip(pairs, there, strict=True))
    )
    options = StreetOptions(spacing=0, align=tmp_path / "control.txt", name="town")
    said = fold(tmp_path / "own.csv", tmp_path / "a.fold", street=options)["street"]["aligned"]
    assert said["own"]["left_out"] == ["pair 5"]
    assert said["own"]["rms_m"] < 0.002
    fold(tmp_path / "map.csv", tmp_path / "b.fold", street=StreetOptions(spacing=0, name="town"))
    graphs = []
    for name in "ab":
        with FoldFile.open(tmp_path / f"{name}.fold") as file:
            graphs.append(FoldedStreet(file).graph("town"))
    apart = np.linalg.norm(graphs[0].vertices_m[:, None] - graphs[1].vertices_m, axis=2).min(axis=1)
    assert apart.max() < 0.2
    assert graphs[0].length_m == pytest.approx(graphs[1].length_m, rel=1e-3)
    (tmp_path / "control.txt").write_text("".join(f"{k} 0 {k} 0\n" for k in range(2)))
    with pytest.raises(PoseInputError, match="2 pairs of points align nothing"):
        fold(tmp_path / "own.csv", tmp_path / "c.fold", street=options)
