"""Training learns, resumes bit for bit, and refuses what is not its run."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from core_scene import RESOLUTION_M, TINY, blob_pairs
from safetensors.torch import load_file

from foldmap.errors import ConfigError
from foldmap.lidar.model import LidarModel
from foldmap.lidar.pairs.sampling import PairSampler
from foldmap.lidar.train import LidarProgress, LidarTrainer, LidarTrainSettings, RateControl, draw_headings, warmup_left
from foldmap.training.checkpoint import FILE
from foldmap.training.loop import LOG, train

QUICK = LidarTrainSettings(matcher_steps=2, codec_steps=4, batch=1, radius_px=14, validate_every=2, warmup=0.5)


def _samplers(seed: int = 0) -> tuple[PairSampler, PairSampler]:
    return PairSampler(blob_pairs(8, 1), RESOLUTION_M, 64, 96, seed), PairSampler(
        blob_pairs(3, 2), RESOLUTION_M, 64, 96, 9
    )


def _run(folder: Path, settings: LidarTrainSettings, stop: int | None = None) -> list[LidarProgress]:
    lines = []
    for line in train(LidarTrainer(TINY, *_samplers(), settings, RESOLUTION_M), folder):
        lines.append(line)
        if line.step == stop:
            break
    return lines


def _state(folder: Path) -> dict[str, torch.Tensor]:
    held = load_file(folder / FILE)
    return {name.removeprefix("network."): value for name, value in held.items() if name.startswith("network.")}


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> list[LidarProgress]:
    settings = LidarTrainSettings(
        matcher_steps=40, codec_steps=40, batch=2, radius_px=14, headings=2, learning_rate=5e-3, validate_every=20
    )
    return _run(tmp_path_factory.mktemp("learned"), settings)


def test_the_loss_falls_and_the_matches_beat_chance(learned: list[LidarProgress]) -> None:
    assert [line.step for line in learned] == [20, 40, 60, 80]
    chance = 9 / (2 * 14 + 1) ** 2
    assert learned[1].match < learned[0].match < math.log(2 * 29 * 29)
    assert learned[1].top9 > 10 * chance
    assert learned[3].match < math.log(2 * 29 * 29)  # through the code
    assert learned[3].rate_bit_m2 > 0


def test_a_resumed_run_is_the_same_run(tmp_path: Path) -> None:
    _run(tmp_path / "whole", QUICK)
    assert [line.step for line in _run(tmp_path / "parts", QUICK, stop=4)] == [2, 4]
    assert [line.step for line in _run(tmp_path / "parts", QUICK)] == [6]
    for name in (FILE, LOG):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [line.step for line in _run(tmp_path / "parts", QUICK)] == [6]  # finished: nothing is done again


@pytest.mark.parametrize("mode", ["scratch", "recon"])
def test_the_other_modes_run(tmp_path: Path, mode: str) -> None:
    settings = replace(QUICK, mode=mode, validate_every=100)
    lines = _run(tmp_path, settings)
    assert lines[-1].step == settings.steps == (4 if mode == "scratch" else 6)
    assert math.isfinite(lines[-1].loss)


def test_recon_leaves_the_matcher_alone(tmp_path: Path) -> None:
    """In the second stage of `recon` the embeddings get no gradient: Adam moves them by nothing but old momentum."""
    settings = replace(QUICK, mode="recon", matcher_steps=0, codec_steps=2)
    torch.manual_seed(settings.seed)
    fresh = LidarModel(TINY).state_dict()
    _run(tmp_path, settings)
    for name, value in _state(tmp_path).items():
        if name.endswith(("weight", "bias")) and "embedding" in name:
            assert torch.equal(value, fresh[name]), name
    assert any(not torch.equal(v, fresh[k]) for k, v in _state(tmp_path).items() if k.startswith("decoder"))


@pytest.mark.parametrize("start", [0.05, 200.0])
def test_rate_control_brings_the_rate_to_the_target(start: float) -> None:
    """On a plant whose rate falls with the weight as codes do."""
    control = RateControl(3.0)
    control.log_weight = math.log(start / 1000)
    for _ in range(3000):
        control.update(20.0 / (1 + 50 * control.weight))
    assert 20.0 / (1 + 50 * control.weight) == pytest.approx(3.0, rel=0.05)


def test_warm_up_falls_from_one_to_nothing() -> None:
    settings = LidarTrainSettings(matcher_steps=10, codec_steps=100, warmup=0.2)
    assert [warmup_left(settings, step) for step in (10, 20, 30, 90)] == [1.0, 0.5, 0.0, 0.0]
    assert warmup_left(replace(settings, warmup=0.0), 10) == 0.0


def test_the_first_heading_is_the_truth_and_the_others_are_not_near() -> None:
    settings = LidarTrainSettings(headings=5)
    headings = draw_headings(400, settings, torch.Generator().manual_seed(0))
    assert (headings[:, 0] == 0).all()
    away = headings[:, 1:].abs()
    assert float(away.min()) >= math.radians(0.5)
    assert float(away.max()) <= math.radians(0.5) + settings.heading_range_rad
    assert 0.4 < float((headings[:, 1:] > 0).float().mean()) < 0.6


@pytest.mark.parametrize(
    "change", [{"mode": "best"}, {"batch": 0}, {"codec_steps": -1}, {"rate_bit_m2": 0.0}, {"rate_bit_m2": float("nan")}]
)
def test_unusable_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        LidarTrainSettings(**change)
