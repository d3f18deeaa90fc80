"""Parts of the map that clients ask for by region: made once, kept for a while, named by map and region."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

from foldmap.api.reshaping.area import Area
from foldmap.api.reshaping.extracting import extract
from foldmap.atlas import FoldFile
from foldmap.errors import ConfigError, FoldmapError, LayerError, MapInputError
from foldmap.service.maps import MapHolder
from foldmap.service.problems import Problem, bad_request, of_map

_KEPT, _MOST_BYTES = 16, 256_000_000
_TRIES = 3


class Extracts:
    """Makes and keeps them, in a folder that goes when this is closed; used from one thread."""

    def __init__(self, maps: MapHolder) -> None:
        self._maps = maps
        self._scratch = tempfile.TemporaryDirectory(prefix="foldmap-extracts-")
        self._sizes: OrderedDict[str, int] = OrderedDict()

    def get(self, bbox: str, layers: tuple[str, ...]) -> tuple[BinaryIO, int, str]:
        """The part of the newest map in a box (``west,south,east,north``): an open file, its size, its entity tag.

        Raises:
            Problem: 400, no box; 404, no such layer, or nothing there; 503, the map changes faster than it is cut.
        """
        try:
            area = Area.box(bbox)
        except ConfigError as error:
            raise bad_request(error.message[:200], error.cure) from error
        for _ in range(_TRIES):
            with self._maps.use() as served:
                tag = _tag(served.seal, area, layers)
                path = Path(self._scratch.name) / f"{tag}.fold"
                if tag not in self._sizes and not self._make(path, area, layers, served.seal):
                    continue
                self._sizes[tag] = path.stat().st_size
                self._sizes.move_to_end(tag)
                self._forget()
                return path.open("rb"), self._sizes[tag], tag
        raise Problem(503, "busy", "the map changes faster than it is cut", "ask again later", {"Retry-After": "1"})

    def close(self) -> None:
        """Remove them."""
        self._scratch.cleanup()

    def _make(self, path: Path, area: Area, layers: tuple[str, ...], seal: str) -> bool:
        """Cut a part; False where another map took the place of the one that was meant."""
        whole = self._maps.path
        try:
            extract(whole, area, path, layers=layers)
        except (MapInputError, LayerError) as error:
            said = error.message.replace(str(whole), whole.name)
            raise Problem(404, error.code, said, error.cure) from error
        except FoldmapError as error:
            raise of_map(error) from error
        with FoldFile.open(path) as made:
            same = bool(made.metadata()["extracted"]["seal"] == seal)
        if not same:
            path.unlink()
        return same

    def _forget(self) -> None:
        while len(self._sizes) > _KEPT or (len(self._sizes) > 1 and sum(self._sizes.values()) > _MOST_BYTES):
            tag, _ = self._sizes.popitem(last=False)
            (Path(self._scratch.name) / f"{tag}.fold").unlink(missing_ok=True)  # who reads it still does


def _tag(seal: str, area: Area, layers: tuple[str, ...]) -> str:
    said = json.dumps([area.box_m, layers])
    return f"{seal}-{hashlib.blake2b(said.encode(), digest_size=8).hexdigest()}"
