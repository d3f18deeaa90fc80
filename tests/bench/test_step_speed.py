"""The stopwatch of the localizer's step: it measures whole steps, decoding included, and leaves no trace."""

from __future__ import annotations

import pytest
import torch

from benchmarks.lidar import step_speed
from foldmap.errors import ConfigError
from foldmap.lidar.unfold import FoldedLidar
from foldmap.localize.lidar import search


def test_steps_are_timed_whole_and_by_stage() -> None:
    functions = FoldedLidar.codes, search.match_fft
    threads = torch.get_num_threads()
    times = step_speed.step_times("tiny-8x", threads=1, steps=2)
    assert len(times.wall_s) == len(times.cpu_s) == 2
    assert times.steps_per_second == pytest.approx(2 / sum(times.wall_s), rel=0.9)
    # On one thread the stages are all there is, and every stage was seen: none is longer than the longest whole step.
    assert max(times.stage_s.values()) <= max(times.cpu_s)
    assert set(times.stage_s) == {stage for _, _, stage in step_speed._STAGES}
    assert all(seconds > 0 for seconds in times.stage_s.values())
    assert (FoldedLidar.codes, search.match_fft) == functions
    assert torch.get_num_threads() == threads
    text = step_speed.report(times)
    assert "tiny-8x, 1 threads" in text
    assert "decoder network" in text


@pytest.mark.parametrize(("preset", "threads", "steps"), [("none", 1, 1), ("tiny-8x", 0, 1), ("tiny-8x", 1, 0)])
def test_what_cannot_be_timed_is_refused(preset: str, threads: int, steps: int) -> None:
    with pytest.raises(ConfigError):
        step_speed.steps_per_second(preset, threads, steps)
