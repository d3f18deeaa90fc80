"""The one training loop: draw, step, log, validate, checkpoint, resume.

A layer brings a `Trainer`: its networks, and what a step does. A run in a folder leaves `LOG` (one JSON line a step)
and the checkpoint of its last validation; started again it goes on from there and is the same run, byte for byte.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from foldmap.errors import ModelError
from foldmap.training.checkpoint import FILE, load_checkpoint, save_checkpoint

LOG = "log.jsonl"

Drawn = TypeVar("Drawn")
Line = TypeVar("Line")


class Trainer(ABC, Generic[Drawn, Line]):
    """What a layer brings to the loop.

    Args:
        network: what is trained.
        optimizer: of it.
        identity: all that decides the run, as JSON; a folder of another run is refused.
        steps: in all.
        every: steps between validations; the last step is followed by one too.
        line: dataclass of a line of the log.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        identity: dict[str, Any],
        steps: int,
        every: int,
        line: Callable[..., Line],
    ) -> None:
        self.network, self.optimizer, self.identity = network, optimizer, identity
        self.steps, self.every, self.line = steps, every, line

    @abstractmethod
    def draw(self, step: int) -> Drawn:
        """What step number `step`, from 1, learns from; called in order, one step ahead, in a thread of its own."""

    @abstractmethod
    def step(self, step: int, drawn: Drawn) -> Line:
        """Take one step; the network is in training mode."""

    def validated(self, line: Line) -> Line:
        """What a line becomes where the run is validated; the network is in evaluation mode, without gradients."""
        return line

    def kept(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON that a checkpoint holds beside network and optimizer."""
        return {}, {}

    def begin(self) -> None:
        """What a run starts from; not asked of one that is resumed."""

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any], lines: list[Line]) -> None:
        """Go on from what `kept` gave, after these lines of the log."""


def train(
    trainer: Trainer[Any, Line],
    folder: Path | None,
    report: Callable[[Line], None] = lambda line: None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Line]:
    """Train, yielding the line of each validation, when the network is ready for use; the last yield ends the run.

    A finished run yields its last line and does nothing. Without a folder nothing is kept. `report` is called with each
    step's line, for a progress bar; the step in which `stop` says so is the last.

    Raises:
        ConfigError: the folder holds another run.
        ModelError: its checkpoint or log are damaged.
    """
    lines = [] if folder is None else _resume(trainer, folder)
    done = len(lines)
    if not lines:
        trainer.begin()
    if done == trainer.steps and lines:
        trainer.network.eval()
        yield trainer.line(**json.loads(lines[-1]))
        return
    with nullcontext() if folder is None else (folder / LOG).open("w") as log, ThreadPoolExecutor(1) as ahead:
        if log is not None:
            log.writelines(lines)
        waiting = ahead.submit(trainer.draw, done + 1)
        for step in range(done + 1, trainer.steps + 1):
            drawn = waiting.result()
            if step < trainer.steps:  # drawn while the network works
                waiting = ahead.submit(trainer.draw, step + 1)
            trainer.network.train()
            line = trainer.step(step, drawn)
            last = stop() or step == trainer.steps
            validates = step % trainer.every == 0 or last
            if validates:
                trainer.network.eval()
                with torch.no_grad():
                    line = trainer.validated(line)
            if log is not None:
                log.write(json.dumps(asdict(line)) + "\n")  # type: ignore[call-overload]
            if folder is not None and log is not None and validates:
                log.flush()
                save_checkpoint(folder, trainer.network, trainer.optimizer, trainer.identity, step, *trainer.kept())
            report(line)
            if validates:
                yield line
            if last:
                return


def _resume(trainer: Trainer[Any, Line], folder: Path) -> list[str]:
    """Restore the last checkpoint; gives the log up to it: lines after it are about to be written again."""
    folder.mkdir(parents=True, exist_ok=True)
    found = load_checkpoint(folder, trainer.network, trainer.optimizer, trainer.identity)
    if found is None:
        return []
    path = folder / LOG
    lines = path.read_text().splitlines(keepends=True)[: found.step] if path.exists() else []
    if len(lines) < found.step:
        said = f"{path.name} has {len(lines)} lines, the checkpoint beside it {found.step} steps"
        raise ModelError(said, "remove both and train anew")
    try:
        trainer.restore(found.tensors, found.facts, [trainer.line(**json.loads(line)) for line in lines])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"the run in {folder} cannot be read: {error}", "remove it and train anew") from error
    return lines


def discard(folder: Path) -> None:
    """Remove the run that a folder holds, if there is one."""
    for name in (FILE, LOG):
        (folder / name).unlink(missing_ok=True)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, clip: nn.Module | None = None) -> None:
    """Take one step down the gradient, whose norm is brought to at most 1 over the network `clip`."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
    optimizer.step()


def cosine(done: float, low: float = 0.0) -> float:
    """Factor on a learning rate: falls from 1 to `low` along a cosine while `done` goes from 0 to 1."""
    return (1 + low) / 2 + (1 - low) / 2 * math.cos(math.pi * done)


def set_rate(optimizer: torch.optim.Optimizer, *rates: float) -> None:
    """Set the learning rate of all groups, or one rate a group."""
    groups = optimizer.param_groups
    for group, rate in zip(groups, rates * len(groups) if len(rates) == 1 else rates, strict=True):
        group["lr"] = rate
