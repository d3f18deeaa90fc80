"""Queries without a right answer in a folded 33 cm map: crops of another place, blank ones, scrambled ones.

python -m benchmarks.lidar.hostile_maps --data ../shared/data/lidar [--no-relief] -o out/hostile.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.context import Board
from benchmarks.lidar.negatives import Negatives
from benchmarks.lidar.refusing import Remade, scrambled
from benchmarks.lidar.roundabout import Roundabout
from foldmap.bench.lidar.cases import Benchmark, Method
from foldmap.bench.lidar.learned import EmbeddingMatcher, LearnedCodec
from foldmap.bench.lidar.predict import predict


def measure(board: Board, row: Roundabout) -> dict[str, dict[str, int]]:
    """Statuses of each kind of wrong query, and of the right ones."""
    right = row.protocol(board, row.relief_band)
    kinds: dict[str, Benchmark] = {kind: Negatives(right, kind) for kind in ("shuffled", "blank")}
    kinds |= {"scrambled": Remade(right, "scrambled", scrambled), "right": right}
    half_m = row.size_m / 2
    method = Method(LearnedCodec(board.bundle(right.map_raster.grid.resolution_m)), EmbeddingMatcher(half_m, half_m))
    counted = {}
    for kind, benchmark in kinds.items():
        answers = predict(method, benchmark, None, board.report(kind)).rows
        counted[kind] = dict(Counter(str(answer.diagnostics["status"]) for answer in answers))
        print(f"{kind}: {counted[kind]}", flush=True)
    return counted


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lidar.hostile_maps")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds groundloc-maps")
    parser.add_argument("--relief", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--stride", type=float, default=21.0, help="metres between queries")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args(argv)
    torch.set_num_threads(given.threads)
    row = Roundabout(stride_m=given.stride)
    counted = measure(Board(given.data, [], given.threads), row if given.relief else replace(row, relief_band=None))
    if given.output is not None:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(counted, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
