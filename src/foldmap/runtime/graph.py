"""Write a graph of operators in ONNX's format (protocol buffers): the few messages that networks here need.

The ``onnx`` package does this and much more; for a dozen fields it is not worth 35 MB on a vehicle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foldmap.types import AnyArray, FloatArray

OPSET = 17
_IR_VERSION = 8
_KINDS = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}


class OnnxGraph:
    """A graph in the making; inputs and output are float32 (batch, channels, height, width), all but channels free.

    With ``int8``, kernels are held in a byte a number; what is computed with them is float32.
    """

    def __init__(self, int8: bool = False, **channels: int) -> None:
        self._int8 = int8
        self._nodes, self._constants = list[bytes](), list[bytes]()
        self._inputs = [_text(1, name) + _tensor_type(name, count) for name, count in channels.items()]
        self._made = 0

    def constant(self, value: AnyArray) -> str:
        """Add a constant; gives its name."""
        name, array = f"constant_{len(self._constants)}", np.ascontiguousarray(value)
        dims = b"".join(_number(1, side) for side in array.shape)
        kind = _number(2, _KINDS[array.dtype.name])
        self._constants.append(dims + kind + _text(8, name) + _bytes(9, array.tobytes()))
        return name

    def kernel(self, value: AnyArray) -> str:
        """Add the weights of a convolution, (O, I, h, w); gives the name."""
        if not self._int8:
            return self.constant(value.astype(np.float32))
        whole, scale, axis = quantized(value)
        return self.add("DequantizeLinear", [self.constant(whole), self.constant(scale)], axis=axis)

    def add(self, operator: str, inputs: Sequence[str], **attributes: int | str | Sequence[int]) -> str:
        """Add an operator; gives the name of its output."""
        self._made += 1
        name = f"{operator}_{self._made}"
        parts = [_text(1, one) for one in inputs] + [_text(2, name), _text(4, operator)]
        parts += [_bytes(5, _attribute(key, value)) for key, value in attributes.items()]
        self._nodes.append(b"".join(parts))
        return name

    def to_bytes(self, output: str, channels: int) -> bytes:
        """The model whose output is named."""
        parts = [_bytes(1, node) for node in self._nodes] + [_text(2, "foldmap")]
        parts += [_bytes(5, constant) for constant in self._constants]
        parts += [_bytes(11, one) for one in self._inputs]
        parts.append(_bytes(12, _text(1, output) + _tensor_type(output, channels)))
        opset = _text(1, "") + _number(2, OPSET)
        return _number(1, _IR_VERSION) + _bytes(7, b"".join(parts)) + _bytes(8, opset)


def quantized(kernel: AnyArray) -> tuple[AnyArray, FloatArray, int]:
    """A kernel as int8 of its shape, with a scale for each row of an axis, the outputs' or the inputs': the closer."""
    found = []
    for axis in (0, 1):
        others = tuple(k for k in range(kernel.ndim) if k != axis)
        most = np.abs(kernel).max(axis=others, keepdims=True)
        scale = np.where(most > 0, most / 127, 1).astype(np.float32)
        whole = np.clip(np.rint(kernel / scale), -127, 127).astype(np.int8)
        found.append((float(np.square(whole * scale - kernel).sum()), whole, scale.ravel(), axis))
    return min(found, key=lambda one: one[0])[1:]


def _tensor_type(name: str, channels: int) -> bytes:
    """Type and shape of a `ValueInfoProto`, its sides free."""
    sides = [_text(2, "batch"), _number(1, channels), _text(2, f"{name}_height"), _text(2, f"{name}_width")]
    shape = b"".join(_bytes(1, side) for side in sides)
    return _bytes(2, _bytes(1, _number(1, _KINDS["float32"]) + _bytes(2, shape)))


def _attribute(name: str, value: int | str | Sequence[int]) -> bytes:
    if isinstance(value, str):
        return _text(1, name) + _text(4, value) + _number(20, 3)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    return _text(1, name) + b"".join(_number(8, one) for one in value) + _number(20, 7)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
