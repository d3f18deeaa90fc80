"""How a basis is learned from descriptors: principal axes, the surface that they bend on, and the coder's start."""

from dataclasses import replace

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.types import AnyArray, DoubleArray
from foldmap.visual.codes.basis import MIN_RATIO, RATIO_ONE, Basis
from foldmap.visual.codes.coefficient_coder import MAX_PRODUCTS, MAX_RANK, UNIT, Curvature, triangle
from foldmap.visual.codes.transform import Transform

_FIT_STEP = 0.1
_START_STEPS = (0.18, 0.13, 0.1, 0.075, 0.055)
_START_ROUNDS = 2
_RIDGE = 1e-3
# Steps grow as spreads fall: wide coefficients tell points apart, narrow ones are mostly noise. Measured by how many
# observations find their point among the decoded ones at a fixed number of bytes.
_RATIO_POWER = -0.3
_RATIO_FLOOR = 0.01


def fit_basis(descriptors: AnyArray, rank: int, *, products: int = 0, feature: str = "", name: str = "own") -> Basis:
    """Learn a basis of ``rank`` axes, at most D, from unit descriptors (N, D), one a point: the means of tracks.

    The first coefficients, so many as ``products`` m, predict the others: m (m + 1) / 2 x R more bytes. The coder's
    start is learned then, too. Raises `MapInputError`: fewer than two descriptors, or values that are not finite;
    `ConfigError`: a rank or a number of products that does not fit.
    """
    rows = np.asarray(descriptors, np.float64)
    if rows.ndim != 2 or len(rows) < 2:
        raise MapInputError(f"descriptors of shape {rows.shape} are too few for a basis", "give at least two, (N, D)")
    if not np.isfinite(rows).all():
        raise MapInputError("descriptors hold NaN or infinite values", "drop those rows")
    if not 1 <= rank <= min(rows.shape[1], MAX_RANK):
        raise ConfigError(f"{rank} axes do not fit descriptors of {rows.shape[1]}", "take fewer")
    if not 0 <= products <= min(rank, MAX_PRODUCTS):
        raise ConfigError(f"products of {products} coefficients", f"take 0 to {min(rank, MAX_PRODUCTS)}")
    basis = replace(_axes(rows, rank), feature=feature, name=name)
    if not products:
        return basis
    basis = replace(basis, curvature=_bend(basis, rows, products))
    for step in _START_STEPS * _START_ROUNDS:
        codec = Transform(basis, step)
        shift = codec.coder.learned_shift(codec.quantize(rows))
        basis = replace(basis, curvature=replace(basis.curvature, shift=shift))
    return basis


def _axes(rows: DoubleArray, rank: int) -> Basis:
    mean = rows.mean(axis=0)
    variance, vectors = np.linalg.eigh(np.cov(rows.T).reshape(rows.shape[1], -1))
    spread = np.sqrt(np.maximum(variance[::-1][:rank], 0))
    vectors = vectors[:, ::-1][:, :rank]
    # An axis and its opposite are as good: the larger entry is positive, so that every run stores the same.
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(rank)] < 0, -1.0, 1.0)
    scale = (np.abs(vectors).max(axis=0) / 127).astype(np.float32)
    axes = np.rint(vectors / scale).astype(np.int8)
    # Rounding changed the lengths a little; the scale makes them one again.
    scale = (1 / np.linalg.norm(axes.astype(np.float64), axis=0)).astype(np.float32)
    ratio = ((spread + _RATIO_FLOOR) / (spread[0] + _RATIO_FLOOR)) ** _RATIO_POWER
    return Basis(
        mean=mean.astype(np.float16),
        axes=axes,
        axis_scale=scale,
        spread=np.clip(np.rint(spread * UNIT), 1, 65535).astype(np.int64),
        step_ratio=np.clip(np.rint(ratio * RATIO_ONE), MIN_RATIO, 255).astype(np.uint8),
        curvature=Curvature.flat(rank),
    )


def _bend(basis: Basis, rows: DoubleArray, products: int) -> Curvature:
    """Ridge regression of each coefficient on the products of those before it, among the first ``products``.

    The products are of quantized coefficients, as a decoder has them.
    """
    codec = Transform(basis, _FIT_STEP)
    target = basis.analyse(rows)
    known = (codec.quantize(rows) * codec.steps)[:, :products]
    known = np.pad(known, ((0, 0), (0, products - known.shape[1])))
    features = np.stack([known[:, i] * known[:, k] for k in range(products) for i in range(k + 1)], axis=1)
    features -= features.mean(axis=0)
    inner, outer = features.T @ features, features.T @ target
    inner += np.eye(len(inner)) * max(_RIDGE * float(np.trace(inner)) / len(inner), 1e-12)
    weight = np.zeros((len(inner), basis.rank))
    for j in range(1, basis.rank):
        usable = triangle(min(j, products))
        weight[:usable, j] = np.linalg.solve(inner[:usable, :usable], outer[:usable, j])
    scale = np.clip(np.ceil(np.abs(weight).max(axis=0) / 127 * UNIT), 1, UNIT - 1).astype(np.int64)
    bend = np.clip(np.rint(weight / (scale / UNIT)), -127, 127).astype(np.int8)
    return Curvature(bend, scale, np.zeros(0, np.int8))
