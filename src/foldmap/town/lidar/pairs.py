"""Write training pairs of the generated town: ``python -m foldmap.town.lidar.pairs --count N -o DIR``."""

import argparse
from pathlib import Path

from foldmap.town.lidar.cache import write_pairs


def main(arguments: list[str] | None = None) -> None:
    """Write a cache of pairs: ``python -m foldmap.town.lidar.pairs --count N --seed S -o DIR``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--coarse", action="store_true", help="0.33 m pixels, larger ground, mixed lidars")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    write_pairs(options.output, options.count, options.seed, coarse=options.coarse)


if __name__ == "__main__":
    main()
