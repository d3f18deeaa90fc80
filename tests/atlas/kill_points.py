"""Kills an update at every so-many-th call it makes, and at random moments; prints what was left each time (JSON).

Run as its own process, because it forks and that wants no threads: ``python kill_points.py FOLDER [patch]``.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fold_samples import contents
from foldmap.atlas import FoldWriter, update
from foldmap.atlas.patches import apply_patch, write_patch


def patched(path: Path, change: Callable[[], None]) -> Callable[[], None]:
    """The same change, brought by a patch."""
    after, patch = path.with_name("after.fold"), path.with_name("change.foldpatch")
    good = path.read_bytes()
    change()
    path.rename(after)
    path.write_bytes(good)
    write_patch(path, after, patch)
    after.unlink()

    def put_in() -> None:
        apply_patch(path, patch)

    return put_in


def versions(path: Path) -> tuple[Callable[[], None], dict, dict]:
    """An update as a function, and the contents before and after it."""

    def write(value: int) -> None:
        with FoldWriter(path) as writer:
            writer.put_metadata("version", value)
            writer.add_layer("g", "lidar", {})
            for column in range(40):
                writer.put_tile("g", column, 0, bytes([value]) * 2000)

    def change() -> None:
        with update(path) as updater:
            updater.put_metadata("version", 2)
            for column in range(40):
                updater.put_tile("g", column, 0, bytes([2]) * 2000)

    write(2)
    after = contents(path)
    write(1)
    return change, contents(path), after


def killed(path: Path, action: Callable[[], None], calls: int, seconds: float) -> bool:
    """Run the action in a child that dies after so many calls or seconds; True when it was killed before its end."""
    child = os.fork()
    if child == 0:
        left = calls

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        if calls:
            sys.setprofile(count)
        action()
        sys.setprofile(None)
        os._exit(0)
    if seconds:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] != 0


def count_calls(action: Callable[[], None]) -> int:
    """Number of calls, in Python and into C, that the action makes."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    action()
    sys.setprofile(None)
    return calls


def main(folder: Path, how: str = "update") -> None:
    """Kill until an update comes through, and report."""
    path = folder / "map.fold"
    change, before, after = versions(path)
    if how == "patch":
        change = patched(path, change)
    beside = set(os.listdir(folder))
    good = path.read_bytes()
    left = {"old": 0, "new": 0, "mixture": 0, "finished": 0}
    calls = count_calls(change)
    assert contents(path) == after
    # all along, each of the last ones (around the rename), and by the clock
    points = [(n, 0.0) for n in [*range(1, calls, calls // 100), *range(calls - 40, calls + 1)]]
    points += [(0, 0.001 * n) for n in range(1, 20)]
    for limit, seconds in points:
        path.write_bytes(good)
        if not killed(path, change, limit, seconds):
            left["finished"] += 1
            assert contents(path) == after
            continue
        found = contents(path)
        left["old" if found == before else "new" if found == after else "mixture"] += 1
    # what a killed writer left does not stop the next one, nor does it stay
    path.write_bytes(good)
    change()
    left["recovered"] = int(contents(path) == after and set(os.listdir(folder)) == beside)
    print(json.dumps(left))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
