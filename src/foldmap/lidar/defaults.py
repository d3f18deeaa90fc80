"""The trained operating points that ship with the package, and which of them suits a map."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path

from foldmap.atlas.shelf import Shelf
from foldmap.errors import BudgetError, ModelError
from foldmap.lidar.bundle import Bundle

DEFAULT_RATE_BIT_M2 = 2.5  # on the town; a map of a real lidar spends about half as much again
RESOLUTION_SLACK = 1.6  # pixels of a map may be larger or smaller by this factor than those of a model's training
_TRAIN = "train one (foldmap train lidar -o DIR) and give it with --model"


def weights_folder() -> Path:
    """Where the shipped models lie."""
    return Path(str(resources.files("foldmap.lidar"))) / "weights"


def shelf() -> Shelf:
    """The shipped models, which files name instead of holding."""
    return Shelf(weights_folder())


def default_bundles() -> list[Bundle]:
    """Load all shipped models, finest resolution first, then richest first."""
    paths = sorted(weights_folder().glob("*.safetensors"))
    if not paths:
        raise ModelError("no default models are installed", _TRAIN)
    bundles = [Bundle.from_bytes(path.read_bytes()) for path in paths]
    return sorted(bundles, key=lambda bundle: (bundle.resolution_m, -bundle.rate_bit_m2, bundle.name))


def bundles_for(resolution_m: float) -> list[Bundle]:
    """Shipped models for maps of a pixel size, richest first; a ModelError where there is none."""
    every = default_bundles()
    near = [b for b in every if 1 / RESOLUTION_SLACK <= resolution_m / b.resolution_m <= RESOLUTION_SLACK]
    if not near:
        known = ", ".join(f"{value:g} m" for value in sorted({b.resolution_m for b in every}))
        raise ModelError(
            f"no default model is for {resolution_m:g} m pixels, only for {known}", f"resample the map, or {_TRAIN}"
        )
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
