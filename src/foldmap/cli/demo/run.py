"""What ``foldmap demo`` does: a map of each layer into one file, localization in it, and a report."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from foldmap.api.results import LocalizedObservation, write_estimates
from foldmap.atlas import FoldFile, FoldWriter
from foldmap.cli.common import bar, make_folder, save_settings, say
from foldmap.cli.demo import street, visual
from foldmap.cli.demo.closing import DemoClosing, close_street, show_closing
from foldmap.cli.demo.journey import DemoJourney, drive_journey, open_with
from foldmap.cli.demo.lidar import DemoDrive, find_street, lidar_page, localize_street, map_street
from foldmap.cli.demo.settings import DemoSettings, Report
from foldmap.cli.demo.street_page import add_street
from foldmap.cli.demo.visual import add_visual
from foldmap.errors import MapInputError, MissingExtraError, ModelError
from foldmap.formats.raster.geotiff import open_raster
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.folded import open_lidar
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.shipped import told_training
from foldmap.lidar.source import RasterSource, observed_about_m2
from foldmap.localize.lidar.choosing import CodeTrial, best_code, simulated_places, try_codes
from foldmap.metrics import pose_errors, summarize
from foldmap.report.page import Page
from foldmap.street.defaults import default_model
from foldmap.street.field.model import FieldEmbedding
from foldmap.town import TownWorld
from foldmap.types import DoubleArray
from foldmap.version import __version__

_PLACES = 4


def run_demo(folder: Path, models: Sequence[Bundle | MarksModel], settings: DemoSettings) -> dict[str, Any]:
    """Run the demo into a folder (map.tif, map.fold, estimates.txt, index.html); gives the summary that is printed.

    Of several models the one that does best on the map is taken.
    """
    started_s = time.perf_counter()
    make_folder(folder)
    map_tif, path = folder / "map.tif", folder / "map.fold"
    world = TownWorld(settings.seed, extent_m=2000.0)
    street_path = find_street(world, settings)
    with bar("Drive 1 maps the street") as report:
        observed_m2 = map_street(map_tif, world, street_path, settings, models[0].resolution_m, report)
    with bar("Trying codes") as report, open_raster(map_tif) as source:
        model, trials = _chosen(models, source, report)
    with bar("Folding") as report, open_raster(map_tif) as source:
        with FoldWriter(path) as writer:
            folded_as = fold_lidar(writer, source, LidarPlan(model, tile_blocks=1), report=report)
            made = {"foldmap": __version__, "map": "generated town", **asdict(settings)}
            tried = [trial.to_dict() for trial in trials]
            made |= {
                "model": model.name,
                "trained": told_training(model.name, model.to_bytes(), model.provenance),
                "tried": tried,
            }
            writer.put_metadata("provenance", made)
        lidar_bytes = path.stat().st_size
        raster = source.read(0, 0, *source.grid.shape)
    photos = _photos(path, (world, street_path), settings)
    streets = _streets(path, world, settings)
    journey = closing = None
    if photos is not None and streets is not None and settings.journey is not None:
        with bar("Drive 3 begins lost") as report:
            journey = drive_journey(folder, path, (world, street_path), settings.seed, settings.journey, report)
        with bar("A street is closed") as report:
            finder = None if streets.updated is None else default_model(update=True)
            closing = close_street(folder, path, raster, (world, street_path), finder, report)
    with FoldFile.open(path) as file:
        folded = open_lidar(file)
        with bar("Drive 2 localizes") as report:
            driven = localize_street(folded, world, street_path, settings, report)
        steps = enumerate(driven.estimates)
        localized = [LocalizedObservation(f"step {index}", f"{0.1 * index:.6f}", one) for index, one in steps]
        write_estimates(folder / "estimates.txt", localized)
        save_settings(folder / "demo", "demo", {**asdict(settings), "model": model.name, "tried": tried})
        summary: dict[str, Any] = {
            "code": model.name,
            "observed_m2": round(observed_m2, 1),
            "map_tif_bytes": map_tif.stat().st_size,
            "folded_file_bytes": lidar_bytes,
            "bit_per_m2": folded_as.bit_per_m2,
            **_drive_summary(driven),
        }
        opening = None
        if journey is not None:
            opening = partial(_open_page, journey=journey, closing=closing, file_bytes=path.stat().st_size)
        options = f"-o {folder.name} --seed {settings.seed}"
        page = lidar_page(raster, folded, folded_as, driven, summary, options, opening)
    if photos is not None:
        photographed = visual.summary_of(photos)
        add_visual(page, path, photos, photographed)
        summary |= photographed
    if streets is not None:
        add_street(page, path, streets)
        summary |= street.summary_of(streets)
    if journey is not None:
        summary |= journey.told() | ({} if closing is None else closing.told())
    if photos is not None or streets is not None:
        summary["file_bytes"] = path.stat().st_size
    page.write(folder / "index.html")
    return {**summary, "seconds": round(time.perf_counter() - started_s, 1), "report": str(folder / "index.html")}


def _open_page(page: Page, journey: DemoJourney, closing: DemoClosing | None, file_bytes: int) -> None:
    """Begin the page with the map and the drives."""
    open_with(page, journey, file_bytes)
    if closing is not None:
        show_closing(page, closing, journey)


def _chosen(
    models: Sequence[Bundle | MarksModel], source: RasterSource, report: Report
) -> tuple[Bundle | MarksModel, list[CodeTrial]]:
    """As ``foldmap fold`` chooses, at fewer places; without a choice nothing is tried."""
    if len(models) == 1:
        return models[0], []
    resolution_m = source.grid.resolution_m
    try:
        trials = try_codes(models, simulated_places(source, _PLACES), resolution_m, report=report)
    except MapInputError:  # a street too short to place sweeps on
        return models[0], []
    return models[best_code(trials, observed_about_m2(source))], trials


def _photos(path: Path, along: tuple[TownWorld, DoubleArray], settings: DemoSettings) -> visual.DemoPhotos | None:
    """The visual layer, or one line that says why there is none."""
    if settings.photos is None:
        return None
    try:
        with bar("Photos join the file") as report:
            return visual.add_photos(path, along, settings.photos, report)
    except MissingExtraError as error:
        say(f"photos left out: {error.message} ({error.cure})")
        return None


def _streets(path: Path, world: TownWorld, settings: DemoSettings) -> street.DemoStreets | None:
    """The street layer, or one line that says what of it is left out."""
    if settings.streets is None:
        return None
    model = _street_model("lanes")
    if model is None:
        return None
    finder = _street_model("changes of lanes", update=True)
    with bar("Lanes join the file") as report:
        return street.add_streets(path, world, settings.streets, (model, finder), report)


def _street_model(what: str, update: bool = False) -> FieldEmbedding | None:
    """A shipped model, or None and one line that says what is left out without it."""
    try:
        return default_model(update=update)
    except ModelError as error:
        say(f"{what} left out: {error.message} ({error.cure})")
        return None


def _drive_summary(driven: DemoDrive) -> dict[str, Any]:
    total = summarize(pose_errors(driven.truth, [estimate.pose for estimate in driven.estimates]).total_m)
    return {
        "steps": len(driven.truth),
        "answered": sum(estimate.pose is not None for estimate in driven.estimates),
        "median_error_cm": 100 * total.median_m,
        "p95_error_cm": 100 * total.p95_m,
        "steps_per_second": len(driven.truth) / max(driven.seconds, 1e-9),
    }
