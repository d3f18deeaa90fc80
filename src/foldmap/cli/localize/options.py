"""Options of ``foldmap localize``, most for photos, and the check that nobody mixes them with those for sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foldmap.errors import ConfigError

Calibration = Annotated[Path | None, typer.Option(help="Sweeps: KITTI calib.txt, when the poses are the camera's.")]
IntensityScale = Annotated[float | None, typer.Option(help="Sweeps: intensity of full reflectance, like 255.")]
SensorHeight = Annotated[float | None, typer.Option(help="Sweeps: height of the sensor above the road, metres.")]
TimeLimit = Annotated[float, typer.Option(help="Sweeps: where they are named by times, seconds to their pose at most.")]
Queries = Annotated[
    Path | None, typer.Option(metavar="LIST", help="Photos: a line each, name MODEL width height params.")
]
Rigs = Annotated[
    Path | None, typer.Option(metavar="LIST", help="Photos of rigs: id name MODEL ... | qw qx qy qz tx ty tz.")
]
Features = Annotated[Path | None, typer.Option(help="Photos: their features, hloc's .h5 or COLMAP's .db.")]
Photos = Annotated[Path | None, typer.Option(help="Photos: their folder; features are extracted (needs foldmap[sfm]).")]
Globals = Annotated[
    Path | None, typer.Option("--globals", help="Photos: hloc's .h5 of global descriptors, where the map has some.")
]
Intrinsics = Annotated[
    str, typer.Option(help="Photos of a list of names: PINHOLE,fx,fy,cx,cy or 'MODEL width height params'.")
]
Model = Annotated[Path | None, typer.Option(help="Photos of a list of names: COLMAP model that has their cameras.")]
Weights = Annotated[Path | None, typer.Option(help="Photos: of the network that made the map's features.")]
Matcher = Annotated[str, typer.Option(help="Photos: direct, mutual or lightglue.")]
MatcherWeights = Annotated[Path | None, typer.Option(help="Photos: of lightglue, where that is the matcher.")]
MaxKeypoints = Annotated[int, typer.Option(help="Photos: extract at most that many features of each.")]
Layout = Annotated[str, typer.Option(help="Photos: poses as hloc, tum or both (OUTPUT.tum).")]
Seed = Annotated[int, typer.Option(help="Photos: of RANSAC.")]

_FOR_SWEEPS = {
    "poses": "--poses",
    "radius": "--radius",
    "heading_range": "--heading-range",
    "online": "--online",
    "aggregate": "--aggregate",
    "calibration": "--calibration",
    "intensity_scale": "--intensity-scale",
    "sensor_height": "--sensor-height",
    "time_limit": "--time-limit",
}
_FOR_PHOTOS = {
    "features": "--features",
    "photos": "--photos",
    "global_descriptors": "--globals",
    "camera": "--camera",
    "model": "--model",
    "weights": "--weights",
    "matcher": "--matcher",
    "matcher_weights": "--matcher-weights",
    "max_keypoints": "--max-keypoints",
    "layout": "--layout",
    "seed": "--seed",
}


def refuse_mixed(context: typer.Context, sweeps: str | None, photos: bool) -> None:
    """Check that either sweeps or photos are asked for, with the options of that kind alone.

    Args:
        context: of the command.
        sweeps: its argument.
        photos: whether a list of queries or rigs is given.

    Raises:
        ConfigError: both, neither, an option of the other kind, or sweeps without prior poses.
    """
    if (sweeps is not None) == photos:
        raise ConfigError(
            "either sweeps or photos are localized" if photos else "there is nothing to localize",
            "give SWEEPS with --poses PRIOR, or --queries LIST with --features FILE or --photos FOLDER",
        )
    said = {name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")}
    strange = [option for name, option in (_FOR_SWEEPS if photos else _FOR_PHOTOS).items() if name in said]
    if strange:
        raise ConfigError(f"{strange[0]} is for {'sweeps' if photos else 'photos'}", "leave it out")
    if "max_keypoints" in said and "photos" not in said:
        raise ConfigError("--max-keypoints is of features that are extracted", "give --photos, or leave it out")
    if "matcher_weights" in said and context.params["matcher"] != "lightglue":
        raise ConfigError("--matcher-weights is of --matcher lightglue", "give that too, or leave it out")
    if not photos and "poses" not in said:
        raise ConfigError("sweeps need prior poses", "give --poses, one a sweep")
