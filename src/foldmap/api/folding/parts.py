"""A raster's tiles in parts: each by a pure function, here or elsewhere, kept as soon as it is done."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from foldmap.api.folding.kept_parts import KeptParts, Tile
from foldmap.api.folding.options import Note
from foldmap.errors import FoldmapError, MapInputError
from foldmap.formats.raster.geotiff import RasterMosaic, files_of, open_mixed, overlap
from foldmap.geometry import MetricGrid
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.defaults import model_from_bytes
from foldmap.lidar.fold import TileCoder, Tiles, tile_coder
from foldmap.lidar.marks.fold import tiles_of
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.source import RasterMap, RasterSource
from foldmap.runtime.crew import Crew, LostWorkerError
from foldmap.runtime.threads import one_torch_thread
from foldmap.version import __version__

PART_PX = 2048
_LEAST_PARTS = 4  # a map of fewer is folded here: workers take seconds to begin
_CACHE_MB = 64  # of GDAL; its default is a share of the machine's memory for each process
_SHOWN = 5


@dataclass(frozen=True)
class Common:
    """What all parts of a map have in common: how it is coded (`tile_coder`), and how its rasters are read."""

    model: bytes
    parameters: dict[str, Any]
    grid: MetricGrid
    band: int
    relief_band: int | None


@dataclass(frozen=True)
class Part:
    """Tiles (row, column), and the rasters in their reach, each with the row and column of its first pixel."""

    tiles: tuple[tuple[int, int], ...]
    files: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class DonePart:
    """Tiles of a part, and why others have none: row, column, reason."""

    tiles: list[Tile] = field(default_factory=list)
    failed: list[tuple[int, int, str]] = field(default_factory=list)


def code_part(common: Common, part: Part) -> DonePart:
    """Code a part; the result depends on the arguments, and what the files hold, alone. It says what failed."""
    done = DonePart()
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_CACHE_MB))
        model = _model(common.model)
        if isinstance(model, Bundle):
            stack.enter_context(one_torch_thread())
        try:
            parts = []
            for name, _, _ in part.files:
                parts.append(open_mixed(name, common.band, common.relief_band))
                stack.callback(parts[-1].close)
        except FoldmapError as error:
            done.failed.extend((*tile, str(error)) for tile in part.tiles)
            return done
        source = RasterMosaic(parts, [(row, col) for _, row, col in part.files], common.grid)
        coder = tile_coder(model, source, before=common.parameters)
        for row, column in part.tiles:
            try:
                done.tiles.append((row, column, coder.tile(source, row, column)))
            except (FoldmapError, MemoryError) as error:
                done.failed.append((row, column, str(error) or "out of memory"))
    return done


@dataclass(frozen=True)
class WhereReadable:
    """A raster of which nothing was observed where it is damaged: to measure the others' level by."""

    source: RasterSource

    @property
    def grid(self) -> MetricGrid:
        """Placement of the whole raster."""
        return self.source.grid

    def read(self, row: int, col: int, height_px: int, width_px: int) -> RasterMap:
        """Read a window."""
        try:
            return self.source.read(row, col, height_px, width_px)
        except MapInputError:
            grid = self.grid.window(row, col, height_px, width_px)
            return RasterMap(grid, np.zeros(grid.shape, np.float32), np.zeros(grid.shape, bool))


@lru_cache(maxsize=2)
def _model(payload: bytes) -> Bundle | MarksModel:
    return model_from_bytes(payload)


@dataclass
class InParts:
    """Codes the tiles of a map in parts of `PART_PX` a side, and keeps each, by the hash of what it depends on.

    Attributes:
        crew: who works.
        target: the file that is written; finished parts lie beside it until it is done.
        rasters, band, relief_band: as of `open_rasters`.
        gaps: leave out tiles that fail, instead of raising a MapInputError when all others are done.
        note: called with what a user should know.
        failed: column, row and reason of the tiles that were left out of the last map.
    """

    crew: Crew
    target: Path
    rasters: Sequence[Path]
    band: int
    relief_band: int | None
    gaps: bool
    note: Note
    failed: list[dict[str, Any]] = field(default_factory=list)
    _digests: dict[str, str] = field(default_factory=dict)

    @property
    def said(self) -> dict[str, Any]:
        """What a file and a summary say of tiles that were left out: nothing, where there are none."""
        return {"failed": list(self.failed)} if self.failed else {}

    def code(self, model: Bundle | MarksModel, source: RasterSource) -> Callable[[TileCoder, RasterSource], Tiles]:
        """How `foldmap.lidar.fold.fold_lidar` gets the tiles of a model; ``source`` is of `open_rasters`."""

        def tiles(coder: TileCoder, _: RasterSource) -> Tiles:
            common = Common(model.to_bytes(), coder.parameters(), source.grid, self.band, self.relief_band)
            return self._tiles(common, coder, source)

        return tiles

    def _tiles(self, common: Common, coder: TileCoder, source: RasterSource) -> Tiles:
        parts = self._parts(coder, source)
        self.failed = []
        if len(parts) < _LEAST_PARTS:
            for part in parts:
                yield from self._heard(part, code_part(common, part))
            self._refuse_gaps("")
            return
        with KeptParts(self.target) as kept:
            keys = {part: self._key(common, part) for part in parts}
            missing = []
            for part, key in keys.items():
                before = kept.get(key)
                if before is None:
                    missing.append(part)
                else:
                    yield from before
            if len(missing) < len(parts):
                self.note(f"{len(parts) - len(missing)} of {len(parts)} parts were done before: {kept.path.name}")
            unheard = set(missing)
            for part, done in self.crew.run(code_part, common, missing):
                unheard.remove(part)
                if isinstance(done, DonePart) and not done.failed:
                    kept.put(keys[part], done.tiles)
                yield from self._heard(part, done)
            if unheard:  # no map may lack tiles for what went wrong in sharing out work
                raise RuntimeError(f"{len(unheard)} of {len(parts)} parts were given out and not heard of")
            self._refuse_gaps(f": what is done is kept in {kept.path.name}")

    def _heard(self, part: Part, done: DonePart | LostWorkerError) -> Iterator[Tile]:
        if isinstance(done, LostWorkerError):
            done = DonePart(failed=[(*tile, str(done)) for tile in part.tiles])
        self.failed += [{"column": column, "row": row, "why": why} for row, column, why in done.failed]
        yield from done.tiles
        yield from ((row, column, None) for row, column, _ in done.failed)

    def _refuse_gaps(self, kept: str) -> None:
        """Say which tiles failed; a MapInputError unless gaps are allowed."""
        self.failed.sort(key=lambda one: (one["row"], one["column"]))
        if not self.failed:
            return
        shown = [f"tile ({one['column']}, {one['row']}): {one['why']}" for one in self.failed[:_SHOWN]]
        more = [f"and {len(self.failed) - _SHOWN} more"] if len(self.failed) > _SHOWN else []
        said = f"{len(self.failed)} tiles cannot be coded; {'; '.join(shown + more)}"
        if not self.gaps:
            raise MapInputError(said, f"mend them and fold again{kept}; or fold without them: --gaps")
        self.note(said)

    def _parts(self, coder: TileCoder, source: RasterSource) -> list[Part]:
        """Squares of tiles, in order, each with the rasters that it depends on."""
        pieces = (source.parts, source.placements) if isinstance(source, RasterMosaic) else ([source], [(0, 0)])
        names = [str(Path(one).resolve()) for one in self.rasters]
        placed = [(name, (*place, *piece.grid.shape)) for name, piece, place in zip(names, *pieces, strict=True)]
        rows, columns = tiles_of(source, coder.side_px)
        side = max(1, PART_PX // coder.side_px)
        parts = []
        for down, right in np.ndindex(-(-rows // side), -(-columns // side)):
            first, last = down * side, min((down + 1) * side, rows)
            left, end = right * side, min((right + 1) * side, columns)
            halo, px = coder.halo_px, coder.side_px
            height, width = (last - first) * px + 2 * halo, (end - left) * px + 2 * halo
            window = (first * px - halo, left * px - halo, height, width)
            files = tuple((name, *box[:2]) for name, box in placed if overlap(window, box))
            tiles = tuple((row, column) for row in range(first, last) for column in range(left, end))
            parts.append(Part(tiles, files))
        return parts

    def _key(self, common: Common, part: Part) -> bytes:
        """A hash of all that the tiles of a part depend on: settings, model, and the content of its rasters."""
        said = asdict(replace(common, model=b"")) | asdict(part)
        said["files"] = [[self._digest(name), *place] for name, *place in part.files]
        text = json.dumps([__version__, said, hashlib.sha256(common.model).hexdigest()], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).digest()

    def _digest(self, name: str) -> str:
        if name not in self._digests:
            digest = hashlib.sha256()
            for path in files_of(Path(name)):
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            self._digests[name] = digest.hexdigest()
        return self._digests[name]
