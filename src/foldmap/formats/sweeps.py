"""A drive's sweeps, read one at a time."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.errors import ConfigError, SweepInputError
from foldmap.formats.kitti import read_kitti_bin
from foldmap.formats.las import read_las
from foldmap.formats.pcd import read_pcd
from foldmap.lidar.source import Sweep

_FORMATS = {".las": "las", ".laz": "las", ".pcd": "pcd", ".bin": "kitti"}
_SUPPORTED = ".las .laz .pcd .bin"


def read_sweep(path: Path | str, intensity_scale: float | None = None) -> Sweep:
    """Read one sweep, its format told by the extension.

    Args:
        path: a .las, .laz, .pcd or KITTI .bin file.
        intensity_scale: the value that stands for full reflectance; each format's own where None (65535 for LAS, 1 for
            KITTI, the type's maximum or 1 for PCD).

    Raises:
        SweepInputError: the file is unsupported, cannot be read, or its intensities leave 0 to 1.
        ConfigError: the scale is not positive.
    """
    path = Path(path)
    if intensity_scale is not None and not (np.isfinite(intensity_scale) and intensity_scale > 0):
        raise ConfigError(f"the intensity scale is {intensity_scale}", "give the value of full reflectance, like 255")
    kind = _FORMATS.get(path.suffix.lower())
    if kind == "las":
        sweep = read_las(path)
        native = 65535.0
    elif kind == "kitti":
        sweep = read_kitti_bin(path)
        native = 1.0
    elif kind == "pcd":
        sweep = read_pcd(path, intensity_scale)
        native = intensity_scale or 1.0
    else:
        raise SweepInputError(f"{path} is no sweep format that is read here", f"give {_SUPPORTED} files")
    if intensity_scale is not None and intensity_scale != native:
        sweep = Sweep(sweep.points_sensor_m, sweep.intensity * np.float32(native / intensity_scale))
    low, high = float(sweep.intensity.min()), float(sweep.intensity.max())
    if low < 0 or high > 1.0 + 1e-6:
        raise SweepInputError(
            f"{path} has intensities from {low:.4g} to {high:.4g}, outside 0 to 1",
            "give the value of full reflectance as intensity scale, like 255",
        )
    return sweep


@dataclass(frozen=True)
class SweepSequence:
    """Sweep files in natural order (2 before 10); each is read when it is asked for, none is kept.

    Attributes:
        paths: the files.
        intensity_scale: see `read_sweep`.
    """

    paths: tuple[Path, ...]
    intensity_scale: float | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sweep:
        return read_sweep(self.paths[index], self.intensity_scale)

    def __iter__(self) -> Iterator[Sweep]:
        return (read_sweep(path, self.intensity_scale) for path in self.paths)


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which ``sweep_2`` comes before ``sweep_10``."""
    pieces = re.split(r"(\d+)", path.name)
    return tuple((0, int(piece), piece) if piece.isdigit() else (1, 0, piece) for piece in pieces if piece)


def open_sweeps(source: Path | str, intensity_scale: float | None = None) -> SweepSequence:
    """Find the sweeps of a drive.

    Args:
        source: a folder, one file, or a glob pattern.
        intensity_scale: see `read_sweep`.

    Returns:
        The sequence; nothing is read yet. In a folder, files that start with a dot or are no sweep format (readme,
        poses) are passed over.

    Raises:
        SweepInputError: nothing is there, or files of different formats are mixed.
    """
    path = Path(source)
    if path.is_dir():
        paths = [entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith(".")]
        sweeps = [entry for entry in paths if entry.suffix.lower() in _FORMATS]
        if paths and not sweeps:
            found = " ".join(sorted({entry.suffix or entry.name for entry in paths})[:8])
            raise SweepInputError(f"{source} holds no sweeps, only {found}", f"give {_SUPPORTED} files")
    elif path.is_file():
        sweeps = [path]
    else:
        sweeps = [Path(entry) for entry in glob.glob(str(source), recursive=True) if Path(entry).is_file()]
    if not sweeps:
        raise SweepInputError(f"no sweeps at {source}", f"give a folder or pattern of {_SUPPORTED} files")
    unsupported = [entry for entry in sweeps if entry.suffix.lower() not in _FORMATS]
    if unsupported:
        raise SweepInputError(f"{unsupported[0]} is no sweep format that is read here", f"give {_SUPPORTED} files")
    kinds = sorted({_FORMATS[entry.suffix.lower()] for entry in sweeps})
    if len(kinds) > 1:
        raise SweepInputError(f"{source} mixes {' and '.join(kinds)} sweeps", "give one drive of one format")
    return SweepSequence(tuple(sorted(sweeps, key=natural_key)), intensity_scale)
