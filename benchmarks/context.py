"""What the scoreboard's rows share: recordings, models, and results that several rows need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.lines import Line, RowSkipped
from foldmap.errors import ModelError

if TYPE_CHECKING:
    from foldmap.bench.lidar.drive import Drive
    from foldmap.lidar.bundle import Bundle
    from foldmap.lidar.marks.model import MarksModel
    from foldmap.lidar.source import RasterMap, RasterSource

Report = Callable[[int, int], None]


class Board:
    """Recordings and models, each loaded once.

    Args:
        data: folder of the lidar recordings (kitti-hdl64, kitti-odometry00, groundloc-maps); ``joint`` beside it is
            looked into, too.
        models: used instead of the shipped ones for maps of their resolution.
        threads: of torch.
        quiet: no progress on stderr.

    What reads the layers is imported where it is asked for: a row of another layer does not load it.
    """

    kept_folder: Path | None = None
    """Where rows that take long keep what they have so far, to go on with; None keeps nothing."""

    def __init__(self, data: Path, models: Sequence[Bundle] = (), threads: int = 2, quiet: bool = False) -> None:
        self.data, self.models, self.threads, self.quiet = data, tuple(models), threads, quiet
        self._kept: dict[Hashable, Any] = {}

    def shared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Make something that several rows share, in this run only."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def close(self) -> None:
        """Give back what was kept for this run."""
        self._kept.clear()

    def bundle(self, resolution_m: float) -> Bundle:
        """The model for maps of a pixel size.

        Raises:
            RowSkipped: there is none.
        """
        from foldmap.lidar.defaults import default_bundle, suits

        for model in self.models:
            if suits(model, resolution_m):
                return model
        try:
            return self.shared(("bundle", resolution_m), lambda: default_bundle(resolution_m))  # type: ignore[no-any-return]
        except ModelError as error:
            raise RowSkipped(f"skipped: {error.message}") from error

    def marks(self, resolution_m: float) -> MarksModel:
        """The shipped marks for maps of a pixel size.

        Raises:
            RowSkipped: there are none.
        """
        from foldmap.lidar.defaults import default_marks

        try:
            return self.shared(("marks", resolution_m), lambda: default_marks(resolution_m))  # type: ignore[no-any-return]
        except ModelError as error:
            raise RowSkipped(f"skipped: {error.message}") from error

    def marks_of(self, source: RasterSource) -> MarksModel:
        """Those of the shipped marks that ``foldmap fold`` takes for a map; errors as `marks`."""
        from foldmap.lidar.defaults import marks_for
        from foldmap.lidar.source import observed_about_m2
        from foldmap.localize.lidar.choosing import best_code, loses_the_place, simulated_places, try_codes

        models = marks_for(source.grid.resolution_m)
        if len(models) < 2:
            return self.marks(source.grid.resolution_m)
        places = simulated_places(source)
        trials = try_codes(models, places, source.grid.resolution_m)
        if loses_the_place(trials):
            rich = marks_for(source.grid.resolution_m, rich=True)
            models, trials = [*models, *rich], [*trials, *try_codes(rich, places, source.grid.resolution_m)]
        return models[best_code(trials, observed_about_m2(source))]

    def recordings(self, name: str) -> Path:
        """A file or folder of the recordings.

        Raises:
            RowSkipped: it is not there.
        """
        path = self.data / name
        joint = self.data.parent / "joint" / name  # recordings of several sensors
        if not path.exists() and joint.exists():
            return joint
        if not path.exists():
            raise RowSkipped(f"skipped: no recordings at {path}")
        return path

    def drive(self, name: str, max_range_m: float) -> Drive:
        """Ground returns of a recorded drive: a folder with ``sweeps`` and ``poses.txt``."""
        from foldmap.bench.lidar.drive import load_drive
        from foldmap.formats.sweeps.drives import open_drive

        def load() -> Drive:
            folder = self.recordings(name)
            recorded = open_drive(folder / "sweeps", folder / "poses.txt")
            return load_drive(name, recorded.sweeps, recorded.world_SE3_sensors, max_range_m=max_range_m)

        return self.shared(("drive", name, max_range_m), load)  # type: ignore[no-any-return]

    def raster(self, name: str, relief_band: int | None = None) -> RasterMap:
        """A whole recorded map, the relief of a band mixed in where it is named."""
        from foldmap.formats.raster.geotiff import open_rasters

        def load() -> RasterMap:
            with open_rasters([self.recordings(name)], 1, relief_band) as source:
                return source.read(0, 0, *source.grid.shape)

        return self.shared(("raster", name, relief_band), load)  # type: ignore[no-any-return]

    def report(self, what: str) -> Report:
        """Progress on stderr, at most twenty lines a task."""
        shown = -1

        def say(done: int, total: int) -> None:
            nonlocal shown
            step = 20 * done // max(total, 1)
            if not self.quiet and step > shown:
                shown = step
                print(f"    {what}: {done} of {total}", file=sys.stderr, flush=True)

        return say


class Row(Protocol):
    """One row of the table: a frozen dataclass whose fields are its parameters."""

    @property
    def number(self) -> int:
        """Of the row in its layer's table."""
        ...

    @property
    def name(self) -> str:
        """By which ``--only`` knows it."""
        ...

    @property
    def title(self) -> str:
        """For people."""
        ...

    def lines(self, board: Board) -> Iterator[Line]:
        """Measure.

        Raises:
            RowSkipped: data or a model that it needs is not here.
        """
        ...
