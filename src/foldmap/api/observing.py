"""Which layer of a map observations are for, told by what they are."""

import glob
from collections.abc import Collection, Sequence
from pathlib import Path

from foldmap.errors import ConfigError

LIDAR, VISUAL, STREET = LAYERS = ("lidar", "visual", "street")
SWEEPS = {".las", ".laz", ".pcd", ".bin"}


def layer_of(observations: Sequence[Path], held: Collection[str]) -> str:
    """The kind of layer that observations are for, of those that are held; where several may be, a ConfigError.

    Observations are files, folders or glob patterns: sweeps are for a lidar layer; images are photos of a visual layer
    or street observations.
    """
    files = (file for path in observations for file in (path.iterdir() if path.is_dir() else [path]))
    meant: tuple[str, ...] = (LIDAR,) if any(file.suffix.lower() in SWEEPS for file in files) else (STREET, VISUAL)
    if not any(glob.glob(str(path)) for path in observations):  # nothing is there: its reader says so
        meant = (LIDAR, STREET, VISUAL)
    there = [kind for kind in meant if kind in held] or list(meant[:1])
    if len(there) > 1:
        if len(meant) == len(LAYERS):
            raise ConfigError(f"there is nothing at {observations[0]}", "check the path")
        said = f"{observations[0]} may be for the {' or the '.join(there)} layer"
        raise ConfigError(said, f"say which with --layer {there[0]}")
    return there[0]
