"""An open map: what it holds, and where observations were made in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from foldmap.api.tracking import Tracker, is_of_streets, is_of_sweeps, street_prior, vehicle_pose
from foldmap.atlas import FoldFile
from foldmap.errors import ConfigError, LayerError
from foldmap.formats.extras import missing_extra
from foldmap.geometry import SE2, SE3
from foldmap.lidar.shipped import UPRIGHT

if TYPE_CHECKING:
    from foldmap.lidar.marks.unfold import FoldedMarks
    from foldmap.lidar.observation import Observation
    from foldmap.lidar.source import Sweep
    from foldmap.lidar.unfold import FoldedLidar
    from foldmap.localize.estimate import Diagnostics, Estimate
    from foldmap.localize.lidar.confidence import LidarEstimate
    from foldmap.localize.lidar.localizer import LidarLocalizer
    from foldmap.localize.lidar.outline import OutlineMatcher
    from foldmap.localize.street.localizer import StreetLocalizer
    from foldmap.localize.street.settings import StreetPrior
    from foldmap.localize.visual.localizer import VisualLocalizer
    from foldmap.street.unfold import FoldedStreet
    from foldmap.types import DoubleArray
    from foldmap.visual.features.extract import Extractor
    from foldmap.visual.source import Query
    from foldmap.visual.unfold import FoldedVisual

Made = TypeVar("Made")

_WHOLE_M = 50_000.0
"""Street maps with more lane than this are embedded around a prior alone, where there is one."""
_NAME = re.compile(r'^\w+\["([^"]+)"')


def open(path: Path | str) -> FoldedMap:
    """Open a .fold file.

    Raises:
        NotAFoldFileError: it is not there, or something else.
        MapFormatError: it is damaged, or of a later version.
    """
    return FoldedMap(FoldFile.open(path))


class FoldedMap:
    """A .fold file, open for localizing; use it as a context manager. Layers are decoded when they are asked for."""

    def __init__(self, file: FoldFile) -> None:
        self.file = file
        self._made: dict[str, Any] = {}

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(layer.name for layer in self.file.layers())

    @property
    def frame(self) -> str:
        """Name of the coordinate reference system; "local" where nobody placed the map on Earth."""
        from foldmap.api.georeference import crs_of

        crs = crs_of(layer.parameters for layer in self.file.layers())
        found = _NAME.match(crs)
        return (found[1] if found else crs) or "local"

    @property
    def sizes(self) -> dict[str, int]:
        """Where the bytes are: tiles and models of each layer, and "container", all the rest of the file."""
        report = self.file.byte_report()
        sizes = {name: one["tile_bytes"] + sum(one["model_bytes"].values()) for name, one in report["layers"].items()}
        return sizes | {"container": report["overhead_bytes"]}

    def __repr__(self) -> str:
        sizes = self.sizes
        parts = [f"{name} {size:,} B" for name, size in sizes.items()]
        return f"<FoldedMap {self.file.path.name}, {sum(sizes.values()):,} B ({', '.join(parts)}), frame: {self.frame}>"

    @property
    def lidar(self) -> FoldedLidar | FoldedMarks:
        """The lidar layer; a LayerError where the file has none."""
        from foldmap.lidar.folded import open_lidar

        return self._once("lidar", lambda: open_lidar(self.file, self._layer("lidar")))

    @property
    def outline(self) -> FoldedMarks | None:
        """What stands beside the road, by which sweeps find where they are without a prior; None where none is kept."""
        from foldmap.lidar.marks.outline import open_outline

        return self._once("outline", lambda: open_outline(self.file))

    @property
    def visual(self) -> FoldedVisual:
        """The visual layer; a LayerError where the file has none."""
        from foldmap.visual.unfold import FoldedVisual

        return self._once("visual", lambda: FoldedVisual(self.file, self._layer("visual")))

    @property
    def street(self) -> FoldedStreet:
        """The street layer; a LayerError where the file has none."""
        from foldmap.street.unfold import FoldedStreet

        return self._once("street", lambda: FoldedStreet(self.file, self._layer("street")))

    def lidar_localizer(self) -> LidarLocalizer:
        """The localizer of the lidar layer, opened once."""
        from foldmap.localize.lidar.localizer import LidarLocalizer

        return self._once("lidar localizer", lambda: LidarLocalizer.open(self.lidar))

    def visual_localizer(self) -> VisualLocalizer:
        """The localizer of the visual layer, opened once; a MissingExtraError where its solver is not installed."""
        try:
            from foldmap.localize.visual.localizer import VisualLocalizer
        except ModuleNotFoundError as error:
            raise missing_extra(error, "localizing photos") or error from error

        return self._once("visual localizer", lambda: VisualLocalizer.open(self.visual))

    def street_localizer(self, region: str | None = None, near: StreetPrior | None = None) -> StreetLocalizer:
        """The localizer of a region of the street layer, opened once; the first time it embeds what is around lanes.

        Of a large map it embeds the lanes around `near` alone, anew each time.
        """
        from foldmap.localize.street.localizer import StreetLocalizer

        if near is not None and sum(one.length_m for one in self.street.regions) > _WHOLE_M:
            return StreetLocalizer.open(self.street, region=region, near=[near])
        key = f"street localizer {region or ''}"
        return self._once(key, lambda: StreetLocalizer.open(self.street, region=region))

    def extractor(self) -> Extractor:
        """What makes the visual layer's features of images; errors as `foldmap.api.photo.extractor_for`."""
        from foldmap.api.photo import extractor_for

        return self._once("extractor", lambda: extractor_for(self.visual.feature))

    def outline_matcher(self) -> OutlineMatcher | None:
        """Of what stands beside the roads; None where the map does not say. It keeps what it drew last."""
        outline = self.outline
        if outline is None:
            return None
        from foldmap.localize.lidar.outline import OutlineMatcher

        return self._once("outline matcher", lambda: OutlineMatcher(outline))

    def localize(
        self,
        observation: Any,
        prior: SE2 | SE3 | StreetPrior | None = None,
        radius_m: float | None = None,
        *,
        region: str | None = None,
    ) -> Estimate[SE2 | DoubleArray, Diagnostics]:
        """Find where an observation was made, as ``foldmap localize`` does; its type says in which layer.

        Args:
            observation: a `Sweep`, or the last few as pairs (sweep, world_SE3_sensor) whose poses are odometry's; a
                `Photo` or a `Query`, several of them for a rig; a `RingFrame` or an `AerialCrop`.
            prior: where it was made, roughly. A sweep needs a pose in a map without an outline, several sweeps in any.
                Photos and streets do without; of a pose given to streets the heading is not used, that of a
                `StreetPrior` is.
            radius_m: the prior is right to so many metres; by default 1 for sweeps, 64 for photos and streets.
            region: of a street map with several.

        Raises:
            ConfigError: no observation that can be localized, or a sweep without a prior that needs one.
            InputError: the observation cannot be used.
            LayerError: the map has no layer for it.
            ModelError: the map's model is not installed.
            MissingExtraError: a `Photo` needs foldmap[sfm].
        """
        many = list(observation) if isinstance(observation, Sequence) else [observation]
        if _sweeps(many):
            if prior is None and hasattr(observation, "points_sensor_m") and self.outline is not None:
                return self._anywhere(observation)
            lidar, image, at = self.lidar_localizer(), self._ground(observation, prior), vehicle_pose(prior)
            radius_m, matcher = 1.0 if radius_m is None else radius_m, self.outline_matcher()
            if matcher is None:
                return lidar.localize(image, at, radius_m)
            from foldmap.localize.lidar.anywhere import localize_near

            last = many[-1][0] if isinstance(many[-1], tuple) else many[-1]
            return localize_near(
                lidar, matcher, last if hasattr(last, "points_sensor_m") else None, image, at, radius_m
            )
        queries = self._queries(many)
        if queries:
            pose = None if prior is None else vehicle_pose(prior)
            return self.visual_localizer().localize(queries, pose, 64.0 if radius_m is None else radius_m)
        if is_of_streets(observation):
            disc = street_prior(prior, radius_m)
            return self.street_localizer(region, disc).localize(observation, disc)
        kinds = ", ".join(sorted({type(one).__name__ for one in many})) or "nothing"
        raise ConfigError(
            f"{kinds} cannot be localized",
            "give a Sweep with a prior; a Photo or a Query, or several for a rig; a RingFrame; or an AerialCrop",
        )

    def track(
        self,
        prior: SE2 | SE3 | StreetPrior | None = None,
        radius_m: float | None = None,
        *,
        region: str | None = None,
        layer: str | None = None,
    ) -> Tracker:
        """Follow a vehicle, from a prior on or from where GPS and odometry say; see `Tracker`."""
        return Tracker(self, prior, radius_m, region, layer=layer)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> FoldedMap:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _layer(self, kind: str) -> str:
        name = next(
            (one.name for one in self.file.layers() if one.kind == kind and not one.parameters.get(UPRIGHT)), None
        )
        if name is None:
            there = ", ".join(self.layers) or "none"
            raise LayerError(f"{self.file.path.name} has no {kind} layer", f"layers in this file: {there}")
        return name

    def _once(self, key: str, make: Callable[[], Made]) -> Made:
        """What is made once and kept."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def _anywhere(self, sweep: Sweep) -> LidarEstimate:
        from foldmap.localize.lidar.anywhere import localize_anywhere
        from foldmap.localize.lidar.outline import WholeOutline

        assert self.outline is not None
        outline, level = self.outline, SE2(0.0, 0.0, 0.0)
        whole = self._once("whole outline", lambda: WholeOutline(outline))
        return localize_anywhere(self.lidar_localizer(), whole, sweep, self._ground(sweep, level))

    def _ground(self, observation: Any, prior: Any) -> Observation:
        """Sweeps drawn from above, in the vehicle frame of the last one."""
        from foldmap.lidar.observation import Observation, SweepStack
        from foldmap.lidar.source import Sweep

        if isinstance(observation, Observation):
            return observation
        if isinstance(observation, Sweep):
            observation = [(observation, prior if isinstance(prior, SE3) else SE3.from_se2(vehicle_pose(prior)))]
        if not all(isinstance(one, tuple) for one in observation):
            raise ConfigError("several sweeps without poses", "give pairs (sweep, world_SE3_sensor), from odometry")
        stack = SweepStack(self.lidar.grid.resolution_m, len(observation), relief=self.lidar.relief)
        return [stack.add(sweep, world_SE3_sensor) for sweep, world_SE3_sensor in observation][-1]

    def _queries(self, observation: Sequence[Any]) -> list[Query]:
        """Photos with their features; empty where these are no photos."""
        from foldmap.visual.source import Query

        if observation and all(isinstance(one, Query) for one in observation):
            return list(observation)
        from foldmap.api.photo import Photo

        if not observation or not all(isinstance(one, Query | Photo) for one in observation):
            return []
        extractor = self.extractor()
        return [one.query(extractor) if isinstance(one, Photo) else one for one in observation]


def _sweeps(observation: Sequence[Any]) -> bool:
    """Whether these are sweeps, sweeps with their poses, or an image that was drawn of some."""
    from foldmap.lidar.source import Sweep

    pairs = [one[0] if isinstance(one, tuple) and len(one) == 2 else one for one in observation]
    return bool(pairs and all(isinstance(one, Sweep) for one in pairs)) or (len(pairs) == 1 and is_of_sweeps(pairs[0]))
