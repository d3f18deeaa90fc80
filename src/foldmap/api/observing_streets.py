"""What a vehicle brings to a street map: aerial crops, an ortho image with poses, camera rings, pairs."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.name_times import natural_key
from foldmap.formats.street.observations.argoverse2_rig import read_ring
from foldmap.formats.street.observations.images import read_rgb
from foldmap.formats.street.observations.pairs import read_pairs
from foldmap.formats.street.observations.poses import read_pose_table
from foldmap.formats.street.observations.ring import read_ring_file
from foldmap.geometry import SE2
from foldmap.street.graph.window import Window
from foldmap.street.images.observation import AerialCrop, CameraRing, Observation, RingFrame
from foldmap.street.model import EmbeddingModel
from foldmap.street.source import LaneGraph
from foldmap.types import FloatArray

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
ORTHO = {".tif", ".tiff", ".npz", ".vrt"}
CROP_PX = 160
_BATCH = 8
_NAMED = 6


@dataclass(frozen=True)
class StreetObservations:
    """Observations in order; images are decoded when they are asked for.

    Attributes:
        names: one each.
        decode: number -> observation; None where no camera that counts has an image.
        poses: world_SE2_ego where each was taken, where what was brought says so.
        maps: name of the street map of each, where what was brought says so.
        truth: number -> true graph in the ego frame, where what was brought has one.
        notes: what is missing or left out, for people; complete once all were read.
        crs: of the poses; empty where nobody says.
        damaged: numbers of those that could not be used so far.
    """

    names: tuple[str, ...]
    decode: Callable[[int], Observation | None]
    poses: list[SE2] | None = None
    maps: list[str] | None = None
    truth: Callable[[int], LaneGraph] | None = None
    notes: list[str] = field(default_factory=list)
    crs: str = ""
    damaged: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, number: int) -> Observation | None:
        """Decode one observation; None where nothing was seen, or where it cannot be used, which is noted.

        A MapInputError names the last one where none of all can be used.
        """
        try:
            return self.decode(number)
        except MapInputError as error:
            name = self.names[number]
            said = error.message if name in error.message else f"{name}: {error.message}"
            if number not in self.damaged:
                self.damaged.add(number)
                if len(self.damaged) <= _NAMED + 1:
                    self.notes.append(f"left out: {said}" if len(self.damaged) <= _NAMED else "more cannot be used")
            if len(self.damaged) == len(self):
                raise MapInputError(said, error.cure) from error
            return None

    def placed(self, poses: Path | None) -> list[SE2]:
        """Where each was taken, as what was brought says, else a file; a ConfigError where nothing says so."""
        if self.poses is not None:
            return self.poses
        if poses is None:
            raise ConfigError("nobody says where the observations were taken", "give --poses FILE.csv")
        return read_pose_table(poses).for_observations(self.names).poses()

    def embedded(
        self, model: EmbeddingModel, report: Callable[[int, int], None] = lambda done, total: None
    ) -> list[FloatArray | None]:
        """Unit row of each observation; None where nothing was seen."""
        rows: list[FloatArray | None] = [None] * len(self)
        for some in self.batches(range(len(self)), report):
            embedded = model.embed_observations([one for _, one in some])
            for (k, _), row in zip(some, embedded, strict=True):
                rows[k] = row if float((row * row).sum()) > 0.25 else None
        return rows

    def batches(
        self, numbers: Sequence[int], report: Callable[[int, int], None]
    ) -> Iterator[list[tuple[int, Observation]]]:
        """A few observations at a time with their numbers, without those where nothing was seen."""
        for start in range(0, len(numbers), _BATCH):
            some = [(k, one) for k in numbers[start : start + _BATCH] if (one := self.read(k)) is not None]
            if some:
                yield some
            report(min(start + _BATCH, len(numbers)), len(numbers))


@dataclass(frozen=True)
class StreetSource:
    """What a user names as observations of streets.

    Attributes:
        paths: image files or folders of them (aerial crops of the window, the way ahead up); one ortho image with
            poses; one folder with pairs.csv; or one folder of a ring, a folder a camera.
        poses: file of poses; of an ortho image: where windows are cut.
        ring: calibration; ring.json of the folder where None.
        cameras: those that count; all where empty.
    """

    paths: Sequence[Path]
    poses: Path | None = None
    ring: Path | None = None
    cameras: Sequence[str] = ()

    def open(self, window: Window) -> StreetObservations:
        """Open the observations, of which aerial crops cover the window; all but the content of images is checked.

        Raises:
            MapInputError: something is missing, or is not what it should be.
            ConfigError: options that do not belong to what was brought.
        """
        if not self.paths:
            raise ConfigError("there are no observations", "give images, a folder, or an ortho image with --poses")
        first = self.paths[0]
        missing = next((path for path in self.paths if not path.exists()), None)
        if missing is not None:
            raise MapInputError(f"there is no file or folder {missing}", "check the path")
        if first.is_dir() and (first / "pairs.csv").is_file():
            return _pairs(self._alone(), window, self.cameras)
        if first.is_dir() and (self.ring is not None or (first / "ring.json").is_file()):
            return _ring(self._alone(), self.ring or first / "ring.json", self.cameras)
        if self.cameras or self.ring is not None:
            cure = "leave --camera and --ring out, or give a folder with ring.json"
            raise ConfigError(f"{first} has no cameras", cure)
        if first.suffix.lower() in ORTHO:
            return _ortho(self._alone(), window, self.poses)
        return _crops(self.paths, window)

    def _alone(self) -> Path:
        if len(self.paths) > 1:
            raise ConfigError(f"{self.paths[0]} is all that can be given at once", f"leave {self.paths[1]} out")
        return self.paths[0]


def open_ring(path: Path) -> CameraRing:
    """Read a calibration: ring.json, or a folder with Argoverse 2's two tables.

    Raises:
        MapInputError: it is missing, or a camera is not calibrated.
    """
    if not path.is_dir():
        return read_ring_file(path)
    if (path / "ring.json").is_file():
        return read_ring_file(path / "ring.json")
    tables = [sorted(path.glob(f"*{name}.feather")) for name in ("intrinsics", "egovehicle_SE3_sensor")]
    if not all(len(found) == 1 for found in tables):
        cure = "give ring.json, or a folder with one *intrinsics.feather of Argoverse 2"
        raise MapInputError(f"{path} is no calibration", cure)
    return read_ring(tables[0][0], tables[1][0])


def _crops(sources: Sequence[Path], window: Window) -> StreetObservations:
    files: list[Path] = []
    for source in sources:
        inside = _images(source) if source.is_dir() else [source]
        if not inside:
            raise MapInputError(f"{source} holds no images", "give JPEG or PNG crops, pairs.csv, or ring.json")
        files += inside
    names = _unique([file.name for file in files])
    return StreetObservations(names, lambda number: AerialCrop(read_rgb(files[number]), window))


def _ortho(path: Path, window: Window, poses: Path | None) -> StreetObservations:
    if poses is None:
        raise ConfigError(f"{path} shows many places", "give --poses FILE.csv, where windows are cut")
    table = read_pose_table(poses)
    from foldmap.formats.street.observations.ortho import read_ground_image, read_ground_tile  # needs rasterio

    ground = read_ground_tile(path).ground if path.suffix.lower() == ".npz" else read_ground_image(path)
    at = table.poses()
    names = table.names or tuple(str(number) for number in range(len(at)))
    shown = [ground.shows(pose, window) for pose in at]
    if not any(shown):
        ground.crop(at[0], window, CROP_PX)  # which is refused
    beyond = [name for name, shows in zip(names, shown, strict=True) if not shows]
    left_out = f"{len(beyond)} of {len(names)} windows reach beyond what {path} shows and are left out"
    notes = [left_out] if beyond else []

    def decode(number: int) -> Observation | None:
        return ground.crop(at[number], window, CROP_PX) if shown[number] else None

    return StreetObservations(names, decode, at, notes=notes if beyond else [], crs=ground.grid.crs_wkt)


def _pairs(path: Path, window: Window, cameras: Sequence[str]) -> StreetObservations:
    pairs = read_pairs(path, window)
    if cameras and pairs.ring is None:
        raise ConfigError(f"{path} holds aerial crops", "leave --camera out")
    wanted = pairs.ring.take(*cameras) if pairs.ring is not None and cameras else None

    def decode(number: int) -> Observation | None:
        found = pairs[number].observation
        if wanted is None or not isinstance(found, RingFrame):
            return found
        images = tuple(found.images[found.ring.names.index(name)] for name in wanted.names)
        return RingFrame(wanted, images) if any(image is not None for image in images) else None

    names = tuple(str(number) for number in range(len(pairs)))
    maps, poses = zip(*pairs.places(), strict=True)
    return StreetObservations(names, decode, list(poses), list(maps), pairs.graph)


def _ring(folder: Path, calibration: Path, cameras: Sequence[str]) -> StreetObservations:
    """Frames of a ring: a folder a camera, images of one moment have one name."""
    ring = open_ring(calibration)
    found = {inner.name: _images(inner) for inner in sorted(folder.iterdir()) if inner.is_dir()}
    uncalibrated = [name for name, files in found.items() if files and name not in ring.names]
    if uncalibrated and not cameras:
        cure = f"{calibration} has {', '.join(ring.names)}; add it, or name those that count with --camera"
        raise MapInputError(f"the camera {uncalibrated[0]!r} of {folder} is not calibrated", cure)
    if cameras:
        ring = ring.take(*cameras)
    by_name = {name: {file.stem: file for file in found.get(name, [])} for name in ring.names}
    present = [name for name in ring.names if by_name[name]]
    if not present:
        names = ", ".join(ring.names[:_NAMED])
        raise MapInputError(f"{folder} has no images of {names}", "make a folder a camera, named as it is")
    # a moment that a camera outside of --camera saw is a frame without an image, not no frame
    counting = list(found) if cameras else list(by_name)
    moments = {file.stem for name in counting for file in found.get(name, [])}
    frames = sorted(moments, key=lambda name: natural_key(Path(name)))

    def decode(number: int) -> Observation | None:
        files = [by_name[name].get(frames[number]) for name in ring.names]
        if all(file is None for file in files):
            return None
        return RingFrame(ring, tuple(None if file is None else read_rgb(file) for file in files))

    return StreetObservations(tuple(frames), decode, notes=_lacking(ring.names, present, frames, by_name))


def _lacking(
    names: Sequence[str], present: Sequence[str], frames: Sequence[str], by_name: dict[str, dict[str, Path]]
) -> list[str]:
    """What is missing of a ring's images, in words."""
    absent = [name for name in names if name not in present]
    notes = [f"no images of the cameras {', '.join(absent)}"] if absent else []
    lacking = {frame: [name for name in present if frame not in by_name[name]] for frame in frames}
    some = [f"{frame} lacks {', '.join(names)}" for frame, names in lacking.items() if names]
    if some:
        more = " ..." if len(some) > _NAMED else ""
        notes.append(f"{len(some)} of {len(frames)} frames lack images: {'; '.join(some[:_NAMED])}{more}")
    return notes


def _images(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if file.is_file() and file.suffix.lower() in IMAGES]
    return sorted(files, key=lambda file: natural_key(Path(file.name)))


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Names of which each is its own: the second ``a.png`` is ``a.png#2``."""
    taken, out = Counter[str](), []
    for name in names:
        taken[name] += 1
        out.append(name if taken[name] == 1 else f"{name}#{taken[name]}")
    return tuple(out)
