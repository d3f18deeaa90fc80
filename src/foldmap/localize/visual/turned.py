"""A photo that lies on its side, where nothing says how the camera was held: it is asked again, turned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from foldmap.localize.estimate import Status
from foldmap.localize.visual.estimate import CameraEstimate

QUARTERS = (1, 3, 2)
"""Turns of a photo, clockwise, the more usual first."""


def also_turned(estimate: CameraEstimate, ask: Callable[[int, bool], CameraEstimate]) -> CameraEstimate:
    """The answer to a photo, which is asked turned by quarters where it matches nowhere.

    Most such photos show another place: it is asked in a small image first, and only what matches there in the whole
    one. Four questions find by chance what one does not: only what is `ok` then is believed.

    Args:
        estimate: of the photo as it is.
        ask: called with quarters, and whether the image may be small.
    """
    if estimate.status is not Status.NO_MATCH:
        return estimate
    spent_s = estimate.diagnostics.time_s
    for quarters in QUARTERS:
        for small in (True, False):
            again = ask(quarters, small)
            spent_s += again.diagnostics.time_s
            if again.status is Status.NO_MATCH:
                break
        if again.status is Status.OK:
            return replace(again, diagnostics=replace(again.diagnostics, time_s=spent_s, turned_deg=90 * quarters))
    return replace(estimate, diagnostics=replace(estimate.diagnostics, time_s=spent_s))
