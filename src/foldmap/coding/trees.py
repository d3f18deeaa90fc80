"""Decision trees for contexts: grown best-first by information gain, stopped by description length.

A question asks whether the value of one neighbour lies in a set. For two outcomes the best set is a threshold on the
values sorted by how often the outcome is one (Breiman et al. 1984); for many outcomes the sets come from the best
single value, improved by Chou's alternating assignment (1991).
"""

import heapq
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from foldmap.coding.neighbours import Feature
from foldmap.types import AnyArray, BoolArray, ByteArray

_CHOU_ROUNDS = 8
_CHOU_FEATURES = 4
_MIN_SIDE = 8


@dataclass
class Tree:
    """A decision tree over neighbour values."""

    features: list[Feature] = field(default_factory=list)  # one (source, dy, dx) per inner node
    sets: list[BoolArray] = field(default_factory=list)  # bool (V,), values that go to the second child
    children: list[list[int]] = field(default_factory=list)  # (outside, inside): an inner node, or `-1 - leaf`
    leaf_counts: list[AnyArray] = field(default_factory=list)  # float (L, S), outcomes seen in each leaf


@njit(cache=True)
def _count(features, outcomes, rows, values, kinds):  # type: ignore[no-untyped-def]
    """Outcomes by feature and value, int64 (F, V, S)."""
    table = np.zeros((features.shape[1], values, kinds), np.int64)
    for i in rows:
        outcome = outcomes[i]
        for f in range(features.shape[1]):
            table[f, features[i, f], outcome] += 1
    return table


def _bits(counts: AnyArray) -> AnyArray:
    """Ideal length in bits of outcomes with these counts, over the last axis."""
    total = counts.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(counts > 0, counts * np.log2(counts), 0.0).sum(axis=-1)
        whole = np.where(total > 0, total * np.log2(total), 0.0)
    return np.asarray(whole - parts)


def _split_two(table: AnyArray) -> tuple[float, int, BoolArray]:
    """Best (gain, feature, set) for two outcomes: a threshold on values sorted by their share of ones."""
    total = table.sum(axis=2)
    share = np.where(total > 0, (table[:, :, 1] + 0.5) / (total + 1.0), 2.0)
    order = np.argsort(share, axis=1, kind="stable")
    left = np.cumsum(np.take_along_axis(table, order[:, :, None], axis=1), axis=1)[:, :-1]
    whole = table[0].sum(axis=0)
    right = whole - left
    gain = _bits(whole) - _bits(left) - _bits(right)
    gain[np.minimum(left.sum(axis=2), right.sum(axis=2)) < _MIN_SIDE] = -1.0
    feature, cut = np.unravel_index(int(np.argmax(gain)), gain.shape)
    inside = np.zeros(table.shape[1], bool)
    inside[order[feature, cut + 1 :]] = True
    return float(gain[feature, cut]), int(feature), inside


def _improve(table_VS: AnyArray, inside: BoolArray) -> tuple[float, BoolArray]:
    """Chou's alternation: send each value to the side whose outcome distribution codes it better."""
    whole = table_VS.sum(axis=0)
    best_gain, best = -1.0, inside
    for _ in range(_CHOU_ROUNDS):
        one = table_VS[inside].sum(axis=0)
        zero = whole - one
        gain = float(_bits(whole) - _bits(one) - _bits(zero))
        if min(one.sum(), zero.sum()) < _MIN_SIDE or gain <= best_gain:
            break
        best_gain, best = gain, inside
        log_one = np.log2((one + 0.1) / (one.sum() + 0.1 * one.size))
        log_zero = np.log2((zero + 0.1) / (zero.sum() + 0.1 * zero.size))
        inside = table_VS @ (log_one - log_zero) > 0
    return best_gain, best


def _split_many(table: AnyArray) -> tuple[float, int, BoolArray]:
    """Best (gain, feature, set) for many outcomes."""
    whole = table[0].sum(axis=0)
    single = _bits(whole) - _bits(table) - _bits(whole - table)
    counts = table.sum(axis=2)
    single[np.minimum(counts, whole.sum() - counts) < _MIN_SIDE] = -1.0
    tops = np.argsort(-single.max(axis=1), kind="stable")[:_CHOU_FEATURES]
    best: tuple[float, int, BoolArray] = (-1.0, 0, np.zeros(table.shape[1], bool))
    for feature in tops:
        inside = np.zeros(table.shape[1], bool)
        inside[int(np.argmax(single[feature]))] = True
        gain, inside = _improve(table[feature], inside)
        if gain > best[0]:
            best = (gain, int(feature), inside)
    return best


def _penalty(counts: AnyArray, features: int) -> float:
    """Bits that one more leaf must save: its parameters, and the question itself."""
    free = max(int((counts > 0).sum()) - 1, 1)
    return 0.5 * free * float(np.log2(max(counts.sum(), 2.0))) + float(np.log2(features)) + 8.0


def grow(
    features: ByteArray, outcomes: AnyArray, names: list[Feature], *, values: int, kinds: int, max_leaves: int
) -> Tree:
    """Grow a tree that predicts ``outcomes`` from ``features``.

    Args:
        features: uint8 (N, F), each below ``values``.
        outcomes: int (N,), each below ``kinds``.
        names: the F features.
        values: number of values a feature can take.
        kinds: number of outcomes.
        max_leaves: upper bound of leaves; 1 gives a tree without a question.
    """
    split = _split_two if kinds == 2 else _split_many
    tree = Tree()
    rows = np.arange(outcomes.size)
    whole = np.bincount(outcomes, minlength=kinds).astype(np.float64)
    # Heap entries: (-net gain, serial, rows, table of the chosen feature, split); serial makes the order total.
    heap: list[tuple[float, int, AnyArray, AnyArray, tuple[float, int, BoolArray]]] = []
    parent_of: dict[int, tuple[int, int]] = {}
    leaf_counts: dict[int, AnyArray] = {}

    def push(serial: int, rows: AnyArray, counts: AnyArray) -> None:
        leaf_counts[serial] = counts
        if rows.size < 2 * _MIN_SIDE or np.count_nonzero(counts) < 2 or not names:
            return
        table = _count(features, outcomes, rows, values, kinds)
        found = split(table)
        net = found[0] - _penalty(counts, len(names))
        if net > 0:
            heapq.heappush(heap, (-net, serial, rows, table[found[1]], found))

    push(0, rows, whole)
    serial = 0
    while heap and len(leaf_counts) < max_leaves:
        _, old, rows, table_VS, (_, feature, inside) = heapq.heappop(heap)
        one = table_VS[inside].sum(axis=0).astype(np.float64)
        zero = table_VS.sum(axis=0) - one
        if one.sum() <= zero.sum():
            inside = inside & (table_VS.sum(axis=1) > 0)
        else:  # values never seen here follow the larger side
            inside = inside | (table_VS.sum(axis=1) == 0)
        node = len(tree.features)
        tree.features.append(names[feature])
        tree.sets.append(inside)
        tree.children.append([0, 0])
        if old in parent_of:
            above, side = parent_of[old]
            tree.children[above][side] = node
        del leaf_counts[old]
        goes = inside[features[rows, feature]]
        for side, (mine, counts) in enumerate(((rows[~goes], zero), (rows[goes], one))):
            serial += 1
            parent_of[serial] = (node, side)
            push(serial, mine, counts)
    for serial, counts in sorted(leaf_counts.items()):
        if serial in parent_of:
            above, side = parent_of[serial]
            tree.children[above][side] = -1 - len(tree.leaf_counts)
        tree.leaf_counts.append(counts)
    return tree
