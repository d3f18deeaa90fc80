"""Hostile drives along anybody's street map: what is seen is changed, the odometry stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foldmap.atlas import FoldFile
from foldmap.bench.street.data import TileData
from foldmap.bench.street.drives import odometry
from foldmap.bench.street.split import Split
from foldmap.bench.trust.answers import Answer, Expect, Stage, answer_of
from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.localize.street.localizer import StreetLocalizer
from foldmap.street.images.observation import AerialCrop, Observation, RingFrame
from foldmap.street.model import EmbeddingModel
from foldmap.street.unfold import FoldedStreet
from foldmap.town import TownWorld
from foldmap.town.street.ortho import town_tile
from foldmap.types import ByteArray, FloatArray

See = Callable[[int], Observation | None]
ImageChange = Callable[[ByteArray, np.random.Generator], ByteArray]
_BATCH = 10
_LEAST_SEEN = 0.25  # squared length of an embedding, 1 or 0: of an image that shows no ground it is 0
AS_DRIVEN, OTHER, TOWN, SHUFFLED, TURNED = "as driven", "other map", "generated town", "shuffled frames", "turned"


@dataclass(frozen=True)
class Travelled:
    """Frames along lanes: how each is seen, true poses (None: of another place), and what odometry said between."""

    name: str
    count: int
    see: See
    increments: Sequence[SE2 | None]
    poses: Sequence[SE2] | None = None


@dataclass(frozen=True)
class StreetKind:
    """One kind of drive: its name, what is asked for, and what is done to every image."""

    name: str
    expect: Expect
    image: ImageChange | None = None


def _mirrored(image: ByteArray, rng: np.random.Generator) -> ByteArray:
    return np.ascontiguousarray(image[:, ::-1])


def _blank(image: ByteArray, rng: np.random.Generator) -> ByteArray:
    return np.full_like(image, int(rng.integers(256)))


def _noise(image: ByteArray, rng: np.random.Generator) -> ByteArray:
    return rng.integers(0, 256, image.shape).astype(np.uint8)


def _dark(image: ByteArray, rng: np.random.Generator) -> ByteArray:
    return np.clip(np.rint(0.1 * image + rng.normal(0, 1.0, image.shape)), 0, 255).astype(np.uint8)


def _half_covered(image: ByteArray, rng: np.random.Generator) -> ByteArray:
    covered = image.copy()
    half = image.shape[1] // 2
    covered[:, np.s_[:half] if rng.random() < 0.5 else np.s_[half:]] = 0
    return covered


KINDS: tuple[StreetKind, ...] = (
    StreetKind(AS_DRIVEN, Expect.RIGHT),
    StreetKind("dark", Expect.BOUND, _dark),
    StreetKind("half covered", Expect.BOUND, _half_covered),
    StreetKind(OTHER, Expect.REFUSED),
    StreetKind(TOWN, Expect.REFUSED),
    StreetKind("mirrored", Expect.REFUSED, _mirrored),
    StreetKind(TURNED, Expect.REFUSED),
    StreetKind(SHUFFLED, Expect.REFUSED),
    StreetKind("blank", Expect.REFUSED, _blank),
    StreetKind("noise", Expect.REFUSED, _noise),
)


@dataclass(frozen=True)
class StreetSet:
    """What drives there are.

    Attributes:
        right: along the map, with true poses.
        elsewhere: along other maps; towns are generated beside them.
        frames, step_m: of generated drives.
        count: drives a kind.
        kinds: begin so; all where empty.
        seed: of every random change.
    """

    right: Sequence[Travelled] = ()
    elsewhere: Sequence[Travelled] = ()
    frames: int = 20
    step_m: float = 10.0
    count: int = 10
    kinds: tuple[str, ...] = ()
    seed: int = 0

    def plan(self) -> list[tuple[StreetKind, Sequence[Travelled]]]:
        """Each kind with the drives that it is made of."""
        wanted = [kind for kind in KINDS if not self.kinds or any(kind.name.startswith(one) for one in self.kinds)]
        found = []
        for kind in wanted:
            drives = self.elsewhere if kind.name == OTHER else self.right
            drives = town_drives(self.count, self.frames, self.step_m, self.seed) if kind.name == TOWN else drives
            if drives:
                found.append((kind, drives[: self.count]))
        return found


def town_drives(count: int, frames: int, step_m: float, seed: int) -> list[Travelled]:
    """Drives along a generated town that no shipped model has seen, by aerial crops."""
    side_m = 400.0
    world = TownWorld(5000 + seed)
    tile = town_tile(world, -side_m / 2, -side_m / 2, side_m, day_seed=seed)
    name = tile.map.name
    data = TileData([tile], Split("place", (name,), (name,)))
    drives = data.drives(name, count, frames, step_m, seed)

    def see(number: int) -> See:
        return lambda frame: drives[number].frames[frame].observation

    return [Travelled(f"town-{seed}-{k}", len(drive.poses), see(k), drive.increments) for k, drive in enumerate(drives)]


def legs(see: See, poses: Sequence[SE2], frames: int, seed: int) -> list[Travelled]:
    """Cut a long drive into legs of so many frames, with odometry that drifts as the benchmarks' does.

    Raises:
        ConfigError: the drive is shorter than a leg.
    """
    if len(poses) < frames:
        raise ConfigError(f"a drive of {len(poses)} observations", f"give {frames} or more, or a smaller --frames")
    found = []
    for first in range(0, len(poses) - frames + 1, frames):
        some = list(poses[first : first + frames])

        def of_leg(frame: int, first: int = first) -> Observation | None:
            return see(first + frame)

        moves = odometry(some, np.random.default_rng([seed, first]))
        found.append(Travelled(f"drive-{first}", frames, of_leg, moves, some))
    return found


def ask_streets(path: Path, name: str, asked: StreetSet, stage: Stage) -> Iterator[Answer]:
    """Ask every kind of drive in the street layer of a file; what is counted is the answer at a drive's end."""
    with FoldFile.open(path) as file:
        folded = FoldedStreet(file)
        model = folded.model()
        localizer = StreetLocalizer.open(folded, model=model, report=stage(f"{name}: embedding"))
        yield from ask_localizer(localizer, model, name, asked, stage)


def ask_localizer(
    localizer: StreetLocalizer, model: EmbeddingModel, name: str, asked: StreetSet, stage: Stage
) -> Iterator[Answer]:
    """The same of a localizer that is open; the model is that of its places."""
    kept: dict[str, list[FloatArray | None]] = {}
    for kind, drives in asked.plan():
        told = stage(f"{name}: {kind.name}")
        for number, drive in enumerate(drives):
            rng = np.random.default_rng([asked.seed, number, *kind.name.encode()])
            rows = _rows(model, drive, kind, rng, kept)
            order = rng.permutation(len(rows)) if kind.name == SHUFFLED else np.arange(len(rows))
            running = localizer.start()
            for row, moved in zip(order, drive.increments, strict=True):
                estimate = running.step(rows[int(row)], moved)
            truth = drive.poses[-1] if kind.expect is not Expect.REFUSED and drive.poses else None
            yield answer_of(
                estimate, truth, map_name=name, layer="street", kind=kind.name, query=drive.name, expect=kind.expect
            )
            told(number + 1, len(drives))


def _rows(
    model: EmbeddingModel,
    drive: Travelled,
    kind: StreetKind,
    rng: np.random.Generator,
    kept: dict[str, list[FloatArray | None]],
) -> list[FloatArray | None]:
    """Embeddings of a drive's frames, None where nothing is seen; those of unchanged images are kept."""
    plain = kind.image is None and kind.name != TURNED
    if plain and drive.name in kept:
        return kept[drive.name]
    quarters, seed = int(rng.integers(1, 4)), int(rng.integers(1 << 30))
    seen = list[tuple[int, Observation]]()
    for frame in range(drive.count):
        one = drive.see(frame)
        if one is not None and kind.name == TURNED:
            one = turned(one, quarters)
        elif one is not None and kind.image is not None:
            one = with_images(one, kind.image, np.random.default_rng(seed))
        seen += [] if one is None else [(frame, one)]
    rows: list[FloatArray | None] = [None] * drive.count
    for start in range(0, len(seen), _BATCH):
        some = seen[start : start + _BATCH]
        for (frame, _), row in zip(some, model.embed_observations([one for _, one in some]), strict=True):
            rows[frame] = row if float((row * row).sum()) > _LEAST_SEEN else None
    if plain:
        kept[drive.name] = rows
    return rows


def with_images(seen: Observation, change: ImageChange, rng: np.random.Generator) -> Observation:
    """Change every image of an observation."""
    if isinstance(seen, AerialCrop):
        return replace(seen, image=change(seen.image, rng))
    images = tuple(None if image is None else change(image, rng) for image in seen.images)
    return RingFrame(seen.ring, images)


def turned(seen: Observation, quarters: int) -> Observation:
    """A crop turned by quarters, the frames of a drive alike; of a ring each camera sees what the next one saw."""
    if isinstance(seen, AerialCrop):
        length, width = seen.window.size_m
        return replace(seen, image=np.ascontiguousarray(np.rot90(seen.image, quarters if length == width else 2)))
    images = seen.images[1:] + seen.images[:1]
    sizes = [(camera.width_px, camera.height_px) for camera in seen.ring.cameras]
    if len(set(sizes)) > 1:  # images of another size would be refused as they are: turn each over instead
        images = tuple(None if image is None else np.ascontiguousarray(image[::-1, ::-1]) for image in seen.images)
    return RingFrame(seen.ring, images)
