"""Pairs on disk: numbered .npz shards of bytes and packed bits (``python -m foldmap.town.lidar.pairs --help``)."""

import argparse
from pathlib import Path

import numpy as np

from foldmap.errors import ConfigError
from foldmap.lidar.pairs.sampling import RasterPair
from foldmap.town.lidar.sampling import TrainingPair, sample_pair
from foldmap.town.lidar.sensors import SensorName
from foldmap.types import BoolArray, ByteArray, FloatArray

SHARD_PAIRS = 25
LEVELS = 250.0
"""Stored byte = intensity x LEVELS, clipped: finer than the lidars' own steps."""
_SIDES_M = (32.0, 38.0, 24.0, 30.0)  # rows and columns of a fine crop of the map, and of its query
_FINE_M = (0.03, 0.25)


def write_pairs(
    folder: Path, count: int, seed: int, *, resolution_m: float = 0.05, coarse: bool = False, relief: bool = False
) -> None:
    """Write ``count`` pairs; pair k depends on (seed, k) and the pixel size alone, and shards that exist are kept.

    Crops are of 32 x 38 m, queries of 24 x 30 m. Coarse ones have 0.33 m pixels whatever the resolution, crops of
    192 px, queries of 128 px and mixed lidars; with ``relief``, both images have it mixed in. Raises ConfigError: no
    pairs were asked for, or of pixels that a network of fine maps has no use for.
    """
    if count < 1:
        raise ConfigError(f"{count} pairs", "ask for at least one")
    if not _FINE_M[0] <= resolution_m <= _FINE_M[1]:
        raise ConfigError(
            f"the town in pixels of {resolution_m:g} m", f"give {_FINE_M[0]:g} to {_FINE_M[1]:g} m, or --coarse"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, count, SHARD_PAIRS):
        path = folder / f"pairs-{first // SHARD_PAIRS:05d}.npz"
        if path.exists():
            continue
        pairs = [_draw(seed, k, coarse, relief, resolution_m) for k in range(first, min(first + SHARD_PAIRS, count))]
        scratch = path.with_suffix(".part")
        with scratch.open("wb") as stream:
            np.savez(
                stream,
                map_intensity=np.stack([_bytes(p.map.intensity) for p in pairs]),
                map_observed=np.stack([np.packbits(p.map.observed, axis=-1) for p in pairs]),
                map_count=np.stack([np.clip(p.map_count, 0, 255).astype(np.uint8) for p in pairs]),
                sweep_intensity=np.stack([_bytes(p.sweep_intensity) for p in pairs]),
                sweep_observed=np.stack([np.packbits(p.sweep_observed, axis=-1) for p in pairs]),
                offset_px=np.array([p.offset_px for p in pairs]),
                resolution_m=np.array(pairs[0].map.grid.resolution_m),
            )
        scratch.replace(path)


def _draw(seed: int, index: int, coarse: bool, relief: bool = False, resolution_m: float = 0.05) -> TrainingPair:
    rng = np.random.default_rng([seed, index])
    if not coarse:
        rows, columns, query_rows, query_columns = (round(side_m / resolution_m) for side_m in _SIDES_M)
        sweep_size_px = query_rows, query_columns
        return sample_pair(
            rng, resolution_m=resolution_m, map_size_px=(rows, columns), sweep_size_px=sweep_size_px, relief=relief
        )
    names: tuple[SensorName, ...] = ("spinning64", "spinning128", "rosette")
    sensors: dict[str, SensorName] = {"sensor": names[rng.integers(3)], "map_sensor": names[rng.integers(3)]}
    sweeps = int(rng.choice([20, 40] if sensors["sensor"] == "rosette" else [1, 5, 20, 40]))
    sizes = {"map_size_px": (192, 192), "sweep_size_px": (128, 128)}
    return sample_pair(rng, resolution_m=0.33, query_sweeps=sweeps, relief=relief, **sizes, **sensors)  # type: ignore[arg-type]


def _bytes(intensity: FloatArray) -> ByteArray:
    return np.clip(np.round(intensity * LEVELS), 0, 255).astype(np.uint8)


class PairCache:
    """All pairs of a folder of `write_pairs`, in memory at a byte a pixel; a ConfigError where there are none."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(Path(folder).glob("pairs-*.npz"))
        if not paths:
            cure = "write some: python -m foldmap.town.lidar.pairs --count N -o DIR"
            raise ConfigError(f"{folder} holds no pairs", cure)
        shards = []
        for path in paths:
            with np.load(path, allow_pickle=False) as shard:
                shards.append({name: shard[name] for name in shard.files})
        self.resolution_m = float(shards[0]["resolution_m"])
        self._joined = {n: np.concatenate([s[n] for s in shards]) for n in shards[0] if n != "resolution_m"}

    def __len__(self) -> int:
        return len(self._joined["offset_px"])

    def __getitem__(self, index: int) -> RasterPair:
        """One pair; a negative index or one past the end raises IndexError."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        # the content was displaced by the pair's offset, so the sweep's centre lies the other way
        row_px, column_px = (float(value) for value in self._joined["offset_px"][index])
        return RasterPair(*self._image("map", index), *self._image("sweep", index), (-row_px, -column_px))

    def _image(self, name: str, index: int) -> tuple[FloatArray, BoolArray]:
        stored, packed = (self._joined[f"{name}_{what}"][index] for what in ("intensity", "observed"))
        observed = np.unpackbits(packed, axis=-1, count=stored.shape[1]).astype(bool)
        return stored.astype(np.float32) / np.float32(LEVELS), observed


def main(arguments: list[str] | None = None) -> None:
    """Write a cache of pairs: ``python -m foldmap.town.lidar.pairs --count N --seed S -o DIR``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resolution", type=float, default=0.05, help="pixel size in metres")
    parser.add_argument("--coarse", action="store_true", help="0.33 m pixels, larger ground, mixed lidars")
    parser.add_argument("--relief", action="store_true", help="mix the scatter of heights into both images")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    sizes = {"resolution_m": options.resolution, "coarse": options.coarse}
    write_pairs(options.output, options.count, options.seed, relief=options.relief, **sizes)


if __name__ == "__main__":
    main()
