"""What the shipped street models learn from: generated towns alone, from above and from the street.

The recipe of the shipped models; without an accelerator it takes hours::

    python -m foldmap.town.street.training -o FOLDER
    python -m foldmap.town.street.training -o OTHER --update --start FOLDER/model.safetensors
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldmap.errors import FoldmapError, ModelError
from foldmap.street.changes.edits import RandomAging
from foldmap.street.field.draw import FieldSpec
from foldmap.street.field.examples import AGED_SHARE, Alternating, CachedExamples, aerial_examples, ring_examples
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.network import FieldShape
from foldmap.street.field.train import FieldTrainSettings, train_field
from foldmap.street.images.observation import Pair
from foldmap.street.images.rig import surround_ring
from foldmap.street.paper.pairs import Jitter
from foldmap.town.street.ortho import town_tile
from foldmap.town.street.pairs import TownRingPairs
from foldmap.town.world import TownWorld

TRAINED_SEEDS = tuple(range(100, 108))
"""Towns that the shipped model has seen; every other seed is a town that it has not."""
_FRAMES = 1500
_RENDERED = 12
"""A town: every picture is traced ray by ray, seconds for a ring."""


def town_examples(
    field: FieldSpec,
    *,
    update: bool = False,
    seeds: tuple[int, ...] = TRAINED_SEEDS,
    report: Callable[[str, int, int], None] = lambda what, done, count: None,
) -> Alternating:
    """Aerial crops, frames of a ring over flat ground, and rendered frames with facades and vehicles, in turn.

    Args:
        field: of the model.
        update: whether windows come with a map that may be out of date.
        seeds: of the towns, each under a day of its own.
        report: called with what is drawn, how much is done and how much there is.
    """
    tiles = []
    for done, seed in enumerate(seeds, start=1):
        tiles.append(town_tile(TownWorld(seed), day_seed=seed))
        report("towns", done, len(seeds))
    ring = surround_ring()
    warped = ring_examples(
        tiles, ring, field, update=update, frames=_FRAMES, report=lambda done, count: report("frames", done, count)
    )
    chosen = (
        pair
        for seed in seeds
        for pair in _spread(TownRingPairs(TownWorld(seed), ring, 8.0, field.window, jitter=Jitter(1.5, 2.0, 0.2, 0.5)))
    )
    rendered = CachedExamples.of(
        chosen,
        field,
        0.7,
        RandomAging(AGED_SHARE, field.window) if update else None,
        lambda done: report("pictures", done, _RENDERED * len(seeds)),
    )
    aerial = aerial_examples(tiles, field, update=update)
    return Alternating(aerial, warped, aerial, warped, rendered)  # few were rendered: seen less often


def _spread(pairs: TownRingPairs) -> Iterator[Pair]:
    """Some pairs, evenly spread over the town."""
    for index in sorted({round(k * (len(pairs) - 1) / (_RENDERED - 1)) for k in range(_RENDERED)}):
        yield pairs[index]


@dataclass(frozen=True)
class TownRun:
    """A training run on towns; see the options of ``python -m foldmap.town.street.training``.

    Attributes:
        update: whether the network takes a map and finds changes.
        start: a model to start from.
        steps: of training.
        seed: of everything random but the towns.
    """

    update: bool = False
    start: Path | None = None
    steps: int = 3000
    seed: int = 0


def train_on_towns(folder: Path, run: TownRun, report: Callable[[str, int, int], None]) -> Path:
    """Train a model on generated towns alone; a run that was stopped goes on where it was.

    Args:
        folder: of the run: checkpoint, log and model.safetensors.
        run: the settings.
        report: called with what is done, how much of it, and how much there is.

    Returns:
        The model's path.

    Raises:
        ModelError: the model to start from cannot be read.
        ConfigError: the folder holds another run.
    """
    settings = FieldTrainSettings(steps=run.steps, seed=run.seed)
    start = None
    if run.start is not None:
        try:
            start = FieldEmbedding.from_payload(run.start.read_bytes()).network
        except OSError as error:
            raise ModelError(f"{run.start} cannot be read: {error.strerror}", "give a model of a run") from error
    examples = town_examples(FieldSpec(), update=run.update, report=report)
    shape = FieldShape(with_map=run.update)
    path = folder / "model.safetensors"
    for network, _ in train_field(
        examples, shape, settings, folder, start=start, report=lambda done: report("steps", done.step, run.steps)
    ):
        part = path.with_suffix(".part")
        part.write_bytes(FieldEmbedding(network).payload())
        os.replace(part, path)
    return path


def main() -> int:
    """Train from the command line.

    Returns:
        0, or 1 with the error on the second output.
    """
    parser = argparse.ArgumentParser(description="Train a street model on generated towns alone.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--update", action="store_true", help="a network that takes a map and finds changes")
    parser.add_argument("--start", type=Path, help="a model to start from")
    parser.add_argument("--steps", type=int, default=TownRun.steps, help="of training")
    parser.add_argument("--seed", type=int, default=0, help="of everything random but the towns")
    given = parser.parse_args()
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as shown:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, count: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=count)
            shown.update(tasks[what], completed=done)

        try:
            path = train_on_towns(given.output, TownRun(given.update, given.start, given.steps, given.seed), report)
        except FoldmapError as error:
            shown.stop()
            print(f"{error.message}\n{error.cure}", file=sys.stderr)
            return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
