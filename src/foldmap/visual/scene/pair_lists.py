"""Which pairs of images are matched when a scene is built."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from foldmap.errors import MapInputError

Pair = tuple[int, int]  # indices of two images, the smaller first


def exhaustive_pairs(images: int) -> list[Pair]:
    """Every image with every other."""
    return list(combinations(range(images), 2))


def sequential_pairs(images: int, overlap: int = 10) -> list[Pair]:
    """Each image with the next ``overlap`` ones and those 2, 4, ... 2^overlap further, as COLMAP pairs videos."""
    steps = sorted({*range(1, overlap + 1), *(2**power for power in range(overlap + 1))})
    return [(first, first + step) for first in range(images) for step in steps if first + step < images]


def listed_pairs(names: Sequence[str], pairs: Mapping[str, Sequence[str]]) -> list[Pair]:
    """Pairs that the user lists by name, one at least; a pair listed both ways counts once."""
    index = {name: number for number, name in enumerate(names)}
    chosen: set[Pair] = set()
    for name, others in pairs.items():
        for other in others:
            unknown = next((one for one in (name, other) if one not in index), None)
            if unknown is not None:
                raise MapInputError(f"the list of pairs names {unknown!r}, which is no image", "check the list")
            if name != other:
                chosen.add((min(index[name], index[other]), max(index[name], index[other])))
    if not chosen:
        raise MapInputError("the list of pairs is empty", "list two names a line")
    return sorted(chosen)
