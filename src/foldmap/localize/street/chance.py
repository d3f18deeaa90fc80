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
    chance={EVIDENCE: Tail(0.011, 2.267, 0.1, 990)},
    sigma_scale=0.4157,
    errors=Tail(2.13, 1.156, 0.1042, 96),
    answers=96,
    negatives=990,
)
