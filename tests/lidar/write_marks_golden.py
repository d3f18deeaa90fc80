"""Write tests/golden/v1-marks.fold and .json: run once for each version of the format, never to make a test pass."""

from __future__ import annotations

import json
from pathlib import Path

from painted_ground import RESOLUTION_M, painted_map

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.lidar.defaults import default_marks
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.folded import open_lidar

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

if __name__ == "__main__":
    path = GOLDEN / "v1-marks.fold"
    with FoldWriter(path) as writer:
        fold_lidar(writer, painted_map(7, 1100), LidarPlan(default_marks(RESOLUTION_M), embed_model=True))
    with FoldFile.open(path) as file:
        marks = open_lidar(file).marks_near(0.0, 0.0, 1e4)  # type: ignore[union-attr]
    (GOLDEN / "v1-marks.json").write_text(json.dumps({"marks": len(marks)}) + "\n")
