"""Makes the maps of a visual benchmark: codecs are fitted once, layers trained once, files folded and opened."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.bench.visual.binary import BinaryCodec
from foldmap.bench.visual.methods import ADAPTED, MapSpec
from foldmap.bench.visual.plain import XYZ_BYTES, ObservationPoints, WholeMap, simple_map
from foldmap.coding.pq import ProductQuantizer
from foldmap.errors import BudgetError, ConfigError
from foldmap.localize.visual.plan import DEFAULT_STEP, PlanOptions, plan_for_budget, transform_codecs
from foldmap.types import IntArray
from foldmap.visual.codes.codecs import DescriptorCodec, Product, raw_for
from foldmap.visual.codes.fit_codecs import descriptors_of, fit_codec, settings_for, shape_for
from foldmap.visual.decoded import UnfoldedMap, VisualMap
from foldmap.visual.dpq.adapt_codec import adapted_codec
from foldmap.visual.dpq.model import DpqedLayer
from foldmap.visual.dpq.serialize import LayerShape, StoredLayer
from foldmap.visual.dpq.train import Descriptors, LayerSettings, objective, train_layer
from foldmap.visual.fold import VisualPlan, fold_visual
from foldmap.visual.scene.average import track_means
from foldmap.visual.select import choose_points
from foldmap.visual.source import SceneModel
from foldmap.visual.unfold import FoldedVisual, bytes_by_use

_ROWS = 4096


@dataclass(frozen=True)
class Recipe:
    """How one layer is trained."""

    # loss and schedule; the benchmark's epochs replace its own, but where `short`
    settings: LayerSettings = field(default_factory=LayerSettings)
    # of `visual.codes.fit_codecs`, or "encoder" (codebooks are trained, nothing decodes), or "decoder" (plain PQ's
    # codebooks stay as they are, and a decoder is trained behind them)
    kind: str = "dpqed"
    # whether the recipe has few epochs of its own, which more would spoil
    short: bool = False


RECIPES: dict[str, Recipe] = {
    "dpqed": Recipe(),
    "encoder": Recipe(kind="encoder"),
    "decoder-l2": Recipe(LayerSettings(loss="l2"), "decoder"),
    "decoder-triplet": Recipe(kind="decoder"),
    "dpqed-l2": Recipe(LayerSettings(loss="l2")),
    "dpqed-n-pair-10": Recipe(LayerSettings(loss="n-pair", pairs=10)),
    "dpqed-n-pair-20": Recipe(LayerSettings(loss="n-pair", pairs=20)),
    "dpqed-triplet-0.3": Recipe(LayerSettings(margin=0.3)),
    "dpqed-triplet-0.5": Recipe(LayerSettings(margin=0.5)),
    "dpqed-images": Recipe(LayerSettings(rows="image-descriptors")),
    "dpqed+": Recipe(settings_for("dpqed+"), "dpqed+", short=True),
}
"""Name -> recipe. "dpqed" has the paper's triplet loss of margin 0.9 on codebooks and decoder together, and learns on
track means; "dpqed-images" is the same on the descriptors of the map's images, as in the paper; "dpqed+" is foldmap's.
"""


def train_recipe(
    name: str, data: Descriptors, parts: int, *, epochs: int, seed: int = 0, folder: Path | None = None
) -> Product:
    """Train one of `RECIPES` on a scene's descriptors, with ``parts`` (M) codebooks.

    A `short` recipe keeps its own epochs where they are fewer. A finished run in the folder of checkpoints is taken as
    it is. Raises
    ConfigError: no such recipe, or checkpoints of other settings.
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe {name!r}", f"choose one of {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    epochs = min(epochs, recipe.settings.epochs) if recipe.short else epochs
    settings = replace(recipe.settings, epochs=epochs, seed=seed)
    if recipe.kind not in ("encoder", "decoder"):
        return fit_codec(data, parts, recipe.kind, settings, folder=folder)
    shape = shape_for("dpqed", data, parts)
    if recipe.kind == "encoder":
        layer = train_layer(data, replace(shape, hidden=0), settings, folder=folder).network
    else:
        layer = train_decoder(data, shape, settings)
    return Product(layer.stored(), name="dpqed")


def train_decoder(data: Descriptors, shape: LayerShape, settings: LayerSettings) -> DpqedLayer:
    """Train a decoder behind plain PQ's codebooks, which stay as they are."""
    if not shape.hidden:
        raise ConfigError("only a layer with a decoder is trained behind fixed codebooks", "give it hidden units")
    torch.manual_seed(settings.seed)
    layer = DpqedLayer(shape, settings.tau)
    layer.start_from(ProductQuantizer.fit(data.mean_PD, shape.parts, shape.centroids, seed=settings.seed))
    optimizer = torch.optim.Adam(layer.decoder.parameters(), lr=settings.learning_rate)
    with torch.no_grad():
        means = torch.from_numpy(data.mean_PD)
        starts = range(0, len(means), _ROWS)
        quantized = torch.cat([layer.quantize(means[first : first + _ROWS]) for first in starts])
    for epoch in range(settings.epochs):
        order = torch.from_numpy(np.random.default_rng([settings.seed, epoch]).permutation(len(means)))
        for first in range(0, len(means) - 1, settings.batch):  # a last batch of one row has no negatives
            rows = order[first : first + settings.batch]
            loss = objective(means[rows], layer.decoder(quantized[rows]), rows, settings)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return layer


LEAST_POINTS = 4


@dataclass(frozen=True)
class BenchMap:
    """A map ready to be localized in, and what it weighs."""

    visual_map: VisualMap  # to localize in
    points: int  # that it holds
    code_bytes: int  # of descriptors alone
    file_bytes: int | None  # of the whole file; None of a map in memory
    parts: Mapping[str, int] = field(default_factory=dict)  # bytes by use
    codec: DescriptorCodec | None = None  # of the descriptors, where there is one


class Workshop:
    """Makes maps of one scene; layers are kept below the folder; foldmap tries plans on ``trials`` map images.

    Layers are trained for `epochs` of all track means, or `image_epochs` of all descriptors of the map's images.
    The decoder is a trained layer, which maps of the recipe "adapted" adapt to the scene.
    """

    def __init__(
        self,
        scene: SceneModel,
        *,
        epochs: int = 30,
        image_epochs: int = 30,
        seed: int = 0,
        folder: Path | None = None,
        trials: int = 24,
        decoder: StoredLayer | None = None,
    ) -> None:
        self.scene, self.means, self._decoder = scene, track_means(scene), decoder
        self._epochs = {"track-means": epochs, "image-descriptors": image_epochs}
        self._seed, self._folder, self._trials = seed, folder, trials
        self._codecs: dict[tuple[str, int, str], DescriptorCodec] = {}
        self._orders: dict[tuple[str, int], IntArray] = {}
        self._data: Descriptors | None = None

    @contextmanager
    def open(self, spec: MapSpec) -> Iterator[BenchMap]:
        """Make a map; its file is gone when the block ends. A BudgetError where the bytes hold none."""
        if spec.codec in ("observations", "means"):
            yield self._in_memory(spec)
            return
        if spec.codec.startswith("simple"):
            yield self._simple(spec)
            return
        plan = self._plan(spec)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "map.fold"
            with FoldWriter(path) as writer:
                fold_visual(writer, self.scene, plan, means=self.means)
                writer.commit()
            size = path.stat().st_size
            with FoldFile.open(path) as file:
                used = bytes_by_use(file)
                parts = _parts(used, plan.codec, size)
                yield BenchMap(FoldedVisual(file), len(plan.kept), used["codes"], size, parts, plan.codec)

    @property
    def data(self) -> Descriptors:
        """The scene's descriptors, ready to be trained on."""
        if self._data is None:
            self._data = descriptors_of(self.scene)
        return self._data

    def codec(self, spec: MapSpec) -> DescriptorCodec:
        """The codec of a spec, fitted or trained to all of the scene's points."""
        key = (spec.codec, spec.parts, spec.recipe)
        if key not in self._codecs:
            self._codecs[key] = self._fitted(spec)
        return self._codecs[key]

    def _fitted(self, spec: MapSpec) -> DescriptorCodec:
        if spec.codec in ("raw", "simple-raw"):
            return raw_for(self.means)
        if spec.codec == "transform":
            return min(transform_codecs(self.scene, self.means), key=lambda c: abs(_step(c) - DEFAULT_STEP))
        if spec.codec == "simple-binary":
            steps = self._epochs["track-means"] * max(1, len(self.means) // LayerSettings.batch)
            return BinaryCodec.fit(self.data.mean_PD, spec.parts, steps=steps, seed=self._seed)
        if spec.codec in ("pq", "simple-pq"):
            return fit_codec(self.data, spec.parts, spec.recipe or "pq", seed=self._seed)
        if spec.recipe == ADAPTED:
            settings = LayerSettings(epochs=self._epochs["track-means"], seed=self._seed)
            assert self._decoder is not None  # such rows are made where there is one
            return adapted_codec(self.data, self._decoder, settings)
        epochs = self._epochs[RECIPES[spec.recipe].settings.rows]
        kept = None if self._folder is None else self._folder / f"pq{spec.parts}-{spec.recipe}-{epochs}"
        return train_recipe(spec.recipe, self.data, spec.parts, epochs=epochs, seed=self._seed, folder=kept)

    def _in_memory(self, spec: MapSpec) -> BenchMap:
        described = self.scene.tracks.descriptors
        assert described is not None  # their means were taken
        count = len(self.scene.points_world)
        if spec.codec == "means":
            return BenchMap(UnfoldedMap(self.scene), count, count * described[:1].nbytes, None)
        whole = WholeMap(self.scene.feature, ObservationPoints(self.scene))
        return BenchMap(whole, count, described.nbytes, None)

    def _simple(self, spec: MapSpec) -> BenchMap:
        codec = self.codec(spec)
        each = XYZ_BYTES + (spec.parts or codec.dimension)
        model = len(codec.model() or b"")
        count = min((spec.file_bytes - model) // each, len(self.scene.points_world))
        if count < LEAST_POINTS:
            raise BudgetError(f"{spec.file_bytes} bytes hold no simple map", f"give {model + LEAST_POINTS * each}")
        built, size = simple_map(self.scene, self.means, self._first(spec.select, count), codec)
        codes = count * (spec.parts or codec.dimension)
        parts = {"geometry": XYZ_BYTES * count, "codes": codes, "codebooks": model}
        return BenchMap(built, count, codes, size, parts, codec)

    def _plan(self, spec: MapSpec) -> VisualPlan:
        if spec.codec == "budget":
            options = PlanOptions(trials=self._trials, seed=self._seed, images=True if spec.images else None)
            codecs = transform_codecs(self.scene, self.means)
            return plan_for_budget(self.scene, self.means, spec.file_bytes, codecs, options).plan
        codec, count = self.codec(spec), len(self.scene.points_world)
        if spec.code_bytes:
            count = min(count, spec.code_bytes // (spec.parts or codec.dimension))
        if spec.share:
            count = round(spec.share * count)
        if count < LEAST_POINTS:
            raise BudgetError(f"{spec.name} would keep {count} points", f"keep {LEAST_POINTS} or more")
        kept = self._first(spec.select, count)
        return VisualPlan(kept, codec, images=True if spec.images else None, seed=self._seed)

    def _first(self, select: str, count: int) -> IntArray:
        """Indices of so many chosen points, ascending."""
        if select == "all" or count >= len(self.scene.points_world):
            return np.arange(len(self.scene.points_world))
        if (select, count) not in self._orders:
            self._orders[select, count] = choose_points(self.scene, count, select, seed=self._seed).kept
        return self._orders[select, count]


def _step(codec: DescriptorCodec) -> float:
    return float(codec.parameters()["step"])


def _parts(used: Mapping[str, int], codec: DescriptorCodec, size: int) -> dict[str, int]:
    """Bytes by use, with codebooks and decoder apart."""
    model = codec.model()
    codebooks = 0
    if model is not None and codec.name in ("pq", "dpqed"):
        books = StoredLayer.from_bytes(model)
        bare = replace(books.shape, hidden=0, shortcut="")
        codebooks = len(StoredLayer(bare, {"codebooks": books.tensors["codebooks"]}).to_bytes())
    parts = {key: value for key, value in used.items() if key not in ("codec", "headers")}
    parts |= {"codebooks": min(codebooks, used["codec"]), "decoder": used["codec"] - min(codebooks, used["codec"])}
    return {**parts, "rest": size - sum(parts.values())}
