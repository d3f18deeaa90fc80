"""From observations to changes of a street map, as GeoJSON and applied; what ``street update`` and ``expand`` share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldmap.cli.street.observations import Seen, look
from foldmap.errors import ConfigError, MapInputError

if TYPE_CHECKING:
    from foldmap.geometry import SE2
    from foldmap.street.changes.detect import Change, ChangeSettings
    from foldmap.street.changes.evidence import Evidence
    from foldmap.street.field.draw import FieldSpec
    from foldmap.street.field.model import FieldEmbedding
    from foldmap.street.graph.window import Window
    from foldmap.street.images.observation import Observation
    from foldmap.street.model import EmbeddingModel
    from foldmap.street.places import EdgeIndex
    from foldmap.street.source import LaneGraph
    from foldmap.street.unfold import StreetLayer
    from foldmap.street.update import StreetUpdate
    from foldmap.types import DoubleArray

_BATCH = 8
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Ground:
    """A region as changes are found on it.

    Attributes:
        region: its name.
        crs: of its frame.
        stored: the graph as the file has it.
        dense: the same with vertices a metre apart.
        between_m: the vertices of `dense` that are not of `stored`.
    """

    region: str
    crs: str | None
    stored: LaneGraph
    dense: LaneGraph
    between_m: DoubleArray

    @cached_property
    def _index(self) -> EdgeIndex:
        from foldmap.street.places import EdgeIndex

        return EdgeIndex(self.stored)

    def window(self, pose: SE2, window: Window) -> LaneGraph:
        """The map around a pose, in the ego frame."""
        from foldmap.street.graph.window import cut

        near = self._index.near(pose.x_m, pose.y_m, window.radius_m)
        return cut(self.stored.take_edges(near), pose, window)


def ground_of(layer: StreetLayer, region: str) -> Ground:
    """Read a region."""
    from foldmap.street.changes.dense import densified

    stored = layer.graph(region)
    return Ground(region, layer.region(region).crs, stored, *densified(stored))


@dataclass(frozen=True)
class Look:
    """One window that counts: number of the observation, where it is, and what was seen."""

    number: int
    pose: SE2
    observation: Observation


def looks(seen: Seen, poses: Sequence[SE2], numbers: Sequence[int], start: int) -> list[Look]:
    """A batch of windows, without those where nothing was seen."""
    some = [(k, look(seen, k)) for k in numbers[start : start + _BATCH]]
    return [Look(k, poses[k], one) for k, one in some if one is not None]


def compared(
    model: FieldEmbedding, ground: Ground, seen: Seen, poses: Sequence[SE2], numbers: Sequence[int], report: Report
) -> tuple[list[SE2], list[Evidence]]:
    """What a network with a map says of each window.

    Raises:
        MapInputError: an image cannot be used.
    """
    from foldmap.street.changes.evidence import gather

    kept: list[SE2] = []
    found: list[Evidence] = []
    for start in range(0, len(numbers), _BATCH):
        some = looks(seen, poses, numbers, start)
        if some:
            old = [ground.window(one.pose, model.window) for one in some]
            found += gather(model, [one.observation for one in some], old)
            kept += [one.pose for one in some]
        report(min(start + _BATCH, len(numbers)), len(numbers))
    return kept, found


def read_fields(
    model: FieldEmbedding, ground: Ground, seen: Seen, poses: Sequence[SE2], numbers: Sequence[int], report: Report
) -> tuple[list[SE2], list[Evidence]]:
    """What a network without a map reads from each window beyond what the map has there."""
    kept: list[SE2] = []
    found: list[Evidence] = []
    for start in range(0, len(numbers), _BATCH):
        some = looks(seen, poses, numbers, start)
        if some:
            fields = model.read_fields([one.observation for one in some])
            found += [beyond(field, ground, one.pose, model.field) for field, one in zip(fields, some, strict=True)]
            kept += [one.pose for one in some]
        report(min(start + _BATCH, len(numbers)), len(numbers))
    return kept, found


def retrieved_fields(
    graphs: Sequence[LaneGraph], poses: Sequence[SE2], ground: Ground, spec: FieldSpec
) -> list[Evidence]:
    """What retrieved graphs (in the ego frame) have beyond the map."""
    from foldmap.street.field.draw import draw_all

    drawn = draw_all(list(graphs), spec)
    return [beyond(field, ground, pose, spec) for field, pose in zip(drawn, poses, strict=True)]


def beyond(present: Any, ground: Ground, pose: SE2, spec: FieldSpec) -> Evidence:
    """A field less the map's lanes, which may be 2 m and a heading off; nothing is said to be gone."""
    import numpy as np
    from scipy.ndimage import maximum_filter

    from foldmap.street.changes.evidence import Evidence, blob
    from foldmap.street.field.draw import draw
    from foldmap.street.graph.chains import resample

    mapped = draw(resample(ground.window(pose, spec.window), 1.0), spec)
    reach = max(1, round(2.0 / spec.cell_m))
    wide = maximum_filter(mapped, (1, 2 * reach + 1, 2 * reach + 1))
    wide = np.maximum(wide, np.maximum(np.roll(wide, 1, 0), np.roll(wide, -1, 0)))  # and a heading off
    lacking = np.maximum(present - wide, 0).astype(np.float32)
    return Evidence(present, lacking, np.zeros_like(lacking), blob(lacking))


def outside(ground: Ground, poses: Sequence[SE2], free_m: float) -> list[int]:
    """Which poses have no lane of the map within `free_m`."""
    import numpy as np
    from scipy.spatial import cKDTree

    if not len(ground.dense):
        return list(range(len(poses)))
    at = np.array([(pose.x_m, pose.y_m) for pose in poses]).reshape(-1, 2)
    far, _ = cKDTree(ground.dense.vertices_m).query(at)
    return [int(k) for k in np.flatnonzero(far > free_m)]


def settings_of(min_confidence: float) -> ChangeSettings:
    """Thresholds of what is reported.

    Raises:
        ConfigError: no confidence.
    """
    from foldmap.street.changes.detect import ChangeSettings

    if not 0 < min_confidence <= 1:
        raise ConfigError(f"a confidence of {min_confidence}", "give more than 0, and 1 at most")
    return ChangeSettings(least=min_confidence)


def write_changes(path: Path, changes: Sequence[Change], ground: Ground, applied: bool) -> None:
    """One feature a change, most confident first; ``before`` is where a moved lane was."""
    from foldmap.formats.street.findings import LineFeature, write_features

    features = []
    for one in changes:
        said = {
            "kind": one.kind,
            "confidence": round(one.confidence, 4),
            "windows": one.windows,
            "region": ground.region,
            "applied": applied,
        }
        before = {"before": one.before_m} if len(one.before_m) else {}
        features.append(LineFeature([one.line_m], ground.crs, said, before))
    write_features(path, features, {"foldmap:changes": 1})


def put_changes(
    fold_file: Path, ground: Ground, changes: Sequence[Change], model: EmbeddingModel | None, settings: ChangeSettings
) -> StreetUpdate:
    """Bring a region up to date: one transaction that writes the tiles that changed.

    Raises:
        MapInputError: nothing would be left of the region.
        WriteError: the file cannot be written.
    """
    from foldmap.atlas import FoldUpdater
    from foldmap.street.changes.dense import thinned
    from foldmap.street.changes.detect import apply_changes
    from foldmap.street.source import StreetMap
    from foldmap.street.update import update_street

    changed = thinned(apply_changes(ground.dense, changes, settings), ground.between_m)
    if not len(changed.edges):
        raise MapInputError(f"no lane of {ground.region!r} would be left", "fold the region anew")
    with FoldUpdater(fold_file) as updater:
        return update_street(updater, StreetMap(ground.region, changed, ground.crs), model=model)


def told(changes: Sequence[Change], done: StreetUpdate | None) -> dict[str, Any]:
    """What was found, and what was written."""
    import numpy as np

    metres = Counter[str]()
    for one in changes:
        metres[one.kind] += round(float(np.hypot(*np.diff(one.line_m, axis=0).T).sum()))
    shown: dict[str, Any] = {
        "changes": len(changes),
        "by_kind": dict(Counter(one.kind for one in changes)),
        "metres": dict(metres),
        "applied": done is not None,
    }
    if done is not None:
        shown |= {
            "tiles_changed": len(done.changed),
            "tiles_removed": len(done.removed),
            "tiles_kept": done.kept,
            "places_embedded": done.places,
        }
    return shown
