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
