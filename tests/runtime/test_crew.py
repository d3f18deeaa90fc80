"""Crews against plain loops, and when their workers die."""

from pathlib import Path

import pytest
from crew_work import deadly, faults, squared, threads

from foldmap.errors import ConfigError
from foldmap.runtime.crew import DASK, Crew, LostWorkerError
from foldmap.runtime.threads import use_threads

ITEMS = list(range(7))


@pytest.mark.parametrize("workers", [1, 2])
def test_all_items_are_done_once(workers: int) -> None:
    done = list(Crew(workers=workers).run(squared, 100, ITEMS))
    assert sorted(done) == [(item, 100 + item**2) for item in ITEMS]


def test_workers_share_the_threads() -> None:
    before = use_threads(5)
    try:
        told = dict(Crew(workers=2).run(threads, 0, ITEMS))
    finally:
        use_threads(before)
    assert set(told.values()) == {(2, "2", False)}


def test_workers_keep_the_memory_that_they_free() -> None:
    assert max(dict(Crew(workers=2).run(faults, 0, ITEMS[:2])).values()) < 1000  # of 16,384 pages


def test_dead_workers_are_survived(tmp_path: Path) -> None:
    done = dict(Crew(workers=2).run(deadly, str(tmp_path), ITEMS))
    assert isinstance(done.pop(3), LostWorkerError)
    assert done == {item: item for item in ITEMS if item != 3}


def test_what_is_no_crew_is_refused() -> None:
    with pytest.raises(ConfigError, match="no way to work on 'moon'"):
        Crew("moon")
    with pytest.raises(ConfigError, match="99999 workers"):
        Crew(workers=99_999)
    with pytest.raises(ConfigError, match="0 workers"):
        Crew(workers=0)


def test_dask_does_the_same() -> None:
    dask = pytest.importorskip("dask", reason="dask is not installed: foldmap[cluster]")
    distributed = pytest.importorskip("distributed", reason="distributed is not installed: foldmap[cluster]")
    with (
        distributed.LocalCluster(n_workers=2, processes=False, dashboard_address=None) as cluster,
        dask.config.set({"scheduler-address": cluster.scheduler_address}),
    ):
        assert sorted(Crew(DASK).run(squared, 100, ITEMS)) == [(item, 100 + item**2) for item in ITEMS]
        with pytest.raises(ConfigError, match="its own workers"):
            list(Crew(DASK, workers=2).run(squared, 100, ITEMS))
