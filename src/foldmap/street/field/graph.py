"""The network of the lane field as a graph for onnxruntime, from its stored weights: streets are read without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from foldmap.errors import ModelError
from foldmap.runtime.graph import OnnxGraph
from foldmap.runtime.session import compute, open_session
from foldmap.street.field.shape import BLOCKS, MEAN_RGB, STD_RGB, TAPS, FieldShape
from foldmap.street.field.trunk import EPS, Bottleneck, bottlenecks, field_shapes
from foldmap.types import AnyArray, FloatArray

_TORCH_EPS = 1e-5
_MEAN, _STD = (np.array(rgb, np.float32)[:, None, None] for rgb in (MEAN_RGB, STD_RGB))


class FieldGraph:
    """Reads as `FieldNetwork` does, without torch.

    A ModelError where the weights are others than the shape says; a MissingExtraError without onnxruntime.
    """

    def __init__(self, shape: FieldShape, arrays: Mapping[str, AnyArray], cure: str = "use another model") -> None:
        self.shape, self._arrays = shape, dict(arrays)
        wanted = field_shapes(shape)
        if arrays.keys() != wanted.keys():
            raise ModelError(f"the model has {min(arrays.keys() ^ wanted.keys())!r} besides, or lacks it", cure)
        for name, size in wanted.items():
            array = arrays[name]
            if array.dtype != np.float16 or array.shape != size or not np.isfinite(array).all():
                raise ModelError(f"{name} is {array.dtype} {array.shape}, not finite half {size}", cure)
        self._session = open_session(self.to_onnx())

    def read(self, image_B3HW: FloatArray, seen_BHW: FloatArray, map_BCRS: FloatArray | None = None) -> FloatArray:
        """See `foldmap.street.field.shape.FieldReader`."""
        inputs = {"image": ((image_B3HW - _MEAN) / _STD * seen_BHW[:, None]).astype(np.float32)}
        if map_BCRS is not None:
            inputs["old"] = map_BCRS
        return compute(self._session, **inputs)

    def to_onnx(self, int8: bool = False) -> bytes:
        """The graph, of ``image`` (B, 3, H, W): normalized, 0 where no ground is seen; and ``old``, a map's field."""
        weights = {name: array.astype(np.float32) for name, array in self._arrays.items()}
        return _Drawn(self.shape, weights, int8).to_bytes()

    def packed(self) -> dict[str, AnyArray]:
        """See `foldmap.street.field.shape.FieldReader`."""
        return dict(self._arrays)


class _Drawn:
    """The graph: the same layers as `FieldNetwork.forward`, each batch norm within the convolution before it."""

    def __init__(self, shape: FieldShape, weights: Mapping[str, FloatArray], int8: bool) -> None:
        self._shape, self._weights = shape, weights
        self._graph = OnnxGraph(int8, image=3, **({"old": shape.headings} if shape.with_map else {}))
        self._zero, self._six = (self._graph.constant(np.array(value, np.float32)) for value in (0, 6))

    def to_bytes(self) -> bytes:
        add, tapped = self._graph.add, list[str]()
        x = self._six_at_most(self._normed("image", "stem", "stem_norm", _same(3, 2), 2))
        for number, block in zip(range(BLOCKS), bottlenecks(), strict=False):
            x = self._block(x, f"blocks.{number}", block)
            if number in TAPS:
                tapped.append(self._biased(x, f"taps.{len(tapped)}"))
        if self._shape.with_map:
            old = self._mix("old", "map_steps.0.0")
            for scale, step in enumerate(("map_steps.0.1", "map_steps.1", "map_steps.2")):
                old = self._mix(old, step, 2 if scale else 1)
                tapped[scale] = add("Add", [tapped[scale], old])
        y = self._mix(self._mix(tapped[2], "sums.0.0"), "sums.0.1")
        y = self._mix(add("Add", [self._twice(y), tapped[1]]), "sums.1.0")
        y = self._mix(add("Add", [self._twice(y), tapped[0]]), "sums.2.0")
        head = self._biased(self._mix(y, "sums.2.1"), "head")
        return self._graph.to_bytes(head, self._shape.fields * self._shape.headings)

    def _block(self, x: str, root: str, block: Bottleneck) -> str:
        y = x
        if block.expansion > 1:
            y = self._six_at_most(self._normed(y, f"{root}.expand_conv", f"{root}.bn0", (0, 0, 0, 0)))
        pads = _same(block.kernel, block.stride)
        y = self._normed(y, f"{root}.depthwise_conv", f"{root}.bn1", pads, block.stride, block.wide)
        y = self._normed(self._six_at_most(y), f"{root}.project_conv", f"{root}.bn2", (0, 0, 0, 0))
        return self._graph.add("Add", [x, y]) if block.adds else y

    def _mix(self, x: str, name: str, stride: int = 1) -> str:
        made = self._normed(x, f"{name}.0", f"{name}.1", (1, 1, 1, 1), stride, eps=_TORCH_EPS)
        return self._graph.add("Relu", [made])

    def _normed(
        self, x: str, name: str, norm: str, pads: Sequence[int], stride: int = 1, groups: int = 1, eps: float = EPS
    ) -> str:
        """A convolution without bias and the batch norm behind it."""
        parts = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, variance = (self._weights[f"{norm}.{part}"].astype(np.float64) for part in parts)
        scale = weight / np.sqrt(variance + eps)
        kernel = self._weights[f"{name}.weight"] * scale[:, None, None, None]
        return self._convolved(x, kernel, bias - mean * scale, pads, stride, groups)

    def _biased(self, x: str, name: str) -> str:
        return self._convolved(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], (0, 0, 0, 0), 1, 1)

    def _convolved(
        self, x: str, kernel: AnyArray, bias: AnyArray, pads: Sequence[int], stride: int, groups: int
    ) -> str:
        inputs = [x, self._graph.kernel(kernel), self._graph.constant(bias.astype(np.float32))]
        how = {"pads": pads, "strides": [stride] * 2, "kernel_shape": kernel.shape[2:]}
        return self._graph.add("Conv", inputs, group=groups, **how)

    def _six_at_most(self, x: str) -> str:
        return self._graph.add("Clip", [x, self._zero, self._six])

    def _twice(self, x: str) -> str:
        """Twice as many pixels, bilinear."""
        scales = self._graph.constant(np.array([1, 1, 2, 2], np.float32))
        return self._graph.add("Resize", [x, "", scales], mode="linear", coordinate_transformation_mode="half_pixel")


def _same(kernel: int, stride: int) -> list[int]:
    """Top, left, bottom, right padding of even sides for ceil(side / stride) pixels; the odd pixel comes after."""
    missing = kernel - stride
    return [missing // 2] * 2 + [missing - missing // 2] * 2
