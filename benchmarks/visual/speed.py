"""Rows 8 and 9: queries a second in a map of 100,000 points, loading it, and choosing among a million points."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import faiss
import numpy as np

from benchmarks.context import Board
from benchmarks.lidar.folding import run_python
from benchmarks.lines import Line, at_least, at_most, information
from benchmarks.visual.data import VisualBoard, is_ok
from foldmap.atlas import FoldFile, FoldWriter
from foldmap.geometry.camera import Camera
from foldmap.localize.visual.localizer import VisualLocalizer
from foldmap.localize.visual.negatives import fold_calibrated
from foldmap.visual.codes.basis import basis_named
from foldmap.visual.codes.codecs import Transform
from foldmap.visual.fold import VisualPlan
from foldmap.visual.source import Query, SceneModel, Tracks
from foldmap.visual.unfold import FoldedVisual

_APART = 20.0


def joined(scenes: list[SceneModel], names: list[str]) -> SceneModel:
    """Several scenes as one, side by side, twenty radii apart.

    Args:
        scenes: with descriptors.
        names: one a scene, before the names of its images.
    """
    cameras: list[Camera] = []
    image_names: list[str] = []
    parts: dict[str, list[np.ndarray]] = {key: [] for key in ("camera", "pose", "xyz", "point", "image", "xy", "d")}
    points = 0
    radius = max(scene.radius_world for scene in scenes)
    for number, (scene, name) in enumerate(zip(scenes, names, strict=True)):
        shift = np.array([_APART * radius * number, 0.0, 0.0]) - np.median(scene.points_world, axis=0)
        pose = scene.camera_SE3_world.copy()
        pose[:, :3, 3] -= pose[:, :3, :3] @ shift
        parts["camera"].append(scene.image_camera + len(cameras))
        parts["pose"].append(pose)
        parts["xyz"].append(scene.points_world + shift)
        parts["point"].append(scene.tracks.point + points)
        parts["image"].append(scene.tracks.image + len(image_names))
        parts["xy"].append(scene.tracks.xy_px)
        parts["d"].append(np.asarray(scene.tracks.descriptors))
        cameras += scene.cameras
        image_names += [f"{name}/{image}" for image in scene.image_names]
        points += len(scene.points_world)
    whole = {key: np.concatenate(part) for key, part in parts.items()}
    tracks = Tracks(whole["point"], whole["image"], whole["xy"], whole["d"])
    return SceneModel(
        tuple(cameras), tuple(image_names), whole["camera"], whole["pose"], whole["xyz"], tracks, scenes[0].feature
    )


def mirrored(scene: SceneModel, number: int, seed: int, grey: int = 12) -> SceneModel:
    """Another place that is as rich: SIFT descriptors as a mirror would give them, moved by up to ``grey``.

    A mere copy would be a twin that no localizer can tell from the first.

    Args:
        scene: with SIFT descriptors of 4 x 4 cells with 8 orientations.
        number: 1 mirrors left and right, 2 top and bottom, 3 both, ...
        seed: of the noise.
        grey: largest.
    """
    rng = np.random.default_rng(seed)
    before = np.asarray(scene.tracks.descriptors).reshape(-1, 4, 4, 8)
    axes = tuple(axis for axis, bit in ((2, 1), (1, 2), (3, 4)) if number & bit)
    moved = np.flip(before, axes).reshape(-1, 128).astype(np.int16)
    moved += rng.integers(-grey, grey + 1, moved.shape, dtype=np.int16)
    tracks = replace(scene.tracks, descriptors=np.clip(moved, 0, 255).astype(np.uint8))
    return replace(scene, tracks=tracks)


@dataclass(frozen=True)
class Speed:
    """Row 8: both scenes side by side, and mirrored copies of them until there are enough points.

    Attributes:
        scenes: recorded.
        points: of the map.
        step: of the descriptors' codes.
        queries: timed, evenly chosen of each scene, after one that is not.
        seed: of the copies.
        least_hz: answers a second once the map is loaded.
        most_loading_s: to open the file and decode all of it.
    """

    number: ClassVar[int] = 8
    name: ClassVar[str] = "speed"
    title: ClassVar[str] = "queries in a map of 100,000 points"
    scenes: tuple[str, ...] = ("redkitchen", "bonsai")
    points: int = 100_000
    step: float = 0.1
    queries: int = 30
    seed: int = 0
    least_hz: float = 20.0
    most_loading_s: float = 0.5

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        assert isinstance(board, VisualBoard)
        faiss.omp_set_num_threads(board.threads)
        places = [board.place(name) for name in self.scenes]
        asked = [query for place in places for query in place.held_out.thinned(self.queries).queries]
        path = board.scratch / "speed.fold"
        board.report("folding the map of all scenes")(0, 1)
        scene = self._scene([place.scene for place in places])
        with FoldWriter(path) as writer:
            codec = Transform(basis_named("sift-1"), self.step, standard=True)
            plan = VisualPlan(np.arange(self.points), codec, images=True)
            fold_calibrated(writer, scene, plan)
            writer.commit()
        with FoldFile.open(path) as file:
            VisualLocalizer(FoldedVisual(file)).localize(asked[0])  # compiled code is loaded before the clock starts
        yield from self._timed(board, path, asked)

    def _scene(self, scenes: list[SceneModel]) -> SceneModel:
        """As many copies as it takes, cut to the number of points."""
        parts, names = list(scenes), [f"{number}" for number in range(len(scenes))]
        while sum(len(part.points_world) for part in parts) < self.points:
            copies = len(parts) // len(scenes)
            parts.append(mirrored(scenes[len(parts) % len(scenes)], copies, self.seed + len(parts)))
            names.append(f"{len(names)}")
        whole = joined(parts, names)
        total = len(whole.points_world)
        return whole.keep_points((np.arange(self.points) * total) // self.points)

    def _timed(self, board: VisualBoard, path: Path, asked: list[Query]) -> Iterator[Line]:
        n, size = self.number, path.stat().st_size
        began_s = time.perf_counter()
        with FoldFile.open(path) as file:
            folded = FoldedVisual(file)
            folded.retriever()
            opened_s = time.perf_counter() - began_s
            folded.load()
            loaded_s = time.perf_counter() - began_s
            localizer = VisualLocalizer(folded)
            began_s = time.perf_counter()
            answers = board.ask(localizer.localize, asked, "queries in the large map")
            took_s = time.perf_counter() - began_s
        board.report("the same side by side")(0, 1)
        at_once_s, cpu_s = at_once(path, asked, board.threads)
        detail = {
            "points": self.points,
            "tiles": folded.tiles,
            "file_bytes": size,
            "ok": sum(is_ok(answer) for answer in answers),
            "queries": len(asked),
        }
        each = f"on {board.threads} threads"
        yield at_least(n, f"queries a second, {each}", len(asked) / took_s, self.least_hz, "1/s", detail=detail)
        label = f"queries a second, {board.threads} processes of one thread, as a server has them"
        yield at_least(n, label, len(asked) / at_once_s, self.least_hz, "1/s")
        each_s = len(asked) / max(cpu_s, 1e-9)
        yield information(n, "queries a second of processor time, on one thread", each_s, "1/s")
        yield at_most(n, "loading: opened and ready for the first query", opened_s, self.most_loading_s, "s")
        yield at_most(n, "loading: every tile decoded", loaded_s, self.most_loading_s, "s")
        yield information(n, "queries answered ok", 100 * detail["ok"] / len(asked), "%")


_ready: list[Any] = []  # of a process of `at_once`: the localizer, and where all meet


def at_once(path: Path, asked: list[Query], processes: int) -> tuple[float, float]:
    """Seconds by the clock and of processors for all queries, asked of processes of one thread that have the map open.

    What counts is localizing: they are started, and have answered once, before.
    """
    fresh, before = multiprocessing.get_context("spawn"), os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # they read it when they begin
    try:
        together = fresh.Barrier(processes)
        with ProcessPoolExecutor(processes, fresh, _open, (path, asked[0], together)) as crew:
            for begun in [crew.submit(_meet) for _ in range(processes)]:
                begun.result()
            began_s = time.perf_counter()
            spent_s = list(crew.map(_answer, asked))
            return time.perf_counter() - began_s, sum(spent_s)
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        os.environ.update({} if before is None else {"OMP_NUM_THREADS": before})


def _open(path: Path, query: Query, together: Any) -> None:
    folded = FoldedVisual(FoldFile.open(path))  # open until the process ends
    folded.load()
    _ready[:] = [VisualLocalizer(folded), together]
    _ready[0].localize(query)


def _meet() -> None:
    """Each process does this once: none ends it before all are ready."""
    _ready[1].wait()


def _answer(query: Query) -> float:
    began_s = time.process_time()
    _ready[0].localize(query)
    return time.process_time() - began_s


@dataclass(frozen=True)
class Selecting:
    """Row 9: point selection on a generated scene, each method in a process of its own.

    Attributes:
        points: of the scene.
        images: of the scene.
        share: of the points that are kept.
        methods: of `choose_points`: the paper's equation 2, and the default.
        most_s: to choose.
        most_gb: peak memory of the process, the scene included.
    """

    number: ClassVar[int] = 9
    name: ClassVar[str] = "selecting"
    title: ClassVar[str] = "choosing among a million points"
    points: int = 1_000_000
    images: int = 2000
    share: float = 0.1
    methods: tuple[str, ...] = ("gamma", "spread")
    most_s: float = 600.0
    most_gb: float = 8.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        for method in self.methods:
            board.report(f"choosing by {method} among {self.points:,} points")(0, 1)
            module = "benchmarks.visual.selection_probe"
            printed = run_python(module, method, str(self.points), str(self.images), repr(self.share))
            probed: dict[str, float] = json.loads(printed)
            label = f"{method}: {self.points:,} points"
            yield at_most(self.number, label, probed["seconds"], self.most_s, "s", detail=probed)
            yield at_most(self.number, f"{label}, peak memory", probed["peak_gb"], self.most_gb, "GB")
