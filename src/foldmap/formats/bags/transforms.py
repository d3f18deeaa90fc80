"""The tree of frames that TF tells, at any time that was told of."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any

import numpy as np

from foldmap.errors import BagInputError, InputError
from foldmap.formats.bags.messages import frame_of, pose_of, stamp_ns
from foldmap.geometry import SE3

_KEPT_NS = 10_000_000_000
_HELD_NS = 500_000_000
"""How far from the nearest sample a moving frame is still taken to be where that put it."""


class Transforms:
    """parent_SE3_child of every frame, for all times (static) or sampled over time."""

    def __init__(self) -> None:
        self._static: dict[str, tuple[str, SE3]] = {}
        self._moving: dict[str, tuple[str, list[tuple[int, SE3]]]] = {}
        self.damaged = 0

    def add(self, message: Any, static: bool) -> None:
        """Take the transforms of a message; what is no transform is counted in ``damaged``."""
        for one in message.transforms:
            parent, child = frame_of(one), str(one.child_frame_id).lstrip("/")
            try:
                pose = pose_of(one.transform.translation, one.transform.rotation)
            except InputError:
                self.damaged += 1
                continue
            if static or child == parent:
                if child != parent:
                    self._static[child] = parent, pose
                continue
            before, samples = self._moving.get(child, (parent, []))
            samples = samples if before == parent else []
            insort(samples, (stamp_ns(one), pose), key=lambda sample: sample[0])
            while samples[-1][0] - samples[0][0] > _KEPT_NS:
                samples.pop(0)
            self._moving[child] = parent, samples

    @property
    def frames(self) -> list[str]:
        """All frames, by name."""
        parents = {parent for parent, _ in [*self._static.values(), *self._moving.values()]}
        return sorted(parents | set(self._static) | set(self._moving))

    def is_fixed(self, target: str, source: str) -> bool:
        """Whether nothing between two frames moves."""
        return not self.moving(target, source)

    def moving(self, target: str, source: str) -> set[str]:
        """The frames between two that move on the one that they hang on."""
        return set(self._edges(target, source)) & set(self._moving)

    def above(self, frame: str) -> list[str]:
        """A frame, and those that it hangs on, up to the topmost."""
        return list(self._upwards(frame))

    def lookup(self, target: str, source: str, time_ns: int | None = None) -> SE3:
        """target_SE3_source at a time; at the newest where none is given.

        Raises:
            BagInputError: a frame is missing, they are not connected, or a moving one is not known at that time.
        """
        if target == source:
            return SE3(np.eye(4))
        ups, downs = self._chains(target, source)
        pose = np.eye(4)
        for child in ups:  # from the target up to the frame that both have
            pose = pose @ self._at(child, time_ns).inverse().matrix
        for child in reversed(downs):
            pose = pose @ self._at(child, time_ns).matrix
        return SE3(pose)

    def _edges(self, target: str, source: str) -> list[str]:
        if target == source:
            return []
        ups, downs = self._chains(target, source)
        return [*ups, *downs]

    def _chains(self, target: str, source: str) -> tuple[list[str], list[str]]:
        """The children whose transforms lead from each frame up to the nearest that both hang on."""
        above, below = list(self._upwards(target)), list(self._upwards(source))
        common = next((frame for frame in above if frame in below), None)
        if common is None:
            there = ", ".join(self.frames)[:400] or "none"
            said = f"no transform from {source or 'a frame without a name'} to {target}"
            raise BagInputError(f"{said}; frames there: {there}", "record /tf_static, or give --base-frame FRAME")
        return above[: above.index(common)], below[: below.index(common)]

    def _upwards(self, frame: str) -> Iterator[str]:
        seen: set[str] = set()
        while frame not in seen:
            seen.add(frame)
            yield frame
            parent = self._moving.get(frame) or self._static.get(frame)
            if parent is None:
                return
            frame = parent[0]

    def _at(self, child: str, time_ns: int | None) -> SE3:
        if child not in self._moving:
            return self._static[child][1]
        samples = self._moving[child][1]
        if time_ns is None:
            return samples[-1][1]
        after = bisect_left(samples, time_ns, key=lambda sample: sample[0])
        near = samples[max(after - 1, 0) : after + 1]
        apart_ns = min(abs(sample[0] - time_ns) for sample in near)
        if apart_ns > _HELD_NS:
            said = f"the transform of {child} is {apart_ns / 1e9:.1f} s away from {time_ns / 1e9:.3f} s"
            raise BagInputError(said, "record /tf over the whole drive")
        if len(near) == 1 or near[0][0] == near[1][0]:
            return near[-1][1]
        (from_ns, a), (to_ns, b) = near
        share = min(max((time_ns - from_ns) / (to_ns - from_ns), 0.0), 1.0)
        return a.towards(b, share)
