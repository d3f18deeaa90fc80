"""How sure a peak is, from the observation's own blocks.

Learned scores are not calibrated, so a softmax of them says little. But a score is a sum over the observation's
pixels, and blocks of it are nearly independent witnesses: how much they disagree says how far the sum can be trusted.
At the best heading each block is matched by itself. Then, paired over blocks,

- a difference of scores between two poses has a standard error, so a margin has a unit (sigma);
- resampling the blocks (bootstrap) shows where else the peak could have been: an honest covariance, long along a
  straight road, and scattered over the window for a chance match.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foldmap.lidar.match.correlate import correlate_blocks
from foldmap.types import AnyArray, BoolArray, DoubleArray, FloatArray

AGREEMENT_RADIUS_M = 0.15
MODE_RADIUS_M = 0.3  # poses farther than this from the best one count as another mode
_REPLICATES = 64
_MIN_BLOCK_PX = 32


@dataclass(frozen=True)
class BlockStatistics:
    """What the blocks of one observation say about its peak.

    Attributes:
        evidence_sigma: peak above the window's mean, in standard errors.
        margin_sigma: smallest, over the shifts of other modes, of the peak's lead in standard errors; 0 without blocks.
        agreement: share of bootstrap peaks within 0.15 m of the peak.
        position_covariance_m2: (2, 2) of the bootstrap peaks, x east, y north in the crop's axes.
        temperature: what divides the scores to make them log-likelihoods.
    """

    evidence_sigma: float
    margin_sigma: float
    agreement: float
    position_covariance_m2: DoubleArray
    temperature: float


def block_scores(
    map_CHW: FloatArray, turned_CHW: FloatArray, radius_px: int, block_px: int | None = None
) -> FloatArray:
    """Match each block of a turned observation by itself with a crop that is 2 * radius_px larger.

    Gives float32 (K, 2 * radius + 1, 2 * radius + 1), which sum to the observation's scores. The side of a block is
    about a ninth of the image, at least 32; blocks without content are left out: K may be 0.
    """
    _, rows, columns = turned_CHW.shape
    side = block_px or block_side_px(rows, columns)
    corners = [(r, c) for r in range(0, rows, side) for c in range(0, columns, side)]
    corners = [(r, c) for r, c in corners if turned_CHW[:, r : r + side, c : c + side].any()]
    return correlate_blocks(map_CHW, turned_CHW, corners, side, radius_px)


def block_side_px(rows: int, columns: int) -> int:
    """Side of the blocks of an image: about a ninth of it."""
    return max(_MIN_BLOCK_PX, math.ceil(max(rows, columns) / 9))


def block_statistics(scores_KHW: FloatArray, resolution_m: float, seed: int = 0) -> BlockStatistics:
    """Judge the peak of the summed block scores, as `block_scores` gives them; the bootstrap is seeded."""
    count, height, width = scores_KHW.shape
    window_m2 = np.diag([(width * resolution_m) ** 2, (height * resolution_m) ** 2]) / 12
    if count < 4:
        return BlockStatistics(0.0, 0.0, 0.0, window_m2, math.inf)
    total = scores_KHW.sum(0)
    row, col = (int(i) for i in np.unravel_index(total.argmax(), total.shape))
    lead = scores_KHW[:, row, col][:, None, None] - scores_KHW
    mean = lead.mean(0)
    # Standard error of the mean over blocks; a lead without any spread is no lead at all.
    error = np.sqrt(np.maximum((lead**2).mean(0) - mean**2, 0.0) / (count - 1))
    rows, cols = np.ogrid[:height, :width]  # another mode is never one of the peak's eight neighbours
    far: BoolArray = (rows - row) ** 2 + (cols - col) ** 2 > max(MODE_RADIUS_M / resolution_m, 1.5) ** 2
    t_value = np.where(error > 0, mean / np.where(error > 0, error, 1.0), 0.0)
    margin = float(t_value[far].min()) if far.any() else 0.0
    own = lead.mean((1, 2))
    own_error = float(own.std(ddof=1)) / math.sqrt(count)
    evidence = float(own.mean()) / own_error if own_error > 0 else 0.0
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=_REPLICATES)
    resampled = (weights.astype(np.float32) @ scores_KHW.reshape(count, -1)).reshape(-1, height, width)
    offset = (peaks_px(resampled) * resolution_m) - (peaks_px(total[None])[0] * resolution_m)
    agreement = float((np.hypot(*offset.T) <= AGREEMENT_RADIUS_M).mean())
    covariance = offset.T @ offset / len(offset)
    return BlockStatistics(evidence, margin, agreement, covariance, _temperature(mean, error, far, count))


def _temperature(mean: DoubleArray, error: DoubleArray, far: BoolArray, count: int) -> float:
    """For a lead that is Gaussian, with mean m and variance v, the log-likelihood ratio is lead / (v / 2m)."""
    lead = float(np.median(count * mean[far])) if far.any() else 0.0
    return max(float(np.median((count * error[far]) ** 2)) / (2 * lead), 1e-12) if lead > 0 else math.inf


def peaks_px(scores_BHW: FloatArray) -> DoubleArray:
    """Return each image's peak to a fraction of a pixel, by parabolas: (B, 2) x east, y north, in pixels."""
    batch, height, width = scores_BHW.shape
    flat = scores_BHW.reshape(batch, -1).argmax(1)
    row, col = flat // width, flat % width
    b = np.arange(batch)
    at = scores_BHW[b, row, col].astype(np.float64)
    north, south = (scores_BHW[b, np.clip(row + step, 0, height - 1), col] for step in (-1, 1))
    west, east = (scores_BHW[b, row, np.clip(col + step, 0, width - 1)] for step in (-1, 1))
    inner_row, inner_col = (row > 0) & (row < height - 1), (col > 0) & (col < width - 1)
    y = row + np.where(inner_row, parabola_peak(north, at, south, 0.5), 0.0)
    x = col + np.where(inner_col, parabola_peak(west, at, east, 0.5), 0.0)
    return np.stack([x, -y], axis=1)


def parabola_peak(before: AnyArray, at: AnyArray, after: AnyArray, most: float) -> DoubleArray:
    """Where a parabola through three neighbouring values peaks, in steps from the middle one, at most so many."""
    bend = np.minimum(before - 2.0 * at + after, -1e-12)
    return np.clip(0.5 * (before - after) / bend, -most, most)
