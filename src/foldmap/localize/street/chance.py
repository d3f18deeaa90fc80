"""What drives reach that are not in the map, and what errors are, where a map was not calibrated itself.

Measured with the shipped model in generated towns that it has not seen::

    python -m benchmarks.street.trusting --town
"""

from __future__ import annotations

from foldmap.localize.evidence import MapCalibration
from foldmap.localize.tail import Tail

EVIDENCE = "evidence"
"""The signal of a drive whose chance is calibrated."""

OF_TOWNS = MapCalibration({EVIDENCE: Tail(0.0, 1.5, 0.1, 100)}, 1.0, None, 0, 0)
