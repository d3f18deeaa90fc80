"""What a county's and a country's roads come to, from what a generated town took by the kilometre of road."""

from __future__ import annotations

from pathlib import Path

from benchmarks.evidence.results import line_of, read_results
from foldmap.metrics import LA_COUNTY, UNITED_STATES, format_bytes, projected_bytes

PNG_BIT_PX, CODE_BIT_PX = 4.93580, 0.0083
"""Of the paper's tables 4 and 2: its lossless PNG, and its code. The lengths of roads are those that it implies."""
TOWNS = (("learned code, 33 cm", "world-cities"), ("marks, 5 cm", "world-cities-fine"))
"""What is told, and the run. Assumed: each kilometre of road costs what the town's costs (streets dense, a crossing
each 90 m, mapped some 8 m to either side), nothing is shared between roads, and rasters of all are there to be read.
"""


def roads_table(folder: Path) -> list[str]:
    """Rows by road network; a town without results says so."""
    heads = ["", "as PNG (paper)", "the paper's code", *(told for told, _ in TOWNS)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for network in (LA_COUNTY, UNITED_STATES):
        paper = [format_bytes(projected_bytes(bit_px, network)) for bit_px in (PNG_BIT_PX, CODE_BIT_PX)]
        bytes_, hours = [], []
        for _, run in TOWNS:
            results = read_results(run, folder)
            if results is None:
                bytes_.append(f"not measured: `make evidence ONLY={run}`")
                hours.append("")
                continue
            km = network.road_m / 1000
            bytes_.append(format_bytes(km * line_of(results, "bytes a kilometre of road")))
            hours.append(f"{km * line_of(results, 'core-seconds a kilometre of road') / 3600:,.0f} core-hours")
        name = f"{network.name}, {network.road_m / 1000:,.0f} km of road"
        lines.append("| " + " | ".join([name, *paper, *bytes_]) + " |")
        lines.append("| " + " | ".join(["to fold it", "", "", *hours]) + " |")
    return lines
