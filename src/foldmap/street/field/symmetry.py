"""The eight symmetries of a square window, as they act on ground images and lane fields alike.

Quarter turns are plain: what was ahead is at the side. A mirror image of right-hand traffic is left-hand traffic, and
driving all of its lanes the other way is right-hand traffic again: so a mirrored window with reversed lanes is another
window that could be. Training sees all eight, and answers averaged over the four turns err less.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foldmap.errors import ConfigError


def check_turns(headings: int, turns: int) -> None:
    """Quarter turns move whole channels: refuse other numbers of headings, and turns but 1, 2 and 4 (ConfigError)."""
    if turns not in (1, 2, 4) or (turns > 1 and headings % 4):
        raise ConfigError(
            f"{turns} turns of a field of {headings} headings", "give 1, 2 or 4 turns and 4, 8, ... headings"
        )


def turn_image(image_BCHW: Tensor, quarters: int) -> Tensor:
    """Turn what is seen counter-clockwise by quarters."""
    return torch.rot90(image_BCHW, quarters, (-2, -1))


def turn_field(field_BCRS: Tensor, quarters: int) -> Tensor:
    """Turn a lane field counter-clockwise: its cells, and the headings that its channels stand for."""
    headings = field_BCRS.shape[-3]
    return torch.roll(torch.rot90(field_BCRS, quarters, (-2, -1)), quarters * headings // 4, -3)


def mirror_image(image_BCHW: Tensor) -> Tensor:
    """Exchange left and right."""
    return image_BCHW.flip(-1)


def mirror_field(field_BCRS: Tensor) -> Tensor:
    """Exchange left and right, and drive the other way: heading h becomes pi - h."""
    headings = field_BCRS.shape[-3]
    if headings % 2:
        raise ConfigError(f"a field of {headings} headings has no mirror", "give an even number")
    source = (headings // 2 - torch.arange(headings)) % headings
    return field_BCRS.flip(-1).index_select(-3, source)
