"""The sweep's embedding and the map's decoder as graphs, from the weights of a stored model, batch norms folded in."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from foldmap.lidar.presets import INPUT_CHANNELS, Preset
from foldmap.runtime.graph import OnnxGraph
from foldmap.types import FloatArray

_NORM_EPSILON = 1e-5  # torch's

Weights = Mapping[str, FloatArray]


def localizing_shapes(preset: Preset) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights that localizing needs, as `foldmap.lidar.model` names them."""
    shapes: dict[str, tuple[int, ...]] = {"log_temperature": ()}
    for name, inputs, outputs, kernel, normed in _layers(preset):
        shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
        if name.endswith(".grow") or (name.startswith("decoder") and kernel == 4):  # transposed
            shapes[f"{name}.weight"] = (inputs, outputs, kernel, kernel)
        if normed is None:
            shapes[f"{name}.bias"] = (outputs,)
        elif normed:
            shapes |= {f"{normed}.{part}": (outputs,) for part in ("weight", "bias", "running_mean", "running_var")}
    shapes |= {f"{name}.weight": (width,) for name, width in _prelus(preset)}
    return shapes


def _layers(preset: Preset) -> list[tuple[str, int, int, int, str | None]]:
    """Name, inputs, outputs, kernel, and the batch norm behind (None: a bias instead) of each convolution."""
    widths, root = preset.unet_widths, "sweep_embedding"
    layers: list[tuple[str, int, int, int, str | None]] = []
    for k, (inputs, outputs) in enumerate(pairwise((INPUT_CHANNELS, *widths))):
        for name, before in (("keep.0", inputs), ("keep.1", outputs), ("shrink", outputs)):
            layers.append((f"{root}.down.{k}.{name}.0", before, outputs, 3, f"{root}.down.{k}.{name}.1"))
    for k, (inputs, outputs) in enumerate(pairwise((widths[-1], *widths[::-1]))):
        layers.append((f"{root}.up.{k}.grow", inputs, outputs, 3, f"{root}.up.{k}.norm"))
        layers.append((f"{root}.up.{k}.mix.0", outputs, outputs, 3, f"{root}.up.{k}.mix.1"))
    layers.append((f"{root}.head", widths[0], preset.embedding_channels, 3, None))
    deep, blocks = preset.decoder_widths, preset.decoder_blocks
    layers.append(("decoder.layers.0", preset.groups * preset.group_channels, deep[0], 3, None))
    for k in range(blocks):
        layers += [(f"decoder.layers.{2 + k}.{part}", deep[0], deep[0], 3, None) for part in ("first", "second")]
    for k, (inputs, outputs) in enumerate(pairwise(deep)):
        layers.append((f"decoder.layers.{2 + blocks + 2 * k}", inputs, outputs, 4, None))
    layers.append((f"decoder.layers.{2 * len(deep) + blocks}", deep[-1], preset.embedding_channels, 3, None))
    return layers


def _prelus(preset: Preset) -> list[tuple[str, int]]:
    deep, blocks = preset.decoder_widths, preset.decoder_blocks
    slopes = [("decoder.layers.1", deep[0])]
    slopes += [(f"decoder.layers.{2 + k}.{part}", deep[0]) for k in range(blocks) for part in ("between", "after")]
    return slopes + [(f"decoder.layers.{3 + blocks + 2 * k}", width) for k, width in enumerate(deep[1:])]


def sweep_graph(preset: Preset, weights: Weights, int8: bool = False) -> bytes:
    """Normalized observation (1, 2, H, W), sides multiples of 16, to embedding (1, C, H, W): `model.Embedding`."""
    graph, root, widths = OnnxGraph(int8, x=INPUT_CHANNELS), "sweep_embedding", preset.unet_widths

    def convolve(x: str, name: str, stride: int = 1) -> str:
        kernel, bias = _folded(weights, f"{name}.0", f"{name}.1", axis=0)
        return graph.add("Relu", [_convolution(graph, x, kernel, bias, 1, stride)])

    starts, sizes = graph.constant(np.array([1])), graph.constant(np.array([2]))
    observed = graph.add("Slice", ["x", starts, sizes, graph.constant(np.array([1]))])
    x, skips = "x", list[str]()
    for k in range(len(widths)):
        skips.append(convolve(convolve(x, f"{root}.down.{k}.keep.0"), f"{root}.down.{k}.keep.1"))
        x = convolve(skips[-1], f"{root}.down.{k}.shrink", 2)
    for k, skip in enumerate(reversed(skips)):
        kernel, bias = _folded(weights, f"{root}.up.{k}.grow", f"{root}.up.{k}.norm", axis=1)
        pixels = graph.add("Conv", [x, *_as_blocks(graph, kernel, bias)], pads=[0, 0, 1, 1], kernel_shape=[2, 2])
        grown = graph.add("DepthToSpace", [pixels], blocksize=2, mode="DCR")
        x = convolve(graph.add("Relu", [graph.add("Add", [grown, skip])]), f"{root}.up.{k}.mix")
    head = _convolution(graph, x, weights[f"{root}.head.weight"], weights[f"{root}.head.bias"], 1)
    return graph.to_bytes(graph.add("Mul", [head, observed]), preset.embedding_channels)


def cells_graph(preset: Preset, weights: Weights, int8: bool = False) -> bytes:
    """Binary code (1, G * K, h, w) to features (1, C, h, w): what the decoder does at code resolution."""
    channels, width = preset.groups * preset.group_channels, preset.decoder_widths[0]
    graph, root = OnnxGraph(int8, x=channels), "decoder.layers"

    def convolve(x: str, name: str) -> str:
        return _convolution(graph, x, weights[f"{name}.weight"], weights[f"{name}.bias"], 1)

    x = _prelu(graph, convolve("x", f"{root}.0"), weights[f"{root}.1.weight"])
    for k in range(2, 2 + preset.decoder_blocks):
        between = _prelu(graph, convolve(x, f"{root}.{k}.first"), weights[f"{root}.{k}.between.weight"])
        added = graph.add("Add", [x, convolve(between, f"{root}.{k}.second")])
        x = _prelu(graph, added, weights[f"{root}.{k}.after.weight"])
    return graph.to_bytes(x, width)


def pixels_graph(preset: Preset, weights: Weights, int8: bool = False) -> bytes:
    """Features (1, C, h, w) to the embedding of all cells but the outermost: (1, C, s * (h - 2), s * (w - 2)).

    Without padding, by the convolutions that `foldmap.lidar.runtime.inference` explains.
    """
    graph, first = OnnxGraph(int8, x=preset.decoder_widths[0]), 2 + preset.decoder_blocks
    x = "x"
    for k in range(first, first + 2 * (len(preset.decoder_widths) - 1), 2):
        kernel, bias = weights[f"decoder.layers.{k}.weight"], weights[f"decoder.layers.{k}.bias"]
        # Pixel 2i + 1 + a gets input i by kernel row 2 + a and input i + 1 by kernel row a; columns alike.
        taps = kernel.reshape(*kernel.shape[:2], 2, 2, 2, 2)[:, :, ::-1, :, ::-1]  # (I, O, input row, a, column, b)
        corners = taps.transpose(3, 5, 1, 0, 2, 4).reshape(-1, kernel.shape[0], 2, 2)
        made = _convolution(graph, x, corners, np.tile(bias, 4), 0)
        made = _prelu(graph, made, np.tile(weights[f"decoder.layers.{k + 1}.weight"], 4))
        x = graph.add("DepthToSpace", [made], blocksize=2, mode="DCR")
    last = f"decoder.layers.{first + 2 * (len(preset.decoder_widths) - 1)}"
    head = _convolution(graph, x, weights[f"{last}.weight"], weights[f"{last}.bias"], 0)
    return graph.to_bytes(head, preset.embedding_channels)


def _convolution(graph: OnnxGraph, x: str, kernel: FloatArray, bias: FloatArray, pad: int, stride: int = 1) -> str:
    inputs = [x, graph.kernel(kernel), graph.constant(bias)]
    return graph.add("Conv", inputs, pads=[pad] * 4, strides=[stride] * 2, kernel_shape=kernel.shape[2:])


def _prelu(graph: OnnxGraph, x: str, slope: FloatArray) -> str:
    return graph.add("PRelu", [x, graph.constant(slope[:, None, None])])


def _folded(weights: Weights, layer: str, norm: str, axis: int) -> tuple[FloatArray, FloatArray]:
    """Kernel and bias of a convolution without bias and the batch norm behind it; the axis is the outputs'."""
    mean, variance = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
    scale = weights[f"{norm}.weight"] / np.sqrt(variance.astype(np.float64) + _NORM_EPSILON)
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    kernel = weights[f"{layer}.weight"] * scale.reshape(shape)
    return kernel.astype(np.float32), (weights[f"{norm}.bias"] - mean * scale).astype(np.float32)


def _as_blocks(graph: OnnxGraph, kernel: FloatArray, bias: FloatArray) -> list[str]:
    """A transposed convolution (kernel 3, stride 2, padding 1) as a 2 x 2 one that makes 2 x 2 blocks of pixels.

    Pixel 2i gets input i by the middle kernel row; pixel 2i + 1 gets i by the last and i + 1 by the first one.
    """
    inputs, outputs = kernel.shape[:2]
    blocks = np.zeros((2, 2, outputs, inputs, 2, 2), np.float32)
    rows = ((0, 0, 1), (1, 0, 2), (1, 1, 0))  # pixel of the block, input, kernel row
    for a, r, i in rows:
        for b, c, j in rows:
            blocks[a, b, :, :, r, c] = kernel[:, :, i, j].T
    return [graph.kernel(blocks.reshape(-1, inputs, 2, 2)), graph.constant(np.tile(bias, 4))]
