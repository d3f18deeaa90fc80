"""The networks have the paper's structure; binarization and its gradient."""

from __future__ import annotations

import pytest
import torch
from core_scene import random_model
from torch import nn

from foldmap.errors import ConfigError, ModelError
from foldmap.lidar.model import CodeDecoder, CodeEncoder, Embedding, LidarModel, binarize
from foldmap.lidar.presets import PRESETS, Preset, preset_named

PAPER = PRESETS["paper-8x"]


def _closed_form(inputs: int, embedding: int, widths: tuple[int, ...]) -> int:
    """Parameters of the paper's U-Net counted by hand: kernels without bias, two numbers a channel of a norm."""
    total, before = 0, inputs
    for width in widths:
        total += 9 * (before * width + 2 * width * width) + 3 * 2 * width
        before = width
    for level in reversed(range(4)):
        total += 9 * (before * widths[level] + widths[level] ** 2) + 2 * 2 * widths[level]
        before = widths[level]
    return total + 9 * widths[0] * embedding + embedding


@pytest.mark.parametrize("name", ["paper-8x", "small-8x", "tiny-8x"])
def test_the_embedding_has_the_parameters_of_the_paper(name: str) -> None:
    preset = PRESETS[name]
    with torch.device("meta"):
        network = Embedding(preset)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == _closed_form(2, preset.embedding_channels, preset.unet_widths)
    if name == "paper-8x":
        assert count == 14_867_521  # of which the half down, with its three convolutions a block, has 7.8 M


def test_each_block_down_is_two_convolutions_and_one_of_stride_two() -> None:
    with torch.device("meta"):
        network = Embedding(PAPER)
    for block, width in zip(network.down, (64, 128, 256, 512), strict=True):
        convolutions = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
        assert [convolution.stride for convolution in convolutions] == [(1, 1), (1, 1), (2, 2)]
        assert all(convolution.kernel_size == (3, 3) for convolution in convolutions)
        assert all(convolution.out_channels == width for convolution in convolutions)
    for block in network.up:
        kinds = [type(module) for module in block.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
        assert kinds == [nn.ConvTranspose2d, nn.Conv2d]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_shapes(name: str) -> None:
    preset = PRESETS[name]
    with torch.device("meta"):
        model = LidarModel(preset)
        embedding = model.map_embedding(torch.zeros(2, 2, 96, 64))
        logits = model.encoder(embedding)
        decoded = model.decoder(logits)
    s = preset.downsample
    assert embedding.shape == decoded.shape == (2, preset.embedding_channels, 96, 64)
    assert logits.shape == (2, preset.groups, preset.group_channels, 96 // s, 64 // s)
    blocks = [module for module in model.encoder.modules() if type(module).__name__ == "_Residual"]
    assert len(blocks) == 2 * len(preset.codec_widths)


def test_the_paper_codec_is_8_16_32_64_with_prelu() -> None:
    with torch.device("meta"):
        encoder, decoder = CodeEncoder(PAPER), CodeDecoder(PAPER)
    strided = [m.out_channels for m in encoder.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
    assert strided == [16, 32, 64]
    assert not any(isinstance(m, nn.ReLU) for m in [*encoder.modules(), *decoder.modules()])
    assert sum(isinstance(m, nn.ConvTranspose2d) for m in decoder.modules()) == 3


def test_unobserved_ground_has_no_embedding() -> None:
    x = torch.randn(1, 2, 32, 32, generator=torch.Generator().manual_seed(1))
    x[:, 1] = (x[:, 1] > 0).float()
    with torch.inference_mode():
        embedding = random_model().map_embedding(x)
    assert (embedding[x[:, 1:] == 0] == 0).all()
    assert (embedding[x[:, 1:] == 1] != 0).any()


def test_at_most_one_channel_of_a_group_is_on_and_only_from_one_half() -> None:
    logits = 4 * torch.randn(3, 4, 16, 8, 8, generator=torch.Generator().manual_seed(2))
    probability, code = binarize(logits)
    torch.testing.assert_close(probability.sum(dim=2), torch.ones(3, 4, 8, 8))
    expected = (torch.exp(logits) / torch.exp(logits).sum(2, keepdim=True) >= 0.5).float()
    assert torch.equal(code, expected)
    assert int(code.sum(dim=2).max()) == 1
    assert 0 < float(code.sum(dim=2).mean()) < 1


def test_the_threshold_is_one_half() -> None:
    even = torch.tensor([0.0, -100.0, -100.0]).view(1, 1, 3, 1, 1)
    third = torch.zeros(1, 1, 3, 1, 1)
    assert binarize(even)[1].flatten().tolist() == [1, 0, 0]
    assert binarize(third)[1].flatten().tolist() == [0, 0, 0]
    almost = torch.tensor([[0.49], [0.51]]).log().view(2, 1, 1)[None, None].reshape(1, 1, 2, 1, 1)
    assert binarize(almost)[1].flatten().tolist() == [0, 1]


def test_straight_through_gradient_is_that_of_the_soft_code() -> None:
    logits = torch.randn(2, 2, 5, 3, 3, generator=torch.Generator().manual_seed(3), requires_grad=True)
    weight = torch.randn(2, 2, 5, 3, 3, generator=torch.Generator().manual_seed(4))
    (hard,) = torch.autograd.grad((binarize(logits)[1] * weight).sum(), logits)
    (soft,) = torch.autograd.grad((torch.softmax(logits, dim=2) * weight).sum(), logits)
    torch.testing.assert_close(hard, soft)
    assert float(soft.abs().max()) > 0


def test_presets_survive_json_and_refuse_nonsense() -> None:
    for preset in PRESETS.values():
        assert Preset.from_dict(preset.to_dict()) == preset
    good = PAPER.to_dict()
    for change in (
        {"downsample": 4},
        {"stem": 2},
        {"unet_widths": [64, 128, 256]},
        {"unet_widths": [64, 128, 256, 1 << 20]},
        {"unet_widths": [64, 128, 256, 2.5]},
        {"unet_widths": "abcd"},
        {"groups": 0},
        {"groups": True},
        {"group_channels": 255},
        {"decoder_blocks": 3},
        {"decoder_widths": [1, 2]},
        {"extra": 1},
        {"name": 3},
    ):
        with pytest.raises(ModelError):
            Preset.from_dict({**good, **change})
    with pytest.raises(ConfigError, match="choose one of"):
        preset_named("paper")
