"""Row 4: one lidar's map folded, crops of another lidar's map as queries, half the place for training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.lidar.adapting import Adaptation, adapted_model
from benchmarks.lidar.hdl64 import classical
from benchmarks.lines import Line, at_least, at_most, information
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec
from foldmap.bench.lidar.cases import Method, Search
from foldmap.bench.lidar.learned import EmbeddingMatcher, LearnedCodec
from foldmap.bench.lidar.predict import predict_all
from foldmap.bench.lidar.raster_protocol import RasterProtocol
from foldmap.bench.lidar.tables import matching_row
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.pairs.from_raster import RasterPairs
from foldmap.lidar.pairs.sampling import RasterPair
from foldmap.lidar.source import RasterMap
from foldmap.localize.lidar.calibrate import calibrate_model

MAP, QUERY = "groundloc-maps/roundabout_aeva.tif", "groundloc-maps/roundabout_avia.tif"


def training_part(raster: RasterMap, protocol: RasterProtocol, gap_m: float) -> RasterMap:
    """Cut a raster at the line between training and scored ground, so far from it that no scored query is seen.

    Scored queries begin the search radius beyond the line; the cut lies ``gap_m`` before it.
    """
    grid, side, line_m = raster.grid, protocol.training, protocol.divide_m
    rows, cols = [0, grid.height_px], [0, grid.width_px]
    at_col = (line_m - grid.west_m) / grid.resolution_m
    at_row = (grid.north_m - line_m) / grid.resolution_m
    gap_px = gap_m / grid.resolution_m
    if side == "west":
        cols[1] = int(np.clip(at_col - gap_px, 1, grid.width_px))
    elif side == "east":
        cols[0] = int(np.clip(np.ceil(at_col + gap_px), 0, grid.width_px - 1))
    elif side == "north":
        rows[1] = int(np.clip(at_row - gap_px, 1, grid.height_px))
    else:
        rows[0] = int(np.clip(np.ceil(at_row + gap_px), 0, grid.height_px - 1))
    return raster.read(rows[0], cols[0], rows[1] - rows[0], cols[1] - cols[0])


def adapt_roundabout(
    bundle: Bundle,
    protocol: RasterProtocol,
    adaptation: Adaptation,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Bundle:
    """Train a bundle on, with map crops of one sensor and query crops of the other, on the part that is not scored.

    Args:
        bundle: to begin with; it is left as it is.
        protocol: the two maps, which part is scored, and their offset.
        adaptation: how.
        report: called with steps done and in all.

    Returns:
        The adapted bundle, its coder fitted and its localizer calibrated on the training part.

    Raises:
        ConfigError: the bundle cannot fold.
        MapInputError: the training part shows too little ground.
    """
    training, validation = training_pairs(protocol, adaptation)
    resolution_m = protocol.map_raster.grid.resolution_m
    model, curve = adapted_model(bundle, training, validation, resolution_m, adaptation, report)
    provenance = {**bundle.provenance, "adapted": asdict(adaptation), "validation": curve}
    name, a = f"{bundle.name}-adapted", adaptation
    return calibrate_model(model, training, resolution_m, name, provenance, wrong=a.wrong, seed=a.seed).bundle


def training_pairs(protocol: RasterProtocol, a: Adaptation) -> tuple[list[RasterPair], list[RasterPair]]:
    """Draw pairs of the part that is not scored: to train on, and an eighth as many others for the curve."""
    maps, queries = (training_part(r, protocol, a.gap_m) for r in (protocol.map_raster, protocol.query_raster))
    training, validation = (
        RasterPairs(
            maps,
            count,
            a.seed + k,
            query=queries,
            query_offset_m=protocol.alignment_m,
            map_px=a.map_px,
            sweep_px=a.query_px,
        )
        for k, count in enumerate((a.pairs, max(16, a.pairs // 8)))
    )
    return list(training), list(validation)


@dataclass(frozen=True)
class Roundabout:
    """Row 4.

    Attributes:
        size_m: side of a query.
        stride_m: between queries.
        scored: the part that is scored.
        radius_m: priors are off by up to this in x and in y.
        seed: of the priors.
        relief_band: of both maps, mixed in; None matches intensity alone.
        adapt: adapt the model on the other part first.
        adaptation: how.
        least_within_pct: the target, within 0.5 m.
        most_bit_m2: the target of the size.
    """

    number: ClassVar[int] = 4
    name: ClassVar[str] = "roundabout"
    title: ClassVar[str] = "roundabout: crops of the Avia map in the folded Aeva map"
    size_m: float = 21.0
    stride_m: float = 10.5
    scored: str = "east"
    radius_m: float = 5.0
    seed: int = 0
    relief_band: int | None = 3
    adapt: bool = False
    adaptation: Adaptation = field(default_factory=Adaptation)
    least_within_pct: float = 98.0
    most_bit_m2: float = 3.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        protocol = self.protocol(board, self.relief_band)
        shipped = board.bundle(protocol.map_raster.grid.resolution_m)
        bundles = [shipped]
        if self.adapt:
            adapted = adapt_roundabout(shipped, protocol, self.adaptation, board.report("roundabout, adapting"))
            bundles = [adapted, replace(shipped, name=f"{shipped.name}-as-shipped")]
        own, *others = self.answers(board, bundles, protocol)
        if self.relief_band is not None:
            for other in self.answers(board, [shipped], self.protocol(board, None)):
                others.append({**other, "method": f"intensity alone, {other['method']}"})
        n, within = self.number, 100 - own["beyond_50_cm_pct"]
        detail = {"row": own, "provenance": bundles[0].provenance}
        yield at_least(n, "queries within 0.5 m", within, self.least_within_pct, "%", detail=detail)
        yield at_most(n, "payload a m2 of observed ground", own["bits_per_m2"], self.most_bit_m2, "bit/m2")
        yield information(n, "queries", own["queries"])
        yield information(n, "median error", own["median_cm"], "cm")
        for other in others:
            name = f"{other['method']}: queries within 0.5 m"
            yield information(n, name, 100 - other["beyond_50_cm_pct"], "%", detail={"row": other})
            yield information(n, f"{other['method']}: payload", other["bits_per_m2"], "bit/m2")

    def protocol(self, board: Board, relief_band: int | None) -> RasterProtocol:
        """The queries; where they truly lie is found on intensity, whatever is matched."""
        images = RasterProtocol(
            board.raster(MAP),
            board.raster(QUERY),
            "roundabout",
            self.size_m,
            self.stride_m,
            self.scored,
            search=Search(self.radius_m),
            seed=self.seed,
        )
        maps, queries = (board.raster(name, relief_band) for name in (MAP, QUERY))
        return replace(images, map_raster=maps, query_raster=queries, offset_m=images.alignment_m)

    def answers(self, board: Board, bundles: list[Bundle], protocol: RasterProtocol) -> list[dict[str, Any]]:
        """Rows of the learned methods, and of the raw map."""
        half_m = self.size_m / 2
        methods = [Method(LearnedCodec(bundle), EmbeddingMatcher(half_m, half_m)) for bundle in bundles]
        methods += classical([ImageMapCodec("raw16")])
        return [matching_row(one) for one in predict_all(methods, protocol, None, board.report("roundabout"))]
