"""Every kind of product codes, fitted to one scene: bytes, faithfulness, and the same again."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from foldmap.coding.pq import ProductQuantizer
from foldmap.errors import ConfigError
from foldmap.visual.codes.codecs import Product, read_codec
from foldmap.visual.codes.fit_codecs import KINDS, TRAINED, fit_codec, settings_for
from foldmap.visual.dpq.train import Descriptors, LayerProgress


@cache
def scene(points: int = 900) -> Descriptors:
    """Unit rows near a curved sheet in 16 dimensions, each seen 3 times through noise."""
    random = np.random.default_rng(0)
    rows = np.tanh(random.normal(size=(points, 6)) @ random.normal(size=(6, 40))) @ random.normal(size=(40, 16))
    point = np.repeat(np.arange(points), 3)
    return Descriptors.of_tracks((rows[point] + random.normal(size=(3 * points, 16))).astype(np.float32), point)


@cache
def fitted(kind: str) -> Product:
    settings = replace(settings_for(kind), epochs=5, batch=150) if kind in TRAINED else None
    return fit_codec(scene(), 2, kind, settings)


def error(codec: Product) -> float:
    """Mean squared distance of decoded descriptors, read back from what a file would hold."""
    means = scene().mean_PD
    back = read_codec(codec.parameters(), 16, codec.model())
    return float(((back.decode(codec.encode(means), len(means)) - means) ** 2).sum(1).mean())


def found(codec: Product) -> float:
    """Share of observations whose nearest decoded descriptor is their own point's, and clearly nearer than the next."""
    decoded = codec.decode(codec.encode(scene().mean_PD), len(scene().mean_PD))
    away = np.sqrt(np.maximum(2 - 2 * scene().seen_OD @ decoded.T, 0))
    nearest, second = np.partition(away, 1, axis=1)[:, :2].T
    point = np.repeat(np.arange(len(decoded)), np.diff(scene().first))
    return float(((away.argmin(1) == point) & (nearest < 0.9 * second)).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_two_bytes_a_descriptor_from_the_file_alone(kind: str) -> None:
    codec = fitted(kind)
    means = scene().mean_PD
    payload = codec.encode(means)
    assert len(payload) == 2 * len(means)
    back = read_codec(codec.parameters(), 16, codec.model())
    np.testing.assert_array_equal(back.decode(payload, len(means)), codec.decode(payload, len(means)))
    # the file's codec codes a query as the map is coded: symmetric matching
    assert back.encode(means) == payload


def test_each_kind_errs_less_than_the_one_it_improves() -> None:
    plain = ProductQuantizer.fit(scene().mean_PD, 2)
    reference = plain.decode(plain.encode(scene().mean_PD))
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    pq = float(((reference - scene().mean_PD) ** 2).sum(1).mean())
    assert error(fitted("pq")) == pytest.approx(pq, rel=0.02)
    assert error(fitted("opq")) < pq
    assert error(fitted("additive")) < 0.9 * pq
    assert error(fitted("dpqed+")) < 0.9 * pq


def test_the_best_kind_finds_more_observations_than_any_other() -> None:
    shares = {kind: found(fitted(kind)) for kind in KINDS}
    assert max(shares, key=lambda kind: shares[kind]) == "dpqed+", shares
    assert shares["dpqed+"] > 1.1 * shares["pq"]


def test_the_same_seed_gives_the_same_bytes() -> None:
    quick = replace(settings_for("dpqed+"), epochs=1)
    lines: list[LayerProgress] = []
    one, same = (fit_codec(scene(300), 2, "dpqed+", quick, lines.append) for _ in range(2))
    other = fit_codec(scene(300), 2, "dpqed+", replace(quick, seed=1))
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
