"""Every exception that foldmap raises on purpose.

The tree::

    FoldmapError                     base: one line of message, one line of cure, a stable code
    |-- InputError                   what the user brought cannot be used
    |   |-- MapInputError            a raster map, model or lane graph to be folded
    |   |-- SweepInputError          a lidar sweep
    |   |-- PoseInputError           a pose or trajectory file
    |   |-- BagInputError            a bag of recorded messages
    |   `-- ConfigError              a setting, preset or option
    |-- MapFormatError               a .fold file that is damaged, foreign, newer or hostile
    |   |-- NotAFoldFileError        the file is something else
    |   |-- NewerVersionError        written by a later format version
    |   |-- ChecksumError            stored bytes do not match their checksum
    |   `-- LimitError               a declared size exceeds what a reader will allocate
    |-- WriteError                   a .fold file cannot be written: folder missing, disk full, another writer at work
    |-- LayerError                   the file has no such layer, or it is of another kind
    |-- ModelError                   a model does not fit the layer, preset or version
    |-- BudgetError                  no operating point fits the size that was asked for
    `-- MissingExtraError            an optional dependency is not installed

A command turns any of these into one line on stderr and exit status 2; anything else is a bug and shows its traceback.
"""

from __future__ import annotations


class FoldmapError(Exception):
    """Base of all foldmap errors.

    Args:
        message: what is wrong, naming the file, row or value.
        cure: what the user can do about it; empty when nothing can be done.
    """

    code = "foldmap"

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message, cure)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message} ({self.cure})" if self.cure else self.message


class InputError(FoldmapError):
    """Something the user brought cannot be used."""

    code = "input"


class MapInputError(InputError):
    """A raster map, scene model or lane graph cannot be used."""

    code = "map-input"


class SweepInputError(InputError):
    """A lidar sweep cannot be used."""

    code = "sweep-input"


class PoseInputError(InputError):
    """A pose or trajectory cannot be used."""

    code = "pose-input"


class BagInputError(InputError):
    """A bag of recorded messages cannot be used."""

    code = "bag-input"


class ConfigError(InputError):
    """A setting, preset or option is not usable."""

    code = "config"


class MapFormatError(FoldmapError):
    """A .fold file is damaged, foreign, newer or hostile."""

    code = "map-format"


class NotAFoldFileError(MapFormatError):
    """The file is not a .fold file."""

    code = "not-a-fold-file"


class NewerVersionError(MapFormatError):
    """The file was written in a later version of the format."""

    code = "newer-version"


class ChecksumError(MapFormatError):
    """Stored bytes do not match their checksum."""

    code = "checksum"


class LimitError(MapFormatError):
    """A declared size is larger than a reader will allocate."""

    code = "limit"


class WriteError(FoldmapError):
    """A .fold file cannot be written."""

    code = "write"


class LayerError(FoldmapError):
    """The file holds no such layer, or a layer of another kind."""

    code = "layer"


class ModelError(FoldmapError):
    """A model does not fit the layer, the preset or this version."""

    code = "model"


class BudgetError(FoldmapError):
    """No operating point fits the size that was asked for.

    Args:
        message: what is wrong.
        cure: what the user can do about it.
        needed_bytes: a size that would do, where one is known.
    """

    code = "budget"

    def __init__(self, message: str, cure: str = "", needed_bytes: int | None = None) -> None:
        super().__init__(message, cure)
        self.needed_bytes = needed_bytes


class MissingExtraError(FoldmapError):
    """An optional dependency is not installed."""

    code = "missing-extra"
