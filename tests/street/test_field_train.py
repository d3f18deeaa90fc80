"""Training the field network: it learns, resumes byte for byte, and refuses what does not fit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from field_scene import tile

from foldmap.errors import ConfigError
from foldmap.street.changes.edits import RandomAging
from foldmap.street.field.examples import (
    AlternatingExamples,
    CachedExamples,
    FieldExamples,
    PairExamples,
    aerial_examples,
)
from foldmap.street.field.lane_field import FieldSpec, draw
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.network import FieldNetwork, FieldShape
from foldmap.street.field.train import FieldTrainer, FieldTrainSettings, field_loss
from foldmap.street.graph.window import Window
from foldmap.street.paper.pairs import AerialPairs
from foldmap.training.loop import train

SPEC = FieldSpec(Window(-8, 8, -8, 8))
SETTINGS = FieldTrainSettings(steps=6, batch=4, warmup_steps=2, checkpoint_every=3, imagenet=False, seed=3)


def _examples(update: bool = False) -> PairExamples:
    return aerial_examples([tile(0), tile(1)], SPEC, update=update, spacing_m=6.0)


def _run(examples: FieldExamples, folder: Path, settings: FieldTrainSettings = SETTINGS, update: bool = False) -> bytes:
    trainer = FieldTrainer(examples, FieldShape(width=8, with_map=update), settings)
    *_, _ = train(trainer, folder)
    return FieldEmbedding(trainer.network, SPEC).payload()


@pytest.mark.parametrize("update", [False, True])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path, update: bool) -> None:
    examples = _examples(update)
    whole = _run(examples, tmp_path / "whole", update=update)
    stopped = train(FieldTrainer(examples, FieldShape(width=8, with_map=update), SETTINGS), tmp_path / "parts")
    next(stopped)
    stopped.close()
    assert _run(examples, tmp_path / "parts", update=update) == whole
    assert (tmp_path / "parts" / "log.jsonl").read_bytes() == (tmp_path / "whole" / "log.jsonl").read_bytes()
    assert _run(examples, tmp_path / "whole", update=update) == whole  # finished: nothing is done again


def test_it_learns_to_see_lanes(tmp_path: Path) -> None:
    """After seconds the field of an unseen tile agrees with the truth far better than a constant does."""
    settings = FieldTrainSettings(steps=50, batch=8, warmup_steps=5, checkpoint_every=50, imagenet=False, seed=0)
    examples = aerial_examples([tile(k) for k in range(4)], SPEC, spacing_m=3.0)
    trainer = FieldTrainer(examples, FieldShape(width=16), settings)
    *_, _ = train(trainer, tmp_path)
    pairs = AerialPairs([tile(9)], 8.0, SPEC.window, 64)
    truth = np.stack([draw(pair.graph, SPEC) for pair in pairs]).sum(1)
    read = FieldEmbedding(trainer.network, SPEC).read_fields([pair.observation for pair in pairs]).sum(1)
    assert np.corrcoef(truth.ravel(), read.ravel())[0, 1] > 0.6


def test_batches_are_the_same_whenever_they_are_asked_for() -> None:
    examples = _examples(update=True)
    far = len(examples) // 4 * 2 + 2  # in the third epoch
    first = examples.batch(4, 0, far)
    examples.batch(4, 0, 1)
    again = examples.batch(4, 0, far)
    assert torch.equal(first.image_B3HW, again.image_B3HW)
    assert first.map_BCRS is not None
    assert again.map_BCRS is not None
    assert torch.equal(first.map_BCRS, again.map_BCRS)
    present, lacking, gone = first.target_BCRS.chunk(3, 1)
    assert torch.allclose(present - first.map_BCRS, lacking - gone, atol=1e-6)


def test_cached_pairs_are_those_of_the_source() -> None:
    pairs = AerialPairs([tile(0)], 10.0, SPEC.window, 64)
    cached = CachedExamples.of(pairs, SPEC, light=0.0, aging=RandomAging(1.0, SPEC.window))
    assert len(cached) == len(pairs)
    batch = cached.batch(4, 0, 1)
    images = {pair.observation.image.tobytes() for pair in pairs}  # type: ignore[union-attr]
    for image in batch.image_B3HW.permute(0, 2, 3, 1).byte().numpy():
        assert np.ascontiguousarray(image).tobytes() in images
    mixed = AlternatingExamples(cached, cached)
    assert len(mixed) == 2 * len(cached)
    assert torch.equal(mixed.batch(4, 0, 1).target_BCRS, batch.target_BCRS)
    with pytest.raises(ConfigError, match="no pairs"):
        CachedExamples.of([], SPEC)
    with pytest.raises(ConfigError, match="no examples"):
        AlternatingExamples()


def test_the_loss_of_a_perfect_answer_is_zero() -> None:
    target = torch.tensor([0.2, 0.7, 1.0, 0.0]).reshape(1, 1, 2, 2)
    logits = torch.logit(target, eps=1e-6)
    assert field_loss(logits, target).abs().max() < 1e-4
    assert field_loss(torch.zeros_like(logits), target).min() > 0.05


def test_too_few_windows_and_odd_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="less than a batch"):
        FieldTrainer(_examples(), FieldShape(width=8), FieldTrainSettings(batch=10_000))
    for bad in ({"steps": 0}, {"batch": 1}, {"learning_rate": 0.0}, {"weight_decay": 1.5}):
        with pytest.raises(ConfigError):
            FieldTrainSettings(**bad)  # type: ignore[arg-type]


def test_a_start_gives_its_tensors_where_they_fit(tmp_path: Path) -> None:
    torch.manual_seed(5)
    start = FieldNetwork.unpacked(FieldShape(width=8), FieldNetwork(FieldShape(width=8)).packed())  # as it is stored
    still = FieldTrainSettings(steps=1, batch=4, warmup_steps=1, learning_rate=1e-12, imagenet=False, symmetries=False)
    trainer = FieldTrainer(_examples(True), FieldShape(width=8, with_map=True), still, start)
    next(train(trainer, tmp_path))
    network = trainer.network
    assert torch.allclose(network.taps[0].weight, start.taps[0].weight, atol=1e-6)
    assert network.head.out_channels == 24
