"""Training learns, resumes bit for bit, and refuses what is not its run."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from core_scene import RESOLUTION_M, TINY, blob_pairs, random_model
from safetensors.torch import load_file

from foldmap.errors import ConfigError
from foldmap.lidar.fit_coder import rate_of
from foldmap.lidar.losses import RateControl
from foldmap.lidar.model import LidarModel, symbols_of
from foldmap.lidar.pairs.sampling import PairSampler
from foldmap.lidar.train import (
    PAPER_OBJECTIVE,
    LidarProgress,
    LidarTrainer,
    LidarTrainSettings,
    draw_headings,
    forward,
    objective,
    warmup_left,
)
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
    assert [math.isfinite(line.coded_bit_m2) for line in learned] == [False, False, True, True]


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


def test_the_papers_objective_is_eq_7_and_no_more(tmp_path: Path) -> None:
    settings = replace(QUICK, matcher_steps=0, code_weight=0.07, hard_weight=0.03, **PAPER_OBJECTIVE)
    generator, weight = torch.Generator().manual_seed(3), 0.07
    torch.manual_seed(0)
    model = LidarModel(TINY).eval()
    batch = _samplers()[0].batch(2)
    headings = draw_headings(2, settings, generator)
    result = forward(model, batch, headings, settings, TINY.downsample * RESOLUTION_M, codec=True)
    assert result.raw_scores_BTHW is None
    assert float(result.recon.detach()) > 0
    ours = objective(result, settings, weight, warmup_left(settings, 0), codec=True)
    log_p = (result.scores_BTHW.flatten(1) - result.scores_BTHW.flatten(1).logsumexp(1, keepdim=True)).double()
    match = -(result.target_BTHW.flatten(1) * log_p).sum() / 2
    wanted = match + 0.07 * result.rate_bit_m2 + 0.03 * result.hard_bits
    assert float(ours.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    lines = _run(tmp_path, replace(settings, rate_bit_m2=0.01))
    assert [line.code_weight for line in lines] == pytest.approx([0.07] * len(lines))  # nothing steers it


def test_validation_codes_what_is_held_out() -> None:
    """Sixteen even symbols cost four bits a cell where ground is; a constant one costs next to nothing."""
    rng, cell_m2 = np.random.default_rng(0), 4.0
    noise = [(rng.integers(1, 17, (8, 1, 16, 16)).astype(np.uint8), 8 * 256 * cell_m2) for _ in range(4)]
    assert rate_of(noise, 16) == pytest.approx(4 / cell_m2, rel=0.15)
    assert rate_of([(np.ones_like(codes), ground_m2) for codes, ground_m2 in noise], 16) < 0.05
    assert math.isnan(rate_of(noise[:1], 16))


def test_symbols_are_the_channels_that_are_on() -> None:
    code = torch.zeros(1, 2, 3, 2, 2)
    code[0, 0, 2, 0, 0] = code[0, 1, 0, 0, 0] = code[0, 1, 1, 1, 1] = 1
    weight = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]])
    assert symbols_of(code, weight).tolist() == [[[[3, 0], [0, 0]], [[1, 0], [0, 0]]]]


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


def test_a_model_begins_with_what_fits_of_another_codec() -> None:
    """Of one with the same codec, all of it; networks of other sizes are refused."""
    trained, other = random_model(TINY, seed=3), replace(TINY, name="other", groups=2)
    settings = replace(QUICK, matcher_steps=0)
    same = LidarTrainer(TINY, *_samplers(), settings, RESOLUTION_M, start=trained).network.state_dict()
    assert all(torch.equal(value, same[name]) for name, value in trained.state_dict().items())
    begun = LidarTrainer(other, *_samplers(), settings, RESOLUTION_M, start=trained).network.state_dict()
    fresh = LidarTrainer(other, *_samplers(), settings, RESOLUTION_M).network.state_dict()
    for name, value in trained.state_dict().items():
        fits = value.shape == begun[name].shape
        assert torch.equal(begun[name], value if fits else fresh[name]), name
        assert fits or name.startswith(("encoder.", "decoder."))
    assert torch.equal(begun["log_temperature"], trained.log_temperature)
    with pytest.raises(ConfigError, match="cannot begin"):
        LidarTrainer(replace(TINY, embedding_channels=2), *_samplers(), settings, RESOLUTION_M, start=trained)
