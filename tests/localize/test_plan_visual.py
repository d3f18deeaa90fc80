"""The planner's choice: what a trial cannot tell apart is decided for the finer codes, what it can for the better."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from foldmap.localize.visual.heldout import held_out_turns
from foldmap.localize.visual.plan import _best_of, _worth_trying


def losses(means: list[float], spread: float, images: int, seed: int = 0) -> np.ndarray:
    """Of candidates that err so in the mean, each image by so much more or less."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, spread, (len(means), images))
    return np.array(means)[:, None] + noise - noise.mean(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("means", "spread", "images", "chosen"),
    [
        ([-2.0, -2.0, -2.0], 0.5, 12, 2),  # alike: the finest
        ([-2.05, -2.0, -2.02], 0.5, 12, 2),  # nothing that twelve images of this spread could tell
        ([-3.0, -2.5, -2.0], 0.05, 48, 0),  # the coarse one is better beyond doubt
        ([-2.0, -2.5, -2.49], 0.05, 48, 2),
        ([-2.0, -2.5, -2.2], 0.05, 48, 1),
        ([-7.0, -7.5, -7.2], 0.05, 48, 1),  # errors far below what was once clipped are told apart, too
    ],
)
def test_the_finest_that_is_not_worse_is_taken(means: list[float], spread: float, images: int, chosen: int) -> None:
    assert _best_of(losses(means, spread, images)) == chosen


def test_images_are_compared_one_by_one() -> None:
    # every image errs by far more than the candidates differ, but each by the same in both
    common = np.random.default_rng(1).normal(0, 3.0, 12)
    assert _best_of(np.stack([common, common + 0.1])) == 0


def test_without_a_trial_the_middle_is_taken() -> None:
    assert _best_of(np.zeros((5, 0))) == 2
    assert _best_of(np.zeros((3, 1))) == 2


def test_coarser_codes_of_every_point_are_not_tried() -> None:
    plans = [SimpleNamespace(kept=range(n)) for n in (100, 100, 100, 80, 60)]
    assert [len(plan.kept) for plan in _worth_trying(plans, 100)] == [100, 80, 60]  # type: ignore[arg-type]
    assert _worth_trying(plans, 100)[0] is plans[2]  # type: ignore[arg-type, comparison-overlap]
    few = plans[3:]
    assert _worth_trying(few, 100) == few  # type: ignore[arg-type, comparison-overlap]


@pytest.mark.parametrize(("images", "turns", "queries"), [(20, 0, 0), (24, 3, 12), (72, 3, 36), (300, 1, 48)])
def test_held_out_images_are_many_and_never_most(images: int, turns: int, queries: int) -> None:
    scene = SimpleNamespace(image_names=[f"{k:04d}" for k in range(images)])
    held = held_out_turns(scene, 48)  # type: ignore[arg-type]
    every = [name for turn in held for name in turn]
    assert (len(held), len(every), len(set(every))) == (turns, queries, queries)
    assert all(6 * len(turn) <= images for turn in held)
