"""The trained operating points that ship with the package, and which of them suits a map."""

from __future__ import annotations

import math
from pathlib import Path

from foldmap.errors import BudgetError, ModelError
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.marks.model import CODEC, MarksModel
from foldmap.lidar.shipped import weights_folder
from foldmap.lidar.stored import MAX_BYTES
from foldmap.training.model_bytes import read_info, read_model_file

DEFAULT_RATE_BIT_M2 = 2.5  # on the town; a map of a real lidar spends about half as much again
RESOLUTION_SLACK = 1.6  # pixels of a map may be larger or smaller by this factor than those of a model's training,
_MOST_STEP = 3  # after so many along a side were made one
_READ_ONLY = {f"marks-fine-{number}.safetensors" for number in (6, 7)}  # maps name them; none is folded with them
_RICH = {"marks-fine-9.safetensors"}  # folded with where the others lose the place
_TRAIN = "train one (foldmap train lidar -o DIR) and give it with --model"


def default_bundles() -> list[Bundle]:
    """Load all shipped models, finest resolution first, then richest first."""
    paths = sorted(path for path in weights_folder().glob("*.safetensors") if not path.name.startswith("marks-"))
    if not paths:
        raise ModelError("no default models are installed", _TRAIN)
    bundles = [Bundle.from_bytes(path.read_bytes()) for path in paths]
    return sorted(bundles, key=lambda bundle: (bundle.resolution_m, -bundle.rate_bit_m2, bundle.name))


def bundles_for(resolution_m: float) -> list[Bundle]:
    """Shipped models for maps of a pixel size, richest first; a ModelError where there is none.

    Those for such maps as they are, of the nearest pixels: reducing a map is for who names a model.
    """
    every = default_bundles()
    near = [b for b in every if step_of(b, resolution_m) == 1]
    if not near:
        known = ", ".join(f"{value:g} m" for value in sorted({b.resolution_m for b in every}))
        coarser = min((b.resolution_m for b in every if b.resolution_m > resolution_m), default=0.0)
        warped = f" (gdalwarp -r average -tr {coarser:g} {coarser:g} IN OUT)" if coarser else ""
        cure = f"build it of sweeps at one of these (build lidar --resolution), resample it{warped}, or {_TRAIN}"
        raise ModelError(f"no default model is for {resolution_m:g} m pixels, only for {known}", cure)
    closest = min((b.resolution_m for b in near), key=lambda value: abs(math.log(value / resolution_m)))
    return sorted((b for b in near if b.resolution_m == closest), key=lambda b: -b.rate_bit_m2)


def default_bundle(resolution_m: float) -> Bundle:
    """The shipped model whose trained rate is nearest to `DEFAULT_RATE_BIT_M2`; errors as `bundles_for`."""
    return min(bundles_for(resolution_m), key=lambda b: abs(math.log(b.rate_bit_m2 / DEFAULT_RATE_BIT_M2)))


def within_rate(bundles: list[Bundle], rate_bit_m2: float) -> list[Bundle]:
    """Those that may meet a rate, richest first; maps differ, so up to twice the trained rate is worth trying.

    A BudgetError where even the leanest is trained for more than that.
    """
    fitting = [bundle for bundle in bundles if bundle.rate_bit_m2 <= 2 * rate_bit_m2]
    if not fitting:
        least = min(bundle.rate_bit_m2 for bundle in bundles)
        raise BudgetError(
            f"no model spends as little as {rate_bit_m2:g} bit/m2; the leanest spends about {least:.2g}",
            "allow more, or train a leaner model",
        )
    return fitting


def bundle_named(name: str) -> Bundle:
    """Load a shipped model by its name; a ModelError where there is none."""
    for bundle in default_bundles():
        if bundle.name == name:
            return bundle
    raise ModelError(f"no default model is called {name!r}", "give the model file that it was folded with (--model)")


def marks_for(resolution_m: float, rich: bool = False) -> list[MarksModel]:
    """Shipped marks for maps of a pixel size, richest first; or those for maps in which these lose the place."""
    names = {path.name for path in weights_folder().glob("marks-*.safetensors")} - _READ_ONLY
    paths = [weights_folder() / name for name in (names & _RICH if rich else names - _RICH)]
    every = [MarksModel.from_bytes(path.read_bytes()) for path in paths]
    near = [one for one in every if suits(one, resolution_m)]
    return sorted(near, key=lambda one: (-one.rate_bit_m2, one.name))


def default_marks(resolution_m: float) -> MarksModel:
    """The richest of `marks_for`; a ModelError where there are none."""
    found = marks_for(resolution_m)
    if not found:
        raise ModelError(f"no default marks are for {resolution_m:g} m pixels", "take a learned code, or fit some")
    return found[0]


def suits(model: Bundle | MarksModel, resolution_m: float) -> bool:
    """Whether a model is for maps of a pixel size, as they are or reduced (`step_of`)."""
    return step_of(model, resolution_m) > 0


def step_of(model: Bundle | MarksModel, resolution_m: float) -> int:
    """Pixels of a map, along a side, that make one of a model's; 0 where it is not for such maps.

    Marks have cells of their own, for which nothing is to be done.
    """
    step = 1
    if isinstance(model, Bundle):
        step = min(max(1, round(model.resolution_m / resolution_m)), _MOST_STEP)
    near = 1 / RESOLUTION_SLACK <= step * resolution_m / model.resolution_m <= RESOLUTION_SLACK
    return step if near else 0


def model_from_bytes(payload: bytes) -> Bundle | MarksModel:
    """A learned code or marks, whichever it is; a ModelError where it is neither, of this version."""
    marks = read_info(payload, "use a model written by foldmap").get("codec") == CODEC
    return MarksModel.from_bytes(payload) if marks else Bundle.from_bytes(payload)


def read_model(path: Path) -> Bundle | MarksModel:
    """Read a model file of `foldmap train lidar`; a ModelError where it is missing or no model of this version."""
    return read_model_file(path, model_from_bytes, MAX_BYTES, "train lidar")


def read_bundle(path: Path) -> Bundle:
    """Read the model file of a learned code; a ModelError where it is another or none, of this version."""
    model = read_model(path)
    if isinstance(model, MarksModel):
        raise ModelError(f"{path} is of marks, which have no networks", "give a learned code's model")
    return model
