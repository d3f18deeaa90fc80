"""The stopwatch of the localizer's step: it measures whole steps, decoding included, and leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.lidar import step_speed
from foldmap.errors import ConfigError
from foldmap.lidar.unfold import FoldedLidar
from foldmap.localize.lidar import search


def test_steps_are_timed_whole_and_by_stage() -> None:
    functions = FoldedLidar.codes, search.turned_images
    threads = torch.get_num_threads()
    times = step_speed.step_times("tiny-8x", threads=1, steps=3)
    assert len(times.wall_s) == len(times.cpu_s) == 3
    # On one thread the stages, each without those that it calls, add up to the step but for what lies around them.
    assert 0.7 < sum(times.stage_s.values()) / np.mean(times.cpu_s) < 1.05
    assert set(times.stage_s) == {stage for _, _, stage in step_speed._STAGES}
    assert all(seconds > 0 for seconds in times.stage_s.values())
    assert (FoldedLidar.codes, search.turned_images) == functions
    assert torch.get_num_threads() == threads
    text = step_speed.report(times)
    assert "tiny-8x, 1 threads" in text
    assert "decoder network" in text


def test_steps_per_second_are_those_of_the_median_step() -> None:
    assert step_speed.StepTimes("made", 1, wall_s=[0.1, 5.0, 0.25]).steps_per_second == pytest.approx(4.0)


@pytest.mark.parametrize(("preset", "threads", "steps"), [("none", 1, 1), ("tiny-8x", 0, 1), ("tiny-8x", 1, 0)])
def test_what_cannot_be_timed_is_refused(preset: str, threads: int, steps: int) -> None:
    with pytest.raises(ConfigError):
        step_speed.steps_per_second(preset, threads, steps)
