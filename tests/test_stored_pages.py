"""``stored_pages.map_pages`` gives the same results in this process and in worker processes."""

import os
from contextlib import closing
from dataclasses import replace

import pytest

import bpexp
from bpexp.data import DATA_SOURCES, DataConfig
from bpexp.nn.activations import ACTIVATIONS
from bpexp.sweeps import stored_pages
from bpexp.sweeps.executors import processes as worker_processes
from bpexp.sweeps.stored_pages import map_pages
from bpexp.tracking.archive import open_archive
from bpexp.tracking.reading import FINISHED
from bpexp.tracking.retry import TrackingError
from bpexp.tracking.store import locate

PARENT = os.getpid()


class MyConfig(DataConfig):
    """The settings of a data set of another package."""


@pytest.fixture(scope="module")
def archive(put_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    uri = put_store(folder).uri
    bpexp.sweep(seed=[0, 1, 2, 3, 4], epochs=2, engine="numpy", tracking={"uri": uri})
    return open_archive(locate(uri, folder, {}), "bpexp")


@pytest.fixture
def ids(archive):
    return [run.run_id for run in archive.search(FINISHED)]


@pytest.fixture
def in_processes(monkeypatch):
    monkeypatch.setattr(stored_pages, "PAGE_SIZE", 2)
    monkeypatch.setattr(stored_pages, "MIN_RUNS", 1)
    monkeypatch.setattr(stored_pages, "count_workers", lambda n_jobs: 2)


def names(archive, run_ids):
    return [(run.run_id, run.params["seed"]) for run in archive.reader.get(run_ids)]


def processes(archive, run_ids):
    return [os.getpid()]


def refuse_the_last_run(archive, run_ids):
    if archive.search(FINISHED)[-1].run_id in run_ids:
        raise TrackingError("The store does not answer.")
    return run_ids


def end_the_worker(archive, run_ids):
    if os.getpid() != PARENT:
        os._exit(1)
    return run_ids


@pytest.mark.slow
def test_worker_processes_give_the_results_in_the_order_of_the_runs(archive, ids, in_processes):
    assert list(map_pages(names, archive, ids)) == names(archive, ids)
    assert len(ids) == 5
    assert PARENT not in set(map_pages(processes, archive, ids))


def doubled(number):
    return 2 * number


def test_results_that_wait_are_few():
    """Calls that are far ahead of the consumer would fill the memory with results."""
    taken = []

    def numbers():
        for number in range(30):
            taken.append(number)
            yield number

    n_ahead = 2 * worker_processes.CALLS_AHEAD
    with closing(worker_processes.map_in_order(doubled, numbers(), 2)) as results:
        for number, result in enumerate(results):
            assert result == 2 * number
            assert len(taken) <= number + n_ahead
    assert len(taken) == 30


def test_few_runs_are_read_in_this_process(archive, ids):
    assert list(map_pages(processes, archive, ids)) == [PARENT]


@pytest.mark.parametrize(
    ("registry", "added"),
    [
        (ACTIVATIONS, replace(ACTIVATIONS["tanh"], name="mine")),
        (DATA_SOURCES, replace(DATA_SOURCES["xor"], name="mine", config=MyConfig)),
    ],
)
def test_what_was_registered_is_known(archive, ids, in_processes, monkeypatch, registry, added):
    monkeypatch.setattr(registry, "_records", {**registry, "mine": added})
    assert list(map_pages(processes, archive, ids)) == [PARENT] * 3


def test_an_error_in_a_worker_ends_the_iteration(archive, ids, in_processes):
    with pytest.raises(TrackingError, match="does not answer"):
        list(map_pages(refuse_the_last_run, archive, ids))


@pytest.mark.slow
def test_pages_of_a_worker_that_died_are_read_in_this_process(archive, ids, in_processes):
    assert list(map_pages(end_the_worker, archive, ids)) == ids
