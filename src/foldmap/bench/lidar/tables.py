"""The paper's tables 4, 5 and 6 from the rows of matching and of driving, and which methods a crowded plot shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from foldmap.bench.common.tables import family_of
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec, ThresholdMapCodec
from foldmap.bench.lidar.cases import Method
from foldmap.bench.lidar.score import storage_rows
from foldmap.metrics import RoadNetwork

PAPER_RESOLUTION_M = 0.05
ONLINE_PARTS = {
    "online_median_cm": "online median [cm]",
    "fail_100_m_pct": "fail ≤ 100 m [%]",
    "fail_500_m_pct": "fail ≤ 500 m [%]",
    "fail_end_pct": "fail end [%]",
}
REDUCED_COLUMNS = {
    "method": "method",
    "px_cm": "pixel [cm]",
    "bits_per_m2": "bit/m² observed",
    "bits_per_raster_m2": "bit/m² of raster",
    "median_cm": "median [cm]",
    "lateral_median_cm": "lateral [cm]",
    "longitudinal_median_cm": "longitudinal [cm]",
    "p95_cm": "p95 [cm]",
    "beyond_50_cm_pct": "> 0.5 m [%]",
}
_CROWD = 14

Rows = Sequence[Mapping[str, Any]]


def stored_px_m(method: Method, resolution_m: float) -> float:
    """Side of the pixels that a method's codec stores; the learned codec counts as storing the map's own."""
    codec = method.codec
    if isinstance(codec, ImageMapCodec):
        return codec.reduction * resolution_m
    return codec.pixel_m if isinstance(codec, ThresholdMapCodec) else resolution_m


def with_online(rows: Rows, online: Rows) -> list[dict[str, Any]]:
    """Add to each row what its codec did along the drive with the matcher's kin: learned with learned, ncc with ncc."""
    driven = {_kin(str(row["method"])): row for row in online}
    merged = []
    for row in rows:
        found = driven.get(_kin(str(row["method"])))
        parts = {} if found is None else {"online_median_cm": found["median_cm"]}
        parts |= {} if found is None else {k: found[k] for k in ONLINE_PARTS if k in found}
        merged.append({**row, **parts})
    return merged


def _kin(method: str) -> tuple[str, str]:
    codec, _, matcher = method.partition(" + ")
    own = {"localizer": "", "histogram-filter": ""}
    return codec, own.get(matcher, matcher.removeprefix("tracking-"))


def reduced_rows(rows: Rows, methods: Sequence[Method], resolution_m: float) -> list[dict[str, Any]]:
    """Table 6: bits per square metre, of observed ground and of raster, by stored pixel size."""
    stored = {method.name: stored_px_m(method, resolution_m) for method in methods}
    found = [
        {**row, "px_cm": 100 * stored[row["method"]], "bits_per_raster_m2": row["bits_per_px"] / resolution_m**2}
        for row in rows
        if row["method"] in stored
    ]
    return sorted(found, key=lambda row: (not row["method"].startswith("foldmap"), row["px_cm"], row["method"]))


def projected_rows(rows: Rows, roads: Sequence[RoadNetwork], resolution_m: float) -> list[dict[str, Any]]:
    """Table 5 in bytes; bits per pixel of another resolution count as those of as many 5 cm pixels."""
    per_paper_px = (PAPER_RESOLUTION_M / resolution_m) ** 2
    return storage_rows([{**row, "bits_per_px": row["bits_per_px"] * per_paper_px} for row in rows], roads)


def representatives(rows: Rows, key: str = "median_cm") -> list[str]:
    """Methods for a plot that cannot hold all: the learned, the raw, and of every family its thriftiest good one.

    Good is a value of at most twice the family's best (lower is better); of a family without a finite value none.
    """
    names = [str(row["method"]) for row in rows]
    if len(names) <= _CROWD:
        return names
    families: dict[str, list[Mapping[str, Any]]] = {}
    kept = {name for name in names if name.startswith(("foldmap", "raw"))}
    for row in rows:
        if math.isfinite(float(row[key])):
            families.setdefault(family_of(str(row["method"])), []).append(row)
    for members in families.values():
        best = min(float(row[key]) for row in members)
        good = [row for row in members if float(row[key]) <= 2 * best]
        kept.add(str(min(good, key=lambda row: float(row["bits_per_m2"]))["method"]))
    return [name for name in names if name in kept]
