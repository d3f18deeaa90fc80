"""Shared fixtures."""

from __future__ import annotations

import functools
import os
from pathlib import Path

# tests run side by side: threads of one that wait for those of another take several times as long
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import PIL.Image  # noqa: E402, F401  before any test imports pycolmap, see foldmap.visual.scene.colmap_library
import pytest  # noqa: E402
import typer.testing  # noqa: E402

# the program is drawn up once, not for each of the two thousand commands that tests run
typer.testing._get_command = functools.cache(typer.testing._get_command)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first, so that no worker waits at the end for one that another began last."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings, or a skip with the reason."""
    folder = Path(os.environ.get("FOLDMAP_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder}; set FOLDMAP_SHARED to a folder that holds data/")
    return folder
