"""What hloc's HDF5 files have in common: a group an image (folders are groups), arrays read within limits."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Self

import h5py
import numpy as np

from foldmap.errors import MapInputError
from foldmap.types import AnyArray

_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
"""What h5py raises over broken files."""

_MAX_BYTES = 1 << 28
"""No array of one image is larger: 32,767 keypoints of 2,048 float32 values."""


class ImageGroups:
    """An HDF5 file, open until `close`, of which each group that holds a dataset of a given name is an image.

    ``what`` the file should be is for messages.
    """

    def __init__(self, path: Path | str, dataset: str, what: str) -> None:
        self.path, self._dataset, self._what = Path(path), dataset, what
        self._names: list[str] | None = None
        try:
            self._file = h5py.File(self.path, "r")
        except _DAMAGE as error:
            reason = "it is missing" if not self.path.exists() else str(error)
            raise MapInputError(f"{self.path} cannot be read: {reason}", f"give {what}") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self) -> Sequence[str]:
        """The images in the file, sorted; one at least."""
        if self._names is None:
            found: list[str] = []

            def visit(name: str, item: object) -> None:
                group, _, last = name.rpartition("/")
                if last == self._dataset and group and isinstance(item, h5py.Dataset):
                    found.append(group)

            with self._undamaged(str(self.path)):
                self._file.visititems(visit)
            if not found:
                raise MapInputError(f"{self.path} holds no {self._dataset} of any image", f"give {self._what}")
            self._names = sorted(found)
        return self._names

    def array(self, name: str, dataset: str, dimensions: int) -> AnyArray:
        """Read one numeric array of an image, with as many axes as it must have."""
        item = self.find(f"{name}/{dataset}")
        if item is None:
            self._refuse(name, dataset)
        at = f"{dataset} of {name!r} in {self.path}"
        with self._undamaged(at):
            if not isinstance(item, h5py.Dataset) or item.shape is None or item.dtype.kind not in "fiu":
                raise MapInputError(f"{at} is no array of numbers", f"give {self._what}")
            if len(item.shape) != dimensions:
                raise MapInputError(f"{at} has shape {item.shape}, not {dimensions} axes", f"give {self._what}")
            if item.size * item.dtype.itemsize > _MAX_BYTES:
                raise MapInputError(f"{at} declares {item.size} values", "this is no array of one image")
            array: AnyArray = np.asarray(item[()])
        return array

    def find(self, key: str) -> Any:
        """The item under a key, or None; soft and external links are not followed: they may lead out of the file."""
        with self._undamaged(f"{key!r} in {self.path}"):
            item: Any = self._file
            for part in key.split("/"):
                if not isinstance(item, h5py.Group) or not isinstance(item.get(part, getlink=True), h5py.HardLink):
                    return None
                item = item[part]
            return item

    @property
    def attributes(self) -> dict[str, str]:
        """The file's own attributes that are text."""
        with self._undamaged(str(self.path)):
            return {key: value for key, value in self._file.attrs.items() if isinstance(value, str)}

    @contextmanager
    def _undamaged(self, what: str) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise MapInputError(f"{what} is damaged: {error}", f"write {self._what} again") from error

    def _refuse(self, name: str, dataset: str) -> NoReturn:
        names = self.names()
        if name in names:
            raise MapInputError(f"{self.path} has no {dataset} of {name!r}", f"give {self._what}")
        near = difflib.get_close_matches(name, names, n=1) or [names[0]]
        cure = f"it has {len(names)} images, such as {near[0]!r}: check the names"
        raise MapInputError(f"{self.path} has no image {name!r}", cure)
