"""How much larger errors are than one photo's matches say: what held-out images of a map tell of it.

Three things are in the errors that no photo's residuals show, each with its own law:

- what matches share, all over the map: one scale of the covariance;
- poses that the map was built of and that err, as GNSS and INS do by centimetres along the way and by parts of a
  degree: an addend, by the camera's own axes, however well the matches fix a pose. Position and rotation have each
  their scale and addend: one that is small beside an addend of the position says nothing of rotations;
- places where the map's images contradict its points, by bent registration or a lens that is known badly: there the
  scale is larger (`doubted_places`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from foldmap.localize.evidence import Place, doubt_at
from foldmap.localize.visual.freed import CORRELATION
from foldmap.localize.visual.search import LEAST_NOISE_PX
from foldmap.types import DoubleArray
from foldmap.visual.match import solve
from foldmap.visual.match.lens import moved_by, normal_equations
from foldmap.visual.match.solve import Correspondences, noise_px, residuals_px
from foldmap.visual.match.view import prepare
from foldmap.visual.source import Features, Query, SceneModel

_SHAPE = 8.0
"""Degrees of freedom of Student's t, by which scale and addend are fitted: a few wild images do not make them."""
_USUAL_SCALE, _SCALE_SPREAD = 0.8, 0.5  # of the scale, before any error is seen: its median, and its logarithm's spread
_GAIN = 15.0
"""Natural log of the likelihood that the addend must bring. Three more numbers always bring some: up to 9 in three
scenes without such poses, 80 and more in a street of GNSS and INS."""
_PLACES, _NEAREST, _MOST_IMAGES = 16, 16, 400
_POWER = 0.75
"""Of the contradiction by which sigma grows; 0.5 and 1 do as well (set on the held-out images of two scenes)."""
_TELLING = 1.5  # where nowhere more is asked for, places say nothing


@dataclass(frozen=True)
class Spread:
    """Errors of N answers by three axes of their cameras, (N, 3), and the covariances that matches gave, (N, 3, 3)."""

    off: DoubleArray
    covariance: DoubleArray

    def __len__(self) -> int:
        return len(self.off)

    @staticmethod
    def joined(parts: Sequence[Spread]) -> Spread:
        """Those of several trials; of none, of no answer."""
        off, covariance = [part.off for part in parts], [part.covariance for part in parts]
        return Spread(np.concatenate([np.zeros((0, 3)), *off]), np.concatenate([np.zeros((0, 3, 3)), *covariance]))

    def distances(self, scale: float, addend: DoubleArray) -> DoubleArray:
        """Mahalanobis distances, float64 (N,), with a scale of sigma and an addend's standard deviations (3,)."""
        return np.sqrt(np.maximum(_squares(self, scale, addend)[0], 0.0))

    def covariances(self, scale: float, addend: DoubleArray) -> DoubleArray:
        """Covariances, float64 (N, 3, 3), with a scale of sigma and an addend's standard deviations (3,)."""
        return np.asarray(self.covariance * scale**2 + np.diag(addend**2))


@dataclass(frozen=True)
class HeldErrors:
    """Errors of N held-out images' answers.

    Attributes:
        place: of the centre, world units.
        turn: of the rotation, radians.
        centre_world: that was answered, float64 (N, 3).
    """

    place: Spread
    turn: Spread
    centre_world: DoubleArray

    def __len__(self) -> int:
        return len(self.centre_world)

    @staticmethod
    def joined(parts: Sequence[HeldErrors] = ()) -> HeldErrors:
        """Those of several trials; of none, of no image."""
        return HeldErrors(
            Spread.joined([part.place for part in parts]),
            Spread.joined([part.turn for part in parts]),
            np.concatenate([np.zeros((0, 3)), *(part.centre_world for part in parts)]),
        )

    def doubted(self, places: Sequence[Place]) -> HeldErrors:
        """With the covariances that the places make of theirs."""
        times = np.array([doubt_at(places, centre) for centre in self.centre_world]).reshape(-1, 1, 1)
        place, turn = (Spread(part.off, part.covariance * times**2) for part in (self.place, self.turn))
        return HeldErrors(place, turn, self.centre_world)


def fitted(errors: Spread) -> tuple[float, DoubleArray]:
    """The scale of sigma and the addend's standard deviations (3,), in the errors' unit, that make these likeliest.

    By Student's t of a fixed shape. The addend is zero where it does not bring much.
    """
    unit = float(np.median(np.trace(errors.covariance, axis1=1, axis2=2) / 3.0)) ** 0.5

    def cost(numbers: DoubleArray) -> float:
        addend = np.zeros(3) if len(numbers) == 1 else unit * numbers[1:]
        squares, logs = _squares(errors, float(np.exp(numbers[0])), addend)
        likely = -0.5 * logs - 0.5 * (_SHAPE + 3.0) * np.log1p(squares / _SHAPE)
        return float(0.5 * ((numbers[0] - np.log(_USUAL_SCALE)) / _SCALE_SPREAD) ** 2 - likely.sum())

    limits = [(-4.0, 4.0)] + [(0.0, 1e3)] * 3
    start = [np.log(_USUAL_SCALE)]
    alone = minimize(cost, start, method="L-BFGS-B", bounds=limits[:1])
    both = [minimize(cost, start + [size] * 3, method="L-BFGS-B", bounds=limits) for size in (0.3, 2.0)]
    best = min(both, key=lambda found: float(found.fun))
    if alone.fun - best.fun < _GAIN:
        return float(np.exp(alone.x[0])), np.zeros(3)
    return float(np.exp(best.x[0])), np.asarray(unit * best.x[1:], np.float64)


def _squares(errors: Spread, scale: float, addend: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Squared Mahalanobis distances and logarithms of the determinants, (N,) each."""
    covariance = errors.covariances(scale, addend)
    squares = np.einsum("ni,ni->n", errors.off, np.linalg.solve(covariance, errors.off[:, :, None])[:, :, 0])
    return squares, np.linalg.slogdet(covariance)[1]


def contradictions(queries: Sequence[Query], points_world: Sequence[DoubleArray], given: DoubleArray) -> DoubleArray:
    """How many standard deviations all points seen there put a pose off the given one, camera_SE3_world (N, 4, 4).

    NaN where too few points are seen. Formal ones: only their ratios mean something.
    """
    off = np.full(len(queries), np.nan)
    for number, (query, points) in enumerate(zip(queries, points_world, strict=True)):
        view = prepare(query)
        seen = Correspondences(view.xy_px, np.asarray(points, np.float64))
        if len(seen) < solve.MIN_MATCHES or len(seen.xy_px) < len(points):
            continue  # a lens that does not image all of them gives no one-to-one list
        pose = given[number]
        for _ in range(2):
            noise = max(noise_px(residuals_px(view, seen, pose)), LEAST_NOISE_PX)
            pose = solve.refine_pose([view], [seen], pose, 3.0 * noise)
        normal = normal_equations([view], [seen], pose, noise, CORRELATION, 3.0 * noise)
        step = moved_by(pose, given[number])
        off[number] = np.sqrt(step @ normal.matrix[:6, :6] @ step)
    return off


def image_of(scene: SceneModel, image: int) -> tuple[Query, DoubleArray]:
    """What one of a scene's images saw of its points, as a query, and those points, (N, 3)."""
    rows, tracks = scene.tracks.image == image, scene.tracks
    features = Features(tracks.xy_px[rows], scene.described[rows])
    whole = None if scene.global_descriptors is None else scene.global_descriptors[image]
    return Query(scene.image_names[image], scene.camera_of(image), features, whole), scene.points_world[
        tracks.point[rows]
    ]


def doubted_places(scene: SceneModel) -> tuple[Place, ...]:
    """Where, and by how much more than usual, the scene's images contradict its points: nowhere far more, nothing.

    A place stands for what lies nearest to it; places are spread over the cameras, the worst first.
    """
    images = np.unique(np.linspace(0, len(scene.image_names) - 1, _MOST_IMAGES).round().astype(int))
    asked = [image_of(scene, int(image)) for image in images]
    poses = scene.camera_SE3_world[images]
    off = contradictions([query for query, _ in asked], [points for _, points in asked], poses)
    known = np.isfinite(off)
    if known.sum() < 2 * _NEAREST or not np.median(off[known]) > 0.0:
        return ()
    off, centre = off[known] / np.median(off[known]), scene.centres_world[images][known]
    apart = np.linalg.norm(centre[:, None] - centre[None], axis=2)
    around = off[np.argsort(apart, axis=1, kind="stable")[:, :_NEAREST]].mean(axis=1)
    if around.max() ** _POWER < _TELLING:
        return ()
    chosen = [int(around.argmax())]
    while len(chosen) < _PLACES:
        chosen.append(int(apart[chosen].min(axis=0).argmax()))
    times = np.maximum(around[chosen], 1.0) ** _POWER
    rows = np.column_stack([centre[chosen], times]).tolist()
    return tuple(Place(x, y, z, more) for x, y, z, more in rows)
