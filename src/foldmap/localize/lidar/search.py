"""One observation against one map crop: coarse headings, fine headings, blocks, features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from foldmap.geometry import SE2
from foldmap.lidar.match.correlate import block_products, correlate_direct
from foldmap.lidar.match.exhaustive import match_fft, match_mirrored
from foldmap.lidar.match.rotate import turned_images
from foldmap.localize.estimate import largest_sigma
from foldmap.localize.lidar.blocks import MODE_RADIUS_M, block_scores, block_statistics, parabola_peak, peaks_px
from foldmap.localize.lidar.chance import MIRRORS, Chance, chance_of, heading_range, trials_of
from foldmap.localize.lidar.confidence import MatchFeatures
from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray

_HALVE_BELOW_M = 0.075  # pixels so small may be coarsely matched two by two
FINE_RADIUS_PX = 3
_FINE_STEPS = 4
_FLOOR_PX = 0.2
_FLOOR_RAD = math.radians(0.05)
_HEADING_BLOCKS = 10
_SHARED_RAD = math.radians(0.2)
"""Standard deviation of the headings of embeddings that no bootstrap at one shift tells: 4 cm over a dozen metres."""


@dataclass(frozen=True)
class WindowMatch:
    """A matched window, in the axes of its crop: coarse scores (T, H, W) and the best pose with its covariance (3, 3).

    The offset is from the crop's centre: metres along columns and against rows, heading. The temperature divides scores
    to make log-likelihoods (infinite when there is no evidence); the entropy is the volume's at that temperature. Where
    the volume is of half resolution, rescore gives whole scores of headings by their numbers.
    """

    volume: FloatArray
    offset: SE2
    covariance: DoubleArray
    temperature: float
    entropy: float
    features: MatchFeatures
    rescore: Callable[[IntArray], FloatArray] | None = None

    def sharpened(self, least: float) -> FloatArray:
        """The volume, where a heading has a likelihood that is not negligible, of scores of full resolution.

        Negligible is what is less than ``least`` of the best pose's.
        """
        if self.rescore is None:
            return self.volume
        best = self.volume.max((1, 2))
        telling = np.flatnonzero(best >= best.max() + math.log(least) * self.temperature)
        volume = self.volume.copy()
        volume[telling] = self.rescore(telling)
        return volume


def match_window(
    map_CHW: FloatArray,
    known_HW: BoolArray,
    observation_CHW: FloatArray,
    observed_HW: BoolArray,
    headings_rad: DoubleArray,
    radius_px: int,
    resolution_m: float,
    normalized: bool = False,
) -> WindowMatch:
    """Search the window, refine the heading, and judge the result by the observation's blocks.

    The geometry is that of `foldmap.lidar.match.exhaustive`; headings are evenly spaced. Where the crop holds no map
    its embedding is taken as 0; ``normalized`` scores are by how much of the map lies under the observation.
    """
    if not known_HW.all():
        map_CHW = map_CHW * known_HW
    canvas = (map_CHW.shape[1] - 2 * radius_px, map_CHW.shape[2] - 2 * radius_px)
    halves = _halves(map_CHW, observation_CHW, resolution_m)
    scores = match_mirrored(map_CHW, observation_CHW, headings_rad, radius_px, MIRRORS, half=halves)
    share = _share_under(map_CHW, observed_HW, radius_px) if normalized else np.float32(1.0)
    scores *= share
    volume, mirrored = scores[: len(headings_rad)], scores[len(headings_rad) :]
    fine, turned, profile = _finely(map_CHW, observation_CHW, headings_rad, volume, int(volume.max((1, 2)).argmax()))
    heading = heading_of(profile, fine)
    best = turned_images(observation_CHW, [heading], canvas)[0]
    blocks_KHW = block_scores(map_CHW, best, radius_px) * share
    row, col = peak_of(blocks_KHW) if len(blocks_KHW) else (0, 0)
    under = np.s_[..., row : row + canvas[0], col : col + canvas[1]]
    (rows, columns), (tall, wide) = observed_HW.shape, canvas
    top, left = (tall - rows) // 2, (wide - columns) // 2
    known = known_HW[under][top : top + rows, left : left + columns]
    overlap = Overlap(
        score=_cosine(map_CHW[under], best),
        heading_spread_rad=math.hypot(spread_of_headings(_block_products(map_CHW[under], turned), fine), _SHARED_RAD),
        observed_fraction=float((known & observed_HW).mean()),
        known_fraction=float(known.mean()),
        chance=chance_of(
            float(volume.max()),
            list(mirrored),
            trials_of(radius_px * resolution_m, heading_range(headings_rad), resolution_m),
        ),
    )

    def rescore(headings: IntArray) -> FloatArray:
        return match_fft(map_CHW, observation_CHW, headings_rad[headings], radius_px) * share

    found = judged(volume, headings_rad, heading, blocks_KHW, resolution_m, overlap)
    return replace(found, rescore=rescore) if halves else found


@dataclass(frozen=True)
class Overlap:
    """What lies on what at the best pose: values that are explained at `MatchFeatures`.

    And the standard deviation of the heading, by the bootstrap of blocks.
    """

    score: float
    heading_spread_rad: float
    observed_fraction: float
    known_fraction: float
    chance: Chance
    explained: float | None = None


def judged(
    volume: FloatArray,
    headings_rad: DoubleArray,
    heading_rad: float,
    blocks_KHW: FloatArray,
    resolution_m: float,
    overlap: Overlap,
) -> WindowMatch:
    """Put a match together: from scores of all poses (T, H, W), and of all shifts by block at the best heading."""
    statistics = block_statistics(blocks_KHW, resolution_m)
    total = blocks_KHW.sum(0) if len(blocks_KHW) else np.zeros(volume.shape[1:], np.float32)
    t, radius_px = int(np.abs(headings_rad - heading_rad).argmin()), volume.shape[1] // 2
    x_px, y_px = peaks_px(total[None])[0] - (radius_px, -radius_px)
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = statistics.position_covariance_m2 + np.eye(2) * (_FLOOR_PX * resolution_m) ** 2
    covariance[2, 2] = overlap.heading_spread_rad**2 + _FLOOR_RAD**2
    at_rim = bool({*peak_of(total[None])} & {0, 2 * radius_px})
    features = MatchFeatures(
        score=overlap.score,
        evidence_sigma=statistics.evidence_sigma,
        surprise=overlap.chance.surprise,
        distinction=overlap.chance.distinction,
        margin_sigma=_volume_margin(volume, t, resolution_m, statistics.margin_sigma),
        agreement=statistics.agreement,
        sigma_m=largest_sigma(covariance[:2, :2]),
        observed_fraction=overlap.observed_fraction,
        known_fraction=overlap.known_fraction,
        at_edge=at_rim or _turned_to_the_rim(heading_rad, fine_headings(headings_rad, t), t, headings_rad),
        explained=overlap.explained,
    )
    offset = SE2(float(x_px) * resolution_m, float(y_px) * resolution_m, heading_rad)
    entropy = entropy_of(volume, max(statistics.temperature, 1e-12))
    return WindowMatch(volume, offset, covariance, statistics.temperature, entropy, features)


def peak_of(blocks_KHW: FloatArray) -> tuple[int, int]:
    """Row and column of the largest sum."""
    total = blocks_KHW.sum(0)
    row, col = (int(i) for i in np.unravel_index(total.argmax(), total.shape))
    return row, col


def fine_headings(headings_rad: DoubleArray, t: int) -> DoubleArray:
    """Headings around one of the coarse ones, (2 * 3 + 1,), a quarter of their step apart."""
    step = float(headings_rad[1] - headings_rad[0]) if len(headings_rad) > 1 else math.radians(1.0)
    return np.asarray(headings_rad[t] + np.arange(1 - _FINE_STEPS, _FINE_STEPS) * step / _FINE_STEPS)


def heading_of(profile_T: FloatArray | DoubleArray, headings_rad: DoubleArray) -> float:
    """Where scores over evenly spaced headings peak."""
    return float(_vertex(profile_T[None], headings_rad)[0])


def _halves(map_CHW: FloatArray, observation_CHW: FloatArray, resolution_m: float) -> bool:
    """Whether coarse scores are of half the resolution."""
    even = not any(side % 2 for side in (*map_CHW.shape[1:], *observation_CHW.shape[1:]))
    return even and resolution_m < _HALVE_BELOW_M


def _finely(
    map_CHW: FloatArray, observation_CHW: FloatArray, headings_rad: DoubleArray, volume: FloatArray, t: int
) -> tuple[DoubleArray, FloatArray, FloatArray]:
    """Score fine headings about one of the coarse, or about its neighbour where they get better towards that.

    Gives the fine headings, the observation turned to them, and their scores.
    """
    window = volume.shape[1]
    canvas = map_CHW.shape[1] - window + 1, map_CHW.shape[2] - window + 1
    came_from = t
    while True:
        fine = fine_headings(headings_rad, t)
        turned = turned_images(observation_CHW, fine, canvas)
        peak_rc = divmod(int(volume[t].argmax()), window)
        profile = _local_scores(map_CHW, turned, peak_rc).reshape(len(fine), -1).max(1)
        best = int(profile.argmax())
        beside = t + (best == len(fine) - 1) - (best == 0)
        if beside in (t, came_from) or not 0 <= beside < len(headings_rad):
            return fine, turned, profile
        came_from, t = t, beside


def entropy_of(scores_THW: FloatArray, temperature: float) -> float:
    """Entropy of softmax(scores / temperature) over all poses, as a share of the uniform distribution's, 0 to 1."""
    scores = scores_THW.astype(np.float64)
    belief = np.exp((scores - float(scores.max())) / temperature)
    belief /= belief.sum()
    return -float(np.sum(belief * np.log(np.maximum(belief, 1e-300)))) / max(math.log(belief.size), 1e-12)


def _turned_to_the_rim(heading: float, fine: DoubleArray, t: int, headings: DoubleArray) -> bool:
    """Whether the heading ran against the end of what was searched: the first or last bin's own outer fine heading."""
    rim = 0.1 * (fine[1] - fine[0])
    return bool((t == 0 and heading <= fine[0] + rim) or (t == len(headings) - 1 and heading >= fine[-1] - rim))


def _local_scores(map_CHW: FloatArray, turned_TCHW: FloatArray, peak_rc: tuple[int, int]) -> FloatArray:
    """Score fine headings within a few pixels of a peak."""
    rows, columns = turned_TCHW.shape[-2:]
    top, left = (max(0, p - FINE_RADIUS_PX) for p in peak_rc)
    bottom = min(map_CHW.shape[1], peak_rc[0] + FINE_RADIUS_PX + rows)
    right = min(map_CHW.shape[2], peak_rc[1] + FINE_RADIUS_PX + columns)
    return correlate_direct(map_CHW[:, top:bottom, left:right], turned_TCHW)


def _vertex(profiles_BT: FloatArray | DoubleArray, headings: DoubleArray) -> DoubleArray:
    """Return where each profile over evenly spaced headings peaks, by a parabola through its top three."""
    t = np.clip(profiles_BT.argmax(1), 1, len(headings) - 2)
    b = np.arange(len(profiles_BT))
    before, at, after = (profiles_BT[b, t + k].astype(np.float64) for k in (-1, 0, 1))
    return np.asarray(headings[t] + parabola_peak(before, at, after, 1.0) * (headings[1] - headings[0]))


def _block_products(under_CHW: FloatArray, turned_TCHW: FloatArray) -> FloatArray:
    """Scores at the best shift, by heading and block: (T, K)."""
    side = max(1, math.ceil(max(turned_TCHW.shape[-2:]) / _HEADING_BLOCKS))
    products: FloatArray = block_products(under_CHW, turned_TCHW, side).reshape(len(turned_TCHW), -1)
    return products


def spread_of_headings(scores_TK: FloatArray | DoubleArray, headings_rad: DoubleArray) -> float:
    """Standard deviation, in radians, of where scores by heading and block peak: a bootstrap over the blocks."""
    count = scores_TK.shape[1]
    if count == 0:
        return float(np.ptp(headings_rad))
    weights = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=64)
    return float(_vertex(weights @ scores_TK.T, headings_rad).std())


def _cosine(under_CHW: FloatArray, turned_CHW: FloatArray) -> float:
    """Correlation coefficient of the embeddings as they lie on each other, each channel's mean removed."""
    a = under_CHW - under_CHW.mean((1, 2), keepdims=True)
    b = turned_CHW - turned_CHW.mean((1, 2), keepdims=True)
    norm = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0


def _share_under(map_CHW: FloatArray, observed_HW: BoolArray, radius_px: int) -> FloatArray:
    """What makes scores of shifts comparable: one over the root of the map's energy under the observation, mean 1.

    float32 (2 * radius + 1, 2 * radius + 1), at the middle heading. With it a score goes as the correlation coefficient
    of what overlaps does.
    """
    energy = (map_CHW**2).sum(0, keepdims=True)
    under = match_fft(energy, observed_HW[None].astype(np.float32), [0.0], radius_px)[0]
    least = 0.1 * float(under.max()) + 1e-12
    share = 1.0 / np.sqrt(np.maximum(under, least))
    return np.asarray(share / share.mean(), np.float32)


def _volume_margin(volume: FloatArray, t: int, resolution_m: float, margin_sigma: float) -> float:
    """Lower the margin for modes at other headings: scale by their lead over the lead of the best heading's own."""
    row, col = np.unravel_index(volume[t].argmax(), volume.shape[1:])
    rows, cols = np.ogrid[: volume.shape[1], : volume.shape[2]]
    far = (rows - row) ** 2 + (cols - col) ** 2 > (MODE_RADIUS_M / resolution_m) ** 2
    if not far.any():
        return 0.0
    best, own, every = float(volume[t].max()), float(volume[t][far].max()), float(volume[:, far].max())
    return margin_sigma * max(0.0, best - every) / (best - own) if best > own else 0.0
