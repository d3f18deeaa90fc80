"""Rasters into the lidar layer of an open file: which model, within which rate and size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from foldmap.api.folding.options import LidarOptions, Report
from foldmap.atlas import FoldUpdater, FoldWriter
from foldmap.errors import BudgetError, ConfigError
from foldmap.formats.raster.geotiff import open_raster, open_rasters
from foldmap.lidar.bundle import Bundle, read_bundle
from foldmap.lidar.defaults import bundles_for, default_bundle, within_rate
from foldmap.lidar.fold import TILE_BLOCKS, LidarPlan, LidarReport, fold_lidar
from foldmap.lidar.source import RasterSource
from foldmap.lidar.update import update_lidar
from foldmap.version import __version__


def fold_rasters(
    writer: FoldWriter,
    rasters: Sequence[Path],
    options: LidarOptions,
    budget_bytes: int | None,
    share: float,
    note: Callable[[str], None],
    report: Report,
) -> dict[str, Any]:
    """Fold rasters of one grid as one map.

    Args:
        writer: of the file, with all that goes before; the caller commits.
        rasters: where they overlap the first counts.
        options: see there.
        budget_bytes: most bytes of the whole file.
        share: of what is left of them, the most that a richer model may take where a leaner one is at hand.
        note: called with what a user should know.
        report: called with blocks done and in all.

    Returns:
        What the summary says of the layer.

    Raises:
        BudgetError: no operating point is small enough.
        FoldmapError: what was brought cannot be used.
    """
    if options.before is not None:
        raise ConfigError("--before is of an update", "give --update MAP.fold, or leave it out")
    if options.rate is not None and not options.rate > 0:
        raise ConfigError(f"a rate of {options.rate} bit/m2", "give a positive rate")
    band, tile_blocks = options.band or 1, TILE_BLOCKS if options.tile_blocks is None else options.tile_blocks
    settings = {
        "map": ", ".join(map(str, rasters)),
        "band": band,
        "model": str(options.model) if options.model else None,
        "rate_bit_m2": options.rate,
        "budget_bytes": budget_bytes,
        "tile_blocks": tile_blocks,
    }
    with open_rasters(rasters, band) as source:
        candidates = _candidates(source.grid.resolution_m, options, budget_bytes)
        plans = [LidarPlan(bundle, tile_blocks, options.embed_model) for bundle in candidates]
        plan, done = fold_to_fit(writer, source, plans, options.rate, budget_bytes, share, settings, note, report)
    return {
        "model": plan.bundle.name,
        "payload_bytes": done.payload_bytes,
        "tiles": done.tiles,
        "observed_m2": done.observed_m2,
        "bit_per_m2": done.bit_per_m2,
        "bpp_of_raster": done.bpp,
    }


def fold_to_fit(
    writer: FoldWriter,
    source: RasterSource,
    plans: Sequence[LidarPlan],
    rate_bit_m2: float | None,
    budget_bytes: int | None,
    share: float,
    provenance: dict[str, Any],
    note: Callable[[str], None],
    report: Report,
) -> tuple[LidarPlan, LidarReport]:
    """Fold with the first plan, richest to leanest, whose result fits; arguments and errors as `fold_rasters`."""
    before = 0 if budget_bytes is None or share == 1 else writer.size_bytes()
    least = float("inf"), ""
    for plan in plans:
        made = {"foldmap": __version__, **provenance, "model": plan.bundle.name, "trained": plan.bundle.provenance}
        done = fold_lidar(writer, source, plan, report=report)
        writer.put_metadata("provenance", made)
        size = 0 if budget_bytes is None and rate_bit_m2 is None else writer.size_bytes()
        most = float("inf") if budget_bytes is None else budget_bytes
        wanted = most if plan is plans[-1] else before + share * (most - before)
        if size <= wanted and (rate_bit_m2 is None or done.bit_per_m2 <= rate_bit_m2):
            return plan, done
        note(f"{plan.bundle.name}: {size:,} bytes, {done.bit_per_m2:.2f} bit/m2: too large")
        least = min(least, (size, f"{size:,} bytes ({done.bit_per_m2:.2f} bit/m2)"))
    raise BudgetError(
        f"the smallest size reached is {least[1]}", "allow more, fold a part of the map, or train a leaner model"
    )


def _candidates(resolution_m: float, options: LidarOptions, budget_bytes: int | None) -> list[Bundle]:
    if options.model is not None:
        return [read_bundle(options.model)]
    if options.rate is not None:
        return within_rate(bundles_for(resolution_m), options.rate)
    return bundles_for(resolution_m) if budget_bytes is not None else [default_bundle(resolution_m)]


def update_rasters(
    updater: FoldUpdater, rasters: Sequence[Path], options: LidarOptions, report: Report
) -> dict[str, Any]:
    """Fold the tiles again that new rasters on the same grid change; errors as `update_lidar`."""
    bundle = None if options.model is None else read_bundle(options.model)
    with ExitStack() as opened:
        source = opened.enter_context(open_rasters(rasters, options.band or 1))
        before = (
            None if options.before is None else opened.enter_context(open_raster(options.before, options.band or 1))
        )
        done = update_lidar(updater, source, bundle, before=before, report=report)
    if done.changed or done.removed:
        said = {"map": ", ".join(map(str, rasters)), "tiles": len(done.changed), "removed": len(done.removed)}
        updater.put_metadata("updated", said)
    return {"tiles_changed": len(done.changed), "tiles_removed": len(done.removed), "tiles_kept": done.kept}
