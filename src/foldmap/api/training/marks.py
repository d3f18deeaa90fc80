"""Fit marks on pairs: the coders, the rate and the localizer's thresholds. There is no network to train."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foldmap.api.results import Begin, silent
from foldmap.api.training.lidar_pairs import LidarPairs
from foldmap.api.training.runs import MODEL
from foldmap.atlas.whole import write_whole
from foldmap.errors import ConfigError
from foldmap.lidar.marks.choose import MarkRecipe
from foldmap.localize.lidar.calibrate import calibrate_marks
from foldmap.training.places import recorded

_MOST_PAIRS = 96
_WRONG = 300
_QUOTA = 6.5  # cells that may pass the threshold of a neighbourhood, to each mark of the map
_FINER_M = 0.12  # smoothing where lines are taken off: what is left is fine


@dataclass(frozen=True)
class MarksRun:
    """What a person decides.

    Attributes:
        marks_m2: marks a square metre of observed ground, before their bits are weighed.
        price: contrast, in standard deviations of the ground, that a bit must bring.
        seed: of priors and wrong queries.
        name: of the model; marks-MARKS where empty.
        told: contrast that it is worth to tell twice as much of the place as the marks around.
        lines: share of what goes on along a line that is taken off.
    """

    marks_m2: float = 0.4
    price: float = 0.1
    seed: int = 0
    name: str = ""
    told: float = 0.3
    lines: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.marks_m2 <= 10:
            raise ConfigError(f"{self.marks_m2} marks a square metre", "give more than 0, at most 10")
        if not 0 <= self.price <= 10:
            raise ConfigError(f"a contrast of {self.price} a bit", "give 0, where bits are not weighed, to 10")
        if not 0 <= self.told <= 10:
            raise ConfigError(f"a contrast of {self.told} for what tells of the place", "give 0, for none, to 10")
        if not 0 <= self.lines <= 1:
            raise ConfigError(f"{self.lines} of what goes on along a line", "give 0, for none, to 1")


def train_marks(pairs: LidarPairs, folder: Path, run: MarksRun, begin: Begin = silent) -> dict[str, Any]:
    """Fit and calibrate on up to 96 pairs of at least 80, and write FOLDER/model.safetensors; sums up.

    A ConfigError where pairs are too few.
    """
    recipe = MarkRecipe(
        marks_m2=run.marks_m2, quota_m2=_QUOTA * run.marks_m2, told=run.told, price=run.price, lines=run.lines
    )
    if run.lines > 0:
        recipe = replace(recipe, smooth_m=_FINER_M)
    some = [pairs.training[index] for index in range(min(len(pairs.training), _MOST_PAIRS))]
    name = run.name or f"marks-{run.marks_m2:g}"
    bars: dict[str, Callable[[int, int], None]] = {}

    def report(what: str, done: int, total: int) -> None:
        if what not in bars:
            bars[what] = begin(what.capitalize())
        bars[what](done, total)

    model, calibration = calibrate_marks(
        recipe, some, pairs.resolution_m, name, {"source": pairs.name, "seed": run.seed}, wrong=_WRONG, seed=run.seed,
        report=report,
    )  # fmt: skip
    write_whole(folder / MODEL, recorded(model.to_bytes(), pairs.places))
    return {
        "model": str(folder / MODEL),
        "name": name,
        "model_bytes": (folder / MODEL).stat().st_size,
        "rate_bit_m2": model.rate_bit_m2,
        "right_ok": calibration.positive_ok,
        "wrong_ok": calibration.negative_ok,
    }
