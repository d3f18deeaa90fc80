"""All street metrics of a predicted graph in one record, and their means over windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from foldmap.errors import InputError
from foldmap.metrics.street_chamfer import chamfer_m
from foldmap.metrics.street_clusters import rand_loss
from foldmap.metrics.street_lines import line_scores
from foldmap.metrics.street_mmd import mmd
from foldmap.metrics.street_openlane import LaneLines, openlane_scores
from foldmap.metrics.street_sampled import DEFINITIONS_VERSION, Sampled, empty_m, sampled
from foldmap.metrics.street_topology import topology_scores
from foldmap.metrics.street_urban import urban_errors, urban_measures
from foldmap.street.graph.window import AROUND, Window
from foldmap.street.source import LaneGraph


@dataclass(frozen=True)
class StreetScores:
    """How near a predicted lane graph is to the true one, by every metric; see the functions for definitions.

    Attributes:
        chamfer_m: `chamfer_m`, metres; lower is better.
        rand_loss: `rand_loss`, 0 to 1; lower is better.
        mmd: `mmd`, 0 to 1.414; lower is better.
        density_error: vertices per 100 m2; lower is better.
        density_relative_error: 0 to 1; lower is better.
        reach_error_m: metres; lower is better.
        reach_relative_error: 0 to 1; lower is better.
        connectivity_error: chains per key vertex; lower is better.
        line_precision, line_recall, line_f, detection_ratio: `line_scores`.
        connect_precision, connect_recall, connect_f: `line_scores`.
        geo_precision, geo_recall, geo_f, topo_precision, topo_recall, topo_f: `topology_scores`; topo_f is the
            topology F.
        det_l, top_ll: `openlane_scores` of this window.
    """

    chamfer_m: float
    rand_loss: float
    mmd: float
    density_error: float
    density_relative_error: float
    reach_error_m: float
    reach_relative_error: float
    connectivity_error: float
    line_precision: float
    line_recall: float
    line_f: float
    detection_ratio: float
    connect_precision: float
    connect_recall: float
    connect_f: float
    geo_precision: float
    geo_recall: float
    geo_f: float
    topo_precision: float
    topo_recall: float
    topo_f: float
    det_l: float
    top_ll: float

    def as_dict(self) -> dict[str, float]:
        """Every number by name."""
        return asdict(self)


LOWER_IS_BETTER = frozenset(
    name
    for name in (field.name for field in fields(StreetScores))
    if name.endswith(("_error", "_error_m")) or name in ("chamfer_m", "rand_loss", "mmd")
)
"""Names of the scores of which less is better; of the others more is."""


def street_scores(predicted: LaneGraph, truth: LaneGraph, window: Window = AROUND) -> StreetScores:
    """Score a predicted graph against the truth, both in the ego frame; both are clipped and sampled at 1 m first.

    An empty prediction of a non-empty truth, and the reverse, gets each metric's worst value, except density, reach and
    connectivity errors, which are the differences to 0. Two empty graphs are equal.
    """
    return sampled_scores(sampled(predicted, window), sampled(truth, window), window)


def sampled_scores(predicted: Sampled, truth: Sampled, window: Window = AROUND) -> StreetScores:
    """`street_scores` of graphs that were clipped and sampled already, so that a library is sampled once."""
    urban = urban_errors(urban_measures(predicted, window), urban_measures(truth, window))
    lines = line_scores(predicted, truth)
    topology = topology_scores(predicted, truth)
    openlane = openlane_scores([LaneLines.of(predicted)], [LaneLines.of(truth)])
    return StreetScores(
        chamfer_m=chamfer_m(predicted.points_m, truth.points_m, empty_m(window)),
        rand_loss=rand_loss(predicted, truth),
        mmd=mmd(predicted.points_m, truth.points_m),
        density_error=urban.density,
        density_relative_error=urban.density_relative,
        reach_error_m=urban.reach_m,
        reach_relative_error=urban.reach_relative,
        connectivity_error=urban.connectivity,
        line_precision=lines.precision,
        line_recall=lines.recall,
        line_f=lines.f,
        detection_ratio=lines.detection,
        connect_precision=lines.connect_precision,
        connect_recall=lines.connect_recall,
        connect_f=lines.connect_f,
        geo_precision=topology.geo_precision,
        geo_recall=topology.geo_recall,
        geo_f=topology.geo_f,
        topo_precision=topology.topo_precision,
        topo_recall=topology.topo_recall,
        topo_f=topology.topo_f,
        det_l=openlane.det_l,
        top_ll=openlane.top_ll,
    )


def mean_scores(scores: Sequence[StreetScores]) -> StreetScores:
    """The mean of each number over windows.

    Raises:
        InputError: no windows.
    """
    if not scores:
        raise InputError("no windows to average", "score one at least")
    table = np.array([list(score.as_dict().values()) for score in scores])
    return StreetScores(*(float(v) for v in table.mean(0)))


__all__ = [
    "DEFINITIONS_VERSION",
    "LOWER_IS_BETTER",
    "StreetScores",
    "mean_scores",
    "sampled_scores",
    "street_scores",
]
