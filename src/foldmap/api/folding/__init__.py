"""Maps of any kind into one .fold file: what a source is, how it is read, how a budget is shared."""

from foldmap.api.folding.one_file import fold
from foldmap.api.folding.options import LidarOptions, StreetOptions, VisualOptions

__all__ = ["LidarOptions", "StreetOptions", "VisualOptions", "fold"]
