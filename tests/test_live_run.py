"""A single run is shown in the store while it is trained, and its final record is as without."""

import getpass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweeping import run_to_end, start, wait_until

import bpexp
from bpexp.config.compose import compose_settings
from bpexp.config.schema import parse
from bpexp.sweeps import live_run
from bpexp.sweeps.job import Span
from bpexp.sweeps.live_run import LiveRun, shown_epochs
from bpexp.sweeps.run_record import RunRecorder, logged_epochs
from bpexp.sweeps.runner import SweepRunner
from bpexp.tracking import database
from bpexp.tracking.archive import open_archive
from bpexp.tracking.reading import Query
from bpexp.tracking.store import connect, locate
from bpexp.training import loop

LOSS = "loss"


@given(st.integers(1, 10**9), st.integers(0, 300), st.booleans())
def test_the_epochs_that_are_shown_contain_those_that_are_logged(epochs, points, early):
    shown = shown_epochs(epochs, points, may_stop_early=early)
    logged = logged_epochs(epochs, points)
    assert list(shown) == sorted(set(shown))
    assert set(logged) <= set(shown)
    assert not shown or (shown[0], shown[-1]) == (1, epochs)
    assert len(shown) <= (2 if early else 1) * max(points, 2 if points else 0)


@given(st.lists(st.integers(1, 40), max_size=9), st.lists(st.booleans(), min_size=9, max_size=9))
def test_every_point_is_handed_over_once_and_in_order(chunks, answers):
    config = parse(compose_settings({"epochs": 400, "stop": {"loss": 0.0}}))[0]
    taken, refusals = [], iter(answers)

    def show(points):
        accepted = next(refusals)
        taken.extend(points if accepted else [])
        return accepted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_run, "SECONDS_BETWEEN_POINTS", 0.0)
        live, done = LiveRun(config, 10, show), 0
        for length in chunks:
            live.add(done + 1.0 + np.arange(length))
            done += length
    epochs = [e for e in shown_epochs(400, 10, may_stop_early=True) if e <= done]
    assert [(point.step, point.value) for point in taken] == [(e, e) for e in epochs[: len(taken)]]
    if chunks and all(answers):
        assert len(taken) == len(epochs)


def points_of(archive, run_id, name=LOSS):
    points = archive.reader.history([run_id], name).get(run_id, [])
    assert len({point.step for point in points}) == len(points)
    return [tuple(point) for point in points]


@pytest.fixture
def shown(monkeypatch):
    """Lets runs be shown after each call of the engine; the runs and points that were seen."""
    monkeypatch.setattr(live_run, "SECONDS_BETWEEN_POINTS", 0.0)
    monkeypatch.setattr(loop, "MAX_CHUNK_LOSSES", 10)
    seen, show = [], SweepRunner._show

    def waiting(runner, points):
        writer = runner._writer
        assert writer.sweep.parent is None
        taken = show(runner, points)
        writer._showing.result(60)
        archive = open_archive(locate(None, Path.cwd(), {}), "bpexp")
        (run,) = archive.search(Query(statuses=["RUNNING"]))
        seen.append((run, points_of(archive, run.run_id)))
        return taken

    monkeypatch.setattr(SweepRunner, "_show", waiting)
    return seen


@pytest.mark.usefixtures("a_store")
@pytest.mark.parametrize("tracker", ["bulk", pytest.param("client", marks=pytest.mark.slow)])
@pytest.mark.parametrize("stop", [[], ["stop.loss=0.2504"]])
def test_a_run_that_was_shown_has_the_record_of_one_that_was_not(
    inside, shown, monkeypatch, tracker, stop
):
    if tracker == "client":
        monkeypatch.setattr(database, "unsupported_reason", lambda engine: "requested by the test")
    typed = ["lr=1", "epochs=60", "tracking.points=7", *stop]
    assert inside(*typed).returncode == 0
    during = list(shown)
    assert during
    monkeypatch.setattr(live_run, "SECONDS_BETWEEN_POINTS", 1e9)
    assert inside(*typed).returncode == 0
    assert len(shown) == len(during)
    archive = open_archive(locate(None, Path.cwd(), {}), "bpexp")
    plain, live = archive.search()
    assert {run.run_id for run, _ in during} == {live.run_id}
    for run, points in during:
        assert run.params == live.params
        assert run.tags.items() <= live.tags.items()
        assert points
    assert len(during[-1][1]) > len(during[0][1])

    assert (live.status, live.params, live.data) == (plain.status, plain.params, plain.data)
    assert (live.status, live.outcome == "converged") == ("FINISHED", bool(stop))
    assert live.tags == plain.tags
    assert live.metrics == plain.metrics
    for name in plain.metrics:
        logged, expected = (points_of(archive, run.run_id, name) for run in (live, plain))
        # MLflow's API cannot delete the points of epochs that are not logged of such a run.
        assert logged == expected or (tracker == "client" and set(expected) < set(logged) and stop)
    contents = [{name: archive.file(run, name) for name in archive.files(run)}
                for run in (live, plain)]  # fmt: skip
    assert contents[0] == contents[1]
    assert inside("verify", "--all").returncode == 0
    assert inside("reproduce", "--all").returncode == 0


@pytest.mark.slow
def test_a_run_that_was_killed_keeps_its_curve_and_can_be_repeated(put_store, tmp_path):
    put_store(tmp_path)
    archive = open_archive(locate(None, tmp_path, {}), "bpexp")
    often = "from bpexp.sweeps import live_run; live_run.SECONDS_BETWEEN_POINTS = 0.0"
    typed = ["epochs=100000000", "stop.loss=0"]
    process = start(tmp_path, "bulk", *typed, before=often)

    def curve():
        return [point for run in archive.search() for point in points_of(archive, run.run_id)]

    wait_until(lambda: len(curve()) > 3, process)
    process.kill()
    process.communicate()
    (run,) = archive.search()
    assert run.status == "RUNNING"
    before = points_of(archive, run.run_id)
    assert run_to_end(tmp_path, "epochs=300") == (0, "")
    again, killed = archive.search()
    assert (killed.run_id, killed.status, killed.outcome) == (run.run_id, "KILLED", "interrupted")
    assert points_of(archive, killed.run_id) == before
    # The same losses as of a run that nobody disturbed.
    first = [(epoch, loss) for epoch, loss in before if epoch <= 20_000]
    losses = bpexp.train(epochs=20_000).losses
    assert first == [(epoch, losses[epoch - 1]) for epoch, _ in first]
    assert len(first) > 3
    assert again.status == "FINISHED"
    assert connect(locate(None, tmp_path, {})).get_run(killed.run_id).info.end_time


@pytest.mark.usefixtures("a_store")
@pytest.mark.parametrize("tracker", ["bulk", "client"])
def test_runs_of_a_sweep_have_their_own_times_author_and_source(
    inside, monkeypatch, tmp_path, tracker
):
    if tracker == "client":
        monkeypatch.setattr(database, "unsupported_reason", lambda engine: "requested by the test")
    typed = ["-m", "hidden=2,3,4", "seed=1,2", "epochs=200", "backend=serial", "engine=numpy"]
    assert inside(*typed).returncode == 0
    client = connect(locate(None, tmp_path, {}))
    runs = client.search_runs([client.get_experiment_by_name("bpexp").experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert len(children) == 6
    times = {}
    for run in children:
        assert run.data.tags["mlflow.user"] == run.info.user_id == getpass.getuser()
        assert run.data.tags["mlflow.source.name"] == "bpexp"
        times.setdefault(run.data.params["hidden"], set()).add(
            (run.info.start_time, run.info.end_time)
        )
    # Each width is a batch of two runs, and the batches are trained in turn.
    spans = sorted(span for (span,) in times.values())
    limits = [parent.info.start_time, *(time for span in spans for time in span)]
    assert [*limits, parent.info.end_time] == sorted([*limits, parent.info.end_time])


@given(
    st.none() | st.builds(Span, st.integers(0, 100), st.integers(0, 100)),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_the_times_of_a_run_lie_within_its_sweep_whatever_the_clock_of_its_worker(span, begin, n):
    runtime = parse(compose_settings({}))[1]
    started, ended = RunRecorder(runtime, {}, {}, begin)._times(span, begin + n)
    assert begin <= started <= ended <= begin + n
    if span is not None and begin <= span.started <= span.ended <= begin + n:
        assert (started, ended) == span
