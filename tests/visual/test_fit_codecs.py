"""Every kind of product codes, fitted to one scene: bytes, faithfulness, and the same again."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from foldmap.coding.pq import ProductQuantizer
from foldmap.errors import ConfigError
from foldmap.visual.codecs import Product, read_codec
from foldmap.visual.fit_codecs import KINDS, TRAINED, fit_codec, settings_for
from foldmap.visual.train import Descriptors, LayerProgress


@cache
def scene() -> Descriptors:
    """1500 unit rows near a curved sheet in 32 dimensions, each seen 3 times through noise."""
    random = np.random.default_rng(0)
    rows = np.tanh(random.normal(size=(1500, 6)) @ random.normal(size=(6, 40))) @ random.normal(size=(40, 32))
    point = np.repeat(np.arange(1500), 3)
    return Descriptors.of_tracks((rows[point] + random.normal(size=(4500, 32))).astype(np.float32), point)


@cache
def fitted(kind: str) -> Product:
    settings = replace(settings_for(kind), epochs=4, batch=250) if kind in TRAINED else None
    return fit_codec(scene(), 4, kind, settings)


def error(codec: Product) -> float:
    """Mean squared distance of decoded descriptors, read back from what a file would hold."""
    means = scene().mean_PD
    back = read_codec(codec.parameters(), 32, codec.model())
    return float(((back.decode(codec.encode(means), len(means)) - means) ** 2).sum(1).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_four_bytes_a_descriptor_from_the_file_alone(kind: str) -> None:
    codec = fitted(kind)
    means = scene().mean_PD
    payload = codec.encode(means)
    assert len(payload) == 4 * len(means)
    back = read_codec(codec.parameters(), 32, codec.model())
    np.testing.assert_array_equal(back.decode(payload, len(means)), codec.decode(payload, len(means)))
    # the file's codec codes a query as the map is coded: symmetric matching
    assert back.encode(means) == payload


def test_each_kind_errs_less_than_the_one_it_improves() -> None:
    plain = ProductQuantizer.fit(scene().mean_PD, 4)
    reference = plain.decode(plain.encode(scene().mean_PD))
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    pq = float(((reference - scene().mean_PD) ** 2).sum(1).mean())
    assert error(fitted("pq")) == pytest.approx(pq, rel=0.02)
    assert error(fitted("opq")) < pq
    assert error(fitted("additive")) < 0.9 * pq
    assert error(fitted("dpqed+")) < error(fitted("additive"))


def test_the_same_seed_gives_the_same_bytes() -> None:
    quick = replace(settings_for("dpqed+"), epochs=1)
    lines: list[LayerProgress] = []
    one, same = (fit_codec(scene(), 2, "dpqed+", quick, lines.append) for _ in range(2))
    other = fit_codec(scene(), 2, "dpqed+", replace(quick, seed=1))
    assert one.model() == same.model()
    assert one.model() != other.model()
    assert [line.epoch for line in lines] == [1, 1]


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ConfigError, match="kind 'best'"):
        fit_codec(scene(), 4, "best")
    with pytest.raises(ConfigError, match="not trained"):
        fit_codec(scene(), 4, "opq", settings_for("dpqed"))
    with pytest.raises(ConfigError, match="not trained"):
        settings_for("pq")
    for kind in ("pq", "dpqed"):
        with pytest.raises(ConfigError, match="5 equal parts"):
            fit_codec(scene(), 5, kind)
