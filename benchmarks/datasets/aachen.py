"""Aachen Day-Night v1.1, as its owners ship it.

::

    images_upright/{db,sequences,query}/...
    3D-models/aachen_v_1_1/{cameras,images,points3D}.bin
    queries/{day,night}_time_queries_with_intrinsics.txt

Poses of the queries are withheld; visuallocalization.net evaluates results that go by base names.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.datasets.layout import Dataset, need_folder, need_images, pictures
from foldmap.errors import MapInputError
from foldmap.formats.hloc.lists import read_query_list
from foldmap.formats.listing import ListedImage

THRESHOLDS = ((0.25, 2.0), (0.5, 5.0), (5.0, 10.0))
"""Metres and degrees, as in the paper and the benchmark."""

_CURE = "give the folder of Aachen Day-Night v1.1 with images_upright/, 3D-models/ and queries/"


def read_aachen(folder: Path | str, check_images: bool = True) -> Dataset:
    """Lay out Aachen Day-Night v1.1.

    Args:
        folder: that holds ``images_upright/``, ``3D-models/`` and ``queries/``.
        check_images: whether each query must lie in ``images_upright/``.

    Returns:
        Map images by name (cameras and poses are in the COLMAP model), 922 day and night queries with cameras.

    Raises:
        MapInputError: a folder, list or image is missing, or a list is malformed.
    """
    folder = need_folder(Path(folder), _CURE)
    images = need_folder(folder / "images_upright", _CURE)
    lists = folder / "queries" / "*_time_queries_with_intrinsics.txt"
    queries = read_query_list(lists)
    bare = [query.name for query in queries if query.camera is None]
    if bare:
        raise MapInputError(f"{lists}: query {bare[0]!r} has no camera", "give the lists with intrinsics")
    if check_images:
        need_images(images, [query.name for query in queries])
    model = folder / "3D-models" / "aachen_v_1_1"
    if not model.is_dir():
        model = need_folder(folder / "3D-models", _CURE)
    mapped = [f"{part}/{name}" for part in ("db", "sequences") for name in pictures(images / part)]
    return Dataset(
        name="aachen-v1.1",
        map_folder=images,
        query_folder=images,
        map_images=tuple(ListedImage(name) for name in mapped),
        queries=tuple(queries),
        model_folder=model,
        thresholds=THRESHOLDS,
        withheld=True,
    )
