"""The ETH-Microsoft dataset (ICCV 2021 preview), as its owners ship it: two kaptures and two lists.

::

    mapping/sensors/{sensors,rigs,trajectories,records_camera}.txt
    query/sensors/{sensors,rigs,records_camera}.txt
    queries_single.txt, queries_rigs.txt       timestamp/camera_or_rig_id a line

Poses of the queries are withheld; results go by ``timestamp/camera_or_rig_id``, for rigs rig_SE3_world.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.datasets.layout import Dataset, need_folder
from foldmap.errors import MapInputError
from foldmap.formats.hloc.lists import read_names
from foldmap.formats.kapture.text import read_images, read_records
from foldmap.formats.listing import ListedImage

THRESHOLDS = ((0.1, 1.0), (0.25, 2.0), (1.0, 5.0))
"""Metres and degrees, of the challenge; the paper has none for this dataset."""

_CURE = "give the folder with mapping/, query/, queries_single.txt and queries_rigs.txt"


def read_eth_microsoft(folder: Path | str) -> Dataset:
    """Lay out the ETH-Microsoft dataset.

    Raises:
        MapInputError: a folder or list is missing or malformed, or a listed query has no image.
        PoseInputError: a line of the rigs or trajectories holds no pose.
    """
    folder = need_folder(Path(folder), _CURE)
    mapping, query = need_folder(folder / "mapping", _CURE), need_folder(folder / "query", _CURE)
    images = {image.name: image for image in read_images(query)}
    devices = {name: f"{time}/{device}" for time, device, name in read_records(query)}
    singles = {f"{device}": name for name, device in devices.items()}
    rigs: dict[str, list[ListedImage]] = {}
    for image in images.values():
        if image.camera_SE3_rig is not None:
            rigs.setdefault(image.query_id, []).append(image)
    queries: list[ListedImage] = []
    for key in map(_canonical, read_names(folder / "queries_single.txt")):
        if key not in singles:
            raise MapInputError(f"queries_single.txt of {folder}: no image is {key!r}", _CURE)
        queries.append(replace(images[singles[key]], query_id=key, camera_SE3_rig=None))
    for key in map(_canonical, read_names(folder / "queries_rigs.txt")):
        if key not in rigs:
            raise MapInputError(f"queries_rigs.txt of {folder}: no rig is {key!r}", _CURE)
        queries += rigs[key]
    return Dataset(
        name="eth-microsoft",
        map_folder=mapping / "sensors" / "records_data",
        query_folder=query / "sensors" / "records_data",
        map_images=tuple(read_images(mapping)),
        queries=tuple(queries),
        model_folder=None,
        thresholds=THRESHOLDS,
        withheld=True,
    )


def _canonical(key: str) -> str:
    """``0012/rig`` is ``12/rig``: timestamps are numbers."""
    time, _, device = key.partition("/")
    return f"{int(time)}/{device}" if time.isdecimal() and len(time) < 20 else key
