"""Train a shipped model on for other sensors, inside a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from foldmap.lidar.bundle import Bundle, require_fold
from foldmap.lidar.model import LidarModel
from foldmap.lidar.pairs.sampling import PairSampler, RasterPair
from foldmap.lidar.train import LidarTrainer, LidarTrainSettings
from foldmap.training.loop import train


@dataclass(frozen=True)
class Adaptation:
    """How a model is adapted to other sensors, on ground that is not scored.

    Attributes:
        steps: of training.
        pairs: places that are drawn.
        batch: pairs a step.
        map_px: side of a pair's map image.
        query_px: side of its query image.
        map_crop_px: side of the map crop of a step.
        query_crop_px: the same of the query.
        radius_px: half the search window.
        learning_rate: of a model that is trained already.
        rate_bit_m2: aimed at, zero-order; the coder then spends less.
        code_weight: lambda_1 to begin with: of a code that is settled already.
        gap_m: between what training sees and what is scored.
        wrong: wrong matches that the localizer is calibrated against.
        seed: of everything.
    """

    steps: int = 1500
    pairs: int = 600
    batch: int = 8
    map_px: int = 192
    query_px: int = 128
    map_crop_px: int = 112
    query_crop_px: int = 64
    radius_px: int = 16
    learning_rate: float = 1e-3
    rate_bit_m2: float = 2.6
    code_weight: float = 0.15
    gap_m: float = 5.0
    wrong: int = 120
    seed: int = 0


def adapted_model(
    bundle: Bundle,
    training: Sequence[RasterPair],
    validation: Sequence[RasterPair],
    resolution_m: float,
    a: Adaptation,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[LidarModel, dict[str, Any]]:
    """Train a bundle's networks on; returns them and the last line of the validation curve."""
    require_fold(bundle)
    crops = a.query_crop_px, a.map_crop_px
    sampler = PairSampler(training, resolution_m, *crops, a.seed)
    held_out = PairSampler(validation, resolution_m, *crops, a.seed + 1)
    settings = LidarTrainSettings(
        mode="scratch",  # the model is trained: there is no stage without the codec,
        warmup=0.0,  # and its code is not free to change at first
        codec_steps=a.steps,
        batch=a.batch,
        radius_px=a.radius_px,
        learning_rate=a.learning_rate,
        rate_bit_m2=a.rate_bit_m2,
        code_weight=a.code_weight,
        validate_every=max(1, a.steps),
        seed=a.seed,
    )
    trainer = LidarTrainer(bundle.model.preset, sampler, held_out, settings, resolution_m, start=bundle.model)
    *_, last = train(trainer, None, lambda progress: report(progress.step, settings.steps))
    return trainer.network, asdict(last)
