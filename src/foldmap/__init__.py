"""foldmap folds a map into one small file and localizes in that file.

::

    import foldmap

    with foldmap.open("town.fold") as town:
        estimate = town.localize(photo)
        tracker = town.track(prior)
        estimate = tracker.step(sweep, odometry, time_s)
    foldmap.fold(["map.tif", "scene/", "streets.osm"], "town.fold", budget="1MB")

Nothing is loaded before it is used.
"""

import importlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldmap.version import __version__

if TYPE_CHECKING:
    from foldmap.api.folding.one_file import fold
    from foldmap.api.opened import FoldedMap, open
    from foldmap.api.photo import Photo
    from foldmap.api.tracking import Tracker
    from foldmap.errors import (
        BudgetError,
        ConfigError,
        FoldmapError,
        InputError,
        LayerError,
        MapFormatError,
        MissingExtraError,
        ModelError,
    )
    from foldmap.geometry import SE2, SE3, Camera
    from foldmap.lidar.source import Sweep
    from foldmap.lidar.unfold import FoldedLidar
    from foldmap.localize.estimate import Estimate, Status
    from foldmap.localize.lidar.localizer import LidarLocalizer
    from foldmap.localize.street.localizer import StreetLocalizer
    from foldmap.localize.visual.localizer import VisualLocalizer
    from foldmap.street.images.observation import AerialCrop, CameraRing, RingFrame
    from foldmap.street.unfold import FoldedStreet
    from foldmap.visual.source import Features, Query
    from foldmap.visual.unfold import FoldedVisual


def _keep_compiled() -> None:
    """Name a folder by ``NUMBA_CACHE_DIR`` where numba would find none, before it is loaded: else it ends the process.

    It takes ``__pycache__`` beside the sources, then the user's cache. A container that is read only, or a service
    without a home, has neither: then it is a folder of the user's own among the temporary files, which nobody else may
    write, for what lies there is run. Nothing is done where the variable is set.
    """
    if sys.platform == "win32" or os.environ.get("NUMBA_CACHE_DIR") or _writable(Path(__file__).parent / "__pycache__"):
        return
    with suppress(OSError, RuntimeError):  # RuntimeError: of a user without a home
        if _writable(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "numba"):
            return
    import tempfile

    with suppress(OSError):
        own = Path(tempfile.gettempdir()) / f"foldmap-{os.getuid()}"
        if _writable(own) and own.lstat().st_uid == os.getuid() and not own.lstat().st_mode & 0o022:
            os.environ["NUMBA_CACHE_DIR"] = str(own)


def _writable(folder: Path) -> bool:
    """Whether this user may write into a folder, which is made where it is missing."""
    with suppress(OSError):
        folder.mkdir(0o700, parents=True, exist_ok=True)
        return os.access(folder, os.W_OK)
    return False


_keep_compiled()


__all__ = [
    "SE2",
    "SE3",
    "AerialCrop",
    "BudgetError",
    "Camera",
    "CameraRing",
    "ConfigError",
    "Estimate",
    "Features",
    "FoldedLidar",
    "FoldedMap",
    "FoldedStreet",
    "FoldedVisual",
    "FoldmapError",
    "InputError",
    "LayerError",
    "LidarLocalizer",
    "MapFormatError",
    "MissingExtraError",
    "ModelError",
    "Photo",
    "Query",
    "RingFrame",
    "Status",
    "StreetLocalizer",
    "Sweep",
    "Tracker",
    "VisualLocalizer",
    "__version__",
    "fold",
    "open",
]

_ROOMS = {
    "api.folding.one_file": ("fold",),
    "api.opened": ("FoldedMap", "open"),
    "api.photo": ("Photo",),
    "api.tracking": ("Tracker",),
    "geometry": ("SE2", "SE3", "Camera"),
    "lidar.source": ("Sweep",),
    "lidar.unfold": ("FoldedLidar",),
    "localize.estimate": ("Estimate", "Status"),
    "localize.lidar.localizer": ("LidarLocalizer",),
    "localize.street.localizer": ("StreetLocalizer",),
    "localize.visual.localizer": ("VisualLocalizer",),
    "street.images.observation": ("AerialCrop", "CameraRing", "RingFrame"),
    "street.unfold": ("FoldedStreet",),
    "visual.source": ("Features", "Query"),
    "visual.unfold": ("FoldedVisual",),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}
"""Where each public name lives; the errors all live in `foldmap.errors`."""


def __getattr__(name: str) -> Any:
    """Import a public name from its home the first time it is used."""
    if name not in __all__:
        raise AttributeError(f"module 'foldmap' has no attribute {name!r}")
    home = importlib.import_module(f"foldmap.{_HOMES.get(name, 'errors')}")
    value = globals()[name] = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
