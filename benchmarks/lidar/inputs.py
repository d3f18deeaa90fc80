"""What two lidars' maps of one place share: raw matching of their bands, as they are and by local contrast.

python -m benchmarks.lidar.inputs --data ../shared/data/lidar -o out/inputs.json [--scored west]

A setting is chosen on one half of the place (``--scored west``) and reported on the other.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lidar.roundabout import MAP, QUERY
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec
from foldmap.bench.lidar.baselines.ncc_matcher import NccMatcher
from foldmap.bench.lidar.cases import BenchQuery, Match, Method, Search
from foldmap.bench.lidar.predict import predict_all
from foldmap.bench.lidar.raster_protocol import RasterProtocol
from foldmap.bench.lidar.tables import matching_row
from foldmap.formats.raster.geotiff import open_rasters
from foldmap.lidar.codec import global_spread
from foldmap.lidar.normalize import network_input, observation_input
from foldmap.lidar.observation import rasterize
from foldmap.lidar.source import RasterMap

RELIEF_BAND = 3
INPUTS: dict[str, tuple[int, int | None]] = {
    "intensity": (1, None),
    "variance of heights": (RELIEF_BAND, None),
    "intensity and relief, mixed": (1, RELIEF_BAND),
}
"""Band that is matched and band of relief that is mixed in."""


def read_map(path: Path, band: int, relief_band: int | None) -> RasterMap:
    """Read a whole map."""
    with open_rasters([path], band, relief_band) as source:
        return source.read(0, 0, *source.grid.shape)


@dataclass
class ContrastMatcher:
    """NCC of what the networks are shown: both sides by their local contrast."""

    name: str = "contrast-ncc"
    half_m: float = 10.5
    _last: tuple[RasterMap, RasterMap] | None = None

    def match(self, query: BenchQuery, decoded_map: RasterMap, search: Search) -> Match:
        """Answer one query; see `Matcher`."""
        if self._last is None or self._last[0] is not decoded_map:
            normal = network_input(decoded_map, global_spread(decoded_map))[0, 0].numpy()
            self._last = decoded_map, replace(decoded_map, intensity=normal)
        resolution_m = decoded_map.grid.resolution_m
        points = query.points_vehicle_m.astype(np.float64)
        drawn = rasterize(points, query.intensity, resolution_m, self.half_m, self.half_m)
        normal = observation_input(drawn.intensity, drawn.observed, resolution_m)[0, 0].numpy()
        height, width = normal.shape
        row = np.clip(np.floor((self.half_m - points[:, 1]) / resolution_m).astype(int), 0, height - 1)
        col = np.clip(np.floor((points[:, 0] + self.half_m) / resolution_m).astype(int), 0, width - 1)
        return NccMatcher().match(replace(query, intensity=normal[row, col]), self._last[1], search)


def measure(data: Path, scored: str, stride_m: float) -> dict[str, Any]:
    """Match every input on one half of the place; its queries, priors and truth are those of row 4 on intensity."""
    plain = INPUTS["intensity"]
    images = RasterProtocol(read_map(data / MAP, *plain), read_map(data / QUERY, *plain), "roundabout", scored=scored)
    result: dict[str, Any] = {}
    for name, bands in INPUTS.items():
        maps, queries = (read_map(data / path, *bands) for path in (MAP, QUERY))
        protocol = replace(
            images, map_raster=maps, query_raster=queries, stride_m=stride_m, offset_m=images.alignment_m
        )
        methods = [Method(ImageMapCodec("raw16"), matcher) for matcher in (NccMatcher(), ContrastMatcher())]
        for answers in predict_all(methods, protocol):
            row = matching_row(answers)
            result[f"{name}: {answers.method}"] = row
            within = 100 - row["beyond_50_cm_pct"]
            print(f"{name}: {answers.method}: {within:.1f} % of {row['queries']} within 0.5 m", flush=True)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lidar.inputs")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds groundloc-maps")
    parser.add_argument("--scored", default="east", help="half that is scored: west, east, north or south")
    parser.add_argument("--stride", type=float, default=10.5, help="metres between queries")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args(argv)
    measured = measure(given.data, given.scored, given.stride)
    if given.output is not None:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(measured, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
