"""The D-PQED layer against Algorithm 1 written as loops, plain PQ and the chain rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foldmap.coding.additive import AdditiveQuantizer
from foldmap.coding.pq import ProductQuantizer
from foldmap.errors import ModelError
from foldmap.types import FloatArray
from foldmap.visual.dpq.assignment import beam_codes, best_decoded
from foldmap.visual.dpq.model import DpqedLayer, adapter_rank
from foldmap.visual.dpq.serialize import ASSIGN_BEAM, LayerShape

SMALL = LayerShape(dimension=8, parts=2, centroids=5, hidden=7)
VARIANTS = [
    SMALL,
    LayerShape(dimension=8, parts=4, centroids=5, hidden=0),
    LayerShape(dimension=8, parts=2, centroids=5, hidden=7, shortcut="identity", unit=False),
    LayerShape(dimension=8, parts=2, centroids=5, hidden=7, shortcut="linear"),
    LayerShape(dimension=8, parts=2, centroids=5, hidden=0, shortcut="linear"),
    LayerShape(dimension=8, parts=3, centroids=5, hidden=7, shortcut="identity", additive=True),
    LayerShape(dimension=8, parts=2, centroids=5, hidden=0, unit=False, additive=True),
]


def rows(count: int = 40, dimension: int = 8) -> FloatArray:
    values = np.random.default_rng(0).normal(size=(count, dimension))
    unit: FloatArray = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return unit


def layer_of(shape: LayerShape) -> DpqedLayer:
    torch.manual_seed(0)
    layer = DpqedLayer(shape, beam=ASSIGN_BEAM)
    with torch.no_grad():
        for one in layer.parameters():
            one.add_(0.3 * torch.randn_like(one))
    return layer


def plain_algorithm_1(x: FloatArray, books: FloatArray, tau: float) -> tuple[list[float], list[float]]:
    """(hard, soft) quantized vectors of one descriptor, lines 1 to 9."""
    hard: list[float] = []
    soft: list[float] = []
    width = books.shape[2]
    for m, book in enumerate(books):
        part = x[m * width : (m + 1) * width].astype(np.float64)
        away = [float(np.linalg.norm(part - centroid)) for centroid in book]
        weight = np.exp([-d / tau for d in away])
        hard += list(book[int(np.argmin(away))])
        soft += list(sum(w * c for w, c in zip(weight / weight.sum(), book, strict=True)))
    return hard, soft


def test_forward_is_hard_and_backward_is_soft() -> None:
    layer = layer_of(SMALL)
    x = rows()
    books = layer.codebooks.detach().numpy()
    hard, soft = zip(*(plain_algorithm_1(one, books, layer.tau) for one in x), strict=True)
    entering = torch.from_numpy(x).requires_grad_()
    out = layer.quantize(entering)
    np.testing.assert_allclose(out.detach().numpy(), hard, atol=1e-5)
    out[:, 3].sum().backward()  # type: ignore[no-untyped-call]
    assert entering.grad is not None
    step = 1e-4
    for axis in range(4):
        bumped = x.astype(np.float64).copy()
        bumped[:, axis] += step
        higher = [plain_algorithm_1(one, books, layer.tau)[1][3] for one in bumped]
        bumped[:, axis] -= 2 * step
        lower = [plain_algorithm_1(one, books, layer.tau)[1][3] for one in bumped]
        slope = (np.array(higher) - np.array(lower)) / (2 * step)
        np.testing.assert_allclose(entering.grad[:, axis], slope, rtol=0.02, atol=2e-3)
    assert not np.allclose(hard, soft, atol=1e-2)


@pytest.mark.parametrize("shape", [one for one in VARIANTS if one.hidden or one.shortcut != "linear"])
def test_assign_then_dequantize_is_forward(shape: LayerShape) -> None:
    layer, x = layer_of(shape), rows()
    codes = layer.stored().assign(x)
    assert codes.dtype == np.uint8
    assert codes.shape == (len(x), shape.parts)
    forward = layer(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(layer.stored().dequantize(codes), forward, atol=2e-5)
    if shape.unit:
        np.testing.assert_allclose(np.linalg.norm(forward, axis=1), 1, atol=1e-5)
    assert layer.stored().assign(x[:0]).shape == (0, shape.parts)


@pytest.mark.parametrize("shape", VARIANTS)
def test_every_weight_gets_a_gradient(shape: LayerShape) -> None:
    layer = layer_of(shape)
    (layer(torch.from_numpy(rows())) * torch.arange(8.0)).sum().backward()
    for name, one in layer.named_parameters():
        assert one.grad is not None, name
        assert float(one.grad.abs().max()) > 0, name


def test_additive_codes_are_the_decoders_choice() -> None:
    """All 5^2 codes decoded one by one: the layer's is the nearest, and the stored layer names the same."""
    layer = layer_of(LayerShape(dimension=8, parts=2, centroids=5, hidden=7, shortcut="identity", additive=True))
    x = rows()
    every = np.stack(np.meshgrid(range(5), range(5), indexing="ij"), -1).reshape(-1, 2).astype(np.uint8)
    errors = ((x[:, None] - layer.stored().dequantize(every)[None]) ** 2).sum(2)
    codes = layer.stored().assign(x)
    reached = ((x - layer.stored().dequantize(codes)) ** 2).sum(1)
    wide = (errors.argsort(1).argsort(1)[np.arange(len(x)), codes[:, 0] * 5 + codes[:, 1]] == 0).mean()
    assert wide > 0.9  # the search keeps 16 of 25 sums
    assert reached.mean() < 1.02 * errors.min(1).mean()
    greedy = AdditiveQuantizer(layer.codebooks.detach().numpy()).encode(x)
    assert reached.mean() < ((x - layer.stored().dequantize(greedy)) ** 2).sum(1).mean()


def test_additive_gradients_are_algorithm_1_of_what_the_other_codebooks_leave() -> None:
    layer = layer_of(LayerShape(dimension=8, parts=3, centroids=5, hidden=0, unit=False, additive=True))
    x, pull = torch.from_numpy(rows()), torch.randn(40, 8)
    proposed = beam_codes(x, layer.codebooks, ASSIGN_BEAM)
    codes = best_decoded(x, proposed, layer.codebooks, layer.decoder)
    out = layer.quantize(x)
    np.testing.assert_allclose(out.detach(), sum(layer.codebooks[m][codes[:, m]].detach() for m in range(3)), atol=1e-5)
    (out * pull).sum().backward()
    books = layer.codebooks.detach().double()
    for m in range(3):
        others = sum(books[j][codes[:, j]] for j in range(3) if j != m)
        book = books[m].clone().requires_grad_()
        weight = torch.exp(-torch.cdist(x.double() - others, book) / layer.tau)
        ((weight / weight.sum(1, keepdim=True)) @ book * pull).sum().backward()
        assert layer.codebooks.grad is not None
        assert book.grad is not None
        torch.testing.assert_close(layer.codebooks.grad[m].double(), book.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("hidden", [0, 7])
def test_a_layer_with_shortcut_starts_as_plain_pq(hidden: int) -> None:
    x = rows(300)
    quantizer = ProductQuantizer.fit(x, 2, 16)
    layer = DpqedLayer(LayerShape(8, 2, 16, hidden, shortcut="identity", unit=False))
    layer.start_from(quantizer)
    codes = layer.stored().assign(x)
    np.testing.assert_array_equal(codes, quantizer.encode(x))
    np.testing.assert_allclose(layer.stored().dequantize(codes), quantizer.decode(codes), atol=1e-6)


def test_an_additive_layer_starts_as_its_quantizer() -> None:
    x = rows(300)
    quantizer = AdditiveQuantizer.fit(x, 2, 16)
    layer = DpqedLayer(LayerShape(8, 2, 16, 7, shortcut="identity", unit=False, additive=True))
    layer.start_from(quantizer)
    codes = layer.stored().assign(x)
    assert ((x - layer.stored().dequantize(codes)) ** 2).sum() <= (
        (x - quantizer.decode(quantizer.encode(x))) ** 2
    ).sum() * 1.001
    np.testing.assert_allclose(layer.stored().dequantize(codes), quantizer.decode(codes), atol=1e-6)


def test_other_codebooks_are_refused() -> None:
    x = rows(300)
    with pytest.raises(ModelError, match="cannot hold a rotation"):
        DpqedLayer(LayerShape(8, 2, 16, 7)).start_from(ProductQuantizer.fit(x, 2, 16, rotate=True))
    with pytest.raises(ModelError, match="do not fit"):
        DpqedLayer(LayerShape(8, 4, 16, 7)).start_from(ProductQuantizer.fit(x, 2, 16))


def test_lora_trains_little_and_merges() -> None:
    layer, x = layer_of(SMALL), torch.from_numpy(rows())
    before = layer(x).detach()
    trained = layer.decoder.adapt(2)
    torch.testing.assert_close(layer(x).detach(), before)
    assert sum(one.numel() for one in trained) == 2 * (8 + 7) * 2
    assert {id(one) for one in layer.decoder.parameters() if one.requires_grad} == {id(one) for one in trained}
    with torch.no_grad():
        for one in trained:
            one.add_(torch.randn_like(one))
    after = layer(x).detach()
    assert float((after - before).abs().max()) > 0.01
    np.testing.assert_allclose(layer.stored().dequantize(layer.stored().assign(x.numpy())), after.numpy(), atol=1e-5)
    with pytest.raises(ModelError, match="nothing to adapt"):
        layer_of(VARIANTS[1]).decoder.adapt(2)


def test_lora_of_the_paper_has_2048_parameters() -> None:
    assert adapter_rank(LayerShape(dimension=256)) == 2
    assert adapter_rank(LayerShape(dimension=128)) == 2
    assert adapter_rank(LayerShape(dimension=128), 1) == 1


def test_foreign_descriptors_are_refused() -> None:
    with pytest.raises(ModelError, match="do not fit codebooks of 8"):
        layer_of(SMALL).stored().assign(np.zeros((3, 9), np.float32))
