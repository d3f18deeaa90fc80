"""Files put together and cut: merge, extract; what a layer of each kind has to say about that."""

from foldmap.api.reshaping.area import Area
from foldmap.api.reshaping.extracting import extract
from foldmap.api.reshaping.merging import merge

__all__ = ["Area", "extract", "merge"]
