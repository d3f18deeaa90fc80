"""Training of the context coder: trees per group, smoothed leaf probabilities, adaptation chosen on held-out tiles."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from foldmap.coding import kernel, neighbours
from foldmap.coding.checks import checked_codes
from foldmap.coding.kernel import heap_depth
from foldmap.coding.neighbours import feature_values
from foldmap.coding.trees import Tree, grow
from foldmap.errors import ConfigError
from foldmap.types import AnyArray, ByteArray

_SAMPLE_LIMIT = 250_000
_HOLD_OUT_EVERY = 5
_BLOCKS = (4, 8)
_PRIORS = (16, 48, 128, 400, 1020)


_Model: TypeAlias = Any  # a `ContextModel`, whose class is above this module


def fit_context(
    untrained: Callable[[int, int, int], _Model],
    tiles: Sequence[ByteArray],
    symbols: int | None = None,
    *,
    block: int | None = None,
    max_leaves: tuple[int, int, int] = (32, 128, 128),
    model_bytes: int = 40_000,
) -> _Model:
    """Learn a context coder from tiles; the same tiles give the same model.

    Raises `ConfigError`: no tiles, or arrays that are not codes; `ModelError`: tiles of different G, or codes above
    ``symbols``.

    Args:
        untrained: makes a model of groups, symbols and block that has not learned.
        tiles: uint8 arrays (G, H, W), all of one G.
        symbols: channels per group; by default the largest code.
        block: cells per side of a flagged block; by default chosen by measuring.
        max_leaves: bound of leaves per group in the flag, activity and symbol trees.
        model_bytes: bound of the stored model; trees are grown smaller until it fits.
    """
    if not tiles:
        raise ConfigError("no code tiles to fit a context coder on", "pass at least one")
    symbols = symbols or max(1, max(int(t.max(initial=0)) for t in tiles))
    groups = int(tiles[0].shape[0])
    checked = [checked_codes(tile, symbols, groups) for tile in tiles]
    held = checked[::_HOLD_OUT_EVERY] if len(checked) >= _HOLD_OUT_EVERY else []
    kept = [tile for k, tile in enumerate(checked) if k % _HOLD_OUT_EVERY] if held else checked
    grown = [
        _choose_adaptation(_grow_within(model_bytes, kept, untrained(groups, symbols, side), max_leaves), held)
        for side in ((block,) if block else _BLOCKS)
    ]
    _, chosen = min(grown, key=lambda pair: pair[0])
    # The choices are made; now learn from the held-out tiles too.
    return _grow_within(model_bytes, checked, chosen, max_leaves) if held else chosen


def _choose_adaptation(model: _Model, held: list[ByteArray]) -> tuple[float, _Model]:
    """Priors and memory that cost least on held-out tiles, one after the other; and that cost."""

    def cost(candidate: _Model) -> float:
        return float(sum(candidate.cross_entropy_bits(tile) for tile in held))

    best = (cost(model), model)
    for name in ("flag_prior", "symbol_prior"):
        settings: list[dict[str, Any]] = [{name: value} for value in _PRIORS]
        trials = [replace(best[1], **setting) for setting in settings] if held else []
        best = min([best, *((cost(trial), trial) for trial in trials)], key=lambda pair: pair[0])
    static = replace(best[1], memory=0)
    return min([best, (cost(static), static)], key=lambda pair: pair[0]) if held else best


def _samples(
    tiles: Sequence[ByteArray], base: _Model, kind: int, group: int
) -> tuple[ByteArray, AnyArray, list[neighbours.Feature], int]:
    """Features uint8 (N, F), outcomes (N,), the features' names, and of how many decisions one was taken."""
    names = neighbours.candidate_features(kind, group)
    table = np.array(names, np.int16).reshape(-1, 3)
    tally = np.zeros(1, np.int64)

    def gather(features: ByteArray, outcomes: AnyArray, stride: int) -> None:
        tally[0] = 0
        for tile in tiles:
            shape = (tile.shape[0], tile.shape[1], tile.shape[2])
            steps = neighbours.offsets(kind, group, table, shape, base.block)
            base.collect(tile, kind, group, (features, outcomes, tally, steps, stride))

    gather(np.zeros((0, len(names)), np.uint8), np.zeros(0, np.int64), 1)
    total = int(tally[0])
    stride = max(1, -(-total // _SAMPLE_LIMIT))
    rows = -(-total // stride)
    features, outcomes = np.zeros((rows, len(names)), np.uint8), np.zeros(rows, np.int64)
    gather(features, outcomes, stride)
    return features, outcomes, names, stride


def _grow_within(
    model_bytes: int, tiles: Sequence[ByteArray], base: _Model, max_leaves: tuple[int, int, int]
) -> _Model:
    """Grow with fewer and fewer leaves until the arrays fit ``model_bytes``, or no question is left."""
    while True:
        model = _grow_model(tiles, base, max_leaves)
        size = sum(array.nbytes for array in model.to_arrays().values())
        if size <= model_bytes or max(max_leaves) == 1:
            return model
        shrink = min(0.9, model_bytes / size)
        flag, active, symbol = (max(1, int(leaves * shrink)) for leaves in max_leaves)
        max_leaves = (flag, active, symbol)


def _grow_model(tiles: Sequence[ByteArray], base: _Model, max_leaves: tuple[int, int, int]) -> _Model:
    values = feature_values(base.groups, base.symbols, base.block)
    parts: dict[str, list[Any]] = {"source": [], "step": [], "set": [], "child": [], "bit": [], "symbol": []}
    sizes = np.zeros((3, base.groups), np.int16)
    for kind in (kernel.FLAG, kernel.ACTIVE, kernel.SYMBOL):
        kinds = base.symbols + 1 if kind == kernel.SYMBOL else 2
        for group in range(base.groups):
            features, outcomes, names, stride = _samples(tiles, base, kind, group)
            tree = grow(features, outcomes, names, values=values, kinds=kinds, max_leaves=max_leaves[kind])
            sizes[kind, group] = len(tree.features)
            for (source, dy, dx), inside, child in zip(tree.features, tree.sets, tree.children, strict=True):
                parts["source"].append(source)
                parts["step"].append((dy, dx))
                parts["set"].append(inside)
                parts["child"].append(child)
            parts["symbol" if kind == kernel.SYMBOL else "bit"] += _leaves(tree, kind, base.symbols, stride)
    bits, heaps = np.array(parts["bit"]), np.array(parts["symbol"])
    return replace(
        base, tree_nodes=sizes, node_source=np.array(parts["source"], np.uint8),
        node_step=np.array(parts["step"], np.int8).reshape(-1, 2),
        node_set=np.packbits(np.array(parts["set"], bool).reshape(-1, values), axis=1, bitorder="little"),
        node_child=np.array(parts["child"], np.int16).reshape(-1, 2),
        bit_chance=bits[:, 0].astype(np.uint16), bit_weight=bits[:, 1].astype(np.uint8),
        symbol_chance=heaps[..., 0].astype(np.uint16), symbol_weight=heaps[..., 1].astype(np.uint8),
    )  # fmt: skip


def _leaves(tree: Tree, kind: int, symbols: int, stride: int) -> list[AnyArray]:
    """Per leaf (chance, weight), or such pairs for each decision of the symbol heap; pulled to the tree's."""
    counts = np.array(tree.leaf_counts)
    if kind != kernel.SYMBOL:
        pairs = counts
    else:
        depth = heap_depth(symbols)
        pairs = np.zeros((len(counts), (1 << depth) - 1, 2))
        outcomes = np.zeros((len(counts), 1 << depth))
        outcomes[:, :symbols] = counts[:, 1:]
        for level in range(depth):
            halves = outcomes.reshape(len(counts), 1 << level, 2, -1).sum(axis=3)
            pairs[:, (1 << level) - 1 : (2 << level) - 1] = halves
    whole = pairs.sum(axis=0)
    share = (whole[..., 1] + 0.4) / (whole.sum(axis=-1) + 0.8)
    pull = 2.0 if kind == kernel.SYMBOL else 0.5
    chance = (pairs[..., 1] + pull * share) / (pairs.sum(axis=-1) + pull)
    weight = np.minimum(255, np.ceil(pairs.sum(axis=-1) * stride / 4))
    quantized = np.clip(np.round(chance * 65536), 1, 65535)
    return list(np.stack([quantized, weight], axis=-1))
