"""Where an image disagrees with a map: evidence of change, window by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from foldmap.errors import ModelError
from foldmap.geometry import SE2
from foldmap.street.field.lane_field import FieldSpec, draw_all
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import cut
from foldmap.street.images.observation import Observation
from foldmap.street.source import LaneGraph
from foldmap.types import FloatArray

_BLOB_CELLS = 2.0


@dataclass(frozen=True)
class Evidence:
    """What one window says about the map: fields float32 (headings, rows, columns), 0 to 1.

    Attributes:
        present: lanes that are there, given image and map.
        lacking: lanes that are there and not on the map.
        gone: lanes that are on the map and not there.
        score: strongest blob of either, about 0 (agrees) to 1.
    """

    present: FloatArray
    lacking: FloatArray
    gone: FloatArray
    score: float


def gather(model: FieldEmbedding, observations: Sequence[Observation], old_maps: Sequence[LaneGraph]) -> list[Evidence]:
    """Compare observations with the windows of the map at their places, in the ego frame.

    Raises:
        ModelError: the model's network takes no map (`foldmap train street --update`).
    """
    if not model.network.shape.with_map:
        raise ModelError("this model takes no map to compare with", "train one with `foldmap train street --update`")
    drawn = draw_all([resample(old, 1.0) for old in old_maps], model.field)
    fields = model.read_fields(observations, drawn)
    found = []
    for three in fields:
        present, lacking, gone = np.split(three, 3)
        found.append(Evidence(present, lacking, gone, max(blob(lacking), blob(gone))))
    return found


def windows_of(graph: LaneGraph, poses: Sequence[SE2], field: FieldSpec) -> list[LaneGraph]:
    """The map's windows at poses, in the ego frame."""
    return [cut(graph, pose, field.window) for pose in poses]


def blob(field_CRS: FloatArray) -> float:
    """The strongest blob of a change field, all headings together, over about 2 m."""
    return float(gaussian_filter(field_CRS.sum(0), _BLOB_CELLS).max())
