"""Learn the basis that ships with foldmap, from descriptors of generated pictures.

python -m benchmarks.descriptors.tracks -o pairs.npz
python -m benchmarks.visual.standard_basis --descriptors pairs.npz --feature sift --name sift-1 -o sift-1.safetensors
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.types import AnyArray, FloatArray, IntArray
from foldmap.visual.codes.basis_fit import fit_basis
from foldmap.visual.source import unit_descriptors

MIN_TRACK = 3
"""Observations of a track whose mean counts."""


def means_by_track(descriptors: AnyArray, track: IntArray, min_rows: int = MIN_TRACK) -> FloatArray:
    """Unit means float32 (T, D) of each track's unit descriptors; tracks with fewer rows, or negative, are left out."""
    order = np.argsort(track, kind="stable")
    order = order[track[order] >= 0]
    _, first, count = np.unique(track[order], return_index=True, return_counts=True)
    if not len(first):
        return np.zeros((0, descriptors.shape[1]), np.float32)
    total = np.add.reduceat(unit_descriptors(descriptors[order]), first, axis=0)
    return unit_descriptors(total[count >= min_rows])


def read_means(path: Path) -> FloatArray:
    """`means_by_track` of an npz with descriptors (N, D) and track (N,); `MapInputError` for another file."""
    try:
        with np.load(path, allow_pickle=False) as held:
            descriptors, track = held["descriptors"], held["track"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise MapInputError(f"{path} cannot be read: {error}", "give an npz with descriptors and track") from error
    if descriptors.ndim != 2 or track.shape != (len(descriptors),) or track.dtype.kind != "i":
        raise MapInputError(f"{path} holds descriptors {descriptors.shape} and tracks {track.shape}", "give one a row")
    return means_by_track(descriptors, track)


def main(arguments: list[str] | None = None) -> None:
    """Learn a basis from observed descriptors with the track of each."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--descriptors", type=Path, required=True, help="npz: descriptors (N, D), track (N,)")
    parser.add_argument("--feature", default="sift")
    parser.add_argument("--name", default="sift-1")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--products", type=int, default=16)
    parser.add_argument("-o", dest="output", type=Path, required=True)
    options = parser.parse_args(arguments)
    means = read_means(options.descriptors)
    basis = fit_basis(means, options.rank, products=options.products, feature=options.feature, name=options.name)
    options.output.write_bytes(basis.to_bytes())
    print(f"{options.output}: {len(basis.to_bytes())} bytes from {len(means)} tracks")


if __name__ == "__main__":
    main()
