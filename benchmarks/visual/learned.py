"""Row 13: the paper's tables with XFeat and ALIKED in place of SIFT, each scene built anew of their features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.context import Row
from benchmarks.lines import Line
from benchmarks.trust.board import WEIGHTS, TrustBoard
from benchmarks.visual.data import METRIC, KeptFeatures, Place, VisualBoard
from benchmarks.visual.paper import PaperTables
from foldmap.bench.visual.benchmark import VisualBenchSettings
from foldmap.bench.visual.protocol import hold_out
from foldmap.formats.scenes import read_scene
from foldmap.visual.features.photos import PhotoFeatures
from foldmap.visual.scene.average import track_means

MATCHERS = {"xfeat": "lighterglue-L3.onnx"}
"""Networks that match a feature, in ``shared/weights``."""


@dataclass(frozen=True)
class LearnedTables(PaperTables):
    """A table on a scene that is triangulated from other features, with the recording's poses.

    The map is made of the photos that are not asked: no point of it has seen a query, where the tables of SIFT take the
    queries' observations out of a model that all photos helped to build.
    """

    feature: str = "xfeat"

    def settings(self, board: VisualBoard) -> VisualBenchSettings:
        """With the learned matcher of the features, where its network is here and the table compares matchers."""
        network = board.data.parent.parent / "weights" / MATCHERS.get(self.feature, "none")
        weights = network if self.table == "s2" and network.is_file() else None
        return replace(super().settings(board), weights=weights)

    def lines(self, board: VisualBoard) -> Iterator[Line]:
        """See `Row`."""
        name = f"{self.scene}-{self.feature}"
        board.shared(("place", name), lambda: self._place(board, name))
        yield from PaperTables.lines(replace(self, scene=name), board)

    def _place(self, board: VisualBoard, name: str) -> Place:
        shared, folder = board.data.parent.parent, board.kept or board.scratch
        trust = TrustBoard(shared, board.threads, board.quiet, folder / "scenes")
        try:
            asked, built = trust.asked(self.scene), trust.scene(self.scene, self.feature)
            kept = folder / f"features-{name}"
            kept.mkdir(parents=True, exist_ok=True)
            photos, extractor = trust.photos_of(self.scene), trust.extractor(self.feature)
            say = board.report(f"{self.feature} of {self.scene}")
            features = KeptFeatures(PhotoFeatures(photos, extractor), photos, kept, f"{self.feature} 1", say)
            scene = read_scene(built, metric=METRIC[self.scene])
            taken = {one.name: one for one in asked if one.camera and one.camera_SE3_world is not None}
            held_out = hold_out(
                scene, features, name=name, names=list(taken),
                cameras={key: one.camera for key, one in taken.items() if one.camera},
                poses={key: one.camera_SE3_world for key, one in taken.items() if one.camera_SE3_world is not None},
            )  # fmt: skip
        finally:
            trust.close()
        if board.queries is not None:
            held_out = held_out.thinned(board.queries)
        return Place(held_out, track_means(held_out.scene), features, scene)


def learned_rows() -> list[Row]:
    """Tables 1 and supplementary 2 of each learned feature on both scenes."""
    features = [feature for feature, weights in WEIGHTS.items() if weights is not None]
    asked = [(scene, feature, table) for scene in METRIC for feature in features for table in ("1", "s2")]
    return [
        LearnedTables(13, f"paper-{scene}-{feature.partition('-')[0]}-{table}", scene, table, feature=feature)  # type: ignore[misc]
        for scene, feature, table in asked
    ]
