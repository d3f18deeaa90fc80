"""Rasters into the lidar layer of an open file: which model, within which rate and size."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foldmap.api.folding.options import LidarOptions, Note, Report
from foldmap.api.folding.parts import InParts, WhereReadable
from foldmap.atlas import FoldUpdater, FoldWriter
from foldmap.errors import BudgetError, ConfigError, MapInputError, ModelError
from foldmap.formats.raster.geotiff import open_rasters
from foldmap.formats.raster.standing import open_standing
from foldmap.geometry import MetricGrid
from foldmap.lidar.bundle import Bundle, require_fold
from foldmap.lidar.defaults import bundles_for, default_bundle, marks_for, read_model, step_of, within_rate
from foldmap.lidar.fold import TILE_BLOCKS, LidarPlan, fold_lidar
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.marks.outline import fold_outline
from foldmap.lidar.pairs.sampling import RasterPair
from foldmap.lidar.shipped import OUTLINE, told_training
from foldmap.lidar.source import RasterSource, observed_about_m2
from foldmap.lidar.update import update_lidar
from foldmap.localize.lidar.choosing import (
    HELD_OUT,
    CodeTrial,
    best_code,
    loses_the_place,
    map_calibration,
    simulated_places,
    try_codes,
)
from foldmap.runtime.crew import Crew
from foldmap.version import __version__

_PLACES = 12
_ALONE = Crew(workers=1)
CODECS = ("auto", "marks", "learned")


@dataclass(frozen=True)
class AtHand:
    """What a drive brings to the choice of a code for its map.

    Attributes:
        pairs: places to try codes at, with held-out sweeps.
        models: more candidates, adapted to the sensor.
        said: how all that was made, for the file's provenance.
    """

    pairs: Sequence[RasterPair]
    models: Sequence[Bundle] = ()
    said: dict[str, Any] = field(default_factory=dict)


def fold_rasters(
    writer: FoldWriter,
    rasters: Sequence[Path],
    options: LidarOptions,
    limits: tuple[int | None, int],
    note: Note,
    report: Report,
    at_hand: AtHand | None = None,
    crew: Crew = _ALONE,
) -> dict[str, Any]:
    """Fold rasters of one grid as one map, with the first candidate whose result fits; returns the summary's words.

    Candidates are the learned code that was asked for, richest first; or what of all codes, or of marks, is best on the
    map itself, and then what is smaller. Richer marks are among them where all others lose the place.

    Args:
        writer: of the file, with all that goes before; the caller commits.
        rasters: where they overlap the first counts.
        options: see there.
        limits: most bytes of the whole file, and how many a scene beside it takes without a budget: what is left for
            both is shared in proportion to that and to what the first candidate takes.
        note: called with what a user should know.
        report: called with trials of codes, then tiles, done and in all.
        at_hand: of the drive that made the map; codes are tried with simulated sweeps where None.
        crew: who codes tiles.

    Raises `BudgetError`: no operating point is small enough; `FoldmapError`: what was brought cannot be used.
    """
    budget_bytes, beside = limits
    _require_possible(options)
    band = 1 if options.band is None else options.band
    tile_blocks = TILE_BLOCKS if options.tile_blocks is None else options.tile_blocks
    mixes, said = options.relief_band is not None, {} if at_hand is None else at_hand.said
    coding = InParts(crew, writer.path, rasters, band, options.relief_band, options.gaps, note)
    with open_rasters(rasters, options.band, options.relief_band, note) as opened:
        source = WhereReadable(opened) if options.gaps else opened
        candidates, trials = _candidates(source, options, budget_bytes, at_hand, note, report)
        before = 0 if budget_bytes is None or not beside else writer.size_bytes()
        share, least = 1.0, (float("inf"), "")
        for bundle in candidates:
            worth = _worth(bundle, source, options, note)
            plan = LidarPlan(bundle, tile_blocks, options.embed_model, relief=mixes, calibration=worth)
            if (step := step_of(bundle, opened.grid.resolution_m)) > 1:
                note(f"{bundle.name} folds the map in pixels of {step * opened.grid.resolution_m:g} m")
            done = fold_lidar(writer, source, plan, code=coding.code(bundle, opened), report=report)
            said = {**said, **_outline(writer, rasters if options.outline else [], opened.grid)}
            made = {
                "foldmap": __version__,
                "map": ", ".join(map(str, rasters)),
                "band": band,
                "relief_band": options.relief_band,
                "model": bundle.name,
                "rate_bit_m2": options.rate,
                "budget_bytes": budget_bytes,
                "tile_blocks": tile_blocks,
                "trained": told_training(bundle.name, bundle.to_bytes(), bundle.provenance),
                "tried": [trial.to_dict() for trial in trials],
                **said,
                **coding.said,
            }
            writer.put_metadata("provenance", made)
            size = 0 if budget_bytes is None and options.rate is None else writer.size_bytes()
            most = float("inf") if budget_bytes is None else budget_bytes
            if bundle is candidates[0] and budget_bytes is not None:
                share = (size - before) / max(size - before + beside, 1)
            wanted = most if bundle is candidates[-1] else before + share * (most - before)
            if size <= wanted and (options.rate is None or done.bit_per_m2 <= options.rate):
                return {
                    "model": bundle.name,
                    "payload_bytes": done.payload_bytes,
                    "tiles": done.tiles,
                    "observed_m2": done.observed_m2,
                    "bit_per_m2": done.bit_per_m2,
                    "bpp_of_raster": done.bpp,
                    "tried": made["tried"],
                    **said,
                    **coding.said,
                }
            note(f"{bundle.name}: {size:,} bytes, {done.bit_per_m2:.2f} bit/m2: too large")
            least = min(least, (size, f"{size:,} bytes ({done.bit_per_m2:.2f} bit/m2)"))
    raise BudgetError(
        f"the smallest size reached is {least[1]}", "allow more, fold a part of the map, or train a leaner model"
    )


def _require_possible(options: LidarOptions) -> None:
    """Refuse options that do not go together."""
    if options.before is not None:
        raise ConfigError("--before is of an update", "give --update MAP.fold, or leave it out")
    if options.rate is not None and not options.rate > 0:
        raise ConfigError(f"a rate of {options.rate} bit/m2", "give a positive rate")
    if options.codec not in CODECS:
        raise ConfigError(f"a raster has no codec {options.codec!r}", f"choose one of {', '.join(CODECS)}")
    if options.model is not None and options.codec != "auto":
        raise ConfigError("--model says which code, too", "leave --codec out")
    if options.codec == "marks" and options.tile_blocks is not None:
        raise ConfigError("--tile-blocks is of learned codes", "leave it, or --codec marks, out")
    if options.tile_blocks is not None and not 1 <= options.tile_blocks <= 16:
        raise ConfigError(f"{options.tile_blocks} blocks a tile", "give 1 to 16")


def _outline(writer: FoldWriter, rasters: Sequence[Path], grid: MetricGrid) -> dict[str, int]:
    """Fold what stands, where rasters on one grid say so; the payloads' bytes, by their word.

    An outline of another raster, which the file had before, goes with it.
    """
    if OUTLINE in writer.layers and isinstance(writer, FoldUpdater):
        writer.remove_layer(OUTLINE)
    with open_standing(rasters, grid) as standing:
        return {} if standing is None else {"outline_bytes": fold_outline(writer, standing, standing.sweeps)}


def _candidates(
    source: RasterSource,
    options: LidarOptions,
    budget_bytes: int | None,
    at_hand: AtHand | None,
    note: Note,
    report: Report,
) -> tuple[list[Bundle | MarksModel], list[CodeTrial]]:
    """Codes to fold with until one fits, and what was measured to choose them, or to show."""
    models, choosing = _models(source.grid.resolution_m, options, budget_bytes)
    if choosing and at_hand is not None:
        models += at_hand.models
    choosing &= len(models) > 1
    if not choosing and options.curve is None:
        return models, []
    try:
        trials = _trials(models, source, at_hand, report)
        if choosing and loses_the_place(trials) and (rich := _marks(source.grid.resolution_m, options, rich=True)):
            trials += _trials(rich, source, at_hand, report)
            models += rich
    except MapInputError as error:
        note(f"codes were not tried on the map, {models[0].name} is taken: {error.message}")
        return models, []
    for trial in trials:
        seen = "held out of the map" if trial.sweeps == HELD_OUT else "simulated on the map"
        note(
            f"{trial.model}: {trial.bit_per_m2:.2f} bit/m2, {100 * trial.ok:.0f} % ok, median error"
            f" {100 * trial.median_m:.1f} cm in {trial.places} sweeps {seen}"
        )
    if not choosing:
        return models, trials
    observed_m2 = observed_about_m2(source)
    best, sizes = best_code(trials, observed_m2), [trial.bytes_of(observed_m2) for trial in trials]
    leaner = [k for k, size in enumerate(sizes) if size < sizes[best]]
    order = [best, *sorted(leaner, key=lambda k: -sizes[k])]
    return [models[k] for k in order], trials


def _trials(
    models: Sequence[Bundle | MarksModel], source: RasterSource, at_hand: AtHand | None, report: Report
) -> list[CodeTrial]:
    for model in models:
        if isinstance(model, Bundle):
            require_fold(model)
    resolution_m = source.grid.resolution_m
    if at_hand is not None and at_hand.pairs:
        return try_codes(models, at_hand.pairs, resolution_m, sweeps=HELD_OUT, report=report)
    return try_codes(models, simulated_places(source, _PLACES), resolution_m, report=report)


def codes_for(resolution_m: float) -> list[Bundle | MarksModel]:
    """What ``foldmap fold`` chooses from where nothing is said; a ModelError where nothing is for such pixels."""
    return _models(resolution_m, LidarOptions(), None)[0]


def _models(
    resolution_m: float, options: LidarOptions, budget_bytes: int | None
) -> tuple[list[Bundle | MarksModel], bool]:
    """Codes that are asked for, richest first, and whether the best on the map is to be found among them."""
    if options.model is not None:
        return [read_model(options.model)], False
    marks = _marks(resolution_m, options)
    if options.codec == "marks":
        if not marks:
            said = "" if options.rate is None else f" of {options.rate:g} bit/m2"
            raise ModelError(f"no marks for {resolution_m:g} m pixels{said} ship", "take --codec learned, or fit some")
        return [*marks], True
    try:
        if options.rate is not None:
            learned = within_rate(bundles_for(resolution_m), options.rate)
        else:
            learned = bundles_for(resolution_m) if budget_bytes is not None else [default_bundle(resolution_m)]
    except (BudgetError, ModelError):
        if options.codec == "learned" or not marks:
            raise
        learned = []
    return ([*learned], False) if options.codec == "learned" else ([*marks, *learned], True)


def _worth(
    bundle: Bundle | MarksModel, source: RasterSource, options: LidarOptions, note: Note
) -> dict[str, Any] | None:
    """What the map is worth by sweeps simulated on it, where the code is chosen by measuring, too."""
    if options.codec == "learned" or options.model is not None:
        return None
    try:
        return map_calibration(bundle, source).to_dict()
    except MapInputError as error:
        note(f"the map is not calibrated on itself: {error.message}")
        return None


def _marks(resolution_m: float, options: LidarOptions, rich: bool = False) -> list[MarksModel]:
    """Those of `marks_for` that may meet a rate: maps differ, so up to twice the fitted rate is worth trying."""
    most = math.inf if options.rate is None else 2 * options.rate
    return [one for one in marks_for(resolution_m, rich) if one.rate_bit_m2 <= most]


def update_rasters(
    updater: FoldUpdater, rasters: Sequence[Path], options: LidarOptions, report: Report
) -> dict[str, Any]:
    """Fold the tiles again that new rasters on the same grid change; errors as `update_lidar`."""
    bundle = None if options.model is None else read_model(options.model)
    with ExitStack() as opened:
        source = opened.enter_context(open_rasters(rasters, options.band, options.relief_band))
        was = None if options.before is None else [options.before]
        before = None if was is None else opened.enter_context(open_rasters(was, options.band, options.relief_band))
        mixes = options.relief_band is not None
        done = update_lidar(updater, source, bundle, before=before, relief=mixes, report=report)
        standing = opened.enter_context(open_standing(rasters if OUTLINE in updater.layers else [], source.grid))
        if standing is not None:
            fold_outline(updater, standing, standing.sweeps)
    if done.changed or done.removed:
        said = {"map": ", ".join(map(str, rasters)), "tiles": len(done.changed), "removed": len(done.removed)}
        updater.put_metadata("updated", said)
    return {"tiles_changed": len(done.changed), "tiles_removed": len(done.removed), "tiles_kept": done.kept}
