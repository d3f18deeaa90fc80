"""The training loop: it resumes byte for byte, ends where it should, and refuses what is not its run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foldmap.errors import ConfigError, ModelError
from foldmap.training.checkpoint import FILE
from foldmap.training.loop import LOG, Trainer, cosine, descend, discard, set_rate, train


@dataclass(frozen=True)
class Line:
    """Of the log."""

    step: int
    loss: float
    validated: bool = False


class Slope(Trainer[Tensor, Line]):
    """Fits a line; counts what it drew."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        network = nn.Linear(2, 1)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
        super().__init__(network, optimizer, {"seed": seed}, steps=7, every=3, line=Line)
        self.seed, self.drawn, self.validations = seed, 0, torch.zeros(1)

    def draw(self, step: int) -> Tensor:
        self.drawn += 1
        return torch.rand(4, 2, generator=torch.Generator().manual_seed(self.seed * 100 + step))

    def step(self, step: int, drawn: Tensor) -> Line:
        assert self.network.training
        set_rate(self.optimizer, 0.1 * cosine(step / self.steps, 0.5))
        loss = (self.network(drawn)[:, 0] - drawn.sum(1)).square().mean()
        descend(self.optimizer, loss, clip=self.network)
        return Line(step, float(loss.detach()))

    def validated(self, line: Line) -> Line:
        assert not self.network.training
        assert not torch.is_grad_enabled()
        self.validations = self.validations + 1
        return Line(line.step, line.loss, True)

    def kept(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"validations": self.validations}, {"seed": self.seed}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any], lines: list[Line]) -> None:
        assert facts == {"seed": self.seed}
        assert [line.step for line in lines] == list(range(1, len(lines) + 1))
        self.validations = tensors["validations"]


def run(folder: Path | None, stop: int = 0, **said: int) -> tuple[Slope, list[Line]]:
    trainer, lines = Slope(**said), []
    for line in train(trainer, folder):
        lines.append(line)
        if line.step == stop:
            break
    return trainer, lines


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path) -> None:
    _, lines = run(tmp_path / "whole")
    assert [(line.step, line.validated) for line in lines] == [(3, True), (6, True), (7, True)]
    run(tmp_path / "parts", stop=3)
    with (tmp_path / "parts" / LOG).open("a") as log:
        log.write('{"step": 4, "lost": true}\n')  # written after the checkpoint, before the end
    trainer, rest = run(tmp_path / "parts")
    assert rest == lines[1:]
    assert trainer.drawn == 4
    for name in (FILE, LOG):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    trainer, again = run(tmp_path / "parts")  # finished: nothing is done again
    assert (again, trainer.drawn) == (lines[-1:], 0)
    free, same = run(None)
    assert same == lines
    assert torch.equal(free.network.weight, trainer.network.weight)  # type: ignore[arg-type]


def test_another_run_is_refused_and_may_be_discarded(tmp_path: Path) -> None:
    run(tmp_path, stop=3)
    with pytest.raises(ConfigError, match="other settings"):
        run(tmp_path, seed=1)
    discard(tmp_path)
    assert len(run(tmp_path, seed=1)[1]) == 3


def test_damage_is_named(tmp_path: Path) -> None:
    run(tmp_path, stop=3)
    whole, log = (tmp_path / FILE).read_bytes(), (tmp_path / LOG).read_text()
    for damaged in (b"", b"nonsense", whole[: len(whole) // 2], whole[:-200]):
        (tmp_path / FILE).write_bytes(damaged)
        with pytest.raises(ModelError, match="cannot be read"):
            run(tmp_path)
    (tmp_path / FILE).write_bytes(whole)
    for lines, says in (("", "has 0 lines, the checkpoint beside it 3 steps"), (log.replace("loss", "gain"), "read")):
        (tmp_path / LOG).write_text(lines)
        with pytest.raises(ModelError, match=says):
            run(tmp_path)


def test_the_rate_falls_along_a_cosine() -> None:
    assert [round(cosine(done, 0.1), 6) for done in (0, 0.5, 1)] == [1.0, 0.55, 0.1]


def test_a_run_that_is_stopped_is_validated_and_ends() -> None:
    trainer, seen = Slope(), list[Line]()
    lines = list(train(trainer, None, seen.append, lambda: len(seen) == 4))
    assert [line.step for line in lines] == [3, 5]
    assert lines[-1].validated
    assert len(seen) == 5
