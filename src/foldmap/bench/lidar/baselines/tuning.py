"""Train the matcher on one codec's output: the paper's "learned matcher trained on that codec's output"."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from foldmap.bench.lidar.cases import Codec
from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry import MetricGrid
from foldmap.lidar.bundle import Bundle, require_fold
from foldmap.lidar.model import LidarModel
from foldmap.lidar.pairs.sampling import PairSampler, RasterPair, SomePairs
from foldmap.lidar.presets import Preset
from foldmap.lidar.source import RasterMap
from foldmap.lidar.train import LidarTrainer, LidarTrainSettings
from foldmap.training.loop import train
from foldmap.types import AnyArray, ByteArray

_COARSE_M = 0.15
_VALIDATION = 10  # every tenth pair


@dataclass(frozen=True)
class TrainingPlaces:
    """Training pairs and how steps are cut from them."""

    pairs: Sequence[RasterPair]  # places seen twice
    resolution_m: float  # their pixel size
    name: str = "town"  # where they come from, for the tables
    sweep_px: int = 0  # side of a step's query crops; 0 chooses by the resolution
    map_px: int = 0  # likewise of its map crops
    radius_px: int = 20  # half the search window of a step
    batch: int = 8  # pairs a step
    learning_rate: float = 4e-4  # of networks that are trained already
    seed: int = 0  # of the order and the crops

    def __post_init__(self) -> None:
        if len(self.pairs) < 2 * _VALIDATION:
            raise ConfigError(f"{len(self.pairs)} pairs are too few to train on", f"give {2 * _VALIDATION} or more")

    def samplers(self, pairs: Sequence[RasterPair]) -> tuple[PairSampler, PairSampler]:
        """Training and validation batches."""
        crops = (64, 112) if self.resolution_m >= _COARSE_M else (192, 240)
        sweep_px, map_px = self.sweep_px or crops[0], self.map_px or crops[1]
        validation = SomePairs(pairs, range(0, len(pairs), _VALIDATION))
        training = SomePairs(pairs, [k for k in range(len(pairs)) if k % _VALIDATION])
        return (
            PairSampler(training, self.resolution_m, sweep_px, map_px, self.seed),
            PairSampler(validation, self.resolution_m, sweep_px, map_px, self.seed + 1),
        )

    def settings(self, **changes: Any) -> LidarTrainSettings:
        """Settings of the training loop."""
        steps = changes.get("matcher_steps", 0) + changes.get("codec_steps", 0)
        return LidarTrainSettings(
            batch=self.batch, radius_px=self.radius_px, seed=self.seed, validate_every=max(1, steps), **changes
        )


class RecodedPairs(Sequence[RasterPair]):
    """Pairs whose maps went through a codec, kept in 16 bits; pairs that it finds nothing in are left out."""

    def __init__(self, pairs: Sequence[RasterPair], codec: Codec, resolution_m: float) -> None:
        self._pairs = pairs
        self._kept: list[tuple[int, AnyArray, float, float, ByteArray]] = []
        for index in range(len(pairs)):
            coded = through_codec(pairs[index], codec, resolution_m)
            if coded is None:
                continue
            seen = coded.map_intensity[coded.map_observed]
            low, step = float(seen.min()), max(float(seen.max() - seen.min()) / 65535, 1e-12)
            levels = np.where(coded.map_observed, np.rint((coded.map_intensity - low) / step), 0).astype(np.uint16)
            self._kept.append((index, levels, low, step, np.packbits(coded.map_observed, axis=-1)))

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: Any) -> Any:
        """One pair."""
        at, levels, low, step, bits = self._kept[index]
        pair = self._pairs[at]
        observed = np.unpackbits(bits, axis=-1, count=levels.shape[1]).astype(bool)
        intensity = np.where(observed, levels * np.float32(step) + np.float32(low), 0).astype(np.float32)
        row_px, col_px = pair.shift_px
        return RasterPair(intensity, observed, pair.sweep_intensity, pair.sweep_observed, (row_px, col_px))


def read_places(folder: Path, most: int, seed: int) -> TrainingPlaces:
    """Read up to ``most`` cached pairs of the town (``python -m foldmap.town.lidar.pairs``); at least 20 are needed."""
    from foldmap.town.lidar.pairs import PairCache

    cache = PairCache(folder)
    part = SomePairs(cast(Sequence[RasterPair], cache), range(min(len(cache), most)))
    return TrainingPlaces(part, cache.resolution_m, seed=seed)


def through_codec(pair: RasterPair, codec: Codec, resolution_m: float) -> RasterPair | None:
    """Encode and decode a pair's map; None where the codec finds nothing in it to encode."""
    height, width = pair.map_observed.shape
    grid = MetricGrid(0.0, height * resolution_m, resolution_m, height, width)
    try:
        decoded = codec.decode(codec.encode(RasterMap(grid, pair.map_intensity, pair.map_observed)))
    except MapInputError:
        return None
    return RasterPair(decoded.intensity, decoded.observed, pair.sweep_intensity, pair.sweep_observed, pair.shift_px)


def tune_matcher(
    bundle: Bundle,
    codec: Codec,
    places: TrainingPlaces,
    steps: int,
    folder: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Bundle:
    """Train a bundle's two embeddings on, with maps that went through a codec; the new bundle is named after both.

    The pairs must be at its resolution, and none of the ground that is scored. Its own codec no longer fits the new
    embedding. The folder keeps one run a codec and model; an interrupted one goes on. Raises ConfigError: the bundle
    cannot fold, no steps, or too few pairs hold ground.
    """
    require_fold(bundle)
    if steps < 1:
        raise ConfigError(f"{steps} steps of training", "ask for at least one")
    places = replace(places, pairs=RecodedPairs(places.pairs, codec, places.resolution_m))
    settings = places.settings(
        mode="match", matcher_steps=steps, codec_steps=0, learning_rate=places.learning_rate, raw_weight=0.0
    )
    run = run_folder(folder, codec.name, bundle, places)
    model = trained(bundle.model.preset, bundle.model, places, settings, run, report)
    provenance = {**bundle.provenance, "tuned": {"codec": codec.name, "steps": steps, "on": places.name}}
    return replace(bundle, model=model, name=f"{bundle.name}-on-{codec.name}", provenance=provenance)


def trained(
    preset: Preset,
    start: LidarModel | None,
    places: TrainingPlaces,
    settings: LidarTrainSettings,
    folder: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> LidarModel:
    """Run the training loop, on a GPU where there is one; a finished run in the folder is read, not run again."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    samplers = places.samplers(places.pairs)
    trainer = LidarTrainer(preset, *samplers, settings, places.resolution_m, start=start, device=device)
    for _ in train(trainer, folder, lambda progress: report(progress.step, settings.steps)):
        pass
    return trainer.network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


def from_step(report: Callable[[int, int], None], before: int, total: int) -> Callable[[int, int], None]:
    """A progress callback of one part of a longer task, which begins after `before` of `total` steps."""
    return lambda done, _: report(before + done, total)


def run_folder(folder: Path, name: str, start: Bundle | None, places: TrainingPlaces) -> Path:
    """A folder whose name says what is trained, and from what: a resumed run never mixes two."""
    digest = hashlib.sha256(start.to_bytes() if start is not None else b"")
    digest.update(repr((places.name, len(places.pairs), places.sweep_px, places.map_px)).encode())
    label = name if start is None else f"{name}-{start.name}"
    return folder / f"{re.sub(r'[^A-Za-z0-9.+-]+', '_', label)}-{digest.hexdigest()[:12]}"
