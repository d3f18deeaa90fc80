"""Row 6: the context coder against Huffman and run lengths, and against the zero-order entropy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from benchmarks.context import Board
from benchmarks.lidar.coder_measure import measure
from benchmarks.lidar.hdl64 import RECORDING, StreetProtocol
from benchmarks.lines import Line, RowSkipped, at_least, at_most, information
from benchmarks.town import town_raster
from foldmap.coding.huffman_rle import HuffmanRleModel
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import global_spread
from foldmap.lidar.fold import encode_tiles
from foldmap.lidar.source import RasterMap
from foldmap.types import ByteArray

MAP = "groundloc-maps/kitti_00.tif"


@dataclass(frozen=True)
class Coders:
    """Row 6, on the codes of maps that the coder was not fitted on. Speeds are of one core.

    Huffman and run lengths are fitted on the very codes that are measured, the best that they can be; the context coder
    is the one of the model.

    Attributes:
        asked: whose whole drive is the real map.
        town_extent_m: side of the town's map.
        town_seed: of the town.
        repeats: the fastest of so many passes counts.
        least_saving_pct: the target, against Huffman and run lengths.
        least_mcodes_s: the target speed, in millions of codes a second.
    """

    number: ClassVar[int] = 6
    name: ClassVar[str] = "coder"
    title: ClassVar[str] = "context coder"
    asked: StreetProtocol = field(default_factory=StreetProtocol)
    town_extent_m: float = 160.0
    town_seed: int = 21
    repeats: int = 5
    least_saving_pct: float = 30.0
    least_mcodes_s: float = 20.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        for name, found in three_maps(board, self.asked, self.town_extent_m, self.town_seed):
            if isinstance(found, RowSkipped):
                yield Line(self.number, f"codes of {name}", None, note=str(found))
            else:
                raster, bundle = found
                yield from self._measured(name, bundle, codes_of(bundle, raster))

    def _measured(self, name: str, bundle: Bundle, tiles: list[ByteArray]) -> Iterator[Line]:
        huffman = HuffmanRleModel.fit(tiles, bundle.model.preset.group_channels)
        result = measure(tiles, {"context": bundle.coder, "huffman-rle": huffman}, self.repeats)
        context, plain = result["coders"]["context"], result["coders"]["huffman-rle"]
        entropy, n = result["bounds_bytes"]["zero_order_per_group"], self.number
        saving = 100 * (1 - context["payload_bytes"] / plain["payload_bytes"])
        of_entropy = 100 * context["payload_bytes"] / entropy if entropy else float("inf")
        detail = {"measured": result, "model": bundle.name}
        yield at_least(n, f"{name}: smaller than Huffman + RLE by", saving, self.least_saving_pct, "%", detail=detail)
        yield at_most(n, f"{name}: size against the zero-order entropy of each group", of_entropy, 100.0, "%")
        for way in ("encode", "decode"):
            speed = context[f"{way}_codes_per_s"] / 1e6
            yield at_least(n, f"{name}: {way}s on one core", speed, self.least_mcodes_s, "Mcodes/s")
        yield information(n, f"{name}: codes", result["codes"] / 1e6, "Mcodes")
        yield information(n, f"{name}: codes that are not 0", 100 * result["active_share"], "%")


def three_maps(
    board: Board, asked: StreetProtocol, town_extent_m: float, town_seed: int
) -> Iterator[tuple[str, tuple[RasterMap, Bundle] | RowSkipped]]:
    """A town, a real street and a real neighbourhood at a coarser resolution, each with its model, or why it is not."""
    every: dict[str, Callable[[], RasterMap]] = {
        "town": lambda: town_raster(town_extent_m, asked.resolution_m, town_seed),
        RECORDING: lambda: asked.protocol(board).maps.without(0, -1),
        MAP.split("/")[-1]: lambda: board.raster(MAP),
    }
    for name, read in every.items():
        try:
            raster = read()
            yield name, (raster, board.bundle(raster.grid.resolution_m))
        except RowSkipped as skipped:
            yield name, skipped


def codes_of(bundle: Bundle, raster: RasterMap) -> list[ByteArray]:
    """Codes of a raster, tile by tile as a file has them."""
    return [tile.codes for tile in encode_tiles(bundle, raster, global_spread(raster))]
