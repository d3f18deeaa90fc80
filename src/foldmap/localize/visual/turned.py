"""A photo that lies on its side, where nothing says how the camera was held: it is asked again, turned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from foldmap.localize.estimate import Status
from foldmap.localize.visual.estimate import CameraEstimate

QUARTERS = (1, 3, 2)
"""Turns of a photo, clockwise, the more usual first."""


def also_turned(estimate: CameraEstimate, ask: Callable[[int], CameraEstimate]) -> CameraEstimate:
    """The answer to a photo, which is asked turned by quarters where it matches nowhere.

    Four questions find by chance what one does not: only what is `ok` then is believed.
    """
    if estimate.status is not Status.NO_MATCH:
        return estimate
    spent_s = estimate.diagnostics.time_s
    for quarters in QUARTERS:
        again = ask(quarters)
        spent_s += again.diagnostics.time_s
        if again.status is Status.OK:
            return replace(again, diagnostics=replace(again.diagnostics, time_s=spent_s, turned_deg=90 * quarters))
    return replace(estimate, diagnostics=replace(estimate.diagnostics, time_s=spent_s))
