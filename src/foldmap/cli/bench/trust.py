"""``foldmap bench trust``: hostile queries of anybody's maps, counted by kind."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import make_folder, put, require_both
from foldmap.errors import ConfigError

if TYPE_CHECKING:
    from foldmap.bench.trust.photos import Open, PhotoSet
    from foldmap.bench.trust.streets import StreetSet
    from foldmap.bench.trust.sweeps import SweepSet
    from foldmap.visual.features.extract import Extractor

EXAMPLES = (
    "\b\nExamples:\n  foldmap bench trust scene.fold --images photos/ --model sparse/ --elsewhere other/ -o out/trust\n"
    "  foldmap bench trust small.fold large.fold --images photos/ --queries held_out.txt --truth poses.txt -o out/t\n"
    "  foldmap bench trust map.fold --sweeps drive/ --poses poses.txt --count 50 -o out/trust\n"
    "  foldmap bench trust streets.fold --drives ortho.tif --drive-poses drive.csv -o out/trust\n"
    "  foldmap bench trust scene.fold -o out/trust --kind blank --kind noise"
)
_photo = partial(typer.Option, rich_help_panel="Photos")
_lidar = partial(typer.Option, rich_help_panel="Sweeps")
_drive = partial(typer.Option, rich_help_panel="Streets")


def trust(
    context: typer.Context,
    maps: Annotated[list[Path], typer.Argument(metavar="MAP.fold...", help="Maps of the place that is asked about.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for tables, plots and the page.")],
    count: Annotated[int, typer.Option(min=1, help="Queries a kind, evenly chosen.")] = 20,
    kind: Annotated[
        list[str] | None, typer.Option(help="Keep kinds whose name starts so; repeat for more. All where left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every random change.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    images: Annotated[
        Path | None, _photo(help="Photos of the map's place that are asked; none of the map's own.")
    ] = None,
    model: Annotated[
        Path | None, _photo(help="COLMAP model (or another layout with cameras) with their cameras and true poses.")
    ] = None,
    queries: Annotated[Path | None, _photo(help="List of those that are asked, with cameras or without.")] = None,
    truth: Annotated[Path | None, _photo(help="True poses, where --model is not theirs.")] = None,
    elsewhere: Annotated[list[Path] | None, _photo(help="Photos of another place; repeat for more.")] = None,
    weights: Annotated[Path | None, _photo(help="Of the network that extracts the map's features.")] = None,
    sweeps: Annotated[str | None, _lidar(help="Folder, file or glob of sweeps.")] = None,
    poses: Annotated[Path | None, _lidar(help="Their true poses in the map's frame, KITTI or TUM.")] = None,
    calibration: Annotated[Path | None, _lidar(help="KITTI calib.txt, when the poses are the camera's.")] = None,
    intensity_scale: Annotated[float | None, _lidar(help="Intensity of full reflectance, like 255.")] = None,
    aggregate: Annotated[int, _lidar(min=1, help="Sweeps a query.")] = 5,
    drives: Annotated[Path | None, _drive(help="Ortho image, folder of crops or of a ring, along the lanes.")] = None,
    drive_poses: Annotated[Path | None, _drive(help="Their true poses (CSV), where the folder has none.")] = None,
    ring: Annotated[Path | None, _drive(help="Calibration of a ring's folder.")] = None,
    frames: Annotated[int, _drive(min=2, help="Observations a drive.")] = 20,
) -> None:
    """Ask right queries, spoiled ones, and queries that have no right answer; count what is answered to each kind.

    Photos: wrong scenes, blank, noise, shuffled, mirrored, turned, cropped, with a wrong focal length or a moved lens,
    blurred, dark, half covered. Sweeps: wrong places and maps, blank, noise, shuffled, mirrored, scrambled rings,
    tilted, of another lidar, half covered, of a map out of date. Drives: other maps, mirrored, turned, out of order,
    blank, noise, dark, half covered. An answer is wrong where its error is beyond its own bound: the protection level
    where the map is calibrated, else three sigma. Writes JSON, CSV, plots and a page; the same seed asks the same.
    """
    from foldmap.bench.trust.benchmark import TrustSets, run_trust
    from foldmap.cli.bench import inputs

    require_both(sweeps, poses)
    how = {"count": count, "kinds": tuple(kind or ()), "seed": seed}
    driven = None
    if sweeps is not None and poses is not None:
        driven = _sweeps(sweeps, poses, calibration, intensity_scale, {**how, "aggregate": aggregate})
    sets = TrustSets(
        photos=_photos(images, model, queries, truth, elsewhere or [], how),
        sweeps=driven,
        streets=_streets(drives, drive_poses, ring, {**how, "frames": frames}),
        extractor=_extractor(weights),
    )
    make_folder(output)
    with inputs.stages() as stage:
        rows = run_trust(maps, sets, output, command=inputs.typed(context), stage=stage)
    if as_json:
        put({"kinds": rows.kinds, "sigma": rows.sigma}, True)
        return
    typer.echo(f"{'':44}{'asks for':>10}{'asked':>7}{'right':>7}{'beyond':>8}{'degraded':>10}{'refused':>9}")
    for row in rows.kinds:
        counts = f"{row['ok_right']:>7}{row['ok_beyond']:>8}{row['degraded']:>10}{row['refused']:>9}"
        typer.echo(f"{row['map'] + ': ' + row['kind']:<44}{row['expect']:>10}{row['asked']:>7}{counts}")
    typer.echo(str(output / "index.html"))


def _photos(
    images: Path | None,
    model: Path | None,
    queries: Path | None,
    truth: Path | None,
    elsewhere: list[Path],
    how: dict[str, Any],
) -> PhotoSet:
    from foldmap.bench.trust.photos import PhotoSet, other_photos, right_photos

    if images is None and not (model is queries is truth is None):
        raise ConfigError("cameras, lists and poses are of photos", "give --images FOLDER")
    right = [] if images is None else right_photos(images, model, queries, truth)
    return PhotoSet(right, other_photos(elsewhere), **how)


def _sweeps(
    sweeps: str, poses: Path, calibration: Path | None, intensity_scale: float | None, how: dict[str, Any]
) -> SweepSet:
    from foldmap.bench.trust.sweeps import SweepSet
    from foldmap.formats.sweeps.drives import open_drive

    drive = open_drive(sweeps, poses, calibration, intensity_scale)
    return SweepSet(drive.sweeps, drive.world_SE3_sensors, **how)


def _streets(drives: Path | None, poses: Path | None, ring: Path | None, how: dict[str, Any]) -> StreetSet:
    from foldmap.api.observing_streets import StreetSource
    from foldmap.bench.trust.streets import StreetSet, legs
    from foldmap.street.graph.window import AROUND

    if drives is None:
        if not (poses is ring is None):
            raise ConfigError("poses and a ring are of drives", "give --drives")
        return StreetSet(**how)
    seen = StreetSource([drives], poses, ring).open(AROUND)
    return StreetSet(legs(seen.read, seen.placed(poses), how["frames"], how["seed"]), **how)


def _extractor(weights: Path | None) -> Open:
    """Makes extractors when a map asks for one."""
    from functools import cache

    from foldmap.visual.features.extract import open_extractor

    @cache
    def extractor(feature: str) -> Extractor:
        return open_extractor(feature, weights)

    return extractor
