"""A map's own images taken out of it and localized in what is folded of the rest: how far its answers are off.

Blocks of consecutive images are taken out, since neighbours in a sequence are near twins. Their errors, in standard
deviations of the answers, say by how much these are too small: what matches share, what the map errs, what quantizing
moved, none of which the residuals of one image tell.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.localize.evidence import MapCalibration, Place
from foldmap.localize.tail import LEAST, Tail
from foldmap.localize.visual.localizer import VisualLocalizer
from foldmap.localize.visual.widening import HeldErrors, Spread, contradictions, doubted_places, fitted, image_of
from foldmap.types import BoolArray, DoubleArray
from foldmap.visual.fold import VisualPlan, fold_visual
from foldmap.visual.match.lens import moved_by
from foldmap.visual.scene.average import track_means
from foldmap.visual.scene.refitting import least_information, refitted
from foldmap.visual.source import SceneModel
from foldmap.visual.unfold import FoldedVisual

TRIALS = 48
_TURNS = 3  # times that other blocks of images are held out, where one time gives fewer than are asked for
_BLOCKS = (0.15, 0.4, 0.65, 0.9)
_AXES = 3
_HARDLY = 0.1
"""A point has less than this share of its information left, in the direction that it is known worst in."""
_CONTRADICTED = 3.0
"""Times as far as the median image's, in standard deviations, a pose may lie from what all points seen there say."""


def with_errors(
    calibration: MapCalibration,
    scene: SceneModel,
    plan: VisualPlan,
    errors: HeldErrors | None = None,
    places: tuple[Place, ...] | None = None,
) -> MapCalibration:
    """A map's calibration with the scale of its standard deviations, what it adds, and the tail of its errors.

    They are of held-out images, in the map that the plan gives; of ``errors`` where these are at hand, as ``places``
    may be (`doubted_places`). Unchanged where fewer than 20 are answered: of a few images nobody knows.
    """
    if errors is None or len(errors) < LEAST:
        errors = _tried(scene, plan)
    if len(errors) < LEAST:
        return calibration
    places = doubted_places(scene) if places is None else places
    errors = errors.doubted(places)
    place, (scale, addend) = errors.place, fitted(errors.place)
    found = calibration.with_errors(place.distances(scale, addend), _AXES)
    times = found.sigma_scale
    lengths = Tail.of_lengths(np.linalg.norm(place.off, axis=1), times**2 * place.covariances(scale, addend))
    known = tuple(addend) if addend.any() else ()
    found = replace(found, sigma_scale=scale, addend=known, places=places, lengths=lengths).widened(times)
    return replace(found, turn=_turn_of(errors.turn))


def _turn_of(turn: Spread) -> tuple[float, ...]:
    """Scale and addend of the rotation, (4,), under which its errors lie as a Gaussian's do, as the position's do."""
    scale, addend = fitted(turn)
    times = MapCalibration().with_errors(turn.distances(scale, addend), _AXES).sigma_scale
    return (scale * times, *(times * addend))


def _tried(scene: SceneModel, plan: VisualPlan) -> HeldErrors:
    found, turns = [], held_out_turns(scene, TRIALS)
    if sum(map(len, turns)) < LEAST:
        return HeldErrors.joined()  # too few to tell anything
    with tempfile.TemporaryDirectory() as folder:
        for names in turns:
            found.append(HeldOutImages(scene, names).localize(plan, Path(folder) / "trial.fold")[1])
    return HeldErrors.joined(found)


def held_out_turns(scene: SceneModel, trials: int) -> list[list[str]]:
    """Names of about so many images, in turns; each turn's are blocks along the sequence, at most a sixth of all."""
    moments = _moments(scene.image_names)
    cameras = -(-len(scene.image_names) // len(moments))
    block = min(-(-trials // (cameras * len(_BLOCKS))), len(moments) // (6 * len(_BLOCKS)))
    if block < 1:
        return []
    turns = min(_TURNS, -(-trials // (block * cameras * len(_BLOCKS))))
    found = []
    for turn in range(turns):
        # elsewhere each time: images of one place err alike
        shares = [(share + turn / (turns * len(_BLOCKS))) % 1.0 for share in _BLOCKS]
        starts = [int(share * (len(moments) - block)) for share in shares]
        found.append([name for start in starts for moment in moments[start : start + block] for name in moment])
    return found


def _moments(names: Sequence[str]) -> list[list[str]]:
    """Names of images that were taken together, in their order: files called alike in several folders.

    Such are a rig's: were one camera's image held out and another's left, the map had seen the place from there.
    """
    moments = dict[str, list[str]]()
    for name in sorted(names):
        moments.setdefault(PurePosixPath(name).name, []).append(name)
    if len(moments) == len(names):
        return [[name] for name in sorted(names)]
    return [moments[file] for file in sorted(moments)]


class HeldOutImages:
    """Images taken out of a scene, with what they saw of all its points, and the rest of the scene."""

    def __init__(self, scene: SceneModel, names: Sequence[str]) -> None:
        tracks, taken = scene.tracks, np.isin(np.array(scene.image_names), np.array(names))
        assert tracks.descriptors is not None
        self.rest, stays = _without(scene, names, taken)
        # where each point of the whole scene is in the rest; -1 where it is gone
        self.alive = np.where(stays, np.cumsum(stays) - 1, -1).astype(np.int64)
        self.means = track_means(self.rest)
        images = [scene.image_names.index(name) for name in names]
        self.camera_SE3_world = scene.camera_SE3_world[images]
        seen = [image_of(scene, image) for image in images]
        self.queries = [query for query, _ in seen]
        # a recording's poses err, some of them by more than an answer does: all points seen there, ten times as many as
        # a small map has, say where the camera was; where that is far off for this scene, the error were the pose's
        off = np.nan_to_num(contradictions(self.queries, [points for _, points in seen], self.camera_SE3_world))
        self.trusted = off <= _CONTRADICTED * np.median(off)

    def localize(self, plan: VisualPlan, path: Path) -> tuple[DoubleArray, HeldErrors]:
        """Localize the images in what a plan gives of the rest, folded into a file at ``path``.

        Returns distances of the answers' centres from the truth, share of the scene's radius, infinite without an
        answer; and the errors of those that were answered with their own cameras, and whose poses all points confirm,
        with the covariances before calibration.
        """
        kept = self.alive[plan.kept]
        with FoldWriter(path) as writer:
            fold_visual(writer, self.rest, replace(plan, kept=kept[kept >= 0]), means=self.means)
        distances, errors = np.full(len(self.queries), np.inf), [HeldErrors.joined()]
        with FoldFile.open(path) as file:
            localizer = VisualLocalizer(FoldedVisual(file))
            for number, (query, truth) in enumerate(zip(self.queries, self.camera_SE3_world, strict=True)):
                estimate = localizer.localize(query)
                centre, covariance, pose = estimate.centre_world, estimate.covariance, estimate.pose
                if centre is None or covariance is None or pose is None:
                    continue
                axes, step = pose[:3, :3], moved_by(truth, pose)
                distances[number] = np.linalg.norm(step[:_AXES])
                if self.trusted[number] and estimate.diagnostics.focal == 1.0:
                    place = Spread((axes @ step[:_AXES])[None], (axes @ covariance[:_AXES, :_AXES] @ axes.T)[None])
                    turn = Spread(step[None, _AXES:], covariance[None, _AXES:, _AXES:])
                    errors.append(HeldErrors(place, turn, centre[None]))
        return distances / self.rest.radius_world, HeldErrors.joined(errors)


def _without(scene: SceneModel, names: Sequence[str], taken: BoolArray) -> tuple[SceneModel, BoolArray]:
    """A scene as if those images had never been taken, and which of its points (P,) it still has.

    Points lie where the other images alone put them: where the held-out ones put them, these would be found too well.
    Such as the others hardly know are gone, as a scene's builder leaves them out.
    """
    tracks = scene.tracks
    stays = np.bincount(tracks.point[~taken[tracks.image]], minlength=len(scene.points_world)) >= 2
    lost = np.zeros(len(stays), bool)
    lost[tracks.point[taken[tracks.image]]] = True
    rest = scene.without_images(names, min_observations=2)
    known = least_information(rest) >= _HARDLY * least_information(scene)[stays]
    stays[stays] = known
    rest = rest.keep_points(known)
    return replace(rest, points_world=refitted(rest, lost[stays])), stays
