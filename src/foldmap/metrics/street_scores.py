"""All street metrics of a predicted graph in one record, and their means over windows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from foldmap.errors import InputError
from foldmap.metrics.street_chamfer import chamfer_m
from foldmap.metrics.street_clusters import rand_loss
from foldmap.metrics.street_lines import LineScores, line_scores
from foldmap.metrics.street_mmd import mmd
from foldmap.metrics.street_openlane import LaneLines, OpenLaneScores, openlane_scores
from foldmap.metrics.street_sampled import Sampled, empty_m, sampled
from foldmap.metrics.street_topology import TopologyScores, topology_scores
from foldmap.metrics.street_urban import UrbanErrors, urban_errors, urban_measures
from foldmap.street.graph.window import AROUND, Window
from foldmap.street.source import LaneGraph


@dataclass(frozen=True)
class StreetScores(UrbanErrors, LineScores, TopologyScores, OpenLaneScores):
    """How near a predicted lane graph is to the true one, by every metric."""

    chamfer_m: float  # see the function, metres; lower is better
    rand_loss: float  # see the function, 0 to 1; lower is better
    mmd: float  # see the function, 0 to 1.414; lower is better

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
    return StreetScores(
        chamfer_m=chamfer_m(predicted.points_m, truth.points_m, empty_m(window)),
        rand_loss=rand_loss(predicted, truth),
        mmd=mmd(predicted.points_m, truth.points_m),
        **vars(urban_errors(urban_measures(predicted, window), urban_measures(truth, window))),
        **vars(line_scores(predicted, truth)),
        **vars(topology_scores(predicted, truth)),
        **vars(openlane_scores([LaneLines.of(predicted)], [LaneLines.of(truth)])),
    )


def mean_scores(scores: Sequence[StreetScores]) -> StreetScores:
    """The mean of each number over windows. Raises `InputError`: no windows."""
    if not scores:
        raise InputError("no windows to average", "score one at least")
    table = np.array([list(score.as_dict().values()) for score in scores])
    return StreetScores(*(float(v) for v in table.mean(0)))
