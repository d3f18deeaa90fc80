"""Which points to keep: Gamma of the paper's equation 2, greedy K-cover, and K-cover spread within the images."""

from foldmap.visual.select.choose import choose_points, distinctiveness_of
from foldmap.visual.select.cover import Coverage, by_cell, by_image, k_cover
from foldmap.visual.select.gamma import Selection, clumped, gamma
from foldmap.visual.select.tightness import scatter_of, tightness_of

__all__ = [
    "Coverage",
    "Selection",
    "by_cell",
    "by_image",
    "choose_points",
    "clumped",
    "distinctiveness_of",
    "gamma",
    "k_cover",
    "scatter_of",
    "tightness_of",
]
