"""Every reader of files, and of a street layer: right, or a FoldmapError; nothing else, in bounded time and memory.

``python tests/fuzz/fuzz_readers.py --seconds 60 --family sumo``
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.append(str(Path(__file__).resolve().parents[2]))  # where `benchmarks` is

from driver import Family, run
from families import camera_families
from fold_families import fold_families
from street_families import street_families


def families() -> list[Family]:
    """All of them."""
    return [*camera_families(), *street_families(), *fold_families()]


def main() -> None:
    """Read the arguments and fuzz; exit status 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", action="append", default=[], help="by name; all where left out")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each family, at most")
    parser.add_argument("--cases", type=int, default=None, help="of each family, at most")
    parser.add_argument("--slice", action="store_true", help="as many cases as the tests run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--keep", type=Path, default=None, help="write findings here")
    given = parser.parse_args()
    every = {family.name: family for family in families()}
    unknown = set(given.family) - set(every)
    if unknown:
        parser.error(f"there is no family {sorted(unknown)[0]}; choose from {', '.join(every)}")
    found = cases = 0
    for name in given.family or every:
        begin_s = time.monotonic()
        cases_asked = every[name].slice_cases if given.slice else given.cases
        tally = run(every[name], given.seed, cases_asked, given.seconds, given.keep, given.first)
        found, cases = found + len(tally.findings), cases + tally.cases
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(tally.outcomes.items()))
        print(f"{name}: {tally.cases} cases in {time.monotonic() - begin_s:.0f} s: {outcomes}", flush=True)
        for number, change, wrong in tally.findings[:20]:
            print(f"  FOUND --family {name} --seed {given.seed} --first {number} --cases 1: {change}: {wrong}")
    print(f"{cases} cases, {found} findings")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
