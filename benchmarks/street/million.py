"""Row 7: one query among a million embeddings of real windows."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, at_least, at_most, information
from benchmarks.processes import own_peak_mb
from benchmarks.street.coding import SOURCES, read_source
from benchmarks.street.data import street
from benchmarks.street.search_speed import noisy_queries
from foldmap.street.field.lane_field import FieldSpec, draw_all
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.spectrum import spectrum
from foldmap.street.graph.window import Window
from foldmap.street.places import Places, sample_places, windows
from foldmap.street.search import SearchIndex
from foldmap.street.source import StreetMap
from foldmap.street.vectors import VectorCodec
from foldmap.types import AnyArray, FloatArray, IntArray

_WIDER_CELLS = 8
_AT_ONCE = 64
_EQUAL = 1e-5
_BLOCK = 50_000


@dataclass(frozen=True)
class Million:
    """Row 7. Each window is a real one: cut from a shared map near a lane, and embedded as the field model does.

    A window of 48 m is drawn at each of some places, turned a little at random; the 40 m windows in it, shifted by
    whole metres, are the library. Queries are rows with noise, asked one at a time on one thread.

    Attributes:
        count: of the library.
        places: where the wider windows are drawn, at most.
        queries: asked.
        noise: length of the noise; at 0.6 a query's cosine to its row is about 0.86.
        most_ms: target, on the mean.
        least_recall: target, of the best row, against comparing with all.
        seed: of places, shifts and noise.
    """

    number: ClassVar[int] = 7
    name: ClassVar[str] = "million"
    title: ClassVar[str] = "retrieval among a million graph embeddings"
    count: int = 1_000_000
    places: int = 30_000
    queries: int = 500
    noise: float = 0.6
    most_ms: float = 5.0
    least_recall: float = 0.99
    seed: int = 0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        board = street(board)
        maps: list[StreetMap] = []
        for source in SOURCES:
            try:
                maps += read_source(board.data, source)
            except RowSkipped:
                continue
        if not maps:
            raise RowSkipped(f"skipped: no recordings at {board.data}")
        rows = window_rows(maps, self.count, self.places, self.seed, board.report("embedding windows"))
        n, asked = self.number, noisy_queries(rows, self.queries, self.noise, self.seed + 1)
        best = yield from self._stored(rows, asked, "half precision")
        codec = VectorCodec("int8", rows.shape[1])
        exact, rows = rows, np.empty_like(rows)
        for at in range(0, len(rows), _BLOCK):
            part = exact[at : at + _BLOCK].astype(np.float32)
            rows[at : at + _BLOCK] = codec.decode(codec.encode(part), len(part))
        coarse = yield from self._stored(rows, asked, "8 bits")
        true = np.einsum("qd,qd->q", exact[best], asked) - np.einsum("qd,qd->q", exact[coarse], asked)
        yield information(n, "8 bits: same best row as in half precision, or as similar", float((true < _EQUAL).mean()))
        yield information(n, "8 bits: similarity that the best row loses, on the mean", float(true.mean()))
        yield information(n, "8 bits: vectors in a file", codec.row_bytes * len(rows) / 1e6, "MB")
        yield information(n, "rows", len(rows), note=f"{rows.shape[1]} numbers a row, of {len(maps)} maps")
        peak = own_peak_mb() * 2**20 / 1e9
        yield at_most(n, "most memory of the whole process so far", peak, 8.0, "GB")

    def _stored(self, rows: AnyArray, asked: FloatArray, what: str) -> Generator[Line, None, IntArray]:
        """Lines of one way to hold the rows, against exact search among the same; the best row of each query."""
        begin_s = time.perf_counter()
        index = SearchIndex.build(rows, "auto", self.seed)
        build_s = time.perf_counter() - begin_s
        index.search(asked[:1], 1)
        took_s, score = np.empty(len(asked)), np.empty(len(asked))
        for number, query in enumerate(asked):
            begin_s = time.process_time()
            score[number] = index.search(query, 1)[0][0, 0]
            took_s[number] = time.process_time() - begin_s
        best, row = SearchIndex.build(rows, "exact").search(asked, 1)
        n = self.number
        yield at_most(
            n,
            f"{what}: processor time of a query, on the mean",
            1e3 * took_s.mean(),
            self.most_ms,
            "ms",
            note=index.kind,
        )
        recall = float((score >= best[:, 0] - _EQUAL).mean())
        yield at_least(n, f"{what}: recall at 1 against exact search", recall, self.least_recall)
        yield information(n, f"{what}: 95 % of queries within", 1e3 * float(np.percentile(took_s, 95)), "ms")
        yield information(n, f"{what}: vectors in memory", rows.nbytes / 1e6, "MB")
        yield information(n, f"{what}: index besides them", index.extra_bytes / 1e6, "MB")
        yield information(n, f"{what}: building the index", build_s, "s")
        return row[:, 0]


def window_rows(
    maps: Sequence[StreetMap],
    count: int,
    most_places: int,
    seed: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> AnyArray:
    """Embeddings of real windows about places along lanes, float16 (count, D), unit rows in random order.

    Args:
        maps: with lanes.
        count: wanted; each place gives as many windows as needed, at most 81.
        most_places: wider windows that are drawn.
        seed: of all draws.
        report: called with places done and their number.

    Raises:
        RowSkipped: the maps have too few lanes for so many windows.
    """
    rng = np.random.default_rng(seed)
    field, terms = FieldSpec(), FieldEmbedding.frequencies
    half = 0.5 * _WIDER_CELLS * field.cell_m
    inner = field.window
    wide = Window(inner.back_m - half, inner.ahead_m + half, inner.right_m - half, inner.left_m + half)
    wider = FieldSpec(wide, field.cell_m, field.headings, field.sigma_m, field.gain_m)
    placed = _places(maps, most_places, rng)
    total = sum(len(places) for _, places in placed)
    shifts = [(i, j) for i in range(_WIDER_CELLS + 1) for j in range(_WIDER_CELLS + 1)]
    each = -(-count // max(1, total)) + 1  # some windows are empty
    if each > len(shifts):
        raise RowSkipped(f"skipped: {total} places are too few for {count} windows")
    rows, filled, done = np.empty((count, terms.dim), np.float16), 0, 0
    for street_map, places in placed:
        for at in range(0, len(places), _AT_ONCE):
            some = places.take(np.arange(at, min(at + _AT_ONCE, len(places))))
            drawn = draw_all(list(windows(street_map.graph, some, wide)), wider)
            parts = _shifted(drawn, shifts, each, field.shape, rng)
            made = spectrum(parts, field, terms)
            made = made[np.linalg.norm(made, axis=1) > 0.5][: count - filled]
            rows[filled : filled + len(made)] = made
            filled += len(made)
            done += len(some)
            report(done, total)
    kept = rows[:filled]
    kept = kept[rng.permutation(filled)]
    if filled < count:
        raise RowSkipped(f"skipped: {filled} windows hold lanes, {count} are wanted")
    return kept


def _places(maps: Sequence[StreetMap], most: int, rng: np.random.Generator) -> list[tuple[StreetMap, Places]]:
    """Evenly random places along all lanes, each turned by a few degrees, map by map."""
    placed = [(one, sample_places(one.graph, 5.0)) for one in maps]
    total = sum(len(places) for _, places in placed)
    kept = np.zeros(total, bool)
    kept[rng.permutation(total)[:most]] = True
    result, at = [], 0
    for one, places in placed:
        some = places.take(kept[at : at + len(places)])
        at += len(places)
        turned = some.heading_rad + rng.normal(0, np.radians(3.0), len(some))
        result.append((one, Places(some.x_m, some.y_m, turned, some.edge, some.along_m)))
    return result


def _shifted(
    drawn: FloatArray,
    shifts: Sequence[tuple[int, int]],
    each: int,
    shape: tuple[int, int, int],
    rng: np.random.Generator,
) -> FloatArray:
    _, rows, columns = shape
    parts = np.empty((len(drawn), each, *shape), np.float32)
    for number, whole in enumerate(drawn):
        order: IntArray = rng.permutation(len(shifts))[:each]
        for place, which in enumerate(order.tolist()):
            i, j = shifts[which]
            parts[number, place] = whole[:, i : i + rows, j : j + columns]
    flat: FloatArray = parts.reshape(-1, *shape)
    return flat
