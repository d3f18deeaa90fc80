"""``foldmap localize``: sweeps, photos, or what a street layer takes, in a folded map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bars, make_folder, put, save_settings, tell, write_bytes
from foldmap.cli.verbs import option, options_of, spoken
from foldmap.errors import ConfigError

if TYPE_CHECKING:
    from foldmap.api.opened import FoldedMap
    from foldmap.api.results import Localized

EXAMPLES = (
    "\b\nExamples:\n  foldmap localize map.fold sweeps/ --poses prior.txt -o estimates.txt\n"
    "  foldmap localize town.fold drive/ -o run/\n"
    "  foldmap localize town.fold drive.mcap -o run/ --topic lidar=/velodyne_points\n"
    "  foldmap localize map.fold 'drive/*.bin' --poses odometry.txt --online -o estimates.txt --json\n"
    "  foldmap localize map.fold sweeps/ --odometry odometry.txt --gps fixes.csv -o estimates.txt\n"
    "  foldmap localize scene.fold --queries list.txt --features feats.h5 -o poses.txt\n"
    "  foldmap localize scene.fold photos/ --camera PINHOLE,525,525,320,240 -o poses.txt\n"
    "  foldmap localize scene.fold --rigs rigs.txt --features database.db --layout both -o poses.txt\n"
    "  foldmap localize streets.fold ortho.tif --poses poses.csv --prior gnss.csv --radius 64 -o estimates.csv\n"
    "  foldmap localize streets.fold crops/ --drive odometry.csv -o estimates.csv --picture where.png"
)
DRIVE = "drive"
_OF_LAYER = {"lidar": "sweeps", "visual": "photos", "street": "streets", DRIVE: DRIVE}
_PANELS = {"poses": "Sweeps and streets", "queries": "Photos"}
"""Options that come first and yet are of some layers alone; the panels of the others say which they are of."""

SWEEPS, PHOTOS, STREETS, BAGS = "Sweeps", "Photos", "Streets", "Bags of a drive"
SWEEPS_BAGS, SWEEPS_DRIVES = "Sweeps and bags of a drive", "Sweeps and drives"
SWEEPS_STREETS, PHOTOS_STREETS = "Sweeps and streets", "Photos and streets"


MapFile = Annotated[Path, typer.Argument(metavar="MAP.fold", help="The folded map.")]
Output = Annotated[
    Path,
    typer.Option("-o", "--output", help="File of the poses that were answered; of a drive also a folder, RUN/."),
]
Observations = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="OBSERVATIONS",
        help="Sweeps: folder, file or glob of .las .laz .pcd, KITTI .bin. Photos: their folder, or photos of one. "
        "Streets: aerial crops (the way ahead up), files or a folder; an ortho GeoTIFF with --poses; a folder with "
        "pairs.csv; or a folder with ring.json and a folder a camera. Or a drive of all these: a folder with "
        "drive.json, or a bag of ROS (.mcap, .bag, .db3, a rosbag2 folder).",
    ),
]
Poses = Annotated[
    Path | None,
    typer.Option(help="Sweeps: prior poses, KITTI or TUM, world_T_sensor. Streets: where an ortho image is cut."),
]
Queries = Annotated[
    Path | None, typer.Option(metavar="LIST", help="Photos: a line each, name MODEL width height params.")
]
Layer = Annotated[
    str | None, typer.Option(help="lidar, visual or street, where observations may be for two layers of the map.")
]
Limit = Annotated[
    str | None,
    typer.Option(
        "--alert-limit",
        metavar="LIMIT",
        help="ok only where the error stays under it but for 1 in 1,000: autoware, autoware-error, reid-street, "
        "reid-freeway, or metres.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
Radius = Annotated[
    float | None, option(SWEEPS_STREETS, "The prior is right to so many metres (sweeps: 1, streets: 64).", "--radius")
]
HeadingRange = Annotated[float, option(SWEEPS, "And to so many degrees of heading.", "--heading-range")]
Online = Annotated[bool, option(SWEEPS, "Filter along the drive, from the first pose or from fixes on.", "--online")]
Odometry = Annotated[
    Path | None, option(SWEEPS, "How the vehicle moves, KITTI or TUM; lays sweeps together, moves the filter.")
]
Gps = Annotated[
    Path | None,
    option(SWEEPS, "Fixes for the filter: time east north sigma, or a table with latitude and longitude.", "--gps"),
]
GpsSigma = Annotated[
    float, option(SWEEPS, "Standard deviation of fixes that say none, metres.", "--gps-sigma", metavar="METRES")
]
Aggregate = Annotated[int, option(SWEEPS, "Sweeps an observation.")]
Calibration = Annotated[Path | None, option(SWEEPS, "KITTI calib.txt, when the poses are the camera's.")]
IntensityScale = Annotated[float | None, option(SWEEPS_BAGS, "Intensity of full reflectance, like 255.")]
SensorHeight = Annotated[
    float | None, option(SWEEPS, "Height of the sensor above the road, metres.", "--sensor-height")
]
TimeLimit = Annotated[
    float | None,
    option(SWEEPS, "Where they are named by times, seconds to their pose at most; 0.01.", "--time-limit"),
]
Rigs = Annotated[Path | None, option(PHOTOS, "Of rigs: id name MODEL ... | qw qx qy qz tx ty tz.", metavar="LIST")]
Features = Annotated[Path | None, option(PHOTOS, "Their features, hloc's .h5 or COLMAP's .db.")]
Photos = Annotated[Path | None, option(PHOTOS, "Their folder; features are extracted (needs foldmap[sfm]).")]
Globals = Annotated[
    Path | None, option(PHOTOS, "hloc's .h5 of global descriptors, where the map has some.", "--globals")
]
Weights = Annotated[Path | None, option(PHOTOS, "Of the network that made the map's features.")]
Matcher = Annotated[str, option(PHOTOS, "direct, mutual or lightglue.")]
MatcherWeights = Annotated[Path | None, option(PHOTOS, "Of lightglue, where that is the matcher.")]
MaxKeypoints = Annotated[int, option(PHOTOS, "Extract at most that many features of each.")]
MaxSide = Annotated[
    int | None, option(PHOTOS, "Extract from photos made smaller, to so many px a side: faster.", "--max-side")
]
Layout = Annotated[str, option(PHOTOS, "Poses as hloc, tum or both (OUTPUT.tum).")]
Seed = Annotated[int, option(PHOTOS, "Of RANSAC.")]
Camera = Annotated[
    list[str] | None,
    option(
        PHOTOS_STREETS,
        "Photos of a list of names: PINHOLE,fx,fy,cx,cy or 'MODEL width height params'. Streets: use this camera "
        "of the ring alone; repeat for more.",
    ),
]
Model = Annotated[
    Path | None,
    option(PHOTOS_STREETS, "Photos of a list of names: COLMAP model that has their cameras. Streets: not the map's."),
]
Prior = Annotated[Path | None, option(STREETS, "A position an observation, CSV or TUM; else the whole map.")]
Compass = Annotated[
    float | None, option(STREETS, "The prior's heading is right to so many degrees (standard deviation).", "--compass")
]
Drive = Annotated[Path | None, option(STREETS, "They are a drive; its odometry, CSV or TUM.", "--drive", "--sequence")]
Truth = Annotated[Path | None, option(STREETS, "True poses: prints recall at 1, 3, 5, 10 m.")]
Region = Annotated[str | None, option(STREETS, "Of the map, where it has several.")]
Step = Annotated[float, option(STREETS, "Places along lanes that are told apart, metres.", "--step")]
Temperature = Annotated[float | None, option(STREETS, "Of similarity, as calibrated for the model.")]
MinSimilarity = Annotated[
    float | None, option(STREETS, "Below this cosine nothing matches; else what suits the model.")
]
Ring = Annotated[Path | None, option(STREETS, "Calibration of the cameras; ring.json of the folder where left out.")]
Topic = Annotated[
    list[str] | None,
    option(
        BAGS,
        "Take this topic for a role, or none: lidar, camera (repeat for more), fix, odometry, twist, imu.",
        "--topic",
        metavar="ROLE=TOPIC",
    ),
]
BaseFrame = Annotated[str | None, option(BAGS, "The vehicle's frame in TF; base_link where left out.", "--base-frame")]
GroundZ = Annotated[
    float | None, option(BAGS, "Height of the ground in that frame, for cameras.", "--ground-z", metavar="METRES")
]
Clock = Annotated[str, option(BAGS, "Times are the stamps, or when messages were received: stamps, received.")]
Deskew = Annotated[
    bool,
    option(
        SWEEPS_DRIVES,
        "Put sweeps together as if seen at once: by times of points, else by how the lidar spins.",
        "--deskew/--no-deskew",
    ),
]
Picture = Annotated[Path | None, option(STREETS, "Draw the heat map to this PNG.")]
PictureOf = Annotated[int | None, option(STREETS, "Of this observation, from 1; the last where left out.")]


def localize(
    context: typer.Context,
    fold_file: MapFile,
    output: Output,
    observations: Observations = None,
    poses: Poses = None,
    queries: Queries = None,
    layer: Layer = None,
    alert_limit: Limit = None,
    as_json: AsJson = False,
    radius_m: Radius = None,
    heading_range_deg: HeadingRange = 5.0,
    odometry: Odometry = None,
    gps: Gps = None,
    gps_sigma_m: GpsSigma = 2.0,
    online: Online = False,
    aggregate: Aggregate = 5,
    calibration: Calibration = None,
    intensity_scale: IntensityScale = None,
    sensor_height_m: SensorHeight = None,
    time_limit_s: TimeLimit = None,
    topic: Topic = None,
    base_frame: BaseFrame = None,
    ground_z_m: GroundZ = None,
    clock: Clock = "stamps",
    deskew: Deskew = True,
    rigs: Rigs = None,
    features: Features = None,
    photos: Photos = None,
    global_descriptors: Globals = None,
    weights: Weights = None,
    matcher: Matcher = "direct",
    matcher_weights: MatcherWeights = None,
    max_keypoints: MaxKeypoints = 8192,
    max_side: MaxSide = None,
    layout: Layout = "hloc",
    seed: Seed = 0,
    camera: Camera = None,
    model: Model = None,
    prior: Prior = None,
    compass_deg: Compass = None,
    drive: Drive = None,
    truth: Truth = None,
    region: Region = None,
    step_m: Step = 2.0,
    temperature: Temperature = None,
    min_similarity: MinSimilarity = None,
    ring: Ring = None,
    picture: Picture = None,
    picture_of: PictureOf = None,
) -> None:
    """Localize sweeps, photos, or what a street layer takes, in a folded map.

    What the OBSERVATIONS are says which layer they are for. Answered poses are written as TUM rows, or CSV where OUTPUT
    is so called; those of photos as name qw qx qy qz tx ty tz (world to camera), or TUM (camera to world; the time is
    the name's where names are numbers, else the query's number). Beside them OUTPUT.jsonl has one line for every
    observation with its status, pose, covariance and diagnostics; of streets also the guess, the most probable place,
    which recall is about. What is not answered has no pose. Exit status 1 when nothing was answered.
    """
    from foldmap.api import opened
    from foldmap.api.drive_outputs import write_run
    from foldmap.api.results import write_estimates
    from foldmap.atlas.whole import together
    from foldmap.localize.protection import AlertLimit

    limit = None if alert_limit is None else AlertLimit.read(alert_limit)
    with opened.open(fold_file) as town, bars() as begin:
        kind = _layer(context.params, town)
        run, output = _places(kind, output, observations or [])
        own = _options_of(context, kind)
        if limit is not None and kind == "visual" and not town.visual.parameters.get("metric"):
            raise ConfigError("an alert limit is in metres, and this map has no scale", "leave --alert-limit out")
        found = _LOCALIZERS[kind](town, observations or [], dict(own), begin)
        found = found if limit is None else found.within(limit)
        drawn = found.heat_map(picture_of) if picture is not None else b""
    tell(found.notes)
    said = {"map": fold_file, "layer": kind, "observations": observations}
    with together():
        write_estimates(output, found.observations, layout)
        tell([] if run is None else write_run(run, found))
        save_settings(output, "localize", {**said, **own, **found.settings})
        if picture is not None:
            write_bytes(picture, drawn)
    summary = found.summary()
    put({"estimates": output, **summary}, as_json)
    if summary["answered"] == 0:
        raise typer.Exit(1)


def _layer(asked: dict[str, Any], town: FoldedMap) -> str:
    """The kind of layer that is meant."""
    from foldmap.api.observing import LAYERS, VISUAL, layer_of
    from foldmap.formats.bags.files import is_bag

    if asked["layer"] is not None:
        if asked["layer"] not in LAYERS:
            raise ConfigError(f"there is no layer {asked['layer']!r}", f"choose {', '.join(LAYERS)}")
        return str(asked["layer"])
    if any(asked[name] for name in ("queries", "rigs", "features", "photos")):
        return VISUAL
    given = asked["observations"] or []
    if len(given) == 1 and ((given[0] / "drive.json").is_file() or is_bag(given[0])):
        return DRIVE
    if not given:
        cure = "give OBSERVATIONS, or --queries LIST with --features FILE or --photos FOLDER"
        raise ConfigError("there is nothing to localize", cure)
    return layer_of(given, {layer.kind for layer in town.file.layers()})


def _options_of(context: typer.Context, kind: str) -> dict[str, Any]:
    """Options of a layer that have a value; those of another layer, or that nothing would heed, are a ConfigError."""
    own, said = options_of(context, _OF_LAYER[kind], _PANELS), spoken(context)
    for name in {"max_keypoints", "max_side"} & said if not said & {"photos", "observations"} else ():
        label = f"--{name.replace('_', '-')}"
        raise ConfigError(f"{label} is of features that are extracted", "give --photos, or leave it out")
    if kind == "lidar" and not said & {"poses", "gps"}:
        for one in context.command.params:
            if one.name in said & {"radius_m", "heading_range_deg", "aggregate", "sensor_height_m"}:
                cure = "give --poses or --gps too, or leave it out"
                raise ConfigError(f"{one.opts[0]} is not heeded where a drive begins anywhere in the map", cure)
    if "picture_of" in said and "picture" not in said:
        raise ConfigError("--picture-of is of the picture", "give --picture too, or leave it out")
    if "gps_sigma_m" in said and "gps" not in said:
        raise ConfigError("--gps-sigma is of fixes", "give --gps too, or leave it out")
    if "matcher_weights" in said and own["matcher"] != "lightglue":
        raise ConfigError("--matcher-weights is of --matcher lightglue", "give that too, or leave it out")
    return own


def _sweeps(town: FoldedMap, observations: list[Path], own: dict[str, Any], begin: Any) -> Localized:
    from foldmap.api.localizing_sweeps import localize_sweeps

    if len(observations) != 1:
        raise ConfigError("sweeps come from one place", "give a folder, a file or a quoted pattern")
    return localize_sweeps(town, observations[0], begin=begin, **own)


def _photos(town: FoldedMap, observations: list[Path], own: dict[str, Any], begin: Any) -> Localized:
    from foldmap.api.localizing_photos import localize_photos
    from foldmap.api.results import check_layout
    from foldmap.visual.features.photo_names import OTHER_SUFFIXES, SUFFIXES

    check_layout(own.pop("layout"))
    folders = [*observations, *([own.pop("photos")] if "photos" in own else [])]
    if missing := [path for path in folders if not path.exists()]:
        raise ConfigError(f"there is nothing at {missing[0]}", "check the path")
    named = all(path.suffix.lower() in SUFFIXES | OTHER_SUFFIXES and path.is_file() for path in observations)
    if observations and named and not {"photos", "queries", "rigs"} & own.keys():
        # photos of one folder, as a shell's patterns give them: what two of them name is one photo
        own["only"] = list(dict.fromkeys(path.name for path in folders))
        folders = list({path.parent for path in folders})
    if len(folders) > 1 or (folders and not folders[0].is_dir()):
        cure = "give one folder, or photos of one; a list goes with --queries, and then --photos FOLDER"
        raise ConfigError("photos come from one folder", cure)
    cameras = own.pop("camera", None) or [""]
    if len(cameras) > 1:
        raise ConfigError("all photos of a list of names have one camera", "give --camera once")
    photos = folders[0] if folders else None
    return localize_photos(town, photos=photos, camera=cameras[0], begin=begin, **own)


def _streets(town: FoldedMap, observations: list[Path], own: dict[str, Any], begin: Any) -> Localized:
    from foldmap.api.localizing_streets import localize_streets
    from foldmap.api.observing_streets import StreetSource

    cameras, ring, poses = own.pop("camera", None) or (), own.pop("ring", None), own.pop("poses", None)
    own = {name: value for name, value in own.items() if name not in ("picture", "picture_of")}
    return localize_streets(town, StreetSource(observations, poses, ring, cameras), begin=begin, **own)


def _drive(town: FoldedMap, observations: list[Path], own: dict[str, Any], begin: Any) -> Localized:
    from foldmap.api.localizing_drives import localize_drive
    from foldmap.formats.bags.files import is_bag
    from foldmap.formats.bags.survey import BagOptions, topics_of

    names = ("base_frame", "ground_z_m", "clock", "intensity_scale")
    said, deskew = {name: own[name] for name in names if name in own}, own["deskew"]
    topics = topics_of(own.get("topic") or [])
    of_bags = topics or said != {"clock": "stamps"} or is_bag(observations[0])
    bag = BagOptions(topics, deskew=deskew, **said) if of_bags else None
    return localize_drive(town, observations[0], bag=bag, deskew=deskew, begin=begin)


def _places(kind: str, output: Path, drives: list[Path]) -> tuple[Path | None, Path]:
    """The folder of a drive's run, not the drive's own, or None where there is none; and the file of the poses."""
    if kind != DRIVE or (output.suffix and not output.is_dir()):
        if output.is_dir():
            raise ConfigError(f"--output {output} is a folder", "give a file name")
        return None, output
    if output.is_dir() and any(one.is_dir() and output.samefile(one) for one in drives):
        raise ConfigError(f"--output {output} is the drive's own folder", "give another folder, which is made")
    make_folder(output)
    return output, output / "estimates.txt"


_LOCALIZERS: dict[str, Callable[..., Any]] = {
    "lidar": _sweeps, "visual": _photos, "street": _streets, DRIVE: _drive
}  # fmt: skip
