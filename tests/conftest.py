"""Shared fixtures."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# tests run side by side: threads of one that wait for those of another take several times as long
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import PIL.Image  # noqa: E402, F401  before any test imports pycolmap, see foldmap.visual.scene.colmap_library
import pytest  # noqa: E402
import typer.testing  # noqa: E402

# the program is drawn up once, not for each of the two thousand commands that tests run
typer.testing._get_command = functools.cache(typer.testing._get_command)


def pytest_collectstart() -> None:
    """Imports and rewritten tests are no garbage; who hands out tests to others collects none."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What is loaded by now stays: no collection of garbage need look through it again, nor often through the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()


MEASURING = {"bench", "localize", "visual"}
"""Folders whose tests ask what a calibration says, or what maps are worth by it."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Elsewhere maps are calibrated by less: that takes most of the time in which a small one is folded."""
    with pytest.MonkeyPatch.context() as patch:
        if item.path.parent.name not in MEASURING:
            calibrate_quickly(patch)
        return (yield)


def calibrate_quickly(patch: pytest.MonkeyPatch) -> None:
    """Sweeps' maps at two places instead of 16, photos' maps by four wrong questions instead of 36."""
    from foldmap.api.folding import rasters
    from foldmap.localize.visual import negatives

    def chance_in(visual_map: Any, scene: Any, report: Any = lambda done, total: None) -> Any:
        localizer = negatives.VisualLocalizer(visual_map)
        health = [localizer.localize(negatives.negative(scene, number, 4)).diagnostics for number in range(4)]
        report(4, 4)
        if sum(one.keypoints >= negatives.LEAST_KEYPOINTS for one in health) < 2:
            return None
        # the others lie between them
        evidence = np.quantile([one.evidence or 0.0 for one in health], np.linspace(0, 1, negatives.NEGATIVES))
        bound = negatives._bounded(evidence, localizer.settings.risks[1])
        return negatives.MapCalibration(chance={negatives.EVIDENCE: bound}, negatives=len(evidence))

    patch.setattr(negatives, "chance_in", chance_in)
    patch.setattr(rasters, "map_calibration", functools.partial(rasters.map_calibration, places=2))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings, or a skip with the reason."""
    folder = Path(os.environ.get("FOLDMAP_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder}; set FOLDMAP_SHARED to a folder that holds data/")
    return folder
