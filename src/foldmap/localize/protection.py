"""How far an answer may be off at a stated risk, and how far it may be off for what is done with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from foldmap.errors import ConfigError

RISK = 1e-3
"""With this probability an error is larger than its protection level."""


@dataclass(frozen=True)
class ProtectionLevel:
    """What the error of one estimate stays under, but for the risk.

    Attributes:
        risk: probability that it does not.
        position: bound of the distance to the true position, world units (metres where the map is metric).
        rotation_rad: bound of the angle to the true rotation, or heading.
        along, across: of a planar pose, metres, in the vehicle's frame; None for photos.
    """

    risk: float
    position: float
    rotation_rad: float
    along: float | None = None
    across: float | None = None


@dataclass(frozen=True)
class AlertLimit:
    """How far a pose may be off, metres along and across the vehicle, and radians; `ok` promises a level below it."""

    name: str
    along_m: float
    across_m: float
    heading_rad: float = math.inf

    @staticmethod
    def read(text: str) -> AlertLimit:
        """One that has a name, or metres of any direction; a ConfigError where it is neither."""
        if text in ALERT_LIMITS:
            return ALERT_LIMITS[text]
        try:
            limit_m = float(text)
        except ValueError:
            limit_m = math.nan
        if not (math.isfinite(limit_m) and limit_m > 0):
            names = ", ".join(ALERT_LIMITS)
            raise ConfigError(f"no alert limit is called {text!r}", f"give metres, like 0.3, or one of {names}")
        return AlertLimit(text, limit_m, limit_m)

    def exceeded_by(self, level: ProtectionLevel | None) -> str:
        """In words, what of a level exceeds the limit; empty where nothing does.

        A photo has no way ahead: its position must stay under the smaller of the two limits.
        """
        if level is None:
            return "the map's errors are not calibrated"
        if level.along is None or level.across is None:
            smaller = min(self.along_m, self.across_m)
            sides = [("in position", level.position, smaller)]
        else:
            sides = [("across", level.across, self.across_m), ("along", level.along, self.along_m)]
        told = [f"{bound:.2f} m {side} > {most:g} m" for side, bound, most in sides if bound > most]
        if level.rotation_rad > self.heading_rad:
            told.append(f"{math.degrees(level.rotation_rad):.2f} deg > {math.degrees(self.heading_rad):g} deg")
        return f"protection level {told[0]} ({self.name})" if told else ""


ALERT_LIMITS = {
    limit.name: limit
    for limit in (
        AlertLimit("autoware", 1.2, 0.25),
        AlertLimit("autoware-error", 1.5, 0.30),
        AlertLimit("reid-street", 0.29, 0.29, math.radians(0.5)),
        AlertLimit("reid-freeway", 1.40, 0.57, math.radians(1.5)),
    )
}
"""Those that have a name: Autoware's localization error monitor, where it warns and where it stops, and passenger
vehicles on local streets and on freeways (Reid et al. 2019, Localization Requirements for Autonomous Vehicles)."""
