"""What drives reach that are not in the map, and how far right answers err, where a map is not calibrated itself.

Of the shipped model, on aerial tiles of Boston and Seattle in turn, which it has not seen::

    python -m benchmarks.street.trusting tile_{1,13,2,14,3,15}_graph.npz
"""

from __future__ import annotations

from foldmap.localize.evidence import MapCalibration
from foldmap.localize.tail import Tail

EVIDENCE = "evidence"
"""The signal, of those of `StreetDiagnostics`, whose chance is calibrated."""

SHIPPED = MapCalibration(
    chance={EVIDENCE: Tail(0.9492, 2.354, 0.1, 2160)},
    sigma_scale=0.4984,
    errors=Tail(2.094, 0.7782, 0.09877, 81),
    answers=81,
    negatives=2160,
)
