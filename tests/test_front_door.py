"""What `import foldmap` shows: a list of names, each at home somewhere, and nothing loaded before it is used."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

import foldmap

NAMES = [
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
MOST_IMPORT_S = 0.15
HEAVY = {"numpy", "torch", "numba", "scipy", "rasterio", "PIL", "h5py", "faiss", "pyproj", "sqlite3"}


def test_the_names_are_these() -> None:
    assert foldmap.__all__ == NAMES
    assert set(NAMES) <= set(dir(foldmap))


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_found_and_says_what_it_is(name: str) -> None:
    if name == "fold" and importlib.util.find_spec("foldmap.api.folding") is None:
        pytest.skip("foldmap.api.folding is not there")
    found = getattr(foldmap, name)
    assert name == "__version__" or found.__doc__
    assert getattr(foldmap, name) is found


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'close'"):
        _ = foldmap.close


def test_nothing_heavy_is_loaded_before_it_is_used() -> None:
    code = (
        "import time, sys, json; begin = time.process_time(); import foldmap; "
        "print(json.dumps([time.process_time() - begin, sorted(sys.modules)]))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds, modules = json.loads(said)
    assert seconds < MOST_IMPORT_S
    assert HEAVY.isdisjoint(modules)
    assert [name for name in modules if name.startswith("foldmap.")] == ["foldmap.version"]
