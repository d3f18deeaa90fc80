"""Answers against the truth: shares within thresholds, medians, bytes and times, as rows of tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foldmap.bench.visual.methods import FOLDMAP, PLAIN, Line, Matcher
from foldmap.bench.visual.predict import Measured, Wanted
from foldmap.bench.visual.protocol import HeldOut, Scale
from foldmap.metrics.camera_pose import CameraErrors, Threshold, accuracy, camera_errors, median_errors

PARTS = ("codes", "geometry", "visibility", "images", "retrieval", "codebooks", "decoder", "rest")
_SIZES = {"points": "points", "file_bytes": "file [B]", "code_bytes": "descriptors [B]", "codebook_bytes": "codec [B]"}


def errors_of(measured: Measured, held_out: HeldOut) -> CameraErrors:
    """Errors of all queries, in the protocol's unit and degrees."""
    poses = [answer.camera_SE3_world for answer in measured.answers]
    return camera_errors(list(held_out.truth), poses, held_out.scale.world)


def row_of(
    line: Line, found: Mapping[Wanted, Measured], held_out: HeldOut, thresholds: Sequence[Threshold]
) -> dict[str, Any]:
    """One row: the map's bytes, then how foldmap's localizer and the plain one fare in it.

    Rows of a table of matchers have one localizer, their own.
    """
    ways = [(line.matcher, "")] if line.matcher else [(FOLDMAP, ""), (PLAIN, "plain_")]
    first = found[line.spec, ways[0][0]]
    row: dict[str, Any] = {"method": line.label, "map": line.spec.name}
    if first.problem:
        return {**row, "problem": first.problem}
    row |= {
        "points": first.points,
        "file_bytes": first.file_bytes,
        "code_bytes": first.code_bytes,
        "codebook_bytes": first.parts.get("codebooks", 0) + first.parts.get("decoder", 0),
        **{f"{part}_bytes": first.parts.get(part) for part in PARTS if part != "codes"},
    }
    for matcher, prefix in ways:
        row |= _scored(found[line.spec, matcher], held_out, thresholds, prefix)
    return row


def _scored(measured: Measured, held_out: HeldOut, thresholds: Sequence[Threshold], prefix: str) -> dict[str, Any]:
    errors = errors_of(measured, held_out)
    centre, turn_deg = median_errors(errors)
    scored: dict[str, Any] = {
        f"{prefix}within_{number}_pct": 100.0 * accuracy(errors, threshold)
        for number, threshold in enumerate(thresholds, start=1)
    }
    wrong = [
        answer.status == "ok" and not error <= 20.0 * thresholds[-1][0]
        for answer, error in zip(measured.answers, errors.centre, strict=True)
    ]
    return scored | {
        f"{prefix}median": centre,
        f"{prefix}median_deg": turn_deg,
        f"{prefix}answered_pct": 100.0 * float(np.isfinite(errors.centre).mean()),
        f"{prefix}lost_ok": int(sum(wrong)),
        f"{prefix}cpu_ms": 1000.0 * float(np.median([answer.cpu_s for answer in measured.answers])),
    }


def columns_of(scale: Scale, thresholds: Sequence[Threshold], ways: Sequence[Matcher | None]) -> dict[str, str]:
    """Key -> heading of an accuracy table; the plain localizer's columns only where rows have them."""
    columns = {"method": "map", **_SIZES}
    both = any(way is None for way in ways)
    for prefix, said in (("", ""), ("plain_", "plain: "))[: 2 if both else 1]:
        for number, threshold in enumerate(thresholds, start=1):
            columns[f"{prefix}within_{number}_pct"] = said + scale.label(threshold)
        columns[f"{prefix}median"] = f"{said}median [{scale.name}]"
        columns[f"{prefix}median_deg"] = f"{said}median [°]"
    return columns | {"cpu_ms": "CPU a query [ms]"}


def memory_columns(scale: Scale, thresholds: Sequence[Threshold]) -> dict[str, str]:
    """Key -> heading of table 3."""
    headings = {"method": "map", "points": "points", "file_bytes": "file [B]", "code_bytes": "descriptors"}
    headings |= {"geometry_bytes": "xyz"}
    headings |= {f"{part}_bytes": part for part in PARTS if part not in ("codes", "geometry")}
    named = {f"within_{n}_pct": scale.label(t) for n, t in enumerate(thresholds, start=1)}
    return headings | named | {"median": f"median [{scale.name}]", "median_deg": "median [°]"}


def scene_cell(row: Mapping[str, Any], thresholds: Sequence[Threshold]) -> str:
    """``0.03/0.93/76.8``: median, median in degrees, and the share within the widest threshold, as the paper has it."""
    if "median" not in row:
        return "–"  # noqa: RUF001 - the dash of a table
    return f"{row['median']:.2f} / {row['median_deg']:.2f} / {row[f'within_{len(thresholds)}_pct']:.1f}"
