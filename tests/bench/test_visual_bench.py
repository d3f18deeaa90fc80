"""The visual benchmark: what is held out, what maps weigh, what baselines answer, and the page that tells of it."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from foldmap.api.training.trained_places import scene_place
from foldmap.bench.visual.binary import BinaryCodec
from foldmap.bench.visual.methods import FOLDMAP, PLAIN, Line, MapSpec
from foldmap.bench.visual.page import family_of
from foldmap.bench.visual.pictures import RIGHT_PX, matched_pair
from foldmap.bench.visual.plain import ObservationPoints, PlainLocalizer, in_16_bits
from foldmap.bench.visual.predict import Answer, Measured, measure_all
from foldmap.bench.visual.protocol import HeldOut, Scale, block_names, hold_out
from foldmap.bench.visual.tables import row_of
from foldmap.bench.visual.workshop import Workshop, train_decoder, train_recipe
from foldmap.cli.app import app
from foldmap.coding.pq import ProductQuantizer
from foldmap.errors import ConfigError, FoldmapError, MapFormatError, MapInputError
from foldmap.formats.hloc.features import HlocFeatures
from foldmap.formats.scenes import read_scene
from foldmap.metrics.camera_pose import camera_errors
from foldmap.training.loop import LOG
from foldmap.training.places import recorded, town_place
from foldmap.visual.decoded import UnfoldedMap
from foldmap.visual.dpq.serialize import LayerShape
from foldmap.visual.dpq.train import LayerSettings
from foldmap.visual.scene.average import track_means
from foldmap.visual.source import SceneModel, unit_descriptors

pytest.importorskip("pycolmap", reason="the town's photos are described by COLMAP's SIFT")

from visual_town import write_town

IDENTITY = {"epochs": 2, "seed": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bench") / "town"
    place.mkdir()
    write_town(place)
    return place


@pytest.fixture(scope="module")
def scene(folder: Path) -> SceneModel:
    return read_scene(folder, metric=True)


@pytest.fixture(scope="module")
def held_out(folder: Path, scene: SceneModel) -> HeldOut:
    features = HlocFeatures(folder / "features.h5")
    found = hold_out(scene, features, name="town")
    features.close()
    return found


@pytest.fixture(scope="module")
def workshop(held_out: HeldOut) -> Workshop:
    return Workshop(held_out.scene, epochs=2, trials=4)


def test_blocks_are_those_of_the_protocol() -> None:
    names = [f"{number:03d}" for number in range(100)]
    expected = [*range(20, 28), *range(50, 58), *range(80, 88)]
    assert block_names(names[::-1]) == [f"{number:03d}" for number in expected]
    with pytest.raises(ConfigError, match="1 of 1 images"):
        block_names(names[:1])
    with pytest.raises(ConfigError, match="a block from"):
        block_names(names, [(0.5, 0.4)])


def test_queries_leave_no_trace_in_the_map(scene: SceneModel, held_out: HeldOut) -> None:
    gone = {query.name for query in held_out.queries}
    assert len(gone) == 3
    assert not gone & set(held_out.scene.image_names)
    seen: dict[int, int] = {}
    for point, image in zip(scene.tracks.point.tolist(), scene.tracks.image.tolist(), strict=True):
        seen[point] = seen.get(point, 0) + (scene.image_names[image] not in gone)
    left = [point for point in range(len(scene.points_world)) if seen[point] >= 3]
    assert 0 < len(left) < len(scene.points_world)
    np.testing.assert_array_equal(held_out.scene.points_world, scene.points_world[left])
    for query, truth in zip(held_out.queries, held_out.truth, strict=True):
        np.testing.assert_array_equal(truth, scene.camera_SE3_world[scene.image_names.index(query.name)])
    assert (held_out.scale.name, held_out.scale.world) == ("cm", 0.01)
    assert Scale.of(scene, "radius").world == pytest.approx(scene.radius_world / 100)


def test_named_queries_are_of_the_model_or_bring_camera_and_pose(folder: Path, scene: SceneModel) -> None:
    features = HlocFeatures(folder / "features.h5")
    name = scene.image_names[5]
    smaller = scene.without_images([name])
    with pytest.raises(MapInputError, match="no image of the model"):
        hold_out(smaller, features, names=[name])
    camera, pose = scene.camera_of(5), scene.camera_SE3_world[5]
    outside = hold_out(smaller, features, names=[name], cameras={name: camera}, poses={name: pose})
    assert len(outside.scene.image_names) == len(scene.image_names) - 1
    np.testing.assert_array_equal(outside.truth[0], pose)
    features.close()


def test_plain_localizer_finds_the_town(held_out: HeldOut) -> None:
    whole = UnfoldedMap(held_out.scene)
    found = camera_errors(list(held_out.truth), [PlainLocalizer(whole).localize(query) for query in held_out.queries])
    assert (found.centre < 0.1).all()
    assert (found.rotation_deg < 0.5).all()
    with pytest.raises(ConfigError, match="ratio"):
        PlainLocalizer(whole, ratio=1.5)


def test_observations_are_matched_to_the_nearest_other_point(held_out: HeldOut) -> None:
    """Every match of the index, against a plain search over all observations."""
    points = ObservationPoints(held_out.scene)
    tracks = held_out.scene.tracks
    assert tracks.descriptors is not None
    asked = unit_descriptors(held_out.queries[0].features.descriptors[:40])
    found = points.index.match(asked)
    assert len(found) > 10
    distance = np.linalg.norm(asked[:, None] - unit_descriptors(tracks.descriptors)[None], axis=2)
    for keypoint, point, ratio in zip(found.keypoint, found.point, found.ratio, strict=True):
        row = distance[keypoint]
        assert tracks.point[row.argmin()] == point
        assert ratio == pytest.approx(row.min() / row[tracks.point != point].min(), rel=0.02)
    assert len(set(found.point.tolist())) == len(found)


def test_simple_maps_count_what_the_issue_counts(workshop: Workshop, scene: SceneModel) -> None:
    with workshop.open(MapSpec("simple-raw", select="cover", file_bytes=9000)) as built:
        assert built.points == 9000 // (128 + 6)
        assert built.file_bytes == built.points * 134
    with workshop.open(MapSpec("simple-pq", 16, select="cover", file_bytes=40_000)) as built:
        assert built.file_bytes == built.points * 22 + built.parts["codebooks"] <= 40_000
        assert built.parts["codebooks"] > 256 * 128
    with workshop.open(MapSpec("simple-binary", 4, select="cover", file_bytes=20_000)) as built:
        assert built.parts["codebooks"] == 2 * (32 * 128 + 128)
        assert built.file_bytes == built.points * 10 + built.parts["codebooks"] <= 20_000
    moved = np.abs(in_16_bits(scene.points_world) - scene.points_world)
    assert (moved <= np.ptp(scene.points_world, axis=0) / 65535 * 0.5001).all()


def test_bits_are_learned() -> None:
    rng = np.random.default_rng(0)
    rows = unit_descriptors((rng.normal(size=(600, 6)) @ rng.normal(size=(6, 32))).astype(np.float32))
    plane = rng.normal(size=(32, 24)).astype(np.float32)
    random = unit_descriptors(np.sign(rows @ plane) @ plane.T)  # the same bits by chance: SimHash
    codec = BinaryCodec.fit(rows, 3, steps=150)
    again = codec.decode(codec.encode(rows), len(rows))
    assert (again * rows).sum(1).mean() > (random * rows).sum(1).mean() + 0.05
    assert len(codec.encode(rows)) == 3 * len(rows)
    assert codec.encode(rows) == BinaryCodec.fit(rows, 3, steps=150).encode(rows)
    with pytest.raises(MapFormatError, match="give whole codes"):
        codec.decode(b"1234", 2)


@pytest.mark.parametrize(
    "spec", [MapSpec("raw"), MapSpec("pq", 4, select="gamma", code_bytes=800), MapSpec("raw", images=True)]
)
def test_parts_add_up_to_the_file(workshop: Workshop, spec: MapSpec) -> None:
    with workshop.open(spec) as built:
        assert sum(built.parts.values()) == built.file_bytes
        assert built.parts["codes"] == built.code_bytes == built.points * (spec.parts or 128)
        assert built.parts["rest"] >= 0
        assert (built.parts["images"] > 0) == spec.images
        if spec.code_bytes:
            assert built.points == 200


def test_budget_is_of_the_whole_file(workshop: Workshop) -> None:
    with workshop.open(MapSpec("budget", file_bytes=9000)) as built:
        assert built.file_bytes is not None
        assert 0.7 * 9000 < built.file_bytes <= 9000


def test_decoder_behind_fixed_codebooks(workshop: Workshop) -> None:
    """Codebooks stay plain PQ's, and the decoder brings descriptors closer than an untrained one does."""
    shape = LayerShape(128, 4, 64)
    layers = [
        train_decoder(workshop.data, shape, LayerSettings(loss="l2", epochs=epochs, batch=100)) for epochs in (1, 12)
    ]
    books = ProductQuantizer.fit(workshop.data.mean_PD, 4, 64).codebooks
    losses = []
    for layer in layers:
        np.testing.assert_array_equal(layer.codebooks.detach().numpy(), books)
        stored = layer.stored()
        decoded = unit_descriptors(stored.dequantize(stored.assign(workshop.data.mean_PD)))
        losses.append(float(np.square(decoded - workshop.data.mean_PD).sum(axis=1).mean()))
    assert losses[1] < 0.8 * losses[0]


class _Closed(Workshop):
    """Must not be asked for a map."""

    def __init__(self) -> None:
        pass

    def open(self, spec: MapSpec) -> Iterator[None]:  # type: ignore[override]
        raise AssertionError(f"{spec.name} was made again")


def test_answers_are_kept(held_out: HeldOut, workshop: Workshop, tmp_path: Path) -> None:
    wanted = [(MapSpec("means"), FOLDMAP), (MapSpec("means"), PLAIN)]
    first = measure_all(wanted, held_out, workshop, IDENTITY, tmp_path)
    assert measure_all(wanted, held_out, _Closed(), IDENTITY, tmp_path) == first
    with pytest.raises(ConfigError, match="other epochs"):
        measure_all(wanted, held_out, workshop, {**IDENTITY, "epochs": 3}, tmp_path)
    path = next(tmp_path.glob("*plain*"))
    path.write_text(path.read_text()[:-30])
    with pytest.raises(ConfigError, match="does not hold answers"):
        measure_all(wanted, held_out, workshop, IDENTITY, tmp_path)


def test_budgets_that_hold_nothing_are_told(held_out: HeldOut, workshop: Workshop) -> None:
    wanted = (MapSpec("simple-pq", 16, select="cover", file_bytes=2000), PLAIN)
    measured = measure_all([wanted], held_out, workshop, IDENTITY)[wanted]
    assert "2000 bytes hold no simple map" in measured.problem
    row = row_of(Line("x", wanted[0], PLAIN), {wanted: measured}, held_out, [(1.0, 1.0)])
    assert "median" not in row


def test_rows_count_the_unanswered(held_out: HeldOut) -> None:
    """One exact answer, one moved by 3 cm, one missing."""
    moved = held_out.truth[1].copy()
    moved[:3, 3] -= moved[:3, :3] @ [0.03, 0.0, 0.0]
    poses = [tuple(held_out.truth[0].ravel()), tuple(moved.ravel()), None]
    answers = tuple(
        Answer(query.name, pose, "no_match" if pose is None else "ok", 0.1)
        for query, pose in zip(held_out.queries, poses, strict=True)
    )
    line = Line("x", MapSpec("means"), PLAIN)
    found = {(line.spec, PLAIN): Measured(line.spec, PLAIN, 5, 640, None, {}, answers)}
    row = row_of(line, found, held_out, [(2.0, 2.0), (5.0, 5.0)])
    assert row["within_1_pct"] == pytest.approx(100 / 3)
    assert row["within_2_pct"] == pytest.approx(200 / 3)
    assert row["median"] == pytest.approx(3.0)
    assert row["answered_pct"] == pytest.approx(200 / 3)
    assert row["lost_ok"] == 0


def test_green_lines_are_right(held_out: HeldOut, workshop: Workshop) -> None:
    """Pairs of figure 2 that are called right agree with the epipolar geometry of the true poses."""
    query, truth = held_out.queries[1], held_out.truth[1]
    counts = [
        matched_pair(workshop, MapSpec("raw"), query, truth, image) for image in range(len(held_out.scene.image_names))
    ]
    pair = max(counts, key=lambda one: int(one.right.sum()))
    assert pair.right.sum() >= 10
    camera = query.camera
    own, other = (camera.unproject(px) for px in (pair.query_px[pair.right], pair.image_px[pair.right]))
    turn = held_out.scene.camera_SE3_world[pair.image] @ np.linalg.inv(truth)
    x, y, z = turn[:3, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ turn[:3, :3]
    rays = [np.column_stack([part, np.ones(len(part))]) for part in (own, other)]
    lines = rays[0] @ essential.T
    off_px = np.abs((rays[1] * lines).sum(axis=1)) / np.linalg.norm(lines[:, :2], axis=1) * camera.focal_px[0]
    assert np.median(off_px) < RIGHT_PX


def test_families() -> None:
    names = {
        "pq4+gamma@30kB": "pq+gamma",
        "pq4-dpqed": "dpqed",
        "pq2-dpqed+gamma@30kB": "dpqed+gamma",
        "pq4-dpqed+": "dpqed+",
        "simple-pq16+cover@60kB": "simple-pq",
        "simple-binary8+cover@60kB": "simple-binary",
        "foldmap@60kB": "foldmap",
        "raw+gamma-0.25": "raw+gamma",
    }
    assert {name: family_of(name) for name in names} == names
    assert MapSpec("layer", 2, "dpqed", "gamma", 30_000).name == "pq2-dpqed+gamma@30kB"
    with pytest.raises(FoldmapError, match="no codec"):
        MapSpec("jpeg")


def test_command_writes_tables_and_a_page(
    folder: Path, held_out: HeldOut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, count in (("_QUICK_EPOCHS", 1), ("_QUICK_STEPS", 4)):  # how long layers are trained is asked below
        monkeypatch.setattr(f"foldmap.bench.visual.benchmark.{name}", count)
    out = tmp_path / "out"
    words = ["bench", "visual", str(folder), "-o", str(out), "--metric", "--photos", str(folder / "images"), "--quick"]
    words += ["--tables", "1,3,4,scenes", "--methods", "track-means", "--methods", "pq4", "--methods", "foldmap"]
    words += ["--budgets", "9kB", "--thresholds", "5/1,20/2", "--json"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert set(rows) == {"town/table1", "town/table3", "town/table4", "scenes"}
    plain = next(row for row in rows["town/table1"] if row["map"] == "track-means")
    poses = [PlainLocalizer(UnfoldedMap(held_out.scene)).localize(query) for query in held_out.queries]
    errors = camera_errors(list(held_out.truth), poses, 0.01)
    assert plain["plain_median"] == pytest.approx(float(np.median(errors.centre)))
    assert plain["code_bytes"] == len(track_means(held_out.scene)) * 128
    assert plain["within_2_pct"] == 100
    labels = [row["method"] for row in rows["town/table4"]]
    assert "d-pqed, symmetric" in labels
    assert "+ decoder, triplet loss" in labels
    ours = next(row for row in rows["town/table3"] if row["map"] == "foldmap@9kB")
    assert ours["file_bytes"] <= 9000
    assert math.isfinite(ours["median"])
    page = (out / "index.html").read_text()
    assert "bench visual" in page
    assert "Table 4" in page
    assert "≤ 5 cm, 1° [%]" in page
    assert len(list((out / "town").glob("matches-*.png"))) == 4  # two queries, two codecs
    assert (out / "town" / "within-1-file.svg").exists()
    assert (out / "town" / "table4.csv").read_text().count("\n") == len(labels) + 1


def test_command_refuses_what_makes_no_sense(folder: Path, tmp_path: Path) -> None:
    for words in (
        ["--tables", "9"],
        ["--thresholds", "1"],
        ["--budgets", "many"],
        ["--features", "a", "--features", "b"],
    ):
        result = CliRunner().invoke(app, ["bench", "visual", str(folder), "-o", str(tmp_path), *words])
        assert result.exit_code == 2, words
        assert not list(tmp_path.iterdir())


def test_layers_are_trained_as_long_as_is_asked(workshop: Workshop, tmp_path: Path) -> None:
    """More than the paper's 30 epochs where they are asked for; a recipe that more would spoil keeps its own."""
    for name, epochs in (("dpqed", 32), ("dpqed+", 4)):
        train_recipe(name, workshop.data.take(60), 2, epochs=32, folder=tmp_path / name)
        assert len((tmp_path / name / LOG).read_text().splitlines()) == epochs


def test_a_decoder_is_adapted_where_it_was_not_trained(folder: Path, workshop: Workshop, tmp_path: Path) -> None:
    layer = train_recipe("dpqed", workshop.data.take(300), 4, epochs=1).model()
    assert layer is not None
    own, other = tmp_path / "own.safetensors", tmp_path / "other.safetensors"
    known = read_scene(folder, metric=True)
    own.write_bytes(recorded(layer, [scene_place("mine", known.image_names, known.camera_SE3_world)]))
    other.write_bytes(recorded(layer, [town_place(300)]))
    words = [
        "bench",
        "visual",
        str(folder),
        "--tables",
        "scenes",
        "--methods",
        "pq4-adapted",
        "--epochs",
        "1",
        "--json",
    ]
    ran = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "a"), "--decoder", str(own)])
    assert ran.exit_code == 2
    assert "own.safetensors was trained on scene mine, and scene town is asked of it" in " ".join(ran.stderr.split())
    ran = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "b"), "--decoder", str(other), "--json"])
    assert ran.exit_code == 0, ran.stderr
    (row,) = json.loads(ran.stdout)["scenes"]
    assert "adapted by LoRA" in row["method"]
