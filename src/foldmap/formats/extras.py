"""Libraries that only some of the package needs: `pip install foldmap` localizes, the extras bring the rest."""

from __future__ import annotations

import importlib
from typing import Any

from foldmap.errors import MissingExtraError

_GROUPS = {
    "maps": ("torch", "rasterio", "imagecodecs", "matplotlib"),
    "sfm": ("pycolmap",),
    "learned": ("kornia",),
    "street": ("pyarrow", "geopandas", "pandas", "shapely"),
    "bags": ("rosbags", "mcap", "mcap_ros2"),
    "serve": ("starlette", "uvicorn", "prometheus_client"),
    "view": ("rerun",),
    "cluster": ("dask", "distributed"),
}
_CURES = {module: f"pip install 'foldmap[{group}]'" for group, modules in _GROUPS.items() for module in modules}
# photos' poses; the index has wheels of it for x86-64 alone under Linux, and no source
_CURES["poselib"] = "pip install git+https://github.com/PoseLib/PoseLib (needs cmake, a C++ compiler and Eigen)"


def extra(module: str, what: str) -> Any:
    """Import a module of an extra; a MissingExtraError names ``what`` needs it, and which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module, what) from error


def missing_extra(error: ModuleNotFoundError, what: str) -> MissingExtraError | None:
    """What to say where a module of an extra was not found; None where the module is of none."""
    name = error.name or ""
    return _missing(name, what) if name.split(".")[0] in _CURES else None


def _missing(module: str, what: str) -> MissingExtraError:
    top = module.split(".")[0]
    said = f"{what} needs {top}, which is not installed"
    return MissingExtraError(said, _CURES[top])
