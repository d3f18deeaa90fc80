"""Lies in a visual layer under sound checksums: ``python tests/fuzz/fuzz_visual.py --seconds 300``.

Each round takes the golden file, changes a tile, a model or a parameter, seals it anew and reads all of it, then
localizes a photo in it. That must end in a MapFormatError, a ModelError or a LimitError, or in finite numbers, in
bounded time and memory.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "visual"))

from point_shell import photo, pose_at, shell

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.errors import LimitError, MapFormatError, ModelError
from foldmap.localize.visual.localizer import VisualLocalizer
from foldmap.visual.source import Query
from foldmap.visual.unfold import FoldedVisual

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "v1-visual-sides.fold"
LONGEST_S = 20.0
MOST_MEMORY = 96 << 20
LAYER = "visual"
WORDS = [bytes(4), b"\xff\xff\xff\xff", b"\1\0\0\0", b"\xff\xff\xff\x7f"]
VALUES = [0, 1, -1, 2, 255, 1 << 16, 1 << 24, 1 << 31, -(1 << 40), 0.0, -1.0, 1e-300, 1e300, "", "sift", None, True, []]


@dataclass
class Parts:
    """All of a file with one layer, named after its kind."""

    parameters: dict[str, Any]
    tiles: dict[tuple[int, int], bytes]
    models: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    layer: str = LAYER

    @staticmethod
    def of(path: Path, layer: str = LAYER) -> Parts:
        with FoldFile.open(path) as file:
            info = file.layer(layer)
            tiles = {key: file.tile(layer, *key) or b"" for key in file.tiles(layer)}
            models = {model.name: (model.role, file.model(layer, model.name)) for model in info.models}
            return Parts(dict(info.parameters), tiles, models, layer)

    def write(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        with FoldWriter(path) as writer:
            writer.add_layer(self.layer, self.layer, self.parameters)
            for key, payload in self.tiles.items():
                writer.put_tile(self.layer, *key, payload)
            for name, (role, payload) in self.models.items():
                writer.put_model(self.layer, name, payload, role)
            writer.commit()


def damaged(rng: np.random.Generator, payload: bytes) -> bytes:
    """Bytes flipped, overwritten with an edge value, cut or grown; headers more often than the rest."""
    data = bytearray(payload)
    choice = rng.random()
    if not data or choice < 0.08:
        return bytes(data) + rng.bytes(int(rng.integers(1, 40)))
    if choice < 0.18:
        return bytes(data[: int(rng.integers(len(data)))])
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.integers(min(len(data), 48) if rng.random() < 0.5 else len(data)))
        if rng.random() < 0.5:
            data[place] ^= 1 << int(rng.integers(8))
        else:
            word = [*WORDS, rng.bytes(4)][int(rng.integers(len(WORDS) + 1))]
            data[place : place + 4] = word[: len(data) - place]
    return bytes(data)


def mutated(rng: np.random.Generator, good: Parts) -> tuple[str, Parts]:
    """One lie and what it is about."""
    parts = Parts(dict(good.parameters), dict(good.tiles), dict(good.models), good.layer)
    choice = rng.random()
    if choice < 0.2:
        key = str(rng.choice(sorted(parts.parameters)))
        parts.parameters[key] = VALUES[int(rng.integers(len(VALUES)))]
        return f"parameter {key}", parts
    if choice < 0.45 and parts.models:
        name = str(rng.choice(sorted(parts.models)))
        role, payload = parts.models[name]
        parts.models[name] = (role, damaged(rng, payload))
        return f"model {name}", parts
    keys = sorted(parts.tiles)
    key = keys[int(rng.integers(len(keys)))] if choice < 0.75 else keys[-int(rng.integers(1, 4))]
    if rng.random() < 0.1:
        del parts.tiles[key]
    elif rng.random() < 0.1:
        parts.tiles[key] = parts.tiles[keys[int(rng.integers(len(keys)))]]
    else:
        parts.tiles[key] = damaged(rng, parts.tiles[key])
    return f"tile {key}", parts


def query() -> Query:
    """A photo of the golden map's points."""
    points, looks = shell(7, 500, 16)
    return photo(points, looks, pose_at(np.array([0.1, 0.0, 0.2]), 0.4), 1)[0]


def use(path: Path) -> bool:
    """Read all and localize; whether every number is finite."""
    with FoldFile.open(path) as file:
        folded = FoldedVisual(file)
        found = VisualLocalizer(folded).localize(query())
        whole = folded.whole()
        numbers = [whole.points_world, whole.descriptors]
        if folded.groups:
            numbers += [folded.images().camera_SE3_world, folded.seen_by(np.arange(folded.image_count)).descriptors]
        if found.camera_SE3_world is not None:
            numbers.append(found.camera_SE3_world)
    return all(np.isfinite(array).all() for array in numbers)


def judge(path: Path, use: Callable[[Path], bool] = use) -> tuple[str, str]:
    """Outcome of one mutant, and what is wrong with that (empty when nothing is)."""
    tracemalloc.reset_peak()
    start = time.process_time()
    fault = ""
    try:
        outcome = "read"
        if not use(path):
            fault = "numbers that are not finite"
    except (MapFormatError, ModelError, LimitError):
        outcome = "refused"
    except Exception as error:
        outcome, fault = "crash", f"{type(error).__name__}: {error}"
    if time.process_time() - start > LONGEST_S:
        fault = "too slow"
    peak = tracemalloc.get_traced_memory()[1]
    return outcome, f"{peak} bytes of memory" if peak > MOST_MEMORY else fault


def rounds(
    seed: int,
    count: int,
    seconds: float,
    folder: Path,
    good: Parts | None = None,
    use: Callable[[Path], bool] = use,
) -> tuple[collections.Counter[str], list[str]]:
    """Outcomes of so many mutants at most, and the findings; a finding's file stays in the folder."""
    rng = np.random.default_rng(seed)
    good = good or Parts.of(GOLDEN)
    outcomes: collections.Counter[str] = collections.Counter()
    findings = []
    stop = time.monotonic() + seconds
    for number in range(count):
        if time.monotonic() > stop:
            break
        path = folder / f"mutant-{seed}-{number}.fold"
        what, parts = mutated(rng, good)
        try:
            parts.write(path)
        except (MapFormatError, ModelError, LimitError, ValueError):
            continue
        outcome, fault = judge(path, use)
        outcomes[outcome] += 1
        if fault:
            findings.append(f"{path.name}: {what}: {fault}")
        else:
            path.unlink()
    return outcomes, findings


def main(document: str | None, good: Parts, use: Callable[[Path], bool]) -> None:
    """Read the arguments and fuzz; exit status 1 when something was found."""
    parser = argparse.ArgumentParser(description=document, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tracemalloc.start()
    with tempfile.TemporaryDirectory() as folder:
        outcomes, findings = rounds(arguments.seed, 1 << 30, arguments.seconds, Path(folder), good, use)
    print(f"seed {arguments.seed}: {dict(sorted(outcomes.items()))}", *findings, sep="\n")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main(__doc__, Parts.of(GOLDEN), use)
