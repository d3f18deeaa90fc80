"""Row 13: what the file of a recorded street weighs, all included."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.context import Board
from benchmarks.lidar.folding import run_python
from benchmarks.lines import Line, at_most, information


@dataclass(frozen=True)
class MapFile:
    """Row 13: all sweeps of the street, built and folded by the command line.

    Attributes:
        recording: of the lidar recordings.
        codec: of ``foldmap fold``.
        most_bytes: of the file.
    """

    number: ClassVar[int] = 13
    name: ClassVar[str] = "file"
    title: ClassVar[str] = "the whole file of a street"
    recording: str = "kitti-hdl64"
    codec: str = "marks"
    most_bytes: int = 9_000

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        drive = board.recordings(self.recording)
        with tempfile.TemporaryDirectory() as folder:
            tif, path = f"{folder}/map.tif", Path(folder) / "map.fold"
            poses = str(drive / "poses.txt")
            run_python("foldmap", "build", "lidar", str(drive / "sweeps"), "--poses", poses, "-o", tif)
            folded = json.loads(run_python("foldmap", "fold", tif, "-o", str(path), "--codec", self.codec, "--json"))
            size = path.stat().st_size
        detail = {"summary": folded}
        yield at_most(self.number, f"{self.recording}, folded", size, self.most_bytes, "B", detail=detail)
        layer = folded.get("layers", {}).get("lidar", folded)
        if "observed_m2" in layer:
            yield information(self.number, "observed ground", layer["observed_m2"], "m2")
