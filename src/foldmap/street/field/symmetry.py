"""The eight symmetries of a square window, as they act on ground images and lane fields alike.

Quarter turns are plain: what was ahead is at the side. A mirror image of right-hand traffic is left-hand traffic, and
driving all of its lanes the other way is right-hand traffic again: so a mirrored window with reversed lanes is another
window that could be. Training sees all eight, and answers averaged over the four turns err less.
"""

from __future__ import annotations

import numpy as np

from foldmap.errors import ConfigError
from foldmap.types import AnyArray


def check_turns(headings: int, turns: int) -> None:
    """Quarter turns move whole channels: refuse other numbers of headings, and turns but 1, 2 and 4 (ConfigError)."""
    if turns not in (1, 2, 4) or (turns > 1 and headings % 4):
        raise ConfigError(
            f"{turns} turns of a field of {headings} headings", "give 1, 2 or 4 turns and 4, 8, ... headings"
        )


def turn_image(image_BCHW: AnyArray, quarters: int) -> AnyArray:
    """Turn what is seen counter-clockwise by quarters."""
    return np.ascontiguousarray(np.rot90(image_BCHW, quarters, (-2, -1)))


def turn_field(field_BCRS: AnyArray, quarters: int) -> AnyArray:
    """Turn a lane field counter-clockwise: its cells, and the headings that its channels stand for."""
    headings = field_BCRS.shape[-3]
    return np.roll(np.rot90(field_BCRS, quarters, (-2, -1)), quarters * headings // 4, -3)


def mirror_image(image_BCHW: AnyArray) -> AnyArray:
    """Exchange left and right."""
    return np.ascontiguousarray(np.flip(image_BCHW, -1))


def mirror_field(field_BCRS: AnyArray) -> AnyArray:
    """Exchange left and right, and drive the other way: heading h becomes pi - h."""
    headings = field_BCRS.shape[-3]
    if headings % 2:
        raise ConfigError(f"a field of {headings} headings has no mirror", "give an even number")
    source = (headings // 2 - np.arange(headings)) % headings
    mirrored: AnyArray = np.take(np.flip(field_BCRS, -1), source, -3)
    return mirrored
