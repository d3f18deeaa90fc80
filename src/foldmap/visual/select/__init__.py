"""Which points to keep: Gamma of the paper's equation 2, greedy K-cover, and K-cover spread within the images."""

from foldmap.visual.select.choose import Selection, choose_points

__all__ = ["Selection", "choose_points"]
