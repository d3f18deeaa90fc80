"""Training a D-PQED layer: that it learns to match, that a run is reproducible and resumable, that LoRA stays small."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foldmap.coding.additive import AdditiveQuantizer
from foldmap.coding.pq import ProductQuantizer
from foldmap.errors import ConfigError, MapInputError
from foldmap.training.checkpoint import FILE
from foldmap.types import FloatArray
from foldmap.visual.dpq.model import DpqedLayer
from foldmap.visual.dpq.serialize import LayerShape
from foldmap.visual.dpq.train import LOSSES, Descriptors, LayerProgress, LayerSettings, LayerTrainer, train_layer

SHAPE = LayerShape(dimension=16, parts=2, centroids=16, hidden=32, shortcut="identity")
QUICK = LayerSettings(margin=0.2, l2_weight=2.0, epochs=3, batch=100)


@cache
def scene() -> Descriptors:
    """600 points near a curved sheet in 16 dimensions, each seen 3 to 6 times through noise."""
    random = np.random.default_rng(0)
    flat = random.normal(size=(600, 5))
    rows = np.tanh(flat @ random.normal(size=(5, 24))) @ random.normal(size=(24, 16))
    point = np.repeat(np.arange(600), random.integers(3, 7, 600))
    seen = rows[point] + 0.35 * random.normal(size=(len(point), 16))
    return Descriptors.of_tracks(seen.astype(np.float32), point)


def found(data: Descriptors, decoded: FloatArray) -> float:
    """Share of observations whose nearest decoded descriptor is their own point's."""
    point = np.repeat(np.arange(len(data.mean_PD)), np.diff(data.first))
    away = ((data.seen_OD[:, None] - decoded[None]) ** 2).sum(2)
    return float((away.argmin(1) == point).mean())


def test_means_are_the_tracks() -> None:
    data = scene()
    for point in (0, 17, 599):
        mean = data.seen_OD[data.first[point] : data.first[point + 1]].mean(0)
        np.testing.assert_allclose(data.mean_PD[point], mean / np.linalg.norm(mean), atol=1e-6)


def test_training_additive_codes_lowers_their_error_and_finds_more() -> None:
    data = scene()
    fitted = AdditiveQuantizer.fit(data.mean_PD, 2, 16)
    plain = fitted.decode(fitted.encode(data.mean_PD))
    shape = LayerShape(16, 2, 16, 32, shortcut="identity", additive=True)
    settings = LayerSettings(margin=0.1, l2_weight=4, epochs=30, batch=100, tau=0.005, decay=True, validation=0.0)
    lines: list[LayerProgress] = []
    run = train_layer(data, shape, settings, report=lines.append)
    assert lines == run.curve
    layer = run.network
    learned = layer.stored().dequantize(layer.stored().assign(data.mean_PD))
    assert ((learned - data.mean_PD) ** 2).sum() < 0.97 * ((plain - data.mean_PD) ** 2).sum()
    assert found(data, learned) > 1.03 * found(data, plain)


def test_the_weight_of_reconstruction_is_part_of_the_loss() -> None:
    both, alone = (
        train_layer(scene(), SHAPE, replace(QUICK, epochs=1, batch=600, learning_rate=1e-9, l2_weight=weight)).curve[0]
        for weight in (2.0, 0.0)
    )
    alike = replace(QUICK, loss="l2", l2_weight=0.0, epochs=1, batch=600, learning_rate=1e-9)
    l2 = train_layer(scene(), SHAPE, alike).curve[0]
    assert both.loss == pytest.approx(alone.loss + 2 * l2.loss, rel=1e-5)


def test_image_descriptors_are_learned_on_one_by_one() -> None:
    data, settings = scene(), replace(QUICK, rows="image-descriptors")
    rows, point = data.rows("image-descriptors")
    assert rows is data.seen_OD
    np.testing.assert_array_equal(np.bincount(point), np.diff(data.first))
    trainer = LayerTrainer(data, SHAPE, settings)
    drawn = np.concatenate(trainer.draw(1))
    held_out = np.setdiff1d(np.arange(600), point[drawn])
    assert len(held_out) == 30  # all observations of a point are learned from, or none
    assert len(drawn) == len(np.unique(drawn)) == int(np.diff(data.first).sum() - np.diff(data.first)[held_out].sum())
    learned = train_layer(data, SHAPE, settings)
    assert learned.curve[-1].loss < learned.curve[0].loss
    means = train_layer(data, SHAPE, QUICK).network
    assert not torch.equal(learned.network.codebooks, means.codebooks)
    with pytest.raises(ConfigError, match="nothing is learned on 'photos'"):
        LayerSettings(rows="photos")


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_falls(loss: str) -> None:
    shape = replace(SHAPE, shortcut="")
    run = train_layer(scene(), shape, LayerSettings(loss=loss, epochs=8, batch=100))
    assert run.curve[-1].loss < run.curve[0].loss


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        (SHAPE, QUICK),
        (replace(SHAPE, additive=True), replace(QUICK, decay=True)),
    ],
)
def test_a_resumed_run_is_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: LayerShape, settings: LayerSettings
) -> None:
    whole = train_layer(scene(), shape, settings, folder=tmp_path / "whole")

    class Stop(Exception):  # noqa: N818 - as a person at the keyboard
        pass

    def stop_after_two(progress: LayerProgress) -> None:
        if progress.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        train_layer(scene(), shape, settings, folder=tmp_path / "cut", report=stop_after_two)
    for quantizer in (AdditiveQuantizer, ProductQuantizer):  # what was fitted is in the checkpoint
        monkeypatch.delattr(quantizer, "fit")
    resumed = train_layer(scene(), shape, settings, folder=tmp_path / "cut")
    assert resumed.curve == whole.curve
    for one, other in zip(resumed.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert (tmp_path / "cut" / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()


def test_lora_adapts_the_decoder_alone() -> None:
    base = train_layer(scene(), SHAPE, replace(QUICK, epochs=20)).network
    random = np.random.default_rng(5)
    turn = np.linalg.qr(np.eye(16) + 0.2 * random.normal(size=(16, 16)))[0].astype(np.float32)
    other = Descriptors(scene().mean_PD @ turn, scene().seen_OD @ turn, scene().first)

    def error(layer: DpqedLayer) -> float:
        return float(((layer.stored().dequantize(layer.stored().assign(other.mean_PD)) - other.mean_PD) ** 2).sum())

    settings = replace(QUICK, loss="l2", l2_weight=0.0, epochs=30, learning_rate=0.01, validation=0.0)
    adapted = train_layer(other, SHAPE, settings, start=base, rank=2).network
    assert torch.equal(adapted.codebooks, base.codebooks)
    assert base.decoder.first is not None
    assert adapted.decoder.first is not None
    assert torch.equal(adapted.decoder.first.weight, base.decoder.first.weight)
    assert error(adapted) < 0.97 * error(base)
    with pytest.raises(ConfigError, match="there is none"):
        train_layer(scene(), SHAPE, QUICK, rank=2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"loss": "hinge"}, "no loss 'hinge'"),
        ({"epochs": 0}, "positive"),
        ({"batch": 1}, "positive"),
        ({"learning_rate": float("nan")}, "positive"),
        ({"validation": 1.0}, "share of 1.0"),
    ],
)
def test_bad_settings_are_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        replace(QUICK, **change)


@pytest.mark.parametrize(
    ("rows", "point", "says"),
    [
        (np.ones((3, 4)), [0, 1], "3, 4.* for 2"),
        (np.ones((3, 4)), [0, 2, 2], "not sorted"),
        (np.ones((3, 4)), [1, 1, 2], "not sorted"),
        (np.ones((3, 4)), [0, 1, 0], "not sorted"),
        (np.full((3, 4), np.nan), [0, 1, 2], "NaN"),
        (np.ones((0, 4)), [], "0 observations"),
    ],
)
def test_bad_descriptors_are_named(rows: FloatArray, point: list[int], says: str) -> None:
    with pytest.raises(MapInputError, match=says):
        Descriptors.of_tracks(rows, np.array(point, np.int64))
