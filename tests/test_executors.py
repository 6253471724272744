"""One suite for every executor: results, failures, dying workers and cancellation."""

import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import fields, replace

import joblib
import numpy as np
import pytest
from joblib.externals.loky import process_executor
from servers import dask_cluster
from sweeping import children, command_of, runs_of, wait_until

from bpexp import interrupts
from bpexp.config.compose import compose_settings
from bpexp.config.schema import DaskConfig, ModelConfig, StopConfig, TrainConfig
from bpexp.data import load
from bpexp.data.synthetic import BitsConfig, ParityConfig
from bpexp.nn.optimizers import OptimizerConfig
from bpexp.nn.schedules import ScheduleConfig
from bpexp.runs import identity
from bpexp.runs.result import Failure, Outcome, TrainResult
from bpexp.sweeps.executors import base, dask_worker, local, processes
from bpexp.sweeps.executors.base import Batch, longest_first, make_batches, train_jobs
from bpexp.sweeps.executors.dask_cluster import DaskExecutor
from bpexp.sweeps.executors.local import LocalExecutor
from bpexp.sweeps.executors.serial import SerialExecutor
from bpexp.sweeps.job import Job
from bpexp.sweeps.plan import make_plan
from bpexp.tracking.clock import now
from bpexp.training import loop
from bpexp.training.batching import load_engine
from bpexp.training.loop import train_batch
from bpexp.training.paused import PausedResult

KILLS_ITS_WORKER = 2
"""The seed of the job that kills the worker process that trains it."""


def make_config(seed, epochs=10):
    return TrainConfig(
        seed=seed, lr=0.1, epochs=epochs, hidden=(2,),
        data=BitsConfig(name="xor"),
        model=ModelConfig(), optimizer=OptimizerConfig(name="gradient_descent"),
        schedule=ScheduleConfig(name="constant"), stop=StopConfig(),
    )  # fmt: skip


def make_jobs(count, **settings):
    configs = [make_config(i, **settings) for i in range(count)]
    return [Job(i, f"seed={i}", config, load(config.data)) for i, config in enumerate(configs)]


def train_all(executor, batches):
    """The results by the index of their job; each index must come once."""
    trained = [one for results in executor.map(batches) for one in results]
    found = {one.job.index: one.result for one in trained}
    assert len(found) == len(trained)
    return found


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running.address


@pytest.fixture(params=["serial", "local", pytest.param("dask", marks=pytest.mark.long)])
def executor(request):
    if request.param == "serial":
        made = SerialExecutor()
    elif request.param == "local":
        made = LocalExecutor(2)
    else:
        made = DaskExecutor(request.getfixturevalue("address"), 30.0)
    with made:
        yield made


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_every_job_is_trained_once_with_the_bits_of_a_single_run(executor, engine):
    jobs = make_jobs(9)
    found = train_all(executor, make_batches(jobs, engine, executor.n_workers))
    assert sorted(found) == list(range(9))
    for job in jobs:
        ((_, alone),) = train_batch([job.config], load_engine("numpy"))
        assert identity.of_result(found[job.index]) == identity.of_result(alone)
        assert found[job.index].metrics == alone.metrics


def test_generations_start_with_the_batches_that_take_longest():
    jobs = [
        replace(job, config=replace(job.config, hidden=(width,)))
        for job, width in zip(make_jobs(9), [2, 8, 4] * 3, strict=True)
    ]
    batches = longest_first(make_batches(jobs, "compiled", n_workers=1))
    assert [batch.jobs[0].config.hidden for batch in batches] == [(8,), (4,), (2,)]


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_an_error_is_a_failure_of_its_own_job_alone(executor, engine):
    jobs = make_jobs(5)
    object.__setattr__(jobs[3].config, "seed", -1)
    found = train_all(executor, [Batch(tuple(jobs), engine)])
    assert isinstance(found.pop(3), Failure)
    assert sorted(found) == [0, 1, 2, 4]
    assert all(isinstance(result, TrainResult) for result in found.values())


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_jobs_are_paused_and_go_on_with_the_same_bits(executor, engine):
    """Where the state of a paused job is not returned, it is trained from the start again."""
    jobs = make_jobs(5, epochs=30)
    batches = make_batches(jobs, engine, executor.n_workers, until=10)
    first = train_all(executor, batches)
    assert {(r.outcome, r.epochs_run) for r in first.values()} == {(Outcome.PRUNED, 10)}
    assert all("final_loss" in result.metrics for result in first.values())
    assert all(isinstance(result, PausedResult) for result in first.values())
    states = {i: r.run for i, r in first.items() if r.run is not None}
    batches = make_batches(jobs[1:], engine, executor.n_workers, paused=states)
    if states:
        assert all(len(batch.segment.paused_runs) == len(batch.jobs) for batch in batches)
    found = train_all(executor, batches)
    for job in jobs[1:]:
        ((_, alone),) = train_batch([job.config], load_engine("numpy"))
        assert identity.of_result(found[job.index]) == identity.of_result(alone)


def test_an_executor_has_at_least_one_worker_and_describes_it(executor):
    assert executor.n_workers >= 1
    assert f"{executor.n_workers} worker" in executor.description


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_closing_the_generator_ends_the_training(executor, engine):
    # One endless job: a cluster does not start its tasks in the order of the batches.
    first, other = make_jobs(2)
    endless = replace(other, config=replace(other.config, epochs=10**9))
    results = executor.map([Batch((job,), engine) for job in (first, endless)])
    ((finished, *_),) = next(results)
    assert finished == first
    results.close()
    with pytest.raises(StopIteration):
        next(results)


def test_no_batches_give_no_results(executor):
    assert list(executor.map([])) == []


def kill_worker_for_one_seed(parent, configs, *others):
    if any(config.seed == KILLS_ITS_WORKER for config in configs):
        os.kill(os.getpid(), signal.SIGKILL)
    return ORIGINAL(parent, configs, *others)


ORIGINAL = local.train_in_worker


@pytest.mark.slow
def test_a_dying_worker_fails_its_own_run_only(a_store, inside, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "train_in_worker", kill_worker_for_one_seed)
    done = inside("-m", "seed=range(0,4)", "epochs=10", "engine=numpy", "n_jobs=2")
    assert (done.returncode, done.stderr) == (1, "")
    runs = {run.name: run for run in runs_of(tmp_path) if not run.is_sweep}
    failed = runs.pop(f"seed={KILLS_ITS_WORKER}")
    assert failed.status == "FAILED"
    reason = failed.tags["bpexp.reason"]
    assert reason.startswith("its worker process died: ")
    assert f"failed: seed={KILLS_ITS_WORKER}: {reason}" in done.stdout.splitlines()
    assert {name: run.status for name, run in runs.items()} == {
        f"seed={seed}": "FINISHED" for seed in range(4) if seed != KILLS_ITS_WORKER
    }


@pytest.mark.slow
def test_the_last_batch_is_trained_by_a_worker_too(monkeypatch):
    """After a worker died, a single batch may be left; the main process must survive it."""
    monkeypatch.setattr(local, "train_in_worker", kill_worker_for_one_seed)
    jobs = make_jobs(KILLS_ITS_WORKER + 1)[-2:]
    found = list(LocalExecutor(2)._map_processes([Batch(tuple(jobs), "numpy")]))
    one, other = (trained.result for results in found for trained in results)
    assert isinstance(one, TrainResult)
    assert other.reason.startswith("its worker process died: ")


def test_where_one_worker_fits_the_main_process_trains(monkeypatch):
    monkeypatch.setattr(processes, "count_that_fit", lambda: 1)
    monkeypatch.setattr(local, "train_in_worker", kill_worker_for_one_seed)
    jobs = make_jobs(KILLS_ITS_WORKER + 1)[-2:]
    found = train_all(LocalExecutor(2), [Batch((job,), "numpy") for job in jobs])
    assert all(isinstance(result, TrainResult) for result in found.values())


@pytest.mark.slow
def test_no_more_processes_are_started_than_there_are_batches():
    batches = [Batch((job,), "numpy") for job in make_jobs(3)]
    assert len(train_all(LocalExecutor(1000), batches)) == 3
    workers = [pid for pid in children(os.getpid()) if "popen_loky" in command_of(pid)]
    assert len(workers) <= 3


def test_without_semaphores_this_process_trains(monkeypatch, capsys):
    monkeypatch.setattr(processes, "mp", None)
    found = train_all(LocalExecutor(2), [Batch((job,), "numpy") for job in make_jobs(3)])
    assert {result.outcome for result in found.values()} == {Outcome.COMPLETED}
    assert len(found) == 3
    assert "No worker processes can be started (JOBLIB_MULTIPROCESSING=0" in capsys.readouterr().err


SHM = {"full": "size=4k tmpfs /dev/shm; echo > /dev/shm/file", "read-only": "ro tmpfs /dev/shm"}


@pytest.mark.long
@pytest.mark.parametrize("state", SHM)
def test_a_sweep_does_not_need_shared_memory(state, a_store, tmp_path):
    mount = f"mount -t tmpfs -o {SHM[state]}"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("did NOT run: no file system can be mounted in a namespace")
    program = f"{sys.executable} -m bpexp -m seed=1,2 hidden=2,3 epochs=20 n_jobs=2 engine=numpy"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{mount}; {program}"], cwd=tmp_path, text=True,
        capture_output=True, timeout=170,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    assert done.stderr.startswith("No worker processes can be started (")
    assert "/dev/shm" in done.stderr
    assert "Best 2 of 2 combinations" in done.stdout


def test_training_pauses_while_results_are_not_consumed(monkeypatch):
    """Otherwise the results of short runs, which take longer to write, would fill the memory."""
    started, changed = [], threading.Condition()

    def counted(jobs, engine, on_epochs):
        with changed:
            started.append(jobs)
            changed.notify_all()
        return train_jobs(jobs, engine, on_epochs)

    monkeypatch.setattr(local, "train_jobs", counted)
    with LocalExecutor(2) as executor:
        results = executor.map([Batch((job,), "compiled") for job in make_jobs(60)])
        for consumed, _ in enumerate(results):
            with changed:
                assert len(started) <= consumed + 2 * local.BATCHES_AHEAD
    assert consumed == len(started) - 1 == 59


@pytest.mark.parametrize(
    ("n_jobs", "description"),
    [
        (3, "3 workers"),
        (8, "8 workers"),
        (1000, "8 workers (n_jobs=1000, but at most 4 per processor)"),
        (-1, "2 workers"),
        (-5, "1 worker"),
    ],
)
def test_the_number_of_workers_is_limited_by_the_processors(monkeypatch, n_jobs, description):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    executor = LocalExecutor(n_jobs)
    assert executor.description == description
    assert executor.n_workers == int(description.split()[0])


@pytest.mark.parametrize("engine", [pytest.param("numpy", marks=pytest.mark.slow), "compiled"])
def test_many_workers_train_all_runs_with_few_files_and_threads(engine):
    executor, most = LocalExecutor(1000), Counter()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, used + 100), hard))
    try:
        jobs = make_jobs(20)
        for results in executor.map(make_batches(jobs, engine, executor.n_workers)):
            most["threads"] = max(most["threads"], threading.active_count())
            most["runs"] += len(results)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert most["runs"] == len(jobs)
    assert most["threads"] < executor.n_workers + 20


@pytest.mark.parametrize("executor", [LocalExecutor(1), LocalExecutor(2), SerialExecutor()])
def test_runs_of_a_batch_are_yielded_as_they_end(monkeypatch, executor):
    monkeypatch.setattr(base, "SECONDS_BETWEEN_RESULTS", 0.0)
    jobs = two_jobs()
    results = executor.map([Batch(jobs, "compiled")])
    ((job, result, _),) = next(results)
    assert (job, result.outcome, result.epochs_run) == (jobs[0], Outcome.CONVERGED, 1)
    # The other run would take a day.
    results.close()


def two_jobs():
    """A job that ends after an epoch, and one that would take a day, for one batch."""
    # Without mini-batches the unrolled kernel would train many epochs in a call. Without restarts
    # the reference engine would train many in a step.
    config = replace(make_config(0, epochs=10**8), batch_size=2,
                     data=ParityConfig(name="parity", bits=8))  # fmt: skip
    stops = [StopConfig(loss=loss, restart=2) for loss in (1.0, None)]
    configs = [replace(config, stop=stop) for stop in stops]
    return tuple(Job(i, "", config, load(config.data)) for i, config in enumerate(configs))


@pytest.mark.parametrize(
    ("executor", "n_batches", "engine"),
    [
        (SerialExecutor(), 1, "numpy"),
        (SerialExecutor(), 1, "compiled"),
        pytest.param(LocalExecutor(1), 2, "numpy", marks=pytest.mark.slow),
        pytest.param(LocalExecutor(1), 2, "compiled", marks=pytest.mark.slow),
        (LocalExecutor(2), 3, "numpy"),
        (LocalExecutor(2), 3, "compiled"),
    ],
)
def test_a_cancelled_executor_yields_what_has_ended_and_nothing_else(executor, engine, n_batches):
    """Results are collected for longer than the training takes until it is cancelled."""
    steps = []

    def cancel_after_a_step_of_the_second_job(jobs, losses):
        steps.append(jobs)
        if [job.index for job in jobs] == [1]:
            executor.cancel()

    executor.on_epochs = cancel_after_a_step_of_the_second_job
    finished, endless = two_jobs()
    # The others have other numbers: they may train before the first job has ended.
    others = [replace(endless, index=2 + number) for number in range(n_batches - 1)]
    batches = [Batch((finished, endless), engine), *[Batch((job,), engine) for job in others]]
    trained = [one for results in executor.map(batches) for one in results]
    assert [(one.job, one.result.epochs_run) for one in trained] == [(finished, 1)]
    assert steps
    # What was cancelled is the call: the executor can be used again.
    executor.on_epochs = None
    assert len(train_all(executor, [Batch((job,), engine) for job in make_jobs(2)])) == 2


def unfinished_batches(executor):
    """The keys of the batches that a cluster has not finished."""
    states = executor._client.futures
    return [key for key, state in states.items() if "batch" in key and state.status == "pending"]


@pytest.mark.long
def test_an_interrupted_cluster_yields_the_batches_that_have_ended(address):
    """Once while their results wait to be yielded, and once while the cluster is waited for."""
    endless = replace(two_jobs()[1], index=3)
    batches = [Batch((job,), "compiled") for job in (*make_jobs(3), endless)]
    with DaskExecutor(address, 30.0) as executor:
        results = executor.map(batches)
        received = [one.job.index for one in next(results)]
        wait_until(lambda: len(unfinished_batches(executor)) == 1)
        executor.cancel()
        received += [one.job.index for some in results for one in some]
        assert sorted(received) == [0, 1, 2]

        def interrupt():
            wait_until(lambda: len(received) == 3 and executor._is_waiting)
            os.kill(os.getpid(), signal.SIGINT)

        def receive():
            with interrupts.interrupts_calling(executor.cancel):
                for some in executor.map(batches):
                    received.extend(one.job.index for one in some)

        received.clear()
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            receive()
        assert sorted(received) == [0, 1, 2]


@pytest.mark.long
def test_a_cluster_that_is_cancelled_while_batches_are_sent_yields_nothing(address):
    endless = replace(two_jobs()[1], index=0)
    n_iterations = 0

    class Batches(list):
        """Batches that cancel the executor when it sends the first one."""

        def __iter__(self):
            nonlocal n_iterations
            n_iterations += 1
            for batch in super().__iter__():
                if n_iterations == 2:
                    executor.cancel()
                yield batch

    with DaskExecutor(address, 30.0) as executor:
        assert list(executor.map(Batches([Batch((endless,), "compiled")]))) == []
        assert n_iterations == 2
        assert len(train_all(executor, [Batch((job,), "compiled") for job in make_jobs(2)])) == 2


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_cancelled_executor_starts_nothing(executor, engine):
    received = []

    def interrupt_after_the_first():
        with interrupts.interrupts_calling(executor.cancel):
            for results in executor.map([Batch((job,), engine) for job in make_jobs(30)]):
                received.append(results)
                if len(received) == 1:
                    signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupt_after_the_first()
    assert len(received) < 30


def end_if_first(number, send):
    """A task that ends if it is the first one, and else with its worker."""
    send(None)
    if number > 0:
        threading.Event().wait()


def test_a_task_that_is_queued_when_a_pool_is_stopped_is_forgotten(monkeypatch):
    manager = process_executor._ExecutorManagerThread
    give = manager.add_call_item_to_queue

    def give_when_idle_or_stopped(self):
        if self.executor_flags.shutdown or not self.running_work_items:
            give(self)

    monkeypatch.setattr(manager, "add_call_item_to_queue", give_when_idle_or_stopped)
    errors = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    pool = processes.Pool(2)
    ended = pool.run((i, processes.Task(end_if_first, (i,))) for i in range(20))
    next(ended)
    workers = pool._parallel._backend._workers
    thread = workers._executor_manager_thread
    wait_until(workers._work_ids.qsize)
    ended.close()
    thread.join(60)
    assert not thread.is_alive()
    assert errors == []


def test_processes_report_every_epoch_and_runs_as_they_end(monkeypatch):
    monkeypatch.setattr(base, "SECONDS_BETWEEN_RESULTS", 0.0)
    executor, counts = LocalExecutor(2), Counter()

    def count(jobs, losses):
        counts.update({job.index: len(losses) for job in jobs})

    executor.on_epochs = count
    jobs = make_jobs(4, epochs=200)
    first = replace(jobs[0].config, stop=StopConfig(loss=1.0))
    jobs[0] = replace(jobs[0], config=first)
    others = [replace(job, config=replace(job.config, stop=StopConfig(loss=0.0))) for job in jobs]
    batches = [Batch((jobs[0], others[1]), "numpy"), Batch((others[2], others[3]), "numpy")]
    results = [[one.job.index for one in part] for part in executor.map(batches)]
    assert [0] in results
    assert sorted(index for part in results for index in part) == [0, 1, 2, 3]
    assert counts == {0: 1, 1: 200, 2: 200, 3: 200}


def test_runs_of_a_batch_start_together_and_end_when_they_stop(monkeypatch):
    clock = itertools.count(1000)
    monkeypatch.setattr(base, "now", lambda: next(clock))
    monkeypatch.setattr(loop, "MAX_CHUNK_LOSSES", 6)
    jobs = make_jobs(3, epochs=12)
    first = replace(jobs[0].config, stop=StopConfig(loss=1.0))
    jobs[0] = replace(jobs[0], config=first)
    others = [replace(job, config=replace(job.config, stop=StopConfig(loss=0.0))) for job in jobs]
    batch = Batch((jobs[0], *others[1:]), "numpy")
    spans = {one.job.index: one.span for part in SerialExecutor().map([batch]) for one in part}
    assert {span.started for span in spans.values()} == {1000}
    assert spans[0].ended == 1001
    assert spans[1].ended == spans[2].ended > 1003


def test_every_result_says_when_it_was_trained(executor):
    before = now()
    batches = make_batches(make_jobs(5), "numpy", executor.n_workers)
    trained = [one for part in executor.map(batches) for one in part]
    for one in trained:
        assert before <= one.span.started <= one.span.ended <= now()


@pytest.mark.parametrize("executor", [LocalExecutor(1), SerialExecutor()])
@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_the_epochs_of_batches_in_this_process_are_reported(executor, engine):
    reported = []
    executor.on_epochs = lambda jobs, losses: reported.append((jobs, losses))
    jobs = make_jobs(2, epochs=7)
    results = train_all(executor, [Batch(tuple(jobs), engine)])
    losses = np.vstack([losses for _, losses in reported])
    assert all(list(some) == jobs for some, _ in reported)
    for job in jobs:
        np.testing.assert_array_equal(losses[:, job.index], results[job.index].losses)


def test_the_epochs_after_an_error_are_those_of_their_own_jobs():
    executor, reported = SerialExecutor(), []
    executor.on_epochs = lambda jobs, losses: reported.append((*jobs, len(losses)))
    jobs = make_jobs(3, epochs=7)
    object.__setattr__(jobs[0].config, "seed", -1)
    train_all(executor, [Batch(tuple(jobs), "numpy")])
    assert {job.index for job, _ in reported} == {1, 2}
    assert [sum(n for job, n in reported if job is one) for one in jobs] == [0, 7, 7]


def test_the_backend_group_names_the_executors():
    assert set(base.EXECUTORS) == {"dask", "local", "serial"}
    assert base.BACKENDS["dask"].config is DaskConfig


def test_the_internals_of_joblib_are_those_of_a_tested_version():
    assert joblib.__version__.rpartition(".")[0] in processes.TESTED


def test_a_result_is_sent_to_and_from_a_cluster_with_all_of_its_fields():
    values = {"data": "iris", "data__validation_fraction": 0.2, "model": "classifier", "lr": 3.0}
    made = make_plan([compose_settings({**values, "epochs": 40})])
    ((_, result),) = train_batch(made.configs, load_engine("numpy"), made.jobs[0].dataset)
    # The weights of another epoch than the last one were kept.
    assert result.final_loss != result.last_epoch_loss
    received = dask_worker.from_plain(dask_worker.to_plain(result))
    for name in (field.name for field in fields(TrainResult)):
        np.testing.assert_equal(getattr(received, name), getattr(result, name), name)
