"""foldmap folds a map into one small file and localizes in that file."""

from foldmap.errors import FoldmapError

__version__ = "0.1.0"
__all__ = ["FoldmapError", "__version__"]
