"""Rows 1 and 2: retrieving lane graphs by aerial crops, and by seven cameras over flat ground (SEMI-SYNTHETIC)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, at_least, information
from benchmarks.street.data import FRONT, StreetBoard, better, one_turn, street
from foldmap.bench.street import methods
from foldmap.bench.street.data import SEMI_SYNTHETIC, Library, Some, StreetBenchData, graphs_of, thinned
from foldmap.bench.street.predict import Answers
from foldmap.bench.street.retrieval import Retrieval, score
from foldmap.errors import MissingExtraError
from foldmap.metrics.street_scores import LOWER_IS_BETTER
from foldmap.street.images.observation import StreetPair
from foldmap.types import FloatArray

SHOWN = (
    ("chamfer_m", "mean Chamfer", "m"),
    ("topo_f", "topology F", ""),
    ("density_error", "urban: density error", "/100 m2"),
    ("reach_error_m", "urban: reach error", "m"),
    ("connectivity_error", "urban: connectivity error", ""),
)
OURS, NEAREST, OWN, SINGLE = "foldmap", "nearest image (ImageNet)", "nearest image (own field)", "single camera"
SAME = "foldmap among the graphs of the nearest images"


@dataclass(frozen=True)
class Asked:
    """Queries with their truths, and the library.

    Attributes:
        queries: rendered when asked for.
        library: graphs of the training tiles.
        rows: float32 (N, D), their embeddings.
    """

    queries: Sequence[StreetPair]
    library: Library
    rows: FloatArray


def asked_of(board: StreetBoard, data: StreetBenchData, most: int, most_graphs: int, seed: int) -> Asked:
    """Queries of held-out tiles and the library; refuses tiles that lie too near."""
    library, rows = board.library(), board.library_rows()
    if most_graphs and len(library) > most_graphs:
        step = -(-len(library) // most_graphs)
        library, rows = library.take(np.arange(0, len(library), step)), rows[::step]
    queries = thinned(data.test, most, seed)
    data.separation(queries, library)
    return Asked(queries, library, rows)


def measured(data: StreetBenchData, asked: Asked, answers: Sequence[Answers], seed: int) -> Retrieval:
    """Score answers beside chance and the best of the library."""
    truths = tuple(graphs_of(asked.queries))
    chance = methods.random_answers(len(asked.queries), asked.library, seed)
    best = methods.oracle_answers(truths, asked.library, data.window)
    found = score([chance, best, *answers], truths, data.window)
    return Retrieval(
        label=data.label,
        queries=asked.queries,
        truths=truths,
        library=asked.library,
        distances=data.separation(asked.queries, asked.library),
        window=data.window,
        methods=found,
    )


@dataclass(frozen=True)
class Aerial:
    """Row 1: aerial crops of the held-out tiles, a library of windows every 5 m of the others.

    Attributes:
        queries: at most, evenly random along the lanes.
        graphs: of the library at most, every so many; 0: all.
        images: training images at most that the nearest one is searched among, every so many of the library's places.
        least_pct: of the way from random to oracle.
        seed: of the draws.
    """

    number: ClassVar[int] = 1
    name: ClassVar[str] = "aerial"
    title: ClassVar[str] = "retrieval by aerial crops, split by tile"
    queries: int = 600
    graphs: int = 0
    images: int = 6000
    least_pct: float = 60.0
    seed: int = 0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        board = street(board)
        data = board.split(board.training_names(), board.held_out)
        asked = asked_of(board, data, self.queries, self.graphs, self.seed)
        used = board.model("aerial")
        seen = methods.embed_pairs(used.model, asked.queries, board.report("aerial queries"))
        answers = [methods.retrieved(OURS, seen, asked.rows, asked.library, None)]
        answers += self._nearest(board, data, asked, seen)
        found = measured(data, asked, answers, self.seed)
        n = self.number
        yield at_least(
            n, "of the way from random to oracle, mean Chamfer", 100 * found.way(OURS), self.least_pct, "%",
            note=used.note, detail={"rows": found.rows()},
        )  # fmt: skip
        yield from against(n, found, OURS, NEAREST)
        yield from plain_lines(n, found, [OWN, SAME, "random", "oracle"])
        yield information(n, "queries", len(asked.queries))
        yield information(n, "graphs in the library", len(asked.library))
        yield information(n, "training images", found.methods[OWN].answers.library)
        if len(found.distances.known):
            yield information(n, "least distance from a query to a training place", found.distances.known.min(), "m")

    def _nearest(self, board: StreetBoard, data: StreetBenchData, asked: Asked, seen: FloatArray) -> list[Answers]:
        count = len(data.train)
        chosen = np.arange(0, count, max(1, -(-count // min(count, self.images, len(asked.library)))))
        images = Some(data.train, chosen)
        graphs = graphs_of(images)
        own = one_turn(board.model("aerial").model)
        rows = methods.embed_pairs(own, images, board.report("training images, own field"))
        mine = methods.embed_pairs(own, asked.queries)
        found = [methods.unimodal(OWN, mine, rows, graphs)]
        try:
            say = board.report("training images, ImageNet")
            theirs = methods.imagenet_features(images, say)
            wanted = methods.imagenet_features(asked.queries)
        except MissingExtraError as error:
            raise RowSkipped(f"skipped: {error.message} ({error.cure})") from error
        found.insert(0, methods.unimodal(NEAREST, wanted, theirs, graphs))
        library, rows = board.library(), board.library_rows()
        return [*found, methods.retrieved(SAME, seen, rows[chosen], library.take(chosen), None)]


@dataclass(frozen=True)
class Ring:
    """Row 2: the same tiles as seven cameras see them over flat ground (SEMI-SYNTHETIC), and the front camera alone.

    Attributes:
        queries, graphs, seed: as in `Aerial`.
        least_pct: of the way from random to oracle.
    """

    number: ClassVar[int] = 2
    name: ClassVar[str] = "ring"
    title: ClassVar[str] = "retrieval by a 7-camera warp (semi-synthetic), split by tile"
    queries: int = 600
    graphs: int = 0
    least_pct: float = 40.0
    seed: int = 0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        board = street(board)
        train = board.training_names()
        answers, notes, asked = [], [], None
        for name, model, cameras in ((OURS, "ring", ()), (SINGLE, "front", (FRONT,))):
            data = board.split(train, board.held_out, cameras)
            asked = asked_of(board, data, self.queries, self.graphs, self.seed)
            used = board.model(model)
            notes.append(used.note)
            seen = methods.embed_pairs(used.model, asked.queries, board.report(f"frames, {name}"))
            answers.append(methods.retrieved(name, seen, asked.rows, asked.library, None))
        assert asked is not None
        found = measured(board.split(train, board.held_out, ()), asked, answers, self.seed)
        n = self.number
        yield at_least(
            n, "of the way from random to oracle, mean Chamfer", 100 * found.way(OURS), self.least_pct, "%",
            note=f"SEMI-SYNTHETIC; {notes[0]}", detail={"label": SEMI_SYNTHETIC, "rows": found.rows()},
        )  # fmt: skip
        yield information(n, f"{SINGLE}: of the way", 100 * found.way(SINGLE), "%", note=notes[1])
        yield from against(n, found, OURS, SINGLE)
        yield from plain_lines(n, found, ["random", "oracle"])
        yield information(n, "queries", len(asked.queries))
        yield information(n, "graphs in the library", len(asked.library))


def against(row: int, found: Retrieval, ours: str, other: str) -> Iterator[Line]:
    """Each shown figure of ours, which must be better than the other method's."""
    for key, what, unit in SHOWN:
        mine, theirs = figure(found, ours, key), figure(found, other, key)
        less = key in LOWER_IS_BETTER
        yield better(row, f"{what} (against {other})", mine, theirs, unit, less=less)


def plain_lines(row: int, found: Retrieval, names: Sequence[str]) -> Iterator[Line]:
    """Each shown figure of other methods, for comparison."""
    for name in names:
        for key, what, unit in SHOWN:
            yield information(row, f"{name}: {what}", figure(found, name, key), unit)


def figure(found: Retrieval, name: str, key: str) -> float:
    """A mean score."""
    values: dict[str, Any] = found.methods[name].mean.as_dict()
    return float(values[key])
