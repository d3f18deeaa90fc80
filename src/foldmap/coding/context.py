"""The default coder: block flags and one-hot symbols under decision-tree contexts, binary adaptive range coding.

    codes (G, H, W) --trees choose a context per decision--> probability --range coder--> payload

A model is a few KB of arrays, trained once (``ContextModel.fit``) and stored with the map. Probabilities start at what
training saw and follow the tile while it is coded, so a map with other statistics still compresses. The bitstream is
specified in ``docs/coders.md``; any change of it needs a new ``FORMAT``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from foldmap.coding import kernel, neighbours, rangecoder
from foldmap.coding.checks import checked_array, checked_codes, checked_payload, checked_shape, header_numbers
from foldmap.coding.fitting import fit_context
from foldmap.coding.kernel import heap_depth
from foldmap.coding.neighbours import feature_values
from foldmap.errors import MapFormatError, ModelError
from foldmap.types import AnyArray, ByteArray, DoubleArray

FORMAT = 1
_ARRAYS: dict[str, tuple[type, tuple[int | None, ...]]] = {
    "tree_nodes": (np.int16, (3, None)), "node_source": (np.uint8, (None,)), "node_step": (np.int8, (None, 2)),
    "node_set": (np.uint8, (None, None)), "node_child": (np.int16, (None, 2)),
    "bit_chance": (np.uint16, (None,)), "bit_weight": (np.uint8, (None,)),
    "symbol_chance": (np.uint16, (None, None)), "symbol_weight": (np.uint8, (None, None)),
}  # fmt: skip
_MAX_BLOCK = 8
_MAX_COUNT = 4095
_SHAPES_KEPT = 64
_KINDS = (kernel.FLAG, kernel.ACTIVE, kernel.SYMBOL)
_NO_BYTES = np.zeros(0, np.uint8)
_NO_HISTOGRAM = np.zeros((2, 0), np.int64)
_NO_SAMPLE = (np.zeros((0, 0), np.uint8), np.zeros(0, np.int64), np.zeros(1, np.int64), np.zeros(0, np.int32), 1)


@dataclass(frozen=True)
class ContextModel:
    """A trained context coder for tiles of ``groups`` groups of ``symbols`` channels."""

    groups: int  # groups per cell, 1..64
    symbols: int  # channels per group, 1..255; a code is 0 (none active) or 1..symbols
    block: int  # cells per side of a flagged block, 1..8
    flag_prior: int  # observations that a trained flag or activity probability counts for at most
    symbol_prior: int  # the same for the decisions inside a symbol
    memory: int  # observations that a probability remembers at most; 0 keeps all probabilities as trained
    tree_nodes: AnyArray  # int16 (3, G), questions in the trees for flags, activity and symbols of each group
    node_source: AnyArray  # uint8 (N,), plane a question looks at
    node_step: AnyArray  # int8 (N, 2), rows and columns away
    node_set: AnyArray  # uint8 (N, ceil(V / 8)), little-endian bits of the values that go to the second child
    node_child: AnyArray  # int16 (N, 2), a later node of the same tree or `-1 - leaf`
    bit_chance: AnyArray  # uint16 (B,), probability of one in 1 / 2^16, leaves of the flag and activity trees
    bit_weight: AnyArray  # uint8 (B,), a quarter of the observations behind it
    symbol_chance: AnyArray  # uint16 (S, 2^depth - 1), the same for each decision in the heap of a symbol leaf
    symbol_weight: AnyArray  # uint8 (S, 2^depth - 1)
    _runtime: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    name: ClassVar[str] = "context"
    format: ClassVar[int] = FORMAT

    def __post_init__(self) -> None:
        _check_model(self)
        self._runtime.update(_link(self))

    @classmethod
    def fit(
        cls,
        tiles: Sequence[ByteArray],
        symbols: int | None = None,
        *,
        block: int | None = None,
        max_leaves: tuple[int, int, int] = (32, 128, 128),
        model_bytes: int = 40_000,
    ) -> ContextModel:
        """Learn trees, probabilities and adaptation from ``tiles``; same tiles, same model. See `fit_context`."""
        sizes: dict[str, Any] = {"block": block, "max_leaves": max_leaves, "model_bytes": model_bytes}
        model: ContextModel = fit_context(untrained, tiles, symbols, **sizes)
        return model

    def encode(self, codes: ByteArray) -> bytes:
        """Payload of one tile, uint8 (G, H, W) with values 0..symbols; a ModelError for other groups or symbols."""
        codes = checked_codes(codes, self.symbols, self.groups)
        # A decision costs at most 11.4 bits, so two bytes for each are room enough.
        active = int(np.count_nonzero(codes))
        room = 16 + 2 * (2 * codes.size + self.groups + active * heap_depth(self.symbols))
        payload = np.empty(room, np.uint8)
        length = self._run(rangecoder.ENCODE, codes, payload, _NO_HISTOGRAM)
        return payload[:length].tobytes()

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> ByteArray:
        """Codes uint8 (G, H, W) of one tile, for exactly the payload that ``encode`` writes.

        Raises `MapFormatError`: bytes that no encoder writes for this shape (truncated and extended ones always);
        `LimitError`: a shape too large to allocate.
        """
        codes = np.zeros(checked_shape(shape, self.groups), np.uint8)
        if self._run(rangecoder.DECODE, codes, checked_payload(payload), _NO_HISTOGRAM) != 0:
            raise MapFormatError(f"a context-coded payload of {len(payload)} bytes is damaged", "fold the map again")
        return codes

    def cross_entropy_bits(self, codes: ByteArray, *, adaptive: bool = True) -> float:
        """Ideal length of ``codes`` under the model in bits, with or without adaptation."""
        model = self if adaptive else replace(self, memory=0)
        histogram = np.zeros((2, 1 << 16), np.int64)
        model._run(rangecoder.COST, checked_codes(codes, self.symbols, self.groups), _NO_BYTES, histogram)
        chance: DoubleArray = np.arange(1, 1 << 16) / float(1 << 16)
        cost = histogram[1, 1:] * -np.log2(chance) + histogram[0, 1:] * -np.log2(1.0 - chance)
        return float(cost.sum())

    def to_arrays(self) -> dict[str, AnyArray]:
        """The model as small arrays, for a file."""
        numbers = [FORMAT, self.groups, self.symbols, self.block, self.flag_prior, self.symbol_prior, self.memory]
        return {"header": np.array(numbers, np.int32)} | {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> ContextModel:
        """The model that ``to_arrays`` wrote; a ModelError for arrays that are malformed, or of another format."""
        version, *numbers = header_numbers(arrays, 7)
        if version != FORMAT:
            raise ModelError(f"context coder format {version}, this version reads {FORMAT}", "update foldmap")
        checked = {name: checked_array(arrays, name, dtype, shape) for name, (dtype, shape) in _ARRAYS.items()}
        groups, symbols, block, flag_prior, symbol_prior, memory = numbers
        return cls(groups, symbols, block, flag_prior, symbol_prior, memory, **checked)

    def trees(self) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Roots int32 (3, G), features int16 (N, 3) of all questions, and their children int16 (N, V) by value."""
        return self._runtime["roots"], self._runtime["features"], self._runtime["children"]

    def collect(self, codes: ByteArray, kind: int, group: int, sample: tuple[Any, ...]) -> None:
        """Gather features and outcomes of one kind of decision of one group; for fitting."""
        self._run(rangecoder.COLLECT, codes, _NO_BYTES, _NO_HISTOGRAM, (kind, group), sample)

    def _run(
        self,
        mode: int,
        codes: ByteArray,
        payload: ByteArray,
        histogram: AnyArray,
        collect: tuple[int, int] = (-1, -1),
        sample: tuple[Any, ...] = _NO_SAMPLE,
    ) -> int:
        runtime = self._runtime
        shape = (codes.shape[0], codes.shape[1], codes.shape[2])
        steps = self._steps(shape)
        tables = (steps, runtime["children"], runtime["symbol_at"])
        adapt = (runtime["chance"].copy(), runtime["seen"].copy(), runtime["rates"], self.memory)
        alphabet = (self.symbols, heap_depth(self.symbols))
        pad = neighbours.cell_pad(self.block)
        block_bytes, cell_bytes = kernel.buffer_sizes(shape, self.block, pad)
        length = kernel.code_tile(
            mode, codes, self.block, pad, runtime["roots"], tables, adapt, alphabet, payload, histogram,
            collect, sample, np.zeros(block_bytes, np.uint8), np.zeros(cell_bytes, np.uint8), np.zeros(4, np.uint64),
        )  # fmt: skip
        return int(length)

    def _steps(self, shape: tuple[int, int, int]) -> AnyArray:
        """Flat offset of each question in a tile of ``shape``, kept for the shapes seen lately."""
        known: dict[tuple[int, int, int], AnyArray] = self._runtime["steps"]
        if shape not in known:
            if len(known) >= _SHAPES_KEPT:
                known.clear()
            steps = np.zeros(len(self.node_source), np.int32)
            for kind, group, nodes in self._runtime["trees"]:
                steps[nodes] = neighbours.offsets(kind, group, self._runtime["features"][nodes], shape, self.block)
            known[shape] = steps
        return known[shape]


def untrained(groups: int, symbols: int, block: int = 4) -> ContextModel:
    """A model without questions, every decision at one half; it learns within each tile."""
    inner, values = (1 << heap_depth(symbols)) - 1, feature_values(groups, symbols, block)
    return ContextModel(
        groups=groups, symbols=symbols, block=block, flag_prior=400, symbol_prior=128, memory=1020,
        tree_nodes=np.zeros((3, groups), np.int16), node_source=np.zeros(0, np.uint8),
        node_step=np.zeros((0, 2), np.int8), node_set=np.zeros((0, -(-values // 8)), np.uint8),
        node_child=np.zeros((0, 2), np.int16),
        bit_chance=np.full(2 * groups, 32768, np.uint16), bit_weight=np.zeros(2 * groups, np.uint8),
        symbol_chance=np.full((groups, inner), 32768, np.uint16), symbol_weight=np.zeros((groups, inner), np.uint8),
    )  # fmt: skip


def _check_model(model: ContextModel) -> None:
    """Refuse whatever the kernel could not run safely; a ModelError names it."""

    def need(condition: bool, what: str) -> None:
        if not condition:
            raise ModelError(f"the context coder's {what}", "the model is damaged")

    need(1 <= model.groups <= neighbours.MAX_GROUPS, f"{model.groups} groups are not within 1..64")
    need(1 <= model.symbols <= 255, f"{model.symbols} symbols are not within 1..255")
    need(1 <= model.block <= _MAX_BLOCK, f"block of {model.block} cells is not within 1..{_MAX_BLOCK}")
    numbers = (model.flag_prior, model.symbol_prior, model.memory)
    need(all(0 <= n <= _MAX_COUNT for n in numbers), f"adaptation {numbers} is not within 0..{_MAX_COUNT}")
    need(max(numbers[:2]) <= model.memory or model.memory == 0, f"priors {numbers[:2]} exceed its memory {numbers[2]}")
    nodes, total = model.tree_nodes, len(model.node_source)
    need(nodes.shape == (3, model.groups), "trees are not three a group")
    need(bool((nodes >= 0).all()) and int(nodes.sum()) == total, "tree sizes do not add up")
    need(total <= 32000, f"{total} questions are too many")
    values = feature_values(model.groups, model.symbols, model.block)
    need(model.node_step.shape == (total, 2) and model.node_child.shape == (total, 2), "questions differ in number")
    need(model.node_set.shape == (total, -(-values // 8)), f"sets do not hold {values} values")
    bits = int(nodes[: kernel.SYMBOL].sum()) + 2 * model.groups
    leaves = int(nodes[kernel.SYMBOL].sum()) + model.groups
    need(model.bit_chance.shape == model.bit_weight.shape == (bits,), f"probabilities are not those of {bits} leaves")
    inner = (1 << heap_depth(model.symbols)) - 1
    need(model.symbol_chance.shape == model.symbol_weight.shape == (leaves, inner), f"symbol leaves are not {leaves}")
    first = 0
    for kind in _KINDS:
        for group in range(model.groups):
            count = int(nodes[kind, group])
            _check_tree(model, kind, group, first, count, need)
            first += count


def _check_tree(model: ContextModel, kind: int, group: int, first: int, count: int, need: Any) -> None:
    """One tree: known neighbours only, children further on, each node and leaf reached exactly once."""
    where = f"tree {kind} of group {group}"
    for node in range(first, first + count):
        feature = (int(model.node_source[node]), int(model.node_step[node, 0]), int(model.node_step[node, 1]))
        need(neighbours.is_known(kind, group, feature), f"{where} looks at {feature}, which a decoder does not know")
    children = model.node_child[first : first + count].astype(np.int64)
    later = children > np.arange(count)[:, None]
    need(bool((later | (children < 0)).all()), f"{where} goes backwards")
    expected = np.arange(-1 - count, count)
    expected = expected[expected != 0] if count else expected[:0]
    need(bool(np.array_equal(np.sort(children, axis=None), expected)), f"{where} does not reach each leaf once")


def _link(model: ContextModel) -> dict[str, Any]:
    """Tables in the form the kernel walks: global node and leaf numbers, a child for every value."""
    values = feature_values(model.groups, model.symbols, model.block)
    inside = np.unpackbits(model.node_set, axis=1, bitorder="little")[:, :values].astype(np.int64)
    roots = np.zeros((3, model.groups), np.int32)
    child = model.node_child.astype(np.int64)
    trees: list[tuple[int, int, slice]] = []
    first = leaf = 0
    for kind in _KINDS:
        leaf = 0 if kind == kernel.SYMBOL else leaf
        for group in range(model.groups):
            count = int(model.tree_nodes[kind, group])
            mine = slice(first, first + count)
            child[mine] = np.where(child[mine] >= 0, child[mine] + first, child[mine] - leaf)
            roots[kind, group] = first if count else -1 - leaf
            trees.append((kind, group, mine))
            first, leaf = first + count, leaf + count + 1
    heap = ((0, 0), (1, 0))
    chance = np.concatenate([model.bit_chance, np.pad(model.symbol_chance, heap).ravel()]).astype(np.int64) << 16
    caps = [np.minimum(model.bit_weight.astype(np.int64) * 4, model.flag_prior)]
    caps.append(np.minimum(np.pad(model.symbol_weight, heap).astype(np.int64) * 4, model.symbol_prior).ravel())
    counts = np.arange(model.memory + 1, dtype=np.int64)
    return {
        "steps": {},
        "trees": trees,
        "roots": roots,
        "features": np.column_stack([model.node_source.astype(np.int16), model.node_step.astype(np.int16)]),
        "children": np.take_along_axis(child, inside, axis=1).astype(np.int16),
        "symbol_at": len(model.bit_chance),
        "chance": chance,
        "seen": np.concatenate(caps) if model.memory else np.zeros(len(chance), np.int64),
        "rates": 131072 // (2 * counts + 3) if model.memory else np.zeros(1, np.int64),
    }
