"""Training examples out of ortho tiles with street maps: crops made anew each epoch, or a ring's frames made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from foldmap.street.changes.edits import RandomAging
from foldmap.street.field.cache import CachedExamples
from foldmap.street.field.draw import FieldSpec
from foldmap.street.field.examples import PairExamples, birds_eye
from foldmap.street.images.observation import CameraRing, Pair
from foldmap.street.paper.pairs import AerialPairs, GroundTile, Jitter, RingPairs

AGED_SHARE = 0.8
"""Of windows whose map is edited while a network learns to compare images with maps."""
_SPACING_M = 2.0
_RING_SPACING_M = 8.0
FRAMES = 5000


def aerial_examples(
    tiles: Sequence[GroundTile], field: FieldSpec, *, update: bool = False, seed: int = 0, spacing_m: float = _SPACING_M
) -> PairExamples:
    """Crops along every lane, with a new pose and another light in every epoch.

    Args:
        tiles: of the training places.
        field: of the model.
        update: whether each window comes with a map that may be out of date.
        seed: of poses and light.
        spacing_m: between windows along a lane.

    Raises:
        ConfigError: no window fits into the tiles.
    """

    def source(epoch: int) -> AerialPairs:
        jitter = Jitter(4.0, 1.5, 0.4, 1.0, seed=seed + epoch)
        return AerialPairs(tiles, spacing_m, field.window, birds_eye(field).size_px, jitter)

    first = source(0)

    def epoch_pairs(epoch: int) -> Sequence[Pair]:
        return first.with_jitter(Jitter(4.0, 1.5, 0.4, 1.0, seed=seed + epoch))

    return PairExamples(epoch_pairs, field, RandomAging(AGED_SHARE, field.window) if update else None)


def ring_examples(
    tiles: Sequence[GroundTile],
    ring: CameraRing,
    field: FieldSpec,
    *,
    update: bool = False,
    frames: int = FRAMES,
    seed: int = 7,
    report: Callable[[int, int], None] = lambda done, count: None,
) -> CachedExamples:
    """Frames of a ring over flat tiles (SEMI-SYNTHETIC), drawn once; light changes in every epoch.

    Args:
        tiles: of the training places.
        ring: calibration.
        field: of the model.
        update: as in `aerial_examples`.
        frames: at most; evenly random among windows 8 m apart.
        seed: of poses, light and choice.
        report: called with the frames done and their number.
    """
    pairs = RingPairs(tiles, ring, _RING_SPACING_M, field.window, jitter=Jitter(2.0, 2.0, 0.3, 0.5, seed=seed))
    chosen = np.arange(len(pairs))
    if len(pairs) > frames:
        chosen = np.sort(np.random.default_rng(seed).choice(len(pairs), frames, replace=False))
    aging = RandomAging(AGED_SHARE, field.window) if update else None
    drawn = (pairs[int(index)] for index in chosen)
    return CachedExamples.of(drawn, field, 0.7, aging, lambda done: report(done, len(chosen)))
