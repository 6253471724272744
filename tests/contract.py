"""Tests that every implementation of ``contract.Tracker`` passes on every store."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bpexp.tracking.contract import DatasetInput, MetricPoint, RunRecord
from bpexp.tracking.retry import DeletedError, TrackingError
from bpexp.tracking.rows import MAX_FLOAT

RECORD = RunRecord(
    name="lr=0.1 seed=3",
    status="FINISHED",
    started=1_700_000_000_000,
    ended=1_700_000_001_000,
    params={f"p{i}": str(i) for i in range(250)},
    tags={"bpexp.outcome": "completed", "long": "x" * 4000},
    metrics=[MetricPoint("loss", 1.0 / step, step) for step in range(1, 2501)],
    artifacts={"a.txt": b"one", "b.npz": bytes(range(256))},
    dataset=DatasetInput("xor", "0" * 32, '{"uri": "xor"}', "{}", '{"num_rows": 4}'),
)


class TrackerContract:
    """Subclasses define a fixture ``opened``: (tracker, MLflow client on the same store)."""

    def test_a_record_is_read_back_with_all_its_parts(self, opened):
        tracker, client = opened
        parent = tracker.open_run("sweep", 1_700_000_000_000, {"k": "v"})
        (run_id,) = tracker.stage([RECORD], parent).commit()
        run = client.get_run(run_id)
        assert run.info.run_name == RECORD.name
        assert run.info.status == "FINISHED"
        assert (run.info.start_time, run.info.end_time) == (RECORD.started, RECORD.ended)
        assert run.data.params == RECORD.params
        assert run.data.tags.items() >= RECORD.tags.items()
        assert run.data.tags["mlflow.parentRunId"] == parent
        assert run.data.metrics == {"loss": 1.0 / 2500}
        history = client.get_metric_history(run_id, "loss")
        assert [(m.step, m.value) for m in history] == [(m.step, m.value) for m in RECORD.metrics]
        (data,) = run.inputs.dataset_inputs
        assert (data.dataset.name, data.dataset.digest) == ("xor", "0" * 32)
        folder = client.download_artifacts(run_id, "")
        assert {file.name: file.read_bytes() for file in Path(folder).iterdir()} == RECORD.artifacts

    def test_a_parent_has_the_status_running_until_it_is_closed(self, opened):
        tracker, client = opened
        parent = tracker.open_run("sweep", 5, {})
        assert client.get_run(parent).info.status == "RUNNING"
        ending = RunRecord("", "KILLED", 5, 9, tags={"mlflow.note.content": "note"})
        tracker.close_run(parent, ending)
        run = client.get_run(parent)
        assert (run.info.status, run.info.end_time, run.info.run_name) == ("KILLED", 9, "sweep")
        assert run.data.tags["mlflow.note.content"] == "note"

    def test_a_run_does_not_end_before_it_started(self, opened):
        tracker, client = opened
        parent = tracker.open_run("sweep", 50, {})
        tracker.close_run(parent, RunRecord("", "FINISHED", 50, 9))
        assert client.get_run(parent).info.end_time == 50

    def test_an_open_parent_is_found_and_accepts_files_until_it_is_closed(self, opened):
        tracker, client = opened
        before = tracker.running()
        parent = tracker.open_run("sweep", 5, {"k": "v"})
        assert parent not in before
        assert tracker.running()[parent].items() >= {"k": "v"}.items()
        tracker.add_files(parent, {"plan": b"1", "a b": b"2"})
        tracker.add_files(parent, {"plan": b"3"})
        ending = replace(RECORD, tags={"k": "w"}, metrics=[MetricPoint("best", 0.5, 0)])
        tracker.close_run(parent, ending)
        # Closed again after the sweep was resumed: the later values count.
        again = replace(ending, ended=RECORD.ended + 1, metrics=[MetricPoint("best", 0.25, 0)])
        tracker.close_run(parent, again)
        assert tracker.running() == before
        run = client.get_run(parent)
        assert (run.info.run_name, run.info.status) == ("sweep", "FINISHED")
        assert (run.info.start_time, run.info.end_time) == (5, RECORD.ended + 1)
        assert (run.data.params, run.data.metrics) == (RECORD.params, {"best": 0.25})
        assert run.data.tags["k"] == "w"
        assert [i.dataset.name for i in run.inputs.dataset_inputs] == ["xor"]
        assert [m.value for m in client.get_metric_history(parent, "best")] == [0.5, 0.25]
        folder = Path(client.download_artifacts(parent, ""))
        content = {file.name: file.read_bytes() for file in folder.iterdir()}
        assert content == {"plan": b"3", "a b": b"2", **RECORD.artifacts}

    def test_values_are_added_to_a_run_that_stays_open_and_kept_once(self, opened):
        tracker, client = opened
        run_id = tracker.open_run("live", 5, {"k": "v"})
        curve = [
            MetricPoint("loss", value, step)
            for step, value in enumerate((4.0, math.nan, math.inf, 1.0), start=1)
        ]
        first = RunRecord("", "RUNNING", 5, 6, {"p": "1"}, {"t": "u"}, curve[:2])
        tracker.add_values(run_id, first)
        tracker.add_values(run_id, RunRecord("", "RUNNING", 5, 7, metrics=curve[2:3]))
        run = client.get_run(run_id)
        assert (run.info.status, run.data.params) == ("RUNNING", {"p": "1"})
        assert run.data.tags.items() >= {"k": "v", "t": "u"}.items()
        assert [m.step for m in client.get_metric_history(run_id, "loss")] == [1, 2, 3]
        ending = replace(RECORD, params={"p": "1"}, metrics=[*curve, MetricPoint("final", 1.0, 0)])
        tracker.close_run(run_id, ending)
        run = client.get_run(run_id)
        assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 1.0, "final": 1.0})
        history = client.get_metric_history(run_id, "loss")
        assert [m.step for m in history] == [1, 2, 3, 4]
        assert [repr(m.value) for m in history] == ["4.0", "nan", repr(MAX_FLOAT), "1.0"]
        # Values can be added to a run that has ended, as the note of a report.
        tracker.add_values(run_id, RunRecord("", "", 0, 0, tags={"t": "w"}))
        run = client.get_run(run_id)
        assert (run.info.status, run.data.tags["t"]) == ("FINISHED", "w")

    def test_files_are_added_to_folders_of_a_run(self, opened):
        tracker, client = opened
        run_id = tracker.open_run("sweep", 5, {})
        tracker.add_files(run_id, {"figures/a.png": b"1", "b.txt": b"2"})
        tracker.add_files(run_id, {"figures/a.png": b"3", "figures/c.png": b"4"})
        folder = Path(client.download_artifacts(run_id, ""))
        content = {
            str(file.relative_to(folder)): file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file()
        }
        assert content == {"figures/a.png": b"3", "b.txt": b"2", "figures/c.png": b"4"}

    def test_a_run_is_reopened_without_some_tags(self, opened):
        tracker, client = opened
        run_id = tracker.open_run("sweep", 5, {"a": "1", "b": "2"})
        tracker.close_run(run_id, RunRecord("", "KILLED", 5, 9, tags={"why": "dead"}))
        tracker.reopen_run(run_id, ["why", "b", "absent"])
        run = client.get_run(run_id)
        assert (run.info.status, run.info.start_time) == ("RUNNING", 5)
        assert run.data.tags["a"] == "1"
        assert not {"why", "b"} & run.data.tags.keys()

    def test_tags_and_the_name_of_a_run_are_changed(self, opened):
        tracker, client = opened
        run_id = tracker.open_run("sweep", 5, {"a": "1", "b": "2"})
        tracker.update_run(run_id, {"a": "3", "b": None, "absent": None, "new": "4"})
        tags = client.get_run(run_id).data.tags
        assert (tags["a"], tags["new"], tags["mlflow.runName"]) == ("3", "4", "sweep")
        assert not {"b", "absent"} & tags.keys()
        tracker.update_run(run_id, {}, "another name")
        run = client.get_run(run_id)
        assert run.info.run_name == run.data.tags["mlflow.runName"] == "another name"
        assert run.data.tags["a"] == "3"
        assert client.search_runs([run.info.experiment_id], "run_name = 'another name'")

    def test_runs_are_deleted_and_can_be_restored(self, opened):
        tracker, client = opened
        runs = [
            replace(RECORD, name=name, metrics=(), tags={}) for name in ("kept", "gone", "gone")
        ]
        kept, *gone = tracker.stage(runs, None).commit()
        tracker.delete_runs([])
        before = time.time_ns() // 1_000_000
        tracker.delete_runs(gone)
        stages = [client.get_run(run_id).info.lifecycle_stage for run_id in (kept, *gone)]
        assert stages == ["active", "deleted", "deleted"]
        assert client.search_runs([tracker.experiment_id], "run_name = 'gone'") == []
        tracker.restore_runs([])
        tracker.restore_runs(gone[:1])
        assert client.get_run(gone[0]).info.lifecycle_stage == "active"
        (restored,) = client.search_runs([tracker.experiment_id], "run_name = 'gone'")
        assert restored.info.run_id == gone[0]
        store = client._tracking_client.store
        if hasattr(store, "_get_deleted_runs"):
            # What mlflow gc removes; it can be limited to runs that were deleted long ago.
            age = time.time_ns() // 1_000_000 - before + 60_000
            assert gone[1] in store._get_deleted_runs()
            assert gone[1] not in store._get_deleted_runs(older_than=age)

    def test_a_deleted_or_missing_run_is_not_closed_or_changed(self, opened):
        tracker, client = opened
        parent = tracker.open_run("sweep", 5, {})
        tracker.check_not_deleted(parent)
        client.delete_run(parent)
        ending = RunRecord("", "FINISHED", 5, 9, tags={"k": "v"})
        for run_id in (parent, "0" * 32):
            for write in (
                lambda run_id: tracker.close_run(run_id, ending),
                lambda run_id: tracker.add_values(run_id, ending),
                lambda run_id: tracker.reopen_run(run_id, []),
                lambda run_id: tracker.update_run(run_id, {"a": "1"}),
            ):
                with pytest.raises(TrackingError, match=rf"^The store refused: .*{run_id}.*\.$"):
                    write(run_id)
        with pytest.raises(DeletedError):
            tracker.check_not_deleted(parent)
        run = client.get_run(parent)
        assert (run.info.status, run.data.tags.get("k")) == ("RUNNING", None)

    def test_search_finds_runs_by_parameter_metric_and_tag(self, opened):
        tracker, client = opened
        (run_id,) = tracker.stage([RECORD], None).commit()
        text = "params.p7 = '7' and metrics.loss < 0.001 and tags.`bpexp.outcome` = 'completed'"
        found = client.search_runs([tracker.experiment_id], text)
        assert run_id in [run.info.run_id for run in found]

    def test_records_are_written_in_order_and_no_records_write_nothing(self, opened):
        tracker, client = opened
        parent = tracker.open_run("sweep", 5, {})
        some = replace(RECORD, params={"p": "1"}, metrics=())
        runs = [replace(some, name=f"run {i}", started=i) for i in range(1, 21)]
        ids = tracker.stage(runs, parent).commit()
        assert [client.get_run(run_id).info.run_name for run_id in ids] == [r.name for r in runs]
        children = client.search_runs(
            [tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'"
        )
        assert [run.info.run_id for run in children] == ids[::-1]
        assert tracker.stage([], parent).commit() == []

    def test_runs_are_tagged_together(self, opened):
        tracker, client = opened
        ids = tracker.stage([replace(RECORD, metrics=())] * 3, None).commit()
        tracker.tag_many(ids[:2], "bpexp.sweep.5c1d", "linked")
        tags = [client.get_run(run_id).data.tags.get("bpexp.sweep.5c1d") for run_id in ids]
        assert tags == ["linked", "linked", None]

    def test_an_invalid_key_is_reported_in_one_sentence_and_creates_no_run(self, opened):
        tracker, client = opened
        bad = replace(RECORD, name="refused", params={"a//b": "1"})
        with pytest.raises(TrackingError, match=r"^The store refused: .*'a/b'.*\.$"):
            tracker.stage([bad], None).commit()
        assert client.search_runs([tracker.experiment_id], "run_name = 'refused'") == []

    def test_discarded_runs_are_not_written(self, opened):
        tracker, client = opened
        tracker.stage([replace(RECORD, name="discarded")], None).discard()
        assert client.search_runs([tracker.experiment_id], "run_name = 'discarded'") == []

    def test_the_experiment_opens_in_the_training_view(self, opened):
        tracker, client = opened
        tags = client.get_experiment(tracker.experiment_id).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"

    def test_only_one_process_claims_a_run(self, opened):
        tracker, client = opened
        run_id = tracker.open_run("sweep", 5, {"process": "dead"})
        barrier = threading.Barrier(4)

        def claim(name):
            barrier.wait(30)
            return tracker.claim(run_id, "process", "dead", name)

        names = ["a", "b", "c", "d"]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(claim, names))
        assert len(set(found)) == 1
        assert found[0] in names
        assert client.get_run(run_id).data.tags["process"] == found[0]
        assert tracker.claim(run_id, "process", found[0], "next") == "next"

    def test_nothing_is_written_to_a_deleted_sweep_or_experiment(self, opened):
        tracker, client = opened
        parent = tracker.open_run("sweep", 5, {})
        run = replace(RECORD, name="late", metrics=())
        client.delete_run(parent)
        with pytest.raises(DeletedError, match=rf"^The sweep {parent[:8]} was deleted meanwhile"):
            tracker.stage([run], parent).commit()
        client.restore_run(parent)
        client.delete_experiment(tracker.experiment_id)
        try:
            for sweep in (parent, None):
                with pytest.raises(DeletedError, match=r"^The experiment was deleted meanwhile"):
                    tracker.stage([run], sweep).commit()
        finally:
            client.restore_experiment(tracker.experiment_id)
        assert client.search_runs([tracker.experiment_id], "run_name = 'late'") == []
        assert len(tracker.stage([run], parent).commit()) == 1
