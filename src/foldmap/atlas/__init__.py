"""Level 2: the .fold file. `docs/format.md` specifies it."""

from foldmap.atlas.reader import FoldFile
from foldmap.atlas.schema import FORMAT_VERSION
from foldmap.atlas.updater import FoldUpdater, update
from foldmap.atlas.verify import verify
from foldmap.atlas.writer import FoldWriter

__all__ = ["FORMAT_VERSION", "FoldFile", "FoldUpdater", "FoldWriter", "update", "verify"]
