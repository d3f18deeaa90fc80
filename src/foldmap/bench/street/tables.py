"""Which tables of the street benchmark there are, and the columns that each shows; files hold every column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foldmap.errors import ConfigError
from foldmap.metrics.retrieval import LOCALIZATION_M


@dataclass(frozen=True)
class BenchTable:
    """A table's heading, what it shows, and the heading of each column by key."""

    title: str
    caption: str
    columns: dict[str, str]


_QUALITY = {
    "method": "method",
    "library": "library",
    "way_pct": "way to oracle [%]",
    "chamfer_m": "Chamfer [m] ↓",
    "rand_loss": "RandLoss ↓",
    "mmd": "MMD ↓",
    "density_error": "density ↓",
    "reach_error_m": "reach [m] ↓",
    "connectivity_error": "connectivity ↓",
    "line_f": "STSU F ↑",
    "detection_ratio": "detection ↑",
    "connect_f": "connection F ↑",
    "topo_f": "topology F ↑",
    "det_l": "DET_l ↑",
    "top_ll": "TOP_ll ↑",
    "recall_at_1": "recall@1 ↑",
    "recall_at_10": "recall@10 ↑",
}
_SCORED = (
    "Means over the queries; the arrow says where better is. Way: (random - method) / (random - oracle) in Chamfer. "
    "recall@k: the query's own graph among the first k of the library and the graphs of all queries. Definitions are "
    "foldmap's own (docs/methods.md): figures of published tables are not comparable."
)
_KINDS = {
    "found_lane_removed_pct": "lane removed [%]",
    "found_lane_added_pct": "lane added [%]",
    "found_lane_shifted_pct": "lane shifted [%]",
    "found_link_removed_pct": "link removed [%]",
    "found_same_pct": "unchanged [%]",
}

TABLES: dict[str, BenchTable] = {
    "main": BenchTable("Graphs for images", _SCORED, _QUALITY),
    "ring": BenchTable("Graphs for camera rings", _SCORED, _QUALITY),
    "modal": BenchTable(
        "Unimodal against cross-modal",
        "Nearest image against nearest graph, both of the same training windows: what the step from images to graphs "
        "costs, and what graphs without images can add. " + _SCORED,
        _QUALITY,
    ),
    "size": BenchTable(
        "Quality against library size",
        "The same queries ask smaller and larger libraries; the last row adds graphs of maps without any image. Way is "
        "within each library, whose chance and best graph move with it.",
        {
            "library": "library",
            "count": "graphs",
            "more": "without images",
            "chamfer_m": "Chamfer [m] ↓",
            "oracle_m": "oracle [m]",
            "random_m": "random [m]",
            "way_pct": "way [%]",
        },
    ),
    "update": BenchTable(
        "Update detection",
        "Maps with known edits, half of the windows as they are. Thresholds come from the other held-out maps. The "
        "columns by kind are shares of windows (or drives) of that kind that were reported: the last one are false "
        "alarms.",
        {
            "method": "method",
            "level": "level",
            "count": "count",
            "f1": "F1 ↑",
            "f1_95_low": "95 % from",
            "f1_95_high": "to",
            "precision": "precision",
            "recall": "recall",
            **_KINDS,
        },
    ),
    "localization": BenchTable(
        "Localization",
        "All graphs of the held-out map are in the library, none of its images. A single image has a prior (a disc "
        "that holds the truth, its middle anywhere within) or none; a drive starts anywhere on the map. Every guess "
        "counts, also where the localizer says that it does not stand by it; 'stands' is how often it does.",
        {
            "question": "question",
            "method": "method",
            "count": "count",
            **{f"within_{limit:g}m_pct": f"≤ {limit:g} m [%]" for limit in LOCALIZATION_M},
            "median_m": "median [m]",
            "heading_median_deg": "heading, median [°]",
            "heading_p95_deg": "p95 [°]",
            "stands_pct": "stands [%]",
            "right_when_stands_pct": "of these ≤ 10 m [%]",
        },
    ),
}


def check_tables(names: Sequence[str]) -> None:
    """Refuse names of tables that there are not (ConfigError: names the first)."""
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        raise ConfigError(f"there is no table {unknown[0]!r}", f"choose among {', '.join(TABLES)}")
