"""kapture's binary features: keypoints and descriptors, in folders or tar files."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.features import features_of
from foldmap.formats.kapture.text import kapture_version, rows
from foldmap.types import AnyArray
from foldmap.visual.features.photo_names import files_below
from foldmap.visual.source import Features

_TYPES = {"float": "f8", "int": "i8"} | {np.dtype(kind).name: kind for kind in ("f2", "f4", "f8", "u1", "i4", "i8")}
"""Python's or NumPy's name of a type -> its little-endian form."""

_MAX_BYTES = 1 << 30


class KaptureTable:
    """One type of one kind of feature: ``reconstruction/KIND/TYPE`` with its description, files or tar.

    The kind is "keypoints" or "descriptors"; the type (version 1.1) may be None where there is just one.
    """

    def __init__(self, folder: Path | str, kind: str, type_name: str | None = None) -> None:
        self.kind = kind
        self.suffix = {"keypoints": ".kpt", "descriptors": ".desc"}[kind]
        base = Path(folder) / "reconstruction" / kind
        self.flat = kapture_version(folder) == "1.0"
        self.folder = base if self.flat else _only(base, type_name)
        path = self.folder / f"{kind}.txt"
        described = list(rows(path, 3, "name, dtype, dsize"))
        if len(described) != 1:
            raise MapInputError(f"{path} has {len(described)} lines", "expected one: name, dtype, dsize")
        line, self.fields = described[0]
        if self.fields[1] not in _TYPES or not self.fields[2].isdigit() or not 0 < int(self.fields[2]) <= 1 << 16:
            raise MapInputError(f"{path}, line {line}: type {self.fields[1]!r}, size {self.fields[2]!r}", "check it")
        self.name, self.width = self.fields[0], int(self.fields[2])
        self.dtype = np.dtype("<" + _TYPES[self.fields[1]])
        tar = self.folder / f"{kind}.tar"
        self._tar = tar if tar.exists() else None
        self._members = _members(tar) if self._tar else {}

    def names(self) -> list[str]:
        """The images there are files of, sorted."""
        files = files_below(self.folder) if self._tar is None else ()
        found = [*self._members, *(path.relative_to(self.folder).as_posix() for path in files)]
        return sorted(name.removesuffix(self.suffix) for name in found if name.endswith(self.suffix))

    def load(self, name: str) -> AnyArray:
        """Read the array of an image, (N, width)."""
        at = f"{name}{self.suffix} of {self.folder}"
        try:
            content = self._bytes(f"{name}{self.suffix}")
        except (OSError, KeyError) as error:
            raise MapInputError(f"{at} cannot be read", "check the names and the kapture") from error
        row = self.width * self.dtype.itemsize
        if len(content) % row:
            raise MapInputError(f"{at} has {len(content)} bytes, no multiple of {row}: truncated", "copy it again")
        array: AnyArray = np.frombuffer(content, dtype=self.dtype).reshape(-1, self.width)
        return array

    def _bytes(self, name: str) -> bytes:
        start, size = (0, (self.folder / name).stat().st_size) if self._tar is None else self._members[name]
        if size > _MAX_BYTES:
            raise MapInputError(f"{name} of {self.folder} is larger than 1 GiB", "this is no array of one image")
        with (self._tar or self.folder / name).open("rb") as file:
            file.seek(start)
            return file.read(size)


class KaptureFeatures:
    """Local features of a kapture, read one image at a time (a FeatureSource).

    kapture's ``[0, 0]`` is the upper left corner and its converters copy COLMAP's coordinates as they are, so pixels
    are taken as COLMAP's. ``descriptors_type`` may be None where there is just one (version 1.1).
    """

    def __init__(self, folder: Path | str, descriptors_type: str | None = None) -> None:
        self._descriptors = KaptureTable(folder, "descriptors", descriptors_type)
        self.feature = self._descriptors.name.lower()
        self._keypoints = KaptureTable(folder, "keypoints", (*self._descriptors.fields[3:], None)[0])
        self.keypoints_type = None if self._keypoints.flat else self._keypoints.folder.name
        if self._keypoints.width < 2:
            raise MapInputError(f"keypoints of {folder} have {self._keypoints.width} values", "give at least x and y")

    def names(self) -> Sequence[str]:
        """The images that have descriptors, sorted."""
        return self._descriptors.names()

    def load(self, name: str) -> Features:
        """Read one image's features."""
        keypoints, descriptors = self._keypoints.load(name), self._descriptors.load(name)
        if descriptors.dtype.kind == "i" or descriptors.dtype.itemsize > 4:
            descriptors = descriptors.astype(np.float32)
        xy_px = keypoints[:, :2].astype(np.float32)
        return features_of(f"{name!r} in {self._descriptors.folder}", xy_px, descriptors)


def _only(base: Path, type_name: str | None) -> Path:
    if type_name is not None:
        if "/" in type_name or type_name in ("", ".", "..") or not (base / type_name).is_dir():
            raise MapInputError(f"{base} has no type {type_name!r}", "check the name")
        return base / type_name
    types = sorted(path for path in base.iterdir() if path.is_dir()) if base.is_dir() else []
    if len(types) != 1:
        names = ", ".join(path.name for path in types) or "none"
        cure = "check the kapture"
        if base.name == "descriptors":
            cure = f"name one, like --features {types[0]}" if types else "give --features FILE.h5 or .db, or --photos"
        raise MapInputError(f"{base} has {len(types)} types: {names}", cure)
    return types[0]


def _members(path: Path) -> dict[str, tuple[int, int]]:
    """Where the files of an uncompressed tar lie: name -> (offset, bytes)."""
    try:
        with tarfile.open(path, "r:") as tar:
            plain = [member for member in tar.getmembers() if member.isreg() and not member.issparse()]
    except (OSError, tarfile.TarError) as error:
        raise MapInputError(f"{path} cannot be read: {error}", "copy it again") from error
    return {member.name.removeprefix("./"): (member.offset_data, member.size) for member in plain}
