"""``foldmap build visual``: a scene from photos."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bars, make_folder, plain, put, say, tell, write_bytes, write_text
from foldmap.errors import ConfigError, MapInputError, WriteError
from foldmap.version import __version__

if TYPE_CHECKING:
    from foldmap.visual.scene.build import SceneSettings
    from foldmap.visual.scene.known_poses import KnownPoses
    from foldmap.visual.scene.mapping import BuiltScene

EXAMPLES = (
    "\b\nExamples:\n  foldmap build visual photos/ -o scene/\n"
    "  foldmap build visual photos/ -o scene/ --poses poses.txt --camera PINHOLE,525,525,320,240\n"
    "  foldmap build visual photos/ -o scene/ --features aliked --weights aliked-n16.pth\n"
    "  foldmap build visual drive.mcap -o scene/ --topic camera=/cam0/image_raw --every 10 --matching sequential"
)
_NAMED = 10


def visual(
    images: Annotated[Path, typer.Argument(help="Folder of photos, also in folders below; or a bag of ROS.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the scene: new, empty or a former scene.")],
    features: Annotated[str, typer.Option(help="sift, aliked (or aliked-n16, -n32, -t16), xfeat.")] = "sift",
    weights: Annotated[Path | None, typer.Option(help="The network's weights: a file, or a folder with it.")] = None,
    poses: Annotated[
        Path | None, typer.Option(help="Known poses: hloc text, TUM, folder of 7-Scenes .pose.txt, or a COLMAP model.")
    ] = None,
    matching: Annotated[
        str, typer.Option(help="exhaustive, sequential, or a file of two names a line.")
    ] = "exhaustive",
    overlap: Annotated[int | None, typer.Option(help="Of sequential matching, photos; 10.")] = None,
    camera: Annotated[str, typer.Option(help="Intrinsics of all photos like PINHOLE,fx,fy,cx,cy; else guessed.")] = "",
    one_camera: Annotated[
        bool,
        typer.Option("--one-camera", help="Photos of one size are of one camera, as of a video; else as EXIF says."),
    ] = False,
    max_keypoints: Annotated[int, typer.Option(help="At most that many features a photo.")] = 8192,
    first_octave: Annotated[
        int | None, typer.Option(help="Of SIFT: -1 doubles photos first (the default), 0 is faster.")
    ] = None,
    max_side: Annotated[int | None, typer.Option(help="Scale larger photos down to this, px.")] = None,
    metric: Annotated[
        bool | None, typer.Option("--metric/--not-metric", help="Whether known poses are in metres.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Times of photos and poses farther apart do not belong together, s; 0.01.")
    ] = None,
    topic: Annotated[list[str] | None, typer.Option(help="Of a bag: camera=/topic.", metavar="camera=TOPIC")] = None,
    every: Annotated[int | None, typer.Option(help="Of a bag: every so many-th image alone.")] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    threads: Annotated[int, typer.Option(help="Of extraction and matching; -1 for all cores.")] = -1,
    mapping_threads: Annotated[int, typer.Option(help="More are faster, but results vary in the last digits.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Build a scene from photos: features, matches, structure from motion.

    Writes sparse/ (a COLMAP model), features.h5 (hloc's layout), scene.json and scene.png. Needs foldmap[sfm]; ALIKED
    and XFeat need foldmap[learned] and weights of your own.
    """
    from foldmap.visual.features.extract import ExtractorSettings
    from foldmap.visual.scene.build import SceneSettings

    listed = matching not in ("exhaustive", "sequential")
    if overlap is not None and matching != "sequential":
        raise ConfigError("--overlap is of sequential matching", "give --matching sequential, or leave it out")
    if one_camera and camera:
        raise ConfigError("--camera is of all photos already", "leave --one-camera out")
    if first_octave is not None and features != "sift":
        raise ConfigError("--first-octave is of SIFT", "leave it out")
    settings = SceneSettings(
        feature=features,
        weights=weights,
        extractor=ExtractorSettings(max_keypoints, max_side, -1 if first_octave is None else first_octave),
        matching="listed" if listed else matching,
        overlap=10 if overlap is None else overlap,
        one_camera=one_camera,
        seed=seed,
        threads=threads,
        mapping_threads=mapping_threads,
    )
    how: dict[str, Any] = {"poses": poses, "pairs": Path(matching) if listed else None, "camera": camera}
    with _photos(images, topic, every, output) as (photos, told):
        settings = settings if told is None or camera else replace(settings, camera=told)
        summary = build_visual(photos, output, settings, metric=metric, time_limit_s=time_limit, **how)
        _warn(summary, photos)
    if not as_json:
        summary |= {key: len(summary[key]) for key in ("left_out", "unreadable")}
    put(summary, as_json)


@contextmanager
def _photos(images: Path, topic: list[str] | None, every: int | None, output: Path) -> Iterator[tuple[Path, Any]]:
    """Give the folder of the photos, and their camera where they bring it: those of a bag lie beside the scene."""
    from foldmap.atlas.whole import scratch_beside
    from foldmap.formats.bags.files import is_bag

    if not is_bag(images):
        if topic or every is not None:
            raise ConfigError("--topic and --every are of bags", "leave them out")
        yield images, None
        return
    from foldmap.formats.bags.survey import topics_of
    from foldmap.formats.bags.unpack_images import unpack_images

    topics = topics_of(topic or [])
    if set(topics) - {"camera"}:
        raise ConfigError("a scene is of images alone", "give --topic camera=/image")
    _require_scene_folder(output)
    with scratch_beside(_beside(output), "unpacking") as scratch:
        with bars() as begin:
            found = unpack_images(images, scratch, topics.get("camera", ()), every or 1, begin("Unpacking"))
        tell(found.notes)
        yield found.folder, found.camera


def _beside(output: Path) -> Path:
    """Beside the scene, or inside its folder, which may be a disk of its own; the next run clears what is left."""
    beside = output / "scene" if output.is_dir() else output
    make_folder(beside.parent)
    return beside


def _warn(summary: dict[str, Any], images: Path) -> None:
    """Say which photos are not in the scene, and why."""
    from foldmap.visual.features.photo_names import CONVERT, find_other_images

    unreadable = summary["unreadable"]
    lost = [name for name in summary["left_out"] if name not in unreadable]
    for names, what in ((list(unreadable), "cannot be read"), (lost, "found no place")):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            say(f"warning: {len(names)} photos {what}: {', '.join(names[:_NAMED])}{more}")
    for reason in list(unreadable.values())[:_NAMED]:
        say(f"warning: {reason}")
    others = find_other_images(images)
    if others:
        say(f"warning: {len(others)} photos are of a format that is not read, like {others[0]} ({CONVERT})")


def build_visual(
    images: Path,
    output: Path,
    settings: SceneSettings,
    *,
    poses: Path | None = None,
    pairs: Path | None = None,
    camera: str = "",
    metric: bool | None = None,
    time_limit_s: float | None = None,
) -> dict[str, Any]:
    """Build and write a scene; parameters as the command's. Returns what scene.json holds.

    An interrupted or failed build leaves a former scene as it was.

    Raises:
        FoldmapError: what was brought cannot be used.
    """
    from foldmap.atlas.whole import scratch_beside
    from foldmap.formats.hloc.features import HlocFeatureWriter
    from foldmap.formats.hloc.lists import read_pairs
    from foldmap.report.scene_view import scene_png
    from foldmap.visual.features.extract import open_extractor
    from foldmap.visual.features.photo_names import find_images
    from foldmap.visual.scene.build import build_scene, camera_from_text

    started_s = time.perf_counter()
    names = find_images(images)
    if metric is not None and poses is None:
        raise ConfigError("photos alone have no scale", "leave --metric out, or give known poses")
    _require_scene_folder(output)
    if camera:
        settings = replace(settings, camera=camera_from_text(camera, *_first_size_px(images, names)))
    known = _known(poses, names, metric, time_limit_s)
    feature = open_extractor(settings.feature, settings.weights, settings.extractor).feature
    with scratch_beside(_beside(output), "building") as folder, bars() as begin:
        bar_of = cache(lambda doing: begin(doing.capitalize()))
        with HlocFeatureWriter(folder / "features.h5", feature) as sink:
            listed = read_pairs(pairs) if pairs is not None else None
            built = build_scene(
                images, folder, settings, sink, known, listed, lambda doing, done, total: bar_of(doing)(done, total)
            )
        picture = scene_png(built.points_world, built.colours, built.centres_world, built.metric)
        write_bytes(folder / "scene.png", picture)
        summary = _summary(built, output, settings, known, time.perf_counter() - started_s)
        chosen = {
            **summary,
            "versions": {"foldmap": __version__, "pycolmap": version("pycolmap")},
            "settings": {**asdict(settings), "poses": poses, "pairs": pairs},
        }
        write_text(folder / "scene.json", json.dumps(plain(chosen), indent=2, ensure_ascii=False) + "\n")
        _move_in(folder, output)
    return summary


def _require_scene_folder(output: Path) -> None:
    """Refuse to write among files that are not ours."""
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is a file", "name a folder for the scene")
    ours = (output / "scene.json").is_file()
    if output.is_dir() and not ours and any(not entry.name.startswith(".") for entry in output.iterdir()):
        raise ConfigError(f"{output} holds other files", "choose a new or empty folder")


def _first_size_px(images: Path, names: list[str]) -> tuple[int, int]:
    """Width and height of the first photo that can be read."""
    from foldmap.visual.features.images import photo_size_px

    for name in names:
        try:
            return photo_size_px(images / name)
        except MapInputError:
            continue
    raise MapInputError(f"none of {len(names)} photos in {images} can be read", "copy them again")


def _known(poses: Path | None, names: list[str], metric: bool | None, time_limit_s: float | None) -> KnownPoses | None:
    from foldmap.formats.poses.photos import read_image_poses
    from foldmap.geometry.association import DEFAULT_LIMIT_S

    if time_limit_s is not None and poses is None:
        raise ConfigError("--time-limit is of known poses", "give --poses, or leave it out")
    if poses is None:
        return None
    known = read_image_poses(poses, names, DEFAULT_LIMIT_S if time_limit_s is None else time_limit_s)
    if time_limit_s is not None and not known.by_time:
        raise ConfigError(f"poses are paired {known.paired}, not by time", "leave --time-limit out")
    try:
        known.of(names)
    except MapInputError as error:
        raise MapInputError(f"{poses}: {error.message}", error.cure) from error
    return known if metric is None else replace(known, metric=metric)


def _summary(
    built: BuiltScene, output: Path, settings: SceneSettings, known: KnownPoses | None, seconds: float
) -> dict[str, Any]:
    return {
        "scene": str(output),
        "feature": built.feature,
        "photos": len(built.images),
        "registered": len(built.registered),
        "left_out": list(built.left_out),
        "unreadable": dict(built.unreadable),
        "poses": "found" if known is None else known.layout,
        "poses_paired": "" if known is None else known.paired,
        "intrinsics": _assumed(built, settings),
        "matching": settings.matching,
        "pairs": built.pairs,
        "points": built.points,
        "observations": built.observations,
        "mean_reprojection_error_px": round(built.mean_reprojection_error_px, 4),
        "metric": built.metric,
        "seconds": round(seconds, 2),
    }


def _assumed(built: BuiltScene, settings: SceneSettings) -> str:
    """In words, what was taken for the cameras of the photos."""
    from_where = {
        "given": "given",
        "exif": "focal lengths from EXIF, refined",
        "guessed": "focal lengths guessed, refined",
    }
    shared = "size" if settings.one_camera else "EXIF's make, model, lens and focal length, and size"
    told = []
    for source, (photos, cameras) in built.cameras.items():
        share = "" if source == "given" or photos == cameras else f", one for all of the same {shared}"
        told.append(f"{from_where[source]}: {photos} photos, {cameras} cameras{share}")
    return "; ".join(told)


def _move_in(folder: Path, output: Path) -> None:
    """Put what is finished in the place of what was there, by renames alone; scene.json, which says it is one, last."""
    former = folder / "former"
    try:
        output.mkdir(exist_ok=True)
        former.mkdir()
        for name in ("sparse", "features.h5", "scene.png", "scene.json"):
            if (output / name).exists():
                os.replace(output / name, former / name)
            os.replace(folder / name, output / name)
    except OSError as error:
        raise WriteError(f"{output} cannot be written: {error}", "check the folder and its rights") from error
