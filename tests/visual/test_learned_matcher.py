"""The learned matcher: networks against kornia's own, what it makes of a map against places worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.errors import ConfigError, LayerError, MapInputError, ModelError
from foldmap.geometry.camera import Camera
from foldmap.localize.visual.localizer import VisualLocalizer, VisualSettings
from foldmap.visual.codes.codecs import raw_for
from foldmap.visual.fold import VisualPlan, fold_visual
from foldmap.visual.match.learned_matcher import LearnedMatcher, PairSettings
from foldmap.visual.match.pair_networks import Side, open_pair_network
from foldmap.visual.match.view import prepare
from foldmap.visual.retrieval.image_index import interleaved
from foldmap.visual.scene.average import track_means
from foldmap.visual.source import Features, Query, SceneModel, Tracks
from foldmap.visual.unfold import FoldedVisual

DIMENSION = 64
CAMERA = Camera("SIMPLE_RADIAL", 640, 480, np.array([500.0, 320.0, 240.0, -0.03]))
LIGHTERGLUE = "lighterglue-L3.onnx"


class ByPlace:
    """A pair network that knows nothing but places: it pairs what is at the same place."""

    dimension = DIMENSION

    def __init__(self) -> None:
        self.asked: list[tuple[Side, Side]] = []

    def pair(self, one: Side, other: Side) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append((one, other))
        apart = np.linalg.norm(one.xy[:, None] - other.xy[None], axis=2)
        rows = np.flatnonzero(apart.min(axis=1) < 2e-3)
        return np.stack([rows, apart[rows].argmin(axis=1)], axis=1), np.full(len(rows), 0.5, np.float32)


def wall(images: int = 9, points: int = 900, seed: int = 0) -> SceneModel:
    """A rough wall, and a camera that walks along it; images see what is in them, and group neighbours' points."""
    rng = np.random.default_rng(seed)
    points_world = rng.uniform([-9, -2.5, -0.5], [9, 2.5, 0.5], (points, 3))
    points_world = points_world[np.argsort(points_world[:, 0])]
    truth = rng.normal(size=(points, DIMENSION))
    poses = np.tile(np.eye(4), (images, 1, 1))
    poses[:, 0, 3], poses[:, 2, 3] = -np.linspace(-6, 6, images), 5.0
    rows = []
    for image, pose in enumerate(poses):
        xy = CAMERA.project(points_world + pose[:3, 3])
        inside = ((xy >= 0) & (xy <= [640, 480])).all(axis=1)
        rows += [(point, image, *xy[point]) for point in np.flatnonzero(inside)]
    table = np.array(sorted(rows))
    seen, point = np.unique(table[:, 0].astype(np.int64), return_inverse=True)
    noisy = truth[table[:, 0].astype(np.int64)] + 0.3 * rng.normal(size=(len(table), DIMENSION))
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    tracks = Tracks(
        point.astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:].astype(np.float32), noisy.astype(np.float32)
    )
    names = tuple(f"{image:02}.jpg" for image in range(images))
    return SceneModel((CAMERA,), names, np.zeros(images, np.int64), poses, points_world[seen], tracks, feature="xfeat")


def query_of(scene: SceneModel, image: int) -> tuple[Query, np.ndarray]:
    """An image of the scene as a query, and the point of each of its keypoints."""
    rows = np.flatnonzero(scene.tracks.image == image)
    assert scene.tracks.descriptors is not None
    features = Features(scene.tracks.xy_px[rows], scene.tracks.descriptors[rows])
    return Query(scene.image_names[image], CAMERA, features), scene.tracks.point[rows]


@pytest.fixture(scope="module")
def scene() -> SceneModel:
    return wall()


@pytest.fixture(scope="module")
def folded(scene: SceneModel, tmp_path_factory: pytest.TempPathFactory) -> FoldedVisual:
    return fold(scene, tmp_path_factory.mktemp("wall") / "wall.fold", images=True)


def fold(scene: SceneModel, path: Path, *, images: bool) -> FoldedVisual:
    means = track_means(scene)
    plan = VisualPlan(np.arange(len(means)), raw_for(means), error_px=0.05, images=images, group=2)
    with FoldWriter(path) as writer:
        fold_visual(writer, scene, plan, means=means)
        writer.commit()
    return FoldedVisual(FoldFile.open(path))


def points_at(points_world: np.ndarray, true_world: np.ndarray) -> float:
    """Share of points that are where they should be."""
    return float((np.linalg.norm(points_world - true_world, axis=1) < 0.02).mean())


def test_points_are_shown_where_the_image_saw_them(scene: SceneModel, folded: FoldedVisual) -> None:
    """A query that IS a map image has its keypoints where that image shows its points: places alone pair them."""
    query, point = query_of(scene, 4)
    around = folded.seen_by(np.array([4]))
    network = ByPlace()
    found = LearnedMatcher(network, folded).match(prepare(query), around, 10_000)
    assert len(found) > 0.95 * len(point)
    assert points_at(around.points_world[found.point], scene.points_world[point[found.keypoint]]) == 1.0
    assert found.ratio == pytest.approx(0.5)
    ((one, shown),) = network.asked
    # a lens that draws points inwards: once straightened, the corners lie where the box of them ends
    assert np.abs(one.xy).max() <= 1.0
    assert 0.9 < np.abs(shown.xy).max() <= 1.0


def test_places_are_those_of_a_straight_lens(scene: SceneModel, folded: FoldedVisual) -> None:
    """Both sides against the pinhole formula, up to one factor that is theirs to choose."""
    query, point = query_of(scene, 4)
    network = ByPlace()
    LearnedMatcher(network, folded).match(prepare(query), folded.seen_by(np.array([4])), 10_000)
    local = scene.points_world[point] + scene.camera_SE3_world[4][:3, 3]
    slope = local[:, :2] / local[:, 2:]
    factor = (network.asked[0][0].xy / slope).mean()
    assert network.asked[0][0].xy == pytest.approx(slope * factor, abs=1e-3)
    assert factor == pytest.approx(500 / 320, rel=0.05)


class Told:
    """A pair network that says of each image what it is told, about points by their descriptors."""

    dimension = DIMENSION

    def __init__(self, answers: list[list[tuple[int, np.ndarray, float]]]) -> None:
        self.answers = answers

    def pair(self, one: Side, other: Side) -> tuple[np.ndarray, np.ndarray]:
        said = self.answers.pop(0)
        pairs = [(keypoint, int(np.argmax(other.descriptors @ row))) for keypoint, row, _ in said]
        return np.array(pairs), np.array([score for *_, score in said], np.float32)


def test_images_add_up_and_each_keypoint_and_point_is_named_once(scene: SceneModel, folded: FoldedVisual) -> None:
    query, point = query_of(scene, 4)
    around = folded.seen_by(np.array([4, 5]))
    both = np.intersect1d(point, query_of(scene, 5)[1])[:3]  # points of the scene that both images show
    at = [int(np.argmin(np.linalg.norm(around.points_world - scene.points_world[p], axis=1))) for p in both]
    a, b, c = around.descriptors[at]
    told = Told([[(0, a, 0.9), (1, b, 0.2), (2, c, 0.05)], [(0, a, 0.5), (1, c, 0.3), (4, a, 0.6)]])
    found = LearnedMatcher(told, folded, PairSettings(images=2, score=0.1)).match(prepare(query), around, 100)
    # 0-a: 0.9 + 0.5; 4-a: 0.6, but a is taken; 1-c: 0.3 beats 1-b: 0.2; 2-c: below the least score
    assert found.keypoint.tolist() == [0, 1]
    assert found.point.tolist() == [at[0], at[2]]
    assert found.ratio == pytest.approx([1 - 1.4 / 2, 1 - 0.3 / 2])


def test_sights_follow_the_ranking(scene: SceneModel, folded: FoldedVisual) -> None:
    around = folded.seen_by(np.array([7, 0, 6]))
    assert around.visibility is not None
    assert [image for image, _ in around.visibility] == [7, 0, 6]
    sees = {image: set(map(tuple, around.points_world[points].round(1))) for image, points in around.visibility}
    assert sees[7] == sees[6]  # of one group
    for image, group in ((7, (6, 7)), (0, (0, 1))):
        rows = np.isin(scene.tracks.image, group)
        true = scene.points_world[np.unique(scene.tracks.point[rows])]
        got = around.points_world[dict(iter(around.visibility))[image]]
        assert len(got) == len(true)
        assert np.abs(np.sort(got[:, 0]) - np.sort(true[:, 0])).max() < 0.02
    assert folded.whole().visibility is None
    assert interleaved([np.array([3, 1]), np.array([1, 2, 5])]).tolist() == [3, 1, 2, 5]


def test_a_matcher_of_the_callers_own_localizes(scene: SceneModel, folded: FoldedVisual) -> None:
    query, _ = query_of(scene, 4)
    estimate = VisualLocalizer(folded, matcher=LearnedMatcher(ByPlace(), folded)).localize(query)
    assert estimate.camera_SE3_world is not None
    assert np.abs(estimate.camera_SE3_world - scene.camera_SE3_world[4]).max() < 0.01


def test_maps_and_settings_that_do_not_fit(scene: SceneModel, folded: FoldedVisual, tmp_path: Path) -> None:
    bare = fold(scene, tmp_path / "bare.fold", images=False)
    with pytest.raises(LayerError, match="no images"):
        LearnedMatcher(ByPlace(), bare)
    other = ByPlace()
    other.dimension = 128
    with pytest.raises(MapInputError, match="128"):
        LearnedMatcher(other, folded)
    query, _ = query_of(scene, 4)
    with pytest.raises(MapInputError, match="without images"):
        LearnedMatcher(ByPlace(), folded).match(prepare(query), bare.whole(), 100)
    with pytest.raises(ConfigError, match="weights"):
        VisualLocalizer(folded, VisualSettings(matcher="lightglue"))
    with pytest.raises(ConfigError, match="superglue"):
        VisualLocalizer(folded, VisualSettings(matcher="superglue"))
    with pytest.raises(ConfigError, match=r"none\.onnx"):
        open_pair_network(tmp_path / "none.onnx")


def test_damaged_or_foreign_networks(tmp_path: Path, shared_data: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    path = tmp_path / "cut.onnx"
    weights = shared_data.parent / "weights" / LIGHTERGLUE
    path.write_bytes(weights.read_bytes()[:100_000] if weights.is_file() else b"\x08\x07junk")
    with pytest.raises(ModelError, match=r"cut\.onnx"):
        open_pair_network(path)
    pytest.importorskip("kornia")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="no LightGlue"):
        open_pair_network(tmp_path / "other.pth")
    torch.save({"posenc.Wr.weight": torch.zeros(32, 4), "log_assignment.0.final_proj.weight": torch.zeros(256, 256)},
               tmp_path / "sift.pth")  # fmt: skip
    with pytest.raises(ModelError, match="orientations"):
        open_pair_network(tmp_path / "sift.pth")


def random_sides(dimension: int, seed: int = 0) -> tuple[Side, Side, np.ndarray]:
    """Two images of the same 150 keypoints, shuffled and shifted a little; ``order`` says which is which."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform([-0.9, -0.65], [0.9, 0.65], (150, 2)).astype(np.float32)
    rows = rng.normal(size=(150, dimension))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    order = rng.permutation(150)
    return Side(xy, rows), Side((xy[order] + 0.05).astype(np.float32), rows[order]), order


@pytest.mark.parametrize("layout", ["kornia", "authors", "prefixed"])
def test_lightglue_gives_what_kornia_gives_in_pixels(tmp_path: Path, layout: str) -> None:
    """Weights of any size and in any layout of names: the same pairs as kornia's own network on pixel keypoints."""
    torch = pytest.importorskip("torch")
    feature = pytest.importorskip("kornia.feature")
    torch.manual_seed(0)
    sizes = {"input_dim": 64, "descriptor_dim": 96, "num_heads": 1, "n_layers": 3}
    own = feature.LightGlue(features=None, depth_confidence=0.95, width_confidence=0.99, **sizes).eval()
    state = {key: value.clone() for key, value in own.state_dict().items() if key != "confidence_thresholds"}
    if layout == "authors":
        state = {_as_published(key): value for key, value in state.items()}
    if layout == "prefixed":
        state = {f"matcher.{key}": value for key, value in state.items()}
    torch.save(state, tmp_path / "glue.pth")
    network = open_pair_network(tmp_path / "glue.pth")
    assert network.dimension == 64
    one, other, _ = random_sides(64)
    # what an image of 640 x 480 px would have had: centre and half the longer side
    px = [torch.from_numpy(side.xy * 320 + np.array([320, 240], np.float32))[None] for side in (one, other)]
    size = torch.tensor([[640.0, 480.0]])
    data = {
        f"image{k}": {"keypoints": px[k], "descriptors": torch.from_numpy(s.descriptors)[None], "image_size": size}
        for k, s in enumerate((one, other))
    }
    with torch.inference_mode():
        expected = own(data)
    pairs, scores = network.pair(one, other)
    assert np.array_equal(pairs, expected["matches"][0].numpy())
    assert scores == pytest.approx(expected["scores"][0].numpy(), abs=1e-4)


def _as_published(key: str) -> str:
    parts = key.split(".")
    return ".".join([parts[2], parts[1], *parts[3:]]) if parts[0] == "transformers" else key


def test_lighterglue_pairs_what_belongs_together(shared_data: Path) -> None:
    pytest.importorskip("onnxruntime")
    weights = shared_data.parent / "weights" / LIGHTERGLUE
    if not weights.is_file():
        pytest.skip(f"no weights at {weights}")
    network = open_pair_network(weights)
    assert network.dimension == 64
    one, other, order = random_sides(64)
    pairs, scores = network.pair(one, other)
    assert len(pairs) > 50
    assert (order[pairs[:, 1]] == pairs[:, 0]).mean() > 0.95
    assert ((scores >= 0) & (scores <= 1)).all()
