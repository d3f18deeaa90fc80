"""Which names of two lists mean one image: the whole relative name decides, a part of it only where it is clear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

from foldmap.errors import PoseInputError

_CURE = "name images with their folders, alike in both"


def pair_names(
    asked: Sequence[str], known: Iterable[str], spellings: Callable[[str], Sequence[str]] = lambda name: (name,)
) -> dict[str, str]:
    """Find the known name of each asked one: known by asked, of those that were found.

    ``seq-01/a.png`` is itself first. Otherwise it is ``a.png`` or ``chess/seq-01/a.png``, where one name ends as the
    other does, if no second one does; it is never ``seq-02/a.png``. ``spellings`` are what an asked name may be called
    among the known ones, best first (without its suffix, for example). An asked name that may be either of two known
    ones, or two asked ones that may be one known one, are a PoseInputError.
    """
    parts = {name: PurePosixPath(name).parts for name in known}
    whole: dict[tuple[str, ...], str] = {}
    endings: dict[str, list[str]] = {}
    for name, words in parts.items():
        whole.setdefault(words, name)
        endings.setdefault(words[-1] if words else "", []).append(name)
    found, partly = dict[str, str](), dict[str, str]()
    for name in asked:
        tried = [PurePosixPath(spelling).parts for spelling in spellings(name)]
        exact = next((whole[words] for words in tried if words in whole), None)
        if exact is not None:
            found[name] = exact
            continue
        near = [other for words in tried for other in endings.get(words[-1] if words else "", ())
                if _one_ends_as_the_other(words, parts[other])]  # fmt: skip
        near = list(dict.fromkeys(near))
        if len(near) > 1:
            raise PoseInputError(f"{name!r} may be {near[0]!r} or {near[1]!r}", _CURE)
        if near:
            partly[name] = near[0]
    taken = set(found.values())
    owner: dict[str, str] = {}
    for name, other in partly.items():
        if other in taken:
            continue  # that image was asked for by its whole name: this one is another
        if other in owner:
            raise PoseInputError(f"{owner[other]!r} and {name!r} may both be {other!r}", _CURE)
        owner[other] = name
        found[name] = other
    return found


def _one_ends_as_the_other(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shared = min(len(one), len(other))
    return shared > 0 and one[-shared:] == other[-shared:]
