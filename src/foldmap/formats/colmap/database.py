"""Local features in a COLMAP database (database.db), read without COLMAP."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.features import features_of
from foldmap.formats.naming import reading
from foldmap.types import AnyArray, FloatArray
from foldmap.visual.source import Features

_MAGIC = b"SQLite format 3\0"
_REDO = "copy the database again, or extract features again"
_KINDS = {0: "sift", 1: "aliked-n16rot", 2: "aliked-n32", 3: "loma-b", 4: "loma-b128"}
"""COLMAP's numbers of extractors (FeatureExtractorType). SIFT is uint8; the others are float32 stored as bytes."""


class ColmapDatabase:
    """Features of a COLMAP database, one image at a time: a `foldmap.visual.source.FeatureSource`.

    The file is opened read-only and nothing is written beside it. Row ``keypoint_index`` of a `ColmapModel` built from
    it is the observation's feature. Scores are the keypoints' scales in pixels, where the database has scales.
    ``descriptor_type`` is ``uint8``, ``float16`` or ``float32``, where the extractor is none that COLMAP knows.
    """

    def __init__(self, path: Path, descriptor_type: str | None = None) -> None:
        self.path = Path(path)
        if descriptor_type not in (None, "uint8", "float16", "float32"):
            raise MapInputError(f"descriptors of type {descriptor_type!r}", "give uint8, float16 or float32")
        self._lock = threading.Lock()
        self._connection = _connect(self.path)
        try:
            self._examine(descriptor_type)
        except BaseException:
            self._connection.close()
            raise

    def _examine(self, descriptor_type: str | None) -> None:
        """Check tables, list the images, find out which extractor made the features."""
        tables = {name for (name,) in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        missing = [name for name in ("images", "keypoints", "descriptors") if name not in tables]
        if missing:
            raise MapInputError(f"{self.path} has no table {missing[0]}", "give the database.db of COLMAP")
        both = "image_id IN (SELECT image_id FROM keypoints) AND image_id IN (SELECT image_id FROM descriptors)"
        listed = self._rows(f"SELECT name, image_id FROM images WHERE {both} ORDER BY name")
        self._image_ids = {str(name): image_id for name, image_id in listed}
        if not self._image_ids and self._rows("SELECT 1 FROM images LIMIT 1"):
            cure = f"give hloc's .h5, or {_REDO}"
            raise MapInputError(f"{self.path} has no image with keypoints and descriptors", cure)
        columns = {row[1] for row in self._rows("PRAGMA table_info(descriptors)")}
        kinds = self._rows("SELECT DISTINCT type FROM descriptors") if "type" in columns else []
        if len(kinds) > 1:
            raise MapInputError(f"{self.path} holds features of several extractors", "make one database for each")
        kind = kinds[0][0] if kinds else 0
        if kind not in _KINDS and descriptor_type is None:
            said = f"{self.path} does not say how its descriptors are meant (type {kind})"
            raise MapInputError(said, "give the descriptor type")
        self.feature = _KINDS.get(kind, "unknown")
        self._dtype = np.dtype(descriptor_type or ("uint8" if kind == 0 else "float32")).newbyteorder("<")

    def __enter__(self) -> ColmapDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def names(self) -> Sequence[str]:
        """Images that have keypoints and descriptors, in order of name."""
        return sorted(self._image_ids)

    def load(self, name: str) -> Features:
        """The features of one image; a MapInputError where there are none, or they are damaged."""
        if name not in self._image_ids:
            raise MapInputError(f"{self.path} has no features of image {name!r}", "check the names, or extract again")
        raw = self._matrix("keypoints", name, np.dtype("<f4"))
        described = self._matrix("descriptors", name, self._dtype)
        if len(raw) and raw.shape[1] not in (2, 4, 6):
            raise MapInputError(f"{self.path}: keypoints of {name!r} have {raw.shape[1]} columns, not 2, 4 or 6", _REDO)
        if len(raw) == 0:
            raw = raw.reshape(0, 2)
        return features_of(f"{self.path}, image {name!r}", np.ascontiguousarray(raw[:, :2]), described, _scales(raw))

    def image_size(self, name: str) -> tuple[int, int] | None:
        """Width and height of an image's camera in px, where the database has cameras."""
        known = {row[1] for table in ("cameras", "images") for row in self._rows(f"PRAGMA table_info({table})")}
        if not {"camera_id", "width", "height"} <= known or name not in self._image_ids:
            return None
        its = "(SELECT camera_id FROM images WHERE image_id = ?)"
        found = self._rows(f"SELECT width, height FROM cameras WHERE camera_id = {its}", self._image_ids[name])
        if not found or not all(isinstance(value, int) and value > 0 for value in found[0]):
            return None
        return int(found[0][0]), int(found[0][1])

    def _matrix(self, table: str, name: str, dtype: np.dtype[Any]) -> AnyArray:
        """One image's row of a table, its declared size compared with the stored one before it is read."""
        image_id = self._image_ids[name]
        rows, columns, size = self._row(f"SELECT rows, cols, length(data) FROM {table} WHERE image_id = ?", image_id)
        if not (isinstance(rows, int) and isinstance(columns, int) and rows >= 0 and columns >= 0):
            raise MapInputError(f"{self.path}: {table} of {name!r} are {rows} x {columns}", _REDO)
        width = 1 if table == "descriptors" else dtype.itemsize  # COLMAP counts descriptors in bytes
        if rows * columns * width != (size or 0):
            held = f"{size or 0:,} bytes"
            raise MapInputError(f"{self.path}: {table} of {name!r} are {rows:,} x {columns:,} in {held}", _REDO)
        if rows == 0 or columns == 0:
            return np.empty((rows, 0), dtype)
        (data,) = self._row(f"SELECT data FROM {table} WHERE image_id = ?", image_id)
        if not isinstance(data, bytes):
            raise MapInputError(f"{self.path}: {table} of {name!r} are no bytes", _REDO)
        if len(data) != size or size % (rows * dtype.itemsize):
            raise MapInputError(f"{self.path}: {columns} bytes of descriptors of {name!r} are no {dtype.name}", _REDO)
        return np.frombuffer(data, dtype).reshape(rows, -1).astype(dtype.newbyteorder("="))

    def _row(self, query: str, image_id: int) -> tuple[Any, ...]:
        """The one row of an image, which a damaged index may promise or repeat."""
        found = self._rows(query, image_id)
        if len(found) != 1:
            raise MapInputError(f"{self.path} has {len(found)} rows of image {image_id} where it listed one", _REDO)
        return found[0]

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeError) as error:  # what SQLite says of a damaged schema may be no text
            raise MapInputError(f"{self.path} cannot be read: {error}", _REDO) from error


def _connect(path: Path) -> sqlite3.Connection:
    """Open read-only; as immutable, so that a folder without write permission will do, unless changes lie beside."""
    with reading(path):
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
        beside = [Path(f"{path}{end}") for end in ("-wal", "-journal")]
        settled = not any(other.is_file() and other.stat().st_size for other in beside)
    if magic != _MAGIC:
        raise MapInputError(f"{path} is no SQLite database", "give the database.db of COLMAP")
    try:
        address = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro{'&immutable=1' if settled else ''}"
        connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA trusted_schema = OFF")
    except sqlite3.Error as error:
        raise MapInputError(f"{path} cannot be read: {error}", _REDO) from error
    return connection


def _scales(keypoints: FloatArray) -> FloatArray | None:
    """Scales in pixels: the third of four columns, or of an affine shape the mean length of its axes."""
    if keypoints.shape[1] == 4:
        return np.ascontiguousarray(keypoints[:, 2])
    if keypoints.shape[1] == 6:
        a11, a12, a21, a22 = keypoints[:, 2:].T
        scales: FloatArray = ((np.hypot(a11, a21) + np.hypot(a12, a22)) / 2).astype(np.float32)
        return scales
    return None
