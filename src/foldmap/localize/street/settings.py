"""How a street localizer judges, and where it may look."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from foldmap.errors import ConfigError, PoseInputError
from foldmap.localize.evidence import MapCalibration
from foldmap.localize.street.chance import SHIPPED
from foldmap.localize.street.estimate import StreetThresholds, least_similarity
from foldmap.localize.street.lane_motion import LaneMotion
from foldmap.street.model import EmbeddingModel


@dataclass(frozen=True)
class StreetSettings:
    """How similarity becomes probability, and when an answer stands.

    Attributes:
        temperature: likelihood is ``exp(similarity / temperature)``; calibrate it for the model, see
            `foldmap.localize.street.calibrate`.
        outlier_share: chance that an observation says nothing about the place: the likelihood's floor.
        frame_weight: exponent of each observation's likelihood in a filter, as neighbouring frames err alike.
        calibration: what drives that are not in the map reach, and what errors are.
    """

    temperature: float = 0.05
    outlier_share: float = 0.01
    frame_weight: float = 0.5
    motion: LaneMotion = field(default_factory=LaneMotion)
    calibration: MapCalibration = SHIPPED
    thresholds: StreetThresholds = field(default_factory=StreetThresholds)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ConfigError(f"a temperature of {self.temperature}", "give a positive one")
        if not (0 < self.frame_weight <= 1 and 0 < self.outlier_share < 1):
            given = f"frame weight {self.frame_weight}, outlier share {self.outlier_share}"
            raise ConfigError(given, "give (0, 1] and (0, 1)")

    @staticmethod
    def of(model: EmbeddingModel, calibration: MapCalibration | None = None) -> StreetSettings:
        """What suits a model, as ``foldmap localize`` has it, and a map that was calibrated."""
        thresholds = StreetThresholds(reject_score=least_similarity(model))
        return StreetSettings(calibration=calibration or SHIPPED, thresholds=thresholds)


@dataclass(frozen=True)
class StreetPrior:
    """A disc in the map's frame, outside of which nothing is considered, and a compass where there is one."""

    x_m: float
    y_m: float
    radius_m: float
    heading_rad: float | None = None
    heading_sigma_rad: float = math.radians(20.0)

    def __post_init__(self) -> None:
        values = [self.x_m, self.y_m, self.radius_m, self.heading_rad or 0.0, self.heading_sigma_rad]
        if not np.isfinite(values).all() or self.radius_m <= 0 or self.heading_sigma_rad <= 0:
            raise PoseInputError(f"the prior {self} is not usable", "give finite values, radius and sigma positive")
