"""What the visual rows share: recorded scenes with freshly extracted SIFT, files of them, and answers in a map."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.context import Board
from benchmarks.lines import RowSkipped
from foldmap.api.folding.options import VisualOptions
from foldmap.api.folding.scenes import ReadScene, fold_scene
from foldmap.api.results import Begin
from foldmap.atlas import FoldFile, FoldWriter
from foldmap.bench.visual.protocol import HeldOut, hold_out
from foldmap.errors import MissingExtraError
from foldmap.formats.scenes import read_scene
from foldmap.localize.estimate import Status
from foldmap.localize.visual.estimate import CameraEstimate
from foldmap.localize.visual.localizer import VisualLocalizer
from foldmap.localize.visual.plan import Planned, PlanOptions, transform_codecs
from foldmap.metrics.camera_pose import CameraErrors, Threshold, accuracy, camera_errors
from foldmap.types import DoubleArray, FloatArray
from foldmap.visual.decoded import UnfoldedMap
from foldmap.visual.features.extract import Extractor, open_extractor
from foldmap.visual.features.photos import PhotoFeatures
from foldmap.visual.scene.average import track_means
from foldmap.visual.source import Features, FeatureSource, Query, SceneModel
from foldmap.visual.unfold import FoldedVisual

TIGHT: Threshold = (0.5, 0.5)
WIDE: Threshold = (2.0, 2.0)
"""Of the issue: centimetres in metric scenes, else percent of the radius; and degrees."""

METRIC = {"redkitchen": True, "bonsai": False}
"""The shared scenes, and whether their models are in metres."""


class KeptFeatures:
    """Features of photos, extracted once: kept in a folder under the photo's content, never under its name.

    Args:
        photos: extracts.
        images: folder of the photos.
        folder: where features are kept.
        settings: names the extractor and all that changes what it extracts.
        report: called with photos extracted or read, and how many there are.
    """

    def __init__(
        self,
        photos: FeatureSource,
        images: Path,
        folder: Path,
        settings: str,
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._photos, self._images, self._folder, self._settings = photos, images, folder, settings
        self._report, self._seen = report, set[str]()

    @property
    def feature(self) -> str:
        """Which extractor."""
        return self._photos.feature

    def names(self) -> Sequence[str]:
        """Of the photos."""
        return self._photos.names()

    def load(self, name: str) -> Features:
        """One photo's features."""
        content = hashlib.sha256(self._settings.encode() + b"\0" + (self._images / name).read_bytes()).hexdigest()
        path = self._folder / f"{content}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as kept:
                found = Features(kept["xy_px"], kept["descriptors"])
        else:
            found = self._photos.load(name)
            whole = path.with_suffix(".part.npz")
            np.savez(whole, xy_px=found.xy_px, descriptors=found.descriptors)
            whole.replace(path)  # a run that is stopped leaves no half of a file
        self._seen.add(name)
        self._report(len(self._seen), len(self.names()))
        return found


@dataclass(frozen=True)
class Place:
    """A recorded scene, ready to be asked.

    Attributes:
        held_out: the map's part, and the queries.
        means: float32 (P, D) of the map's points.
        features: of all its photos.
        full: the scene as it was reconstructed, queries included.
    """

    held_out: HeldOut
    means: FloatArray
    features: FeatureSource
    full: SceneModel

    @property
    def name(self) -> str:
        """Of the scene."""
        return self.held_out.name

    @property
    def scene(self) -> SceneModel:
        """The map's part."""
        return self.held_out.scene

    def errors(self, poses: Sequence[DoubleArray | None]) -> CameraErrors:
        """Of answers to the queries, in the unit of the protocol."""
        return camera_errors(list(self.held_out.truth), poses, self.held_out.scale.world)

    def percent(self, poses: Sequence[DoubleArray | None], threshold: Threshold) -> float:
        """Percent of the queries whose pose is within a threshold."""
        return 100.0 * accuracy(self.errors(poses), threshold)

    def all_queries(self) -> list[Query]:
        """Every photo of the scene as a query."""
        names = self.full.image_names
        return [Query(n, self.full.camera_of(k), self.features.load(n)) for k, n in enumerate(names)]


@dataclass(frozen=True)
class File:
    """A scene folded within a budget.

    Attributes:
        path: of the file.
        size: its bytes on disk.
        planned: how it was chosen.
    """

    path: Path
    size: int
    planned: Planned


class VisualBoard(Board):
    """Recorded scenes, each read once.

    Args:
        data: folder of the scenes: NAME/sparse and NAME/images.
        threads: of FAISS, torch and the extractor.
        quiet: no progress on stderr.
        features: folder where extracted features are kept between runs; None keeps them for this run.
        queries: at most so many queries a scene, evenly chosen; None: all of the protocol.
        kept: folder where the paper's tables keep answers and trained layers; None keeps them for this run.
    """

    def __init__(
        self,
        data: Path,
        threads: int = 2,
        quiet: bool = False,
        features: Path | None = None,
        queries: int | None = None,
        kept: Path | None = None,
    ) -> None:
        super().__init__(data, (), threads, quiet)
        self._scratch = tempfile.TemporaryDirectory(prefix="foldmap-board-")
        self.kept = kept
        self._features, self.queries = features, queries

    @property
    def scratch(self) -> Path:
        """A folder that goes when the board does."""
        return Path(self._scratch.name)

    def close(self) -> None:
        """Remove what was kept for this run."""
        self._scratch.cleanup()

    def place(self, name: str) -> Place:
        """A recorded scene under the protocol of the issue.

        Raises:
            RowSkipped: it is not here, or nothing can extract its features.
        """
        return self.shared(("place", name), lambda: self._read(name))  # type: ignore[no-any-return]

    def extractor(self) -> Extractor:
        """SIFT.

        Raises:
            RowSkipped: pycolmap is not installed.
        """
        try:
            return self.shared("extractor", lambda: open_extractor("sift", threads=self.threads))  # type: ignore[no-any-return]
        except MissingExtraError as error:
            raise RowSkipped(f"skipped: {error.message} ({error.cure})") from error

    def _read(self, name: str) -> Place:
        folder = self.recordings(name)
        kept = self._features or self.scratch / "features"
        kept.mkdir(parents=True, exist_ok=True)
        photos = PhotoFeatures(folder / "images", self.extractor())
        features = KeptFeatures(
            photos, folder / "images", kept, f"{self.extractor().feature} 1", self.report(f"SIFT of {name}")
        )
        full = read_scene(folder / "sparse", extracted=features, metric=METRIC.get(name))
        held_out = hold_out(full, features, name=name)
        if self.queries is not None:
            held_out = held_out.thinned(self.queries)
        return Place(held_out, track_means(held_out.scene), features, full)

    def file(self, name: str, budget_bytes: int) -> File:
        """A scene's map folded into at most so many bytes, as ``foldmap fold --budget`` does."""

        def make() -> File:
            path = self.scratch / f"{name}-{budget_bytes}.fold"
            return fold_place(path, self.place(name), budget_bytes, self.report)

        return self.shared(("file", name, budget_bytes), make)  # type: ignore[no-any-return]

    def unfolded(self, name: str) -> list[CameraEstimate]:
        """Answers in the scene's map as it was built."""

        def ask() -> list[CameraEstimate]:
            place = self.place(name)
            localizer = VisualLocalizer(UnfoldedMap(place.scene))
            return self.ask(localizer.localize, place.held_out.queries, f"{name}, unfolded")

        return self.shared(("unfolded", name), ask)  # type: ignore[no-any-return]

    def folded(self, name: str, budget_bytes: int) -> list[CameraEstimate]:
        """Answers in a file of at most so many bytes."""

        def ask() -> list[CameraEstimate]:
            place = self.place(name)
            with FoldFile.open(self.file(name, budget_bytes).path) as file:
                localizer = VisualLocalizer(FoldedVisual(file))
                return self.ask(localizer.localize, place.held_out.queries, f"{name} in {budget_bytes} bytes")

        return self.shared(("folded", name, budget_bytes), ask)  # type: ignore[no-any-return]

    def ask(self, localize: Callable[[Query], Any], queries: Sequence[Query], what: str) -> list[Any]:
        """Answer queries one by one, saying how far it is."""
        say, answers = self.report(what), []
        for number, query in enumerate(queries):
            answers.append(localize(query))
            say(number + 1, len(queries))
        return answers


def fold_place(path: Path, place: Place, budget_bytes: int | None, begin: Begin) -> File:
    """Fold a scene as ``foldmap fold`` does."""
    codecs = transform_codecs(place.scene, place.means)
    read = ReadScene(Path(place.name), place.scene, place.means, codecs, PlanOptions(), None, None)
    with FoldWriter(path) as writer:
        planned = fold_scene(writer, read, VisualOptions(), budget_bytes, begin).planned
        writer.commit()
    return File(path, path.stat().st_size, planned)


def poses(estimates: Sequence[CameraEstimate]) -> list[DoubleArray | None]:
    """The poses of estimates."""
    return [estimate.camera_SE3_world for estimate in estimates]


def counted(estimates: Sequence[CameraEstimate]) -> dict[str, int]:
    """How often each status was answered."""
    statuses = [estimate.status.value for estimate in estimates]
    return {status: statuses.count(status) for status in sorted(set(statuses))}


def is_ok(estimate: CameraEstimate) -> bool:
    """Whether it stands behind its pose without reservation."""
    return estimate.status is Status.OK
