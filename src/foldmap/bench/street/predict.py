"""What a method answered for each query, and how answers and embeddings are kept between runs."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import ConfigError, FoldmapError
from foldmap.street.source import LaneGraph
from foldmap.types import AnyArray, FloatArray, IntArray

SCHEMA = 1
NOTHING: IntArray = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Answers:
    """The graphs that a method gives.

    Attributes:
        method: its name.
        graphs: one a query, in the ego frame; a method that draws several answers a query has a multiple of them, all
            of the first draw before those of the second.
        rows: int64, rows of what it retrieved from, one a graph; empty for generators.
        library: how many graphs it chose among; 0 for generators.
        ranks: int64 (Q,), rank of the true graph among the library and the truths of all queries; empty where the
            method does not rank graphs.
        seconds: processor time a query.
    """

    method: str
    graphs: tuple[LaneGraph, ...]
    rows: IntArray
    library: int
    ranks: IntArray
    seconds: float = float("nan")


class Kept:
    """A folder in which answers and embeddings are kept.

    Args:
        folder: None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def answers(self, name: str, identity: Mapping[str, Any], make: Callable[[], Answers]) -> Answers:
        """Answers of an earlier run, or made now and kept.

        Args:
            name: of the file.
            identity: what decides them, as JSON values.
            make: answers.

        Raises:
            ConfigError: the kept ones come from another configuration, or cannot be read.
        """
        wanted = json.loads(json.dumps({"schema": SCHEMA, **identity}, sort_keys=True))
        path = self._path("answers", name)
        if path is not None and path.exists():
            arrays = _read(path)
            found = json.loads(str(arrays["configuration"]))
            if found != wanted:
                differing = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
                raise ConfigError(
                    f"{path} was made with other {', '.join(differing)}", "delete it, or write into another folder"
                )
            return _answers(path, arrays)
        made = make()
        if path is not None:
            _write(path, {"configuration": np.array(json.dumps(wanted)), **_arrays(made)})
        return made

    def rows(self, name: str, identity: Mapping[str, Any], make: Callable[[], FloatArray]) -> FloatArray:
        """Embeddings under a name that tells what they are of: others are never taken for them.

        Args:
            name: start of the file's name.
            identity: what decides them, as JSON values.
            make: float32 (N, D).
        """
        seal = hashlib.sha256(json.dumps({"schema": SCHEMA, **identity}, sort_keys=True).encode()).hexdigest()[:16]
        path = self._path("embeddings", f"{name}-{seal}")
        if path is not None and path.exists():
            return np.asarray(_read(path)["rows"], np.float32)
        made = make()
        if path is not None:
            _write(path, {"rows": made})
        return made

    def network(self, name: str, identity: Mapping[str, Any]) -> Path | None:
        """Where a trained network of this identity is kept; None where nothing is."""
        seal = hashlib.sha256(json.dumps({"schema": SCHEMA, **identity}, sort_keys=True).encode()).hexdigest()[:16]
        path = self._path("networks", f"{name}-{seal}")
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        return None if path is None else path.with_suffix(".safetensors")

    def _path(self, room: str, name: str) -> Path | None:
        plain = re.sub(r"[^A-Za-z0-9.+@-]+", "_", name)
        return None if self.folder is None else self.folder / room / f"{plain}.npz"


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
        graphs = tuple(
            LaneGraph(
                np.ascontiguousarray(arrays["vertices_m"][v0:v1]),
                np.ascontiguousarray(arrays["edges"][e0:e1]),
                np.ascontiguousarray(arrays["kind"][e0:e1]),
            )
            for (v0, e0), (v1, e1) in itertools.pairwise(ends)
        )
        plain = json.loads(str(arrays["plain"]))
        return Answers(
            plain["method"], graphs, arrays["rows"], int(plain["library"]), arrays["ranks"], float(plain["seconds"])
        )
    except (KeyError, TypeError, ValueError, IndexError, FoldmapError) as error:
        raise ConfigError(f"{path} does not hold answers: {error}", "delete it and run again") from error


def _read(path: Path) -> dict[str, AnyArray]:
    try:
        with np.load(path, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path} cannot be read: {error}", "delete it and run again") from error


def _write(path: Path, arrays: Mapping[str, AnyArray]) -> None:
    """Through a sibling file, so that an interrupted run leaves no half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(buffer.getvalue())
    os.replace(file.name, path)
