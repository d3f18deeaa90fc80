"""A second reader of the visual layer, written from docs/visual-codes.md alone, in plain Python: slow and obvious."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from coefficient_reader import read_basis, read_transform, safetensors
from points_reader import read_positions, read_visibility
from range_reader import read_integers

PARAMETERS = {0: 3, 1: 4, 2: 4, 3: 5, 4: 8, 5: 8, 6: 12, 8: 4, 9: 5}


def read_tile(payload: bytes, codec: dict[str, Any], model: bytes | None, groups: int) -> tuple[np.ndarray, ...]:
    """Section 2: positions, descriptors, visibility (or no column)."""
    version, count, *sizes = struct.unpack_from("<BIIII", payload)
    assert version == 1
    assert count > 0
    assert 17 + sum(sizes) == len(payload)
    first, second = 17 + sizes[0], 17 + sizes[0] + sizes[1]
    positions = read_positions(payload[17:first])
    assert len(positions) == count
    descriptors = read_descriptors(payload[first:second], count, codec, model)
    seen = np.zeros((count, groups), bool)
    if groups:
        size = -(-groups // 8)
        bits = [(byte >> (7 - k)) & 1 for byte in payload[second : second + size] for k in range(8)]
        assert not any(bits[groups:])
        seen[:, np.flatnonzero(bits)] = read_visibility(payload[second + size :], positions)
        assert seen.any(axis=0).tolist() == bits[:groups]
    else:
        assert len(payload) == second
    return positions, descriptors, seen


def read_descriptors(data: bytes, count: int, codec: dict[str, Any], model: bytes | None) -> np.ndarray:
    """Section 4: float (P, D)."""
    if codec["codec"] == "raw":
        codes = np.frombuffer(data, np.uint8).reshape(count, codec["dimension"])
        return unit(codes * ((codec["high"] - codec["low"]) / 255) + codec["low"])
    if codec["codec"] == "transform":
        basis = read_basis(model)
        return read_transform(data, count, basis, codec["step"])[1]
    assert codec["codec"] in ("pq", "dpqed")
    return read_product(np.frombuffer(data, np.uint8).reshape(count, codec["parts"]), model)


def read_viewing(data: bytes, count: int) -> np.ndarray:
    """Section 8: direction, least cosine, least and largest distance of each point, float (P, 6)."""
    rows, sums = [], [0, 0, 0]
    for *steps, wide in read_integers(data, count, 4).tolist():
        sums = [total + step for total, step in zip(sums, steps, strict=True)]
        u, v, octave = sums
        assert max(abs(u), abs(v)) <= 3
        assert abs(octave) <= 1000
        assert wide in (0, 1)
        a, b = u / 3, v / 3
        c = 1 - abs(a) - abs(b)
        f = max(-c, 0)
        x, y = (side - f if side >= 0 else side + f for side in (a, b))
        length = (x * x + y * y + c * c) ** 0.5
        cosine = -2.0 if wide else 0.6
        rows.append([x / length, y / length, c / length, cosine, 2.0 ** (octave - 2), 2.0 ** (octave + 2)])
    return np.array(rows)


def unit(rows: np.ndarray) -> np.ndarray:
    length = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return rows / np.where(length > 0, length, 1)


def read_product(codes: np.ndarray, model: bytes | None) -> np.ndarray:
    """Section 4.2."""
    assert model is not None
    held, info = safetensors(model)
    shape = info["shape"]
    parts, dimension, additive = shape["parts"], shape["dimension"], shape["additive"]
    length = dimension if additive else dimension // parts
    sizes = {"codebooks": (parts, shape["centroids"], length), "first.weight": (shape["hidden"], dimension)}
    sizes |= {"second.weight": (dimension, shape["hidden"]), "shortcut.weight": (dimension, dimension)}

    def tensor(name: str) -> np.ndarray:
        values = held[name]
        if values.dtype == np.float16:
            return values.astype(np.float64)
        size = sizes[name]
        if info["precision"] == "int4":
            pairs = [[int(byte) & 15, int(byte) >> 4] for byte in values]
            values = np.array(pairs).ravel()[: int(np.prod(size))] - 8
        groups = size[0] * size[1] if additive and len(size) == 3 else size[0]
        scaled = values.reshape(groups, -1).astype(np.float64) * held[name + ".scale"].astype(np.float64)[:, None]
        return scaled.reshape(size)

    books = tensor("codebooks")
    assert codes.max() < len(books[0])
    chosen = [[books[m, u] for m, u in enumerate(row)] for row in codes]
    x = np.array([np.sum(row, axis=0) if additive else np.concatenate(row) for row in chosen])
    y = x
    if shape["hidden"]:
        hidden = np.maximum(0, x @ tensor("first.weight").T + tensor("first.bias"))
        y = hidden @ tensor("second.weight").T + tensor("second.bias")
        if shape["shortcut"] == "identity":
            y = y + x
    if shape["shortcut"] == "linear":
        straight = x @ tensor("shortcut.weight").T
        y = y + straight if shape["hidden"] else straight
    return unit(y)


def read_images(data: bytes) -> tuple[list[tuple], list[int], np.ndarray, list[str] | None]:
    """Section 6: cameras (model, width, height, parameters), camera numbers, poses (I, 4, 4), names."""
    images, cameras, flags, centre_step, turn_step, poses, numbers = struct.unpack_from("<IIBffII", data)
    at, found = 25, []
    for _ in range(cameras):
        model, width, height = struct.unpack_from("<BII", data, at)
        given = struct.unpack_from(f"<{PARAMETERS[model]}f", data, at + 9)
        found.append((model, width, height, list(given)))
        at += 9 + 4 * len(given)
    state = read_integers(data[at : at + poses], images, 6)
    for _ in range(flags & 3):
        state = np.cumsum(state, axis=0)
    which = np.cumsum(read_integers(data[at + poses : at + poses + numbers], images, 1)[:, 0]).tolist()
    assert all(0 <= number < cameras for number in which)
    rest = data[at + poses + numbers :]
    assert flags < 8
    assert flags & 4 or not rest
    pose = np.array([_pose(row, centre_step, turn_step) for row in state.tolist()]).reshape(images, 4, 4)
    return found, which, pose, _image_names(rest, images) if flags & 4 else None


def _pose(row: list[int], centre_step: float, turn_step: float) -> list[list[float]]:
    centre = [k * centre_step for k in row[:3]]
    a, b, c = (t * turn_step for t in row[3:])
    square = (a * a + b * b) + c * c
    scale = 1 / (1 + square)
    w, x, y, z = (1 - square) * scale, (2 * a) * scale, (2 * b) * scale, (2 * c) * scale
    rotation = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    rows = [[*r, -((r[0] * centre[0] + r[1] * centre[1]) + r[2] * centre[2])] for r in rotation]
    return [*rows, [0.0, 0.0, 0.0, 1.0]]


def _image_names(packed: bytes, images: int) -> list[str]:
    unpack = zlib.decompressobj()
    plain = unpack.decompress(packed)
    assert unpack.eof
    assert not unpack.unused_data
    body = plain[1:]
    if plain[0] == 1:
        names = [bytes(body[k::images]) for k in range(images)]
    else:
        assert plain[0] == 0
        names = body.split(b"\0")
    assert len(set(names)) == images
    return [name.decode() for name in names]
