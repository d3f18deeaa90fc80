"""A drive's sweeps, read one at a time."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from foldmap.errors import ConfigError, SweepInputError
from foldmap.formats.name_times import natural_key
from foldmap.formats.sweeps.cloud import Cloud, is_sliver, native_scale, scale_of
from foldmap.formats.sweeps.kitti import read_kitti_bin
from foldmap.formats.sweeps.las import read_las
from foldmap.formats.sweeps.pcd import read_pcd
from foldmap.lidar.mapping.spin import AS_IT_IS, WORDS, Turn, put_together
from foldmap.lidar.source import Sweep

_FORMATS = {".las": "las", ".laz": "las", ".pcd": "pcd", ".bin": "kitti"}
_READERS = {"las": read_las, "pcd": read_pcd, "kitti": read_kitti_bin}
_CURE = "give .las .laz .pcd .bin files"


def _format(path: Path) -> str:
    if path.suffix.lower() not in _FORMATS:
        raise SweepInputError(f"{path} is no sweep format that is read here", _CURE)
    return _FORMATS[path.suffix.lower()]


def read_cloud(path: Path | str) -> Cloud:
    """Read one sweep as its file holds it, the format told by the extension."""
    return _READERS[_format(Path(path))](Path(path))


def read_sweep(path: Path | str, intensity_scale: float | None = None) -> Sweep:
    """Read one sweep, a .las, .laz, .pcd or KITTI .bin file; its intensities must be within 0 to 1 once scaled.

    ``intensity_scale`` is the value that stands for full reflectance; the format's own where None (65535 for LAS, 1 for
    KITTI, the type's maximum or 1 for PCD; 255 where integers of more bits hold bytes).
    """
    _check_scale(intensity_scale)
    cloud = read_cloud(path)
    return cloud.sweep(intensity_scale or scale_of(cloud.values.dtype, cloud.highest, str(path)))


def _check_scale(intensity_scale: float | None) -> None:
    if intensity_scale is not None and not (np.isfinite(intensity_scale) and intensity_scale > 0):
        raise ConfigError(f"the intensity scale is {intensity_scale}", "give the value of full reflectance, like 255")


@dataclass(frozen=True)
class SweepSequence:
    """Sweep files in natural order (2 before 10); each is read when it is asked for, none is kept."""

    paths: tuple[Path, ...]
    intensity_scale: float | None = None
    spin: int = AS_IT_IS
    turns: tuple[Turn, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sweep:
        sweep = read_cloud(self.paths[index]).sweep(self.full_scale)
        return put_together(sweep, self.spin, self.turns[index]) if self.turns else sweep

    def __iter__(self) -> Iterator[Sweep]:
        return (self[index] for index in range(len(self)))

    def read(self) -> Iterator[Sweep | SweepInputError]:
        """Read every sweep; one that cannot be used is its error, so that it does not end the drive."""
        for index in range(len(self)):
            try:
                yield self[index]
            except SweepInputError as error:
                yield error

    def usable(self, index: int) -> Sweep | None:
        """Read one sweep; None where it cannot be used."""
        try:
            return self[index]
        except SweepInputError:
            return None

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names relative to the folder that holds them all."""
        if len({path.parent for path in self.paths}) <= 1:
            return tuple(path.name for path in self.paths)
        root = os.path.commonpath([path.parent for path in self.paths])
        return tuple(Path(os.path.relpath(path, root)).as_posix() for path in self.paths)

    def chosen(self, indices: Iterable[int]) -> SweepSequence:
        """Some of the sweeps, at the scale of all."""
        chosen = tuple(indices)
        moved = tuple(self.turns[index] for index in chosen) if self.turns else ()
        return SweepSequence(tuple(self.paths[index] for index in chosen), self.full_scale, self.spin, moved)

    @property
    def spun(self) -> str:
        """How they are put together; empty where they are as they are."""
        return WORDS[self.spin] if self.spin else ""

    def put_together(self, spin: int, turns: Iterable[Turn]) -> SweepSequence:
        """The sweeps as if each had been seen at once; see `foldmap.lidar.mapping.spin`."""
        return SweepSequence(self.paths, self.full_scale, spin, tuple(turns))

    @cached_property
    def full_scale(self) -> float:
        """The intensity that stands for full reflectance, one for the whole drive; files that are damaged do not count.

        It is a SweepInputError where the values fill a sliver of their type, and their scale cannot be known.
        """
        _check_scale(self.intensity_scale)
        if self.intensity_scale is not None:
            return self.intensity_scale
        highest: dict[np.dtype[np.generic], float] = {}
        for path in self.paths:
            try:
                cloud = read_cloud(path)
            except SweepInputError:
                continue
            kind = cloud.values.dtype
            highest[kind] = max(highest.get(kind, 0.0), cloud.highest)
            if not is_sliver(kind, highest[kind]):
                return native_scale(kind)
        where = str(self.paths[0].parent) if self.paths else ""
        scales = {scale_of(kind, most, where) for kind, most in highest.items()}
        if len(scales) > 1:
            kinds = " and ".join(kind.name for kind in highest)
            raise SweepInputError(f"{where} mixes intensities of {kinds}", "give one drive of one sensor")
        return scales.pop() if scales else 1.0


def open_sweeps(source: Path | str, intensity_scale: float | None = None) -> SweepSequence:
    """Find the sweeps of a drive, all of one format: a folder, one file, or a glob pattern; nothing is read yet.

    In a folder, files that start with a dot or are no sweep format (readme, poses) are passed over.
    """
    path = Path(source)
    if path.is_dir():
        paths = [entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith(".")]
        sweeps = [entry for entry in paths if entry.suffix.lower() in _FORMATS]
        within = () if sweeps else path.glob("*/*")
        deeper = next((entry for entry in within if entry.suffix.lower() in _FORMATS), None)
        if deeper is not None:
            pattern = path / "*" / f"*{deeper.suffix}"
            raise SweepInputError(f"{source} holds sweeps in folders of its own alone", f'give the pattern "{pattern}"')
        if paths and not sweeps:
            found = " ".join(sorted({entry.suffix or entry.name for entry in paths})[:8])
            raise SweepInputError(f"{source} holds no sweeps, only {found}", _CURE)
    elif path.is_file():
        sweeps = [path]
    else:
        sweeps = [Path(entry) for entry in glob.glob(str(source), recursive=True) if Path(entry).is_file()]
    if not sweeps:
        raise SweepInputError(f"no sweeps at {source}", _CURE.replace("give", "give a folder or pattern of"))
    kinds = sorted({_format(entry) for entry in sweeps})
    if len(kinds) > 1:
        raise SweepInputError(f"{source} mixes {' and '.join(kinds)} sweeps", "give one drive of one format")
    return SweepSequence(tuple(sorted(sweeps, key=natural_key)), intensity_scale)
