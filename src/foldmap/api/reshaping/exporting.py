"""The networks that localizing in a map needs, as ONNX files for other runtimes, held against the originals."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api import opened
from foldmap.api.opened import FoldedMap
from foldmap.atlas.whole import together, write_whole
from foldmap.errors import LayerError
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import DECODE_HALO, Decoder
from foldmap.lidar.presets import INPUT_CHANNELS
from foldmap.lidar.runtime.networks import cells_graph, pixels_graph, sweep_graph
from foldmap.lidar.runtime.session import OnnxDecoder
from foldmap.lidar.stored import StoredModel
from foldmap.lidar.unfold import FoldedLidar
from foldmap.runtime.session import compute, is_installed, open_session
from foldmap.street.field.graph import FieldGraph
from foldmap.street.field.model import FieldEmbedding
from foldmap.types import FloatArray
from foldmap.version import __version__

MANIFEST = "device.json"
INT8_MOST = 0.01
"""Share of its largest output by which a network in int8 may differ, else it is not written. The shipped ones of the
lidar stay below a fifth of that, and estimates then within a millimetre or so; that of the lanes does not."""
_SIDE_PX = 96


@dataclass(frozen=True)
class ExportedNetwork:
    """One graph.

    Attributes:
        name: the file is called so.
        does: what it computes, with shapes.
        graph: the bytes of the ONNX model.
        difference: the largest from the original's output for the same drawn input, as a share of its largest number;
            None where torch is not installed, which computes the original.
        int8: the same with kernels of a byte a number: a fourth of the bytes, computed in float32.
        int8_difference: of its output from the graph's, likewise.
    """

    name: str
    does: str
    graph: bytes
    difference: float | None
    int8: bytes
    int8_difference: float


def export_networks(fold_file: Path, output: Path) -> dict[str, Any]:
    """Write ``NAME.onnx`` of each network that localizing in a map needs, and ``device.json``: what each of them does.

    Beside it lies ``NAME.int8.onnx`` where that differs by no more than `INT8_MOST`; ``device.json`` says by how much.

    Raises:
        LayerError: the map needs no network: marks and points are matched without any.
        MissingExtraError: onnxruntime is not installed.
    """
    with opened.open(fold_file) as town:
        found = list(_networks(town))
        held = ", ".join(sorted({layer.kind for layer in town.file.layers()})) or "no"
    if not found:
        raise LayerError(f"{fold_file} is localized in without any network ({held} layer)", "use the file as it is")
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    with together():
        for one in found:
            path = output / f"{one.name}.onnx"
            told: dict[str, Any] = {"file": path.name, "does": one.does}
            told |= _written(path, one.graph) | {"difference": one.difference}
            short = {"file": None, "difference": one.int8_difference}
            if one.int8_difference <= INT8_MOST:
                path = output / f"{one.name}.int8.onnx"
                short |= {"file": path.name} | _written(path, one.int8)
            rows.append(told | {"int8": short})
        every = {"foldmap": __version__, "map": fold_file.name, "networks": rows}
        write_whole(output / MANIFEST, json.dumps(every, indent=1) + "\n")
    return {"folder": str(output), **every}


def _written(path: Path, graph: bytes) -> dict[str, Any]:
    write_whole(path, graph)
    return {"bytes": len(graph), "sha256": hashlib.sha256(graph).hexdigest()}


def _networks(town: FoldedMap) -> Iterator[ExportedNetwork]:
    kinds = {layer.kind for layer in town.file.layers()}
    if "lidar" in kinds and isinstance(town.lidar, FoldedLidar):
        yield from _of_lidar(town.lidar)
    if "street" in kinds and town.street.model_name is not None:
        model = town.street.model()
        if isinstance(model, FieldEmbedding):
            yield _of_streets(model)


def _of_lidar(folded: FoldedLidar) -> Iterator[ExportedNetwork]:
    stored = folded.model
    assert isinstance(stored, StoredModel)
    embedding, decoding = _lidar_differences(stored, folded)
    preset, scale = stored.preset, stored.preset.downsample
    channels, width = preset.embedding_channels, preset.decoder_widths[0]
    codes = preset.groups * preset.group_channels
    rng = np.random.default_rng(1)
    seen, cells = (rng.standard_normal((1, n, 48, 48)).astype(np.float32) for n in (INPUT_CHANNELS, width))
    hot = (rng.random((1, codes, 48, 48)) < 1 / preset.group_channels).astype(np.float32)
    yield ExportedNetwork(
        "lidar-sweep",
        "observation (1, 2, H, W): normalized intensity, observed; sides multiples of 16"
        f" -> embedding (1, {channels}, H, W)",
        *_both(partial(sweep_graph, preset, stored.weights), embedding, x=seen),
    )
    yield ExportedNetwork(
        "lidar-cells",
        f"one-hot codes (1, {codes}, h, w) -> features (1, {width}, h, w)",
        *_both(partial(cells_graph, preset, stored.weights), decoding, x=hot),
    )
    yield ExportedNetwork(
        "lidar-pixels",
        f"features (1, {width}, h, w)"
        f" -> embedding (1, {channels}, {scale} (h - 2), {scale} (w - 2)), all but the outermost cells",
        *_both(partial(pixels_graph, preset, stored.weights), decoding, x=cells),
    )


def _both(
    graph: Callable[[bool], bytes], difference: float | None, **inputs: FloatArray
) -> tuple[bytes, float | None, bytes, float]:
    """What an `ExportedNetwork` says of a graph in float32 and in int8."""
    whole, short = graph(False), graph(True)
    made = [compute(open_session(one), **inputs) for one in (whole, short)]
    return whole, difference, short, _share(made[1], made[0])


def _lidar_differences(stored: StoredModel, folded: FoldedLidar) -> tuple[float | None, float | None]:
    """Of the sweep's embedding, and of the map's, which both of its graphs make."""
    if not is_installed("torch"):
        return None, None
    bundle: Bundle = folded.bundle
    exported, original = OnnxDecoder(stored), Decoder(bundle, fast=False)
    rng, preset = np.random.default_rng(0), stored.preset
    seen = (rng.random((_SIDE_PX, _SIDE_PX)) < 0.7).astype(np.float32)
    x = np.stack([rng.standard_normal(seen.shape).astype(np.float32) * seen, seen])
    cells = _SIDE_PX // preset.downsample + 2 * DECODE_HALO
    codes = rng.integers(0, preset.group_channels + 1, (preset.groups, cells, cells)).astype(np.uint8)
    window = (codes, (DECODE_HALO * preset.downsample,) * 2, (_SIDE_PX, _SIDE_PX), [(0, _SIDE_PX, 0, _SIDE_PX)])
    return (
        _share(exported.embed(x), original.embed(x)),
        _share(exported.decode_window(*window), original.decode_window(*window)),
    )


def _of_streets(model: FieldEmbedding) -> ExportedNetwork:
    shape = model.network.shape
    graph = model.network
    if not isinstance(graph, FieldGraph):
        graph = FieldGraph(shape, graph.packed())
    difference = None
    if is_installed("torch"):
        from foldmap.street.field.network import FieldNetwork

        rng = np.random.default_rng(0)
        image = rng.uniform(0, 255, (1, 3, 64, 64)).astype(np.float32), np.ones((1, 64, 64), np.float32)
        difference = _share(graph.read(*image), FieldNetwork.unpacked(shape, graph.packed()).read(*image))
    does = "ground image (B, 3, H, W), ImageNet-normalized, 0 where no ground is seen"
    does += f" -> logits of the lane field (B, {shape.headings}, H / 4, W / 4)"
    drawn = np.random.default_rng(1).standard_normal((1, 3, 64, 64)).astype(np.float32)
    headings = {"old": np.zeros((1, shape.headings, 64, 64), np.float32)} if shape.with_map else {}
    return ExportedNetwork("street-field", does, *_both(graph.to_onnx, difference, image=drawn, **headings))


def _share(found: Any, expected: Any) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())
