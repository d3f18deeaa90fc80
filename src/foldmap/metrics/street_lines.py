"""Centre lines and their connections, in the spirit of "Structured Bird's-Eye-View Traffic Scene Understanding".

STSU (Can et al., ICCV 2021, section 4) matches each estimated line to its nearest true line, many to one, and asks how
well matched lines cover each other (M-P/R/F), which share of the true lines was matched at all (detection ratio), and
whether matched lines are joined as the true ones are (C-P/R/F).
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from foldmap.metrics.detection import f_score
from foldmap.metrics.street_sampled import TURN_M, Sampled
from foldmap.types import BoolArray, DoubleArray, IntArray

THRESHOLDS_M = tuple(0.5 * k for k in range(1, 11))
"""Precision and recall are means over these, 0.5 to 5 m: one to ten hundredths of a 50 m window."""


@dataclass(frozen=True)
class LineScores:
    """Each 0 to 1."""

    line_precision: float  # share of the points of predicted lines within a threshold of their matched true line (M-P)
    line_recall: float  # share of the points of matched true lines within a threshold of a line matched to them (M-R)
    line_f: float  # harmonic mean
    detection_ratio: float  # share of the true lines that are matched
    connect_precision: float  # share of the predicted connections within one true line, or of joined ones (C-P)
    connect_recall: float  # share of the true connections of which a predicted one joins the matched lines (C-R)
    connect_f: float  # harmonic mean


def line_scores(predicted: Sampled, truth: Sampled) -> LineScores:
    """Score predicted lines (the chains of a graph) against the true ones.

    Both empty: all 1. One empty: all 0. Connections where neither graph has any: 1; where one has none: 0.
    """
    if not len(predicted) or not len(truth):
        value = float(len(predicted) == len(truth))
        return LineScores(*(7 * [value]))
    apart, matched, of_predicted, of_truth = _match_lines(predicted, truth)
    first, first_true = _starts(of_predicted), _starts(of_truth)
    to_true = np.minimum.reduceat(apart, first_true, axis=1)[np.arange(len(apart)), matched[of_predicted]]
    to_predicted = np.minimum.reduceat(apart, first, axis=0)
    to_predicted = np.where(matched[:, None] == of_truth[None, :], to_predicted, np.inf).min(0)
    to_predicted = to_predicted[np.isin(of_truth, matched)]
    precision = float(np.mean([(to_true <= t).mean() for t in THRESHOLDS_M]))
    recall = float(np.mean([(to_predicted <= t).mean() for t in THRESHOLDS_M]))
    detection = len(np.unique(matched)) / len(truth.lines)
    connect = connection_scores(predicted.follows, truth.follows, matched)
    return LineScores(precision, recall, f_score(precision, recall), detection, *connect)


def _match_lines(predicted: Sampled, truth: Sampled) -> tuple[DoubleArray, IntArray, IntArray, IntArray]:
    """Match each predicted line to the true line with the least mean distance from its points, turned ones farther.

    Returns distances (P, T) in metres between the points of all predicted and all true lines, line after line; the true
    line of each predicted one (L,); the lines of the points (P,) and (T,).
    """
    points, headings, of_predicted = _line_points(predicted)
    true_points, true_headings, of_truth = _line_points(truth)
    apart = cdist(points, true_points)
    turned = np.sqrt(apart**2 + TURN_M**2 * cdist(headings, true_headings, "sqeuclidean"))
    nearest = np.minimum.reduceat(turned, _starts(of_truth), axis=1)
    cost = np.add.reduceat(nearest, _starts(of_predicted), axis=0) / np.bincount(of_predicted)[:, None]
    return apart, cost.argmin(1), of_predicted, of_truth


def _line_points(graph: Sampled) -> tuple[DoubleArray, DoubleArray, IntArray]:
    """Points (P, 2), unit headings (P, 2) along their own line, and number of the line (P,), line after line."""
    points = [graph.points_m[line] for line in graph.lines]
    steps = [np.gradient(line, axis=0) for line in points]
    step = np.concatenate(steps)
    heading = step / np.maximum(np.hypot(*step.T), 1e-12)[:, None]
    of_line = np.repeat(np.arange(len(points)), [len(line) for line in points])
    return np.concatenate(points), heading, of_line


def connection_scores(predicted: BoolArray, truth: BoolArray, matched: IntArray) -> tuple[float, float, float]:
    """C-P, C-R, C-F of connections (L, L) and (M, M), given the true line of each predicted one (L,)."""
    start, end = np.nonzero(predicted)
    total = int(truth.sum())
    if not len(start) or not total:
        value = float(not len(start) and not total)
        return value, value, value
    i, j = matched[start], matched[end]
    precision = float((truth[i, j] | (i == j)).mean())
    found = np.zeros_like(truth)
    found[i, j] = True
    recall = float((found & truth).sum()) / total
    return precision, recall, f_score(precision, recall)


def _starts(of_line: IntArray) -> IntArray:
    return np.flatnonzero(np.diff(of_line, prepend=-1))
