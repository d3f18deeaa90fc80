"""What a method answered for each query, and how answers, embeddings and networks are kept between runs."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.bench.common.kept import refuse_others
from foldmap.errors import ConfigError, FoldmapError
from foldmap.street.source import LaneGraph
from foldmap.types import AnyArray, FloatArray, IntArray

SCHEMA = 1
NOTHING: IntArray = np.zeros(0, np.int64)

Progress = Callable[[int, int], None]
"""Called with how many are done, and of how many."""
Stage = Callable[[str], Progress]
"""Called with a stage's name."""


def quiet(done: int, total: int) -> None:
    """Report nothing."""


def unstaged(name: str) -> Progress:
    """Name no stage."""
    return quiet


@dataclass(frozen=True)
class Answers:
    """The graphs that a method gives.

    Attributes:
        graphs: one a query, in the ego frame; of several draws a query all of the first before those of the second.
        rows: int64, rows of what it retrieved from, one a graph; empty for generators.
        library: how many graphs it chose among; 0 for generators.
        ranks: int64 (Q,), rank of the true graph among library and truths; empty where graphs are not ranked.
        seconds: processor time a query.
    """

    method: str
    graphs: tuple[LaneGraph, ...]
    rows: IntArray
    library: int
    ranks: IntArray
    seconds: float = float("nan")


class Kept:
    """A folder in which answers and embeddings are kept under the JSON values that decide them; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def answers(self, name: str, identity: Mapping[str, Any], make: Callable[[], Answers]) -> Answers:
        """Answers of an earlier run, or made now and kept; a ConfigError where those are of another configuration."""
        if self.folder is None:
            return make()
        wanted = json.loads(_canonical(identity))
        path = self._path("answers", name, ".npz")
        if path.exists():
            arrays = _read(path)
            refuse_others(path, json.loads(str(arrays["configuration"])), wanted)
            return _answers(path, arrays)
        made = make()
        _write(path, {"configuration": np.array(json.dumps(wanted)), **_arrays(made)})
        return made

    def rows(self, name: str, identity: Mapping[str, Any], make: Callable[[], FloatArray]) -> FloatArray:
        """Embeddings float32 (N, D), in a file whose name tells what they are of: others are never taken for them."""
        if self.folder is None:
            return make()
        path = self._path("embeddings", f"{name}-{_seal(identity)}", ".npz")
        if path.exists():
            return np.asarray(_read(path)["rows"], np.float32)
        made = make()
        _write(path, {"rows": made})
        return made

    def network(self, name: str, identity: Mapping[str, Any]) -> Path | None:
        """Where a trained network of this identity is kept; None where nothing is."""
        return None if self.folder is None else self._path("networks", f"{name}-{_seal(identity)}", ".safetensors")

    def _path(self, room: str, name: str, ending: str) -> Path:
        assert self.folder is not None
        (self.folder / room).mkdir(parents=True, exist_ok=True)
        return self.folder / room / (re.sub(r"[^A-Za-z0-9.+@-]+", "_", name) + ending)


NOT_KEPT = Kept(None)


def _canonical(identity: Mapping[str, Any]) -> str:
    return json.dumps({"schema": SCHEMA, **identity}, sort_keys=True)


def _seal(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(identity).encode()).hexdigest()[:16]


def seal_of(*parts: bytes) -> str:
    """A short name of bytes: of a model's payload, of graphs."""
    seal = hashlib.sha256()
    for part in parts:
        seal.update(hashlib.sha256(part).digest())
    return seal.hexdigest()[:16]


def graphs_seal(graphs: Sequence[LaneGraph]) -> str:
    """A short name of graphs."""
    return seal_of(*(graph.vertices_m.tobytes() + graph.edges.tobytes() for graph in graphs))


def _arrays(made: Answers) -> dict[str, AnyArray]:
    graphs = made.graphs
    return {
        "vertices_m": np.concatenate([np.zeros((0, 2)), *(graph.vertices_m for graph in graphs)]),
        "edges": np.concatenate([np.zeros((0, 2), np.int64), *(graph.edges for graph in graphs)]),
        "kind": np.concatenate([np.zeros(0, np.uint8), *(graph.kind for graph in graphs)]),
        "counts": np.array([[len(graph), len(graph.edges)] for graph in graphs], np.int64).reshape(-1, 2),
        "rows": made.rows,
        "ranks": made.ranks,
        "plain": np.array(json.dumps({"method": made.method, "library": made.library, "seconds": made.seconds})),
    }


def _answers(path: Path, arrays: Mapping[str, AnyArray]) -> Answers:
    try:
        ends = np.concatenate([np.zeros((1, 2), np.int64), np.cumsum(arrays["counts"], axis=0)])
        vertices_m, edges, kind = (arrays[name] for name in ("vertices_m", "edges", "kind"))
        graphs = tuple(
            LaneGraph(vertices_m[v0:v1].copy(), edges[e0:e1].copy(), kind[e0:e1].copy())
            for (v0, e0), (v1, e1) in itertools.pairwise(ends)
        )
        plain = json.loads(str(arrays["plain"]))
        seconds = float(plain["seconds"])
        return Answers(plain["method"], graphs, arrays["rows"], int(plain["library"]), arrays["ranks"], seconds)
    except (KeyError, TypeError, ValueError, IndexError, FoldmapError) as error:
        raise ConfigError(f"{path} does not hold answers: {error}", "delete it and run again") from error


def _read(path: Path) -> dict[str, AnyArray]:
    try:
        with np.load(path, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path} cannot be read: {error}", "delete it and run again") from error


def _write(path: Path, arrays: Mapping[str, AnyArray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_whole(path, buffer.getvalue())
