"""Descriptors of one spot under many views, for a codebook and decoder that all maps share.

Pictures are generated (dead leaves), photographed under homographies in other light, and their keypoints joined by
geometry alone, so that training sees how much a spot's look really varies.

    python -m benchmarks.descriptors.tracks -o tracks.npz --count 400000 --seed 0
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.descriptors.dead_leaves import dead_leaves
from benchmarks.descriptors.grouping import group_keypoints
from benchmarks.descriptors.photographs import photograph
from foldmap.errors import ConfigError
from foldmap.town.hashing import block_rng
from foldmap.types import AnyArray, IntArray
from foldmap.visual.scene.colmap_library import quiet_pycolmap

_PICTURE_CAP = 3000
_MIN_VIEWS = 3

Sift = Callable[[AnyArray], tuple[AnyArray, AnyArray]]
"""Image uint8 (H, W) -> keypoints float32 (N, 4): x, y, scale in px, direction in rad; descriptors uint8 (N, 128)."""


@dataclass(frozen=True)
class DescriptorTracks:
    """Descriptors grouped by physical spot.

    Attributes:
        descriptors: uint8 (N, 128).
        track: int64 (N,), ascending from 0.
    """

    descriptors: AnyArray
    track: IntArray

    def __len__(self) -> int:
        return len(self.track)


def generate_tracks(
    count: int, seed: int, sift: Sift, *, views: int = 6, per_picture: int = _PICTURE_CAP
) -> DescriptorTracks:
    """Generate at least ``count`` descriptors.

    Args:
        count: wanted descriptors.
        seed: of everything; the same seed gives the same tracks.
        sift: extractor with scale and direction.
        views: photographs of each picture.
        per_picture: at most so many descriptors of one picture, for variety.

    Raises:
        ConfigError: count or per_picture is not positive, or there are too few views.
    """
    if count < 1 or views < _MIN_VIEWS or per_picture < views:
        raise ConfigError(
            f"{count} descriptors of {views} views, {per_picture} a picture",
            f"give positive counts and at least {_MIN_VIEWS} views",
        )
    parts, tracks, have, base = [], [], 0, 0
    for part in stream_tracks(seed, sift, views=views, per_picture=per_picture):
        if not len(part):
            continue
        parts.append(part.descriptors)
        tracks.append(part.track + base)
        have, base = have + len(part), base + int(part.track[-1]) + 1
        if have >= count:
            break
    return DescriptorTracks(np.concatenate(parts), np.concatenate(tracks))


def stream_tracks(
    seed: int, sift: Sift, *, views: int = 6, per_picture: int = _PICTURE_CAP
) -> Iterator[DescriptorTracks]:
    """Tracks of one picture after another, without end."""
    index = 0
    while True:
        yield picture_tracks(block_rng(seed, 81, index), sift, views, per_picture)
        index += 1


def picture_tracks(rng: np.random.Generator, sift: Sift, views: int, per_picture: int) -> DescriptorTracks:
    """Tracks of one picture that three photographs or more see; a random choice of them where there are too many."""
    photographs = photograph(dead_leaves(rng), rng, views)
    found = [sift(view.image) for view in photographs]
    number = np.concatenate(group_keypoints(photographs, [keys for keys, _ in found]))
    descriptors = np.concatenate([described for _, described in found])
    counts = np.bincount(number)
    chosen = rng.permutation(np.flatnonzero(counts >= _MIN_VIEWS))
    chosen = chosen[np.cumsum(counts[chosen]) <= per_picture]
    kept = np.flatnonzero(np.isin(number, chosen))
    kept = kept[np.argsort(number[kept], kind="stable")]
    _, track = np.unique(number[kept], return_inverse=True)
    return DescriptorTracks(descriptors[kept], track.astype(np.int64))


def colmap_sift(max_features: int = 3000) -> Sift:
    """COLMAP's SIFT with its default settings, on one core, through pycolmap.

    Raises:
        MissingExtraError: pycolmap is not installed.
    """
    with quiet_pycolmap() as pycolmap:
        options = pycolmap.FeatureExtractionOptions()
        options.use_gpu, options.num_threads = False, 1
        options.sift.max_num_features = max_features
        extractor = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)

    def extract(image: AnyArray) -> tuple[AnyArray, AnyArray]:
        bitmap = pycolmap.Bitmap.from_array(np.ascontiguousarray(image))
        keypoints, descriptors = extractor.extract(bitmap)
        if not len(keypoints):
            return np.zeros((0, 4), np.float32), np.zeros((0, 128), np.uint8)
        keys = np.asarray(pycolmap.keypoints_to_matrix(keypoints), np.float32)
        return keys, np.array(descriptors.data, np.uint8)

    return extract


def main(arguments: list[str] | None = None) -> None:
    """Write a compressed npz with ``descriptors`` and ``track``."""
    parser = argparse.ArgumentParser(description="generate SIFT descriptors in tracks")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    tracks = generate_tracks(chosen.count, chosen.seed, colmap_sift())
    np.savez_compressed(chosen.out, descriptors=tracks.descriptors, track=tracks.track)
    print(f"{chosen.out}: {len(tracks)} descriptors in {int(tracks.track[-1]) + 1} tracks")


if __name__ == "__main__":
    main()
