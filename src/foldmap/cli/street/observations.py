"""What a vehicle brings to the street verbs: aerial crops, an ortho image with poses, camera rings, pairs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from foldmap.errors import ConfigError, MapInputError

if TYPE_CHECKING:
    from foldmap.formats.street.observations.poses import PoseTable
    from foldmap.geometry import SE2
    from foldmap.street.graph.window import Window
    from foldmap.street.images.observation import CameraRing, Observation, RingFrame
    from foldmap.street.model import EmbeddingModel
    from foldmap.street.source import LaneGraph
    from foldmap.types import FloatArray

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
ORTHO = {".tif", ".tiff", ".npz", ".vrt"}
CROP_PX = 160
_BATCH = 16
_NAMED = 6


@dataclass(frozen=True)
class Seen:
    """Observations in order; images are decoded when they are asked for.

    Attributes:
        names: one each.
        look: number -> what was seen there; None where no camera that counts has an image.
        poses: world_SE2_ego where each was taken, where what was brought says so.
        maps: name of the street map of each, where what was brought says so.
        truth: number -> true graph in the ego frame, where what was brought has one.
        notes: what is missing or left out, for people.
    """

    names: tuple[str, ...]
    look: Callable[[int], Observation | None]
    poses: list[SE2] | None = None
    maps: list[str] | None = None
    truth: Callable[[int], LaneGraph] | None = None
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def placed(self, poses: Path | None) -> list[SE2]:
        """Where each was taken: by a file, or by what was brought.

        Raises:
            ConfigError: nothing says so.
            PoseInputError: the file cannot be used.
        """
        if poses is not None and self.poses is None:
            return pose_table(poses).for_observations(self.names).poses()
        if self.poses is None:
            raise ConfigError("nobody says where the observations were taken", "give --poses FILE.csv")
        return self.poses


def pose_table(path: Path) -> PoseTable:
    """Read poses; imported when needed."""
    from foldmap.formats.street.observations.poses import read_pose_table

    return read_pose_table(path)


def open_seen(
    sources: Sequence[Path],
    window: Window,
    *,
    ring: Path | None = None,
    cameras: Sequence[str] = (),
    poses: Path | None = None,
) -> Seen:
    """Open observations; everything but the content of images is checked at once.

    Args:
        sources: image files or folders of them (aerial crops of the window, the way ahead up); one ortho image with
            poses; one folder with pairs.csv; or one folder of a ring, a folder a camera.
        window: what aerial crops cover.
        ring: calibration; ring.json of the folder where None.
        cameras: those that count; all where empty.
        poses: of an ortho image: where windows are cut.

    Raises:
        MapInputError: something is missing, or is not what it should be.
        ConfigError: options that do not belong to what was brought.
    """
    if not sources:
        raise ConfigError("there are no observations", "give images, a folder, or an ortho image with --poses")
    first = Path(sources[0])
    missing = next((source for source in sources if not Path(source).exists()), None)
    if missing is not None:
        raise MapInputError(f"there is no file or folder {missing}", "check the path")
    if first.is_dir() and (first / "pairs.csv").is_file():
        return _pairs(_alone(sources), window, cameras)
    if first.is_dir() and (ring is not None or (first / "ring.json").is_file()):
        return _ring(_alone(sources), ring or first / "ring.json", cameras)
    if cameras or ring is not None:
        raise ConfigError(f"{first} has no cameras", "leave --camera and --ring out, or give a folder with ring.json")
    if first.suffix.lower() in ORTHO:
        return _ortho(_alone(sources), window, poses)
    return _crops(sources, window)


def embed(
    model: EmbeddingModel, seen: Seen, report: Callable[[int, int], None] = lambda done, total: None
) -> list[FloatArray | None]:
    """Unit row of each observation; None where nothing was seen.

    Raises:
        MapInputError: an image cannot be used; the message names the observation.
    """
    rows: list[FloatArray | None] = [None] * len(seen)
    for start in range(0, len(seen), _BATCH):
        some = [(k, look(seen, k)) for k in range(start, min(start + _BATCH, len(seen)))]
        there = [(k, one) for k, one in some if one is not None]
        if there:
            embedded = model.embed_observations([one for _, one in there])
            for (k, _), row in zip(there, embedded, strict=True):
                rows[k] = row if float((row * row).sum()) > 0.25 else None
        report(min(start + _BATCH, len(seen)), len(seen))
    return rows


def look(seen: Seen, number: int) -> Observation | None:
    """Decode one observation.

    Raises:
        MapInputError: as what it holds; the message names it.
    """
    try:
        return seen.look(number)
    except MapInputError as error:
        name = seen.names[number]
        if name in error.message:
            raise
        raise MapInputError(f"{name}: {error.message}", error.cure) from error


def open_ring(path: Path) -> CameraRing:
    """Read a calibration: ring.json, or a folder with Argoverse 2's two tables.

    Raises:
        MapInputError: it is missing, or a camera is not calibrated.
    """
    from foldmap.formats.street.observations.ring import read_ring_file

    if not path.is_dir():
        return read_ring_file(path)
    if (path / "ring.json").is_file():
        return read_ring_file(path / "ring.json")
    tables = [sorted(path.glob(f"*{name}.feather")) for name in ("intrinsics", "egovehicle_SE3_sensor")]
    if not all(len(found) == 1 for found in tables):
        raise MapInputError(
            f"{path} is no calibration", "give ring.json, or a folder with one *intrinsics.feather of Argoverse 2"
        )
    from foldmap.formats.street.observations.argoverse2_rig import read_ring

    return read_ring(tables[0][0], tables[1][0])


def _alone(sources: Sequence[Path]) -> Path:
    if len(sources) > 1:
        raise ConfigError(f"{sources[0]} is all that can be given at once", f"leave {sources[1]} out")
    return Path(sources[0])


def _crops(sources: Sequence[Path], window: Window) -> Seen:
    from foldmap.formats.street.observations.images import read_rgb
    from foldmap.street.images.observation import AerialCrop

    files: list[Path] = []
    for source in map(Path, sources):
        inside = _images(source) if source.is_dir() else [source]
        if not inside:
            raise MapInputError(f"{source} holds no images", "give JPEG or PNG crops, pairs.csv, or ring.json")
        files += inside
    length, width = window.size_m

    def read(number: int) -> Observation:
        try:
            return AerialCrop(read_rgb(files[number]), window)
        except MapInputError as error:
            if str(files[number]) in error.message:
                raise
            cure = f"{error.cure}; a crop covers {length:g} x {width:g} m, the way ahead up"
            raise MapInputError(f"{files[number]}: {error.message}", cure) from error

    return Seen(_unique([file.name for file in files]), read)


def _ortho(path: Path, window: Window, poses: Path | None) -> Seen:
    from foldmap.formats.street.observations.images import read_ground_image, read_ground_tile

    if poses is None:
        raise ConfigError(f"{path} shows many places", "give --poses FILE.csv, where windows are cut")
    table = pose_table(poses)
    ground = read_ground_tile(path).ground if path.suffix.lower() == ".npz" else read_ground_image(path)
    at = table.poses()
    names = table.names or tuple(str(number) for number in range(len(at)))
    return Seen(names, lambda number: ground.crop(at[number], window, CROP_PX), at, None)


def _pairs(path: Path, window: Window, cameras: Sequence[str]) -> Seen:
    from foldmap.formats.street.observations.pairs import read_pairs
    from foldmap.street.images.observation import RingFrame

    pairs = read_pairs(path, window)
    if cameras and pairs.ring is None:
        raise ConfigError(f"{path} holds aerial crops", "leave --camera out")
    wanted = pairs.ring.take(*cameras) if pairs.ring is not None and cameras else None

    def read(number: int) -> Observation | None:
        found = pairs[number].observation
        return _only(found, wanted) if wanted is not None and isinstance(found, RingFrame) else found

    rows = pairs.places()
    return Seen(
        tuple(str(number) for number in range(len(pairs))),
        read,
        [pose for _, pose in rows],
        [name for name, _ in rows],
        lambda number: pairs.graph(number),
    )


def _only(frame: RingFrame, ring: CameraRing) -> RingFrame | None:
    from foldmap.street.images.observation import RingFrame

    images = tuple(frame.images[frame.ring.names.index(name)] for name in ring.names)
    return RingFrame(ring, images) if any(image is not None for image in images) else None


def _ring(folder: Path, calibration: Path, cameras: Sequence[str]) -> Seen:
    """Frames of a ring: a folder a camera, images of one moment have one name."""
    from foldmap.formats.street.observations.images import read_rgb
    from foldmap.street.images.observation import RingFrame

    ring = open_ring(calibration)
    found = {inner.name: _images(inner) for inner in sorted(folder.iterdir()) if inner.is_dir()}
    uncalibrated = [name for name, files in found.items() if files and name not in ring.names]
    if uncalibrated and not cameras:
        raise MapInputError(
            f"the camera {uncalibrated[0]!r} of {folder} is not calibrated",
            f"{calibration} has {', '.join(ring.names)}; add it, or name those that count with --camera",
        )
    if cameras:
        ring = ring.take(*cameras)
    by_name = {name: {file.stem: file for file in found.get(name, [])} for name in ring.names}
    absent = [name for name in ring.names if not by_name[name]]
    if len(absent) == len(ring.names):
        raise MapInputError(
            f"{folder} has no images of {', '.join(ring.names[:_NAMED])}", "make a folder a camera, named as it is"
        )
    notes = [f"no images of the cameras {', '.join(absent)}"] if absent else []
    present = [name for name in ring.names if name not in absent]
    everything = (
        {stem for files in found.values() for stem in (file.stem for file in files)}
        if cameras
        else {stem for name in present for stem in by_name[name]}
    )
    frames = sorted(everything, key=_natural)
    lacking = {frame: [name for name in present if frame not in by_name[name]] for frame in frames}
    some = {frame: names for frame, names in lacking.items() if names}
    if some:
        shown = "; ".join(f"{frame} lacks {', '.join(names)}" for frame, names in list(some.items())[:_NAMED])
        notes.append(f"{len(some)} of {len(frames)} frames lack images: {shown}{' ...' if len(some) > _NAMED else ''}")
    whole = ring

    def read(number: int) -> Observation | None:
        files = [by_name[name].get(frames[number]) for name in whole.names]
        if all(file is None for file in files):
            return None
        return RingFrame(whole, tuple(None if file is None else read_rgb(file) for file in files))

    return Seen(tuple(frames), read, notes=notes)


def _images(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if file.is_file() and file.suffix.lower() in IMAGES]
    return sorted(files, key=lambda file: _natural(file.name))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which img2 comes before img10."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    taken: dict[str, int] = {}
    out = []
    for name in names:
        taken[name] = taken.get(name, 0) + 1
        out.append(name if taken[name] == 1 else f"{name}#{taken[name]}")
    return tuple(out)
