"""Poses that the user knows already: then only points have to be found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from foldmap.errors import MapInputError, PoseInputError
from foldmap.geometry.camera import Camera
from foldmap.geometry.se3 import SE3
from foldmap.types import DoubleArray


@dataclass(frozen=True)
class KnownPoses:
    """Poses of images by name, float64 (4, 4), and intrinsics where the poses came with some.

    Raises `PoseInputError`: a pose is not finite or its rotation is none; the message names the image.
    """

    camera_SE3_world: Mapping[str, DoubleArray]
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    metric: bool = False  # whether translations are metres
    layout: str = "given"  # what they were read from, for records
    paired: str = ""  # how many images were given one, and how, in words
    by_time: bool = False  # whether that was by times

    def __post_init__(self) -> None:
        for name, pose in self.camera_SE3_world.items():
            try:
                SE3(pose)
            except PoseInputError as error:
                raise PoseInputError(f"{name!r}: {error.message}", error.cure) from error

    def of(self, names: Sequence[str]) -> dict[str, DoubleArray]:
        """Poses of those images that have one, at least two, rotations made exactly orthonormal."""
        known = {name: _rigid(self.camera_SE3_world[name]) for name in names if name in self.camera_SE3_world}
        if len(known) < 2:
            example = next(iter(self.camera_SE3_world), "none")
            named = f"(images like {names[0]!r}, poses like {example!r})"
            what = f"{len(known)} of {len(names)} images have a known pose {named}"
            raise MapInputError(what, "name both as in the folder")
        return known


def _rigid(pose: DoubleArray) -> DoubleArray:
    """The nearest rigid pose; text files round rotations, and COLMAP wants quaternions."""
    left, _, right = np.linalg.svd(np.asarray(pose, dtype=np.float64)[:3, :3])
    rigid = np.array(pose, dtype=np.float64)
    rigid[:3, :3] = left @ right
    return rigid
