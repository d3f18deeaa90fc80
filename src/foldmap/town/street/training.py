"""What ``foldmap train street --town`` learns from: generated towns alone, from above and from the street."""

from collections.abc import Callable, Iterator

from foldmap.street.changes.edits import RandomAging
from foldmap.street.field.examples import (
    AGED_SHARE,
    AlternatingExamples,
    CachedExamples,
    aerial_examples,
    ring_examples,
)
from foldmap.street.field.lane_field import FieldSpec
from foldmap.street.images.observation import StreetPair
from foldmap.street.images.rig import surround_ring
from foldmap.street.paper.pairs import Jitter
from foldmap.town.street.ortho import town_tile
from foldmap.town.street.pairs import TownRingPairs
from foldmap.town.world import TownWorld

TRAINED_SEEDS = tuple(range(100, 108))
"""Towns that the shipped model has seen; every other seed is a town that it has not."""
_FRAMES = 1500
_RENDERED = 12
"""A town: every picture is traced ray by ray, seconds for a ring."""


def town_examples(
    field: FieldSpec,  # of the model
    *,
    update: bool = False,  # whether windows come with a map that may be out of date
    seeds: tuple[int, ...] = TRAINED_SEEDS,  # of the towns, each under a day of its own
    # called with what is drawn, how much is done and how much there is
    report: Callable[[str, int, int], None] = lambda what, done, count: None,
) -> AlternatingExamples:
    """Aerial crops, frames of a ring over flat ground, and rendered frames with facades and vehicles, in turn."""
    tiles = []
    for done, seed in enumerate(seeds, start=1):
        tiles.append(town_tile(TownWorld(seed), day_seed=seed))
        report("towns", done, len(seeds))
    ring = surround_ring()
    warped = ring_examples(
        tiles, ring, field, update=update, frames=_FRAMES, report=lambda done, count: report("frames", done, count)
    )
    chosen = (
        pair
        for seed in seeds
        for pair in _spread(TownRingPairs(TownWorld(seed), ring, 8.0, field.window, jitter=Jitter(1.5, 2.0, 0.2, 0.5)))
    )
    rendered = CachedExamples.of(
        chosen,
        field,
        0.7,
        RandomAging(AGED_SHARE, field.window) if update else None,
        lambda done: report("pictures", done, _RENDERED * len(seeds)),
    )
    aerial = aerial_examples(tiles, field, update=update)
    return AlternatingExamples(aerial, warped, aerial, warped, rendered)  # few were rendered: seen less often


def _spread(pairs: TownRingPairs) -> Iterator[StreetPair]:
    """Some pairs, evenly spread over the town."""
    for index in sorted({round(k * (len(pairs) - 1) / (_RENDERED - 1)) for k in range(_RENDERED)}):
        yield pairs[index]
