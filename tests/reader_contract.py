"""Tests that every implementation of ``reading.RunReader`` passes on every store."""

import math
from dataclasses import replace
from functools import cache

import pytest

from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.tracking.contract import DatasetInput, MetricPoint, RunRecord
from bpexp.tracking.factory import open_reader, open_tracker
from bpexp.tracking.reading import FINISHED, NO_PARTS, UNFINISHED, Parts, Point, Query
from bpexp.tracking.store import connect

XOR = DatasetInput("xor", "0" * 32, '{"uri": "xor"}', "{}", '{"num_rows": 4}')
RUN = RunRecord(
    "lr=0.1",
    "FINISHED",
    started=1000,
    ended=3000,
    params={"lr": "0.1", "seed": "3"},
    tags={run_tags.OUTCOME: "completed", run_tags.RESULT: "abc"},
    metrics=[
        MetricPoint("loss", 0.5, 1),
        MetricPoint("loss", 0.25, 3),
        MetricPoint("loss", 0.375, 2),
        MetricPoint("nothing", math.nan, 1),
    ],
    dataset=XOR,
)
RUNS = [
    RUN,
    replace(RUN, name="lr=0.2", started=1001, params={"lr": "0.2"}, dataset=None),
    replace(RUN, name="% _ ' ü", started=1002, tags={run_tags.RESULT: "it's"}, metrics=[]),
    replace(RUN, name="failed", started=1003, status="FAILED", tags={}, metrics=[]),
    replace(RUN, name="deleted", started=1004),
]
EXPERIMENT = "read"
SIGNS = {
    "sweep": {"bpexp.kind": "sweep", "bpexp.objective": "final_loss"},
    "killed sweep": {"bpexp.kind": "sweep", "bpexp.objective": "accuracy",
                     "bpexp.outcome": "interrupted"},
    "sweep of another kind": {"bpexp.kind": "x", "bpexp.objective": "accuracy"},
    "sweep without an objective": {"bpexp.kind": "sweep"},
    "sweep with an outcome": {"bpexp.kind": "sweep", "bpexp.objective": "accuracy",
                              "bpexp.outcome": "completed"},
    "run": {"bpexp.outcome": "completed"},
    "run of another kind": {"bpexp.kind": "sweep", "bpexp.outcome": "completed"},
    "run with an objective": {"bpexp.objective": "x", "bpexp.outcome": "pruned"},
    "failed run": {"bpexp.outcome": "failed"},
    "another program's run": {},
}  # fmt: skip
"""Tags of sweeps and runs, one of which may have been altered, by name."""


class Written:
    """What the tests write: a sweep of ``RUNS``, and a single run that it reuses."""

    def __init__(self, store):
        tracker, client = open_tracker(store, EXPERIMENT), connect(store)
        self.sweep = tracker.open_run("sweep", 999, {run_tags.KIND: run_tags.SWEEP_KIND})
        self.ids = tracker.stage(RUNS, self.sweep).commit()
        (self.linked,) = tracker.stage([replace(RUN, name="linked", started=10)], None).commit()
        tracker.tag_many([self.linked], run_tags.linked_sweep(self.sweep), "linked")
        tracker.close_run(self.sweep, replace(RUN, name="", metrics=[], tags={}, dataset=None))
        client.delete_run(self.ids[-1])
        signs = open_tracker(store, "signs")
        for number, (name, tags) in enumerate(SIGNS.items()):
            signs.open_run(name, 100 - number, tags)
        open_tracker(store, "another").open_run("lr=0.1", 5, {})
        self.deleted = client.create_experiment("deleted")
        client.delete_experiment(self.deleted)


@cache
def write(store):
    """The runs that the tests write to a store; written once."""
    return Written(store)


def opened_by(kind, store):
    """The store after ``write``, and its reader, which must be of a class."""
    write(store)
    reader = open_reader(store)
    assert type(reader) is kind
    return store, reader


class ReaderContract:
    """Subclasses define a fixture ``opened``: (store, reader of the store) after ``write``."""

    @pytest.fixture
    def reader(self, opened):
        return opened[1]

    @pytest.fixture
    def written(self, opened):
        return write(opened[0])

    @pytest.fixture
    def experiment(self, written, reader):
        return reader.experiments()[EXPERIMENT]

    @pytest.fixture
    def names(self, experiment, reader):
        """Returns the names of the runs that a query selects."""

        def search(query, **options):
            return [run.name for run in reader.search(experiment, query, NO_PARTS, **options)]

        return search

    def test_a_run_is_read_with_all_its_parts(self, written, reader, experiment):
        (run,) = reader.get([written.ids[0]])
        assert (run.run_id, run.name, run.status) == (written.ids[0], "lr=0.1", "FINISHED")
        assert (run.started, run.ended, run.experiment_id) == (1000, 3000, experiment)
        assert run.artifact_uri.endswith(f"/{run.run_id}/artifacts")
        assert run.params == RUN.params
        assert run.tags.items() >= {**RUN.tags, "mlflow.parentRunId": written.sweep}.items()
        assert run.metrics.keys() == {"loss", "nothing"}
        assert (run.metrics["loss"], run.data) == (0.25, XOR.digest)
        assert math.isnan(run.metrics["nothing"])

    def test_only_the_parts_that_are_asked_for_are_read(self, written, reader):
        parts = Parts(params=["seed", "x"], tags=[run_tags.RESULT], metrics=["loss"], data=False)
        (run,) = reader.get([written.ids[0]], parts)
        assert (run.params, run.metrics, run.data) == ({"seed": "3"}, {"loss": 0.25}, None)
        assert run.tags == {**RUN.tags, "mlflow.parentRunId": written.sweep}
        (run,) = reader.get([written.ids[0]], NO_PARTS)
        assert (run.params, run.metrics) == ({}, {})
        assert (run.parent, run.outcome, run.is_sweep) == (written.sweep, "completed", False)

    def test_runs_are_read_in_the_order_of_their_ids_and_missing_ones_are_left_out(
        self, written, reader
    ):
        first, second, *_, deleted = written.ids
        found = reader.get([second, "0" * 32, deleted, first])
        assert [run.run_id for run in found] == [second, deleted, first]

    def test_deleted_runs_are_not_found_and_the_newest_is_first(self, names):
        active = ["failed", "% _ ' ü", "lr=0.2", "lr=0.1", "sweep", "linked"]
        assert names(Query()) == active
        assert names(Query(), limit=2) == active[:2]
        assert names(Query(are_sweeps=False)) == [name for name in active if name != "sweep"]
        assert names(Query(are_deleted=True)) == ["deleted"]
        assert names(replace(FINISHED, are_deleted=True), limit=1) == ["deleted"]

    def test_runs_are_selected_by_status_tag_and_sweep(self, written, names):
        assert names(FINISHED) == ["% _ ' ü", "lr=0.2", "lr=0.1", "linked"]
        assert names(Query(statuses=UNFINISHED)) == ["failed"]
        assert names(Query(tags={run_tags.RESULT: "abc"})) == ["lr=0.2", "lr=0.1", "linked"]
        both = {run_tags.RESULT: "abc", "mlflow.parentRunId": written.sweep}
        assert names(Query(tags=both)) == ["lr=0.2", "lr=0.1"]
        of_sweep = ["failed", "% _ ' ü", "lr=0.2", "lr=0.1", "linked"]
        assert names(Query(sweep=written.sweep)) == of_sweep
        assert names(replace(FINISHED, sweep=written.sweep), limit=2) == of_sweep[1:3]
        assert names(Query(sweep="0" * 32)) == []

    def test_a_filter_of_mlflow_selects_runs(self, written, names, reader, experiment):
        query = Query("metrics.loss < 0.3 and params.lr = '0.1'", sweep=written.sweep)
        assert names(query) == ["lr=0.1", "linked"]
        assert names(query, limit=1) == ["lr=0.1"]
        assert reader.count(experiment, query) == 2
        assert names(Query("datasets.name = 'xor' and attributes.run_name LIKE '% _ %'")) == [
            "% _ ' ü"
        ]

    @pytest.mark.parametrize("text", ["loss <", "metrics.loss ~ 3", "what.ever = 'x'"])
    def test_an_invalid_filter_is_an_error_of_one_sentence(self, reader, experiment, text):
        with pytest.raises(ConfigError, match=r"^--filter must be an MLflow filter such as") as e:
            list(reader.search(experiment, Query(text)))
        assert repr(text) in str(e.value)

    def test_a_sweep_is_known_even_if_one_of_its_tags_was_altered(self, written, reader):
        experiment = reader.experiments()["signs"]
        sweeps = [name for name in SIGNS if "sweep" in name]
        for are_sweeps in (True, False):
            query = Query(are_sweeps=are_sweeps)
            found = list(reader.search(experiment, query, NO_PARTS))
            assert [run.name for run in found] == [
                name for name in SIGNS if (name in sweeps) is are_sweeps
            ]
            assert {run.is_sweep for run in found} == {are_sweeps}
            (first,) = reader.search(experiment, query, NO_PARTS, limit=1)
            assert first.name == found[0].name
            assert reader.count(experiment, query) == len(found)

    def test_runs_are_counted(self, written, reader, experiment):
        assert reader.count(experiment, Query()) == 6
        assert reader.count(experiment, replace(FINISHED, sweep=written.sweep)) == 4

    def test_a_run_is_found_by_the_beginning_of_its_id_and_by_its_name(
        self, written, reader, experiment
    ):
        for run_id in (*written.ids[:-1], written.sweep):
            assert [run.run_id for run in reader.matching(run_id[:12], experiment)] == [run_id]
        assert [run.run_id for run in reader.matching("lr=0.1", experiment)] == [written.ids[0]]
        assert [run.name for run in reader.matching("% _ ' ü", experiment)] == ["% _ ' ü"]
        for nothing in ("%", "lr=0", "deleted", written.ids[-1], written.ids[0].upper(), "'"):
            assert reader.matching(nothing, experiment) == []
        every = {run.run_id for digit in "0123456789abcdef"
                 for run in reader.matching(digit, experiment)}  # fmt: skip
        assert every == {*written.ids[:-1], written.sweep, written.linked}

    def test_all_values_of_a_metric_are_read_in_the_order_of_their_steps(self, written, reader):
        found = reader.history(written.ids[:3], "loss")
        points = [Point(1, 0.5), Point(2, 0.375), Point(3, 0.25)]
        assert found == {written.ids[0]: points, written.ids[1]: points}
        ((point,),) = reader.history(written.ids[:1], "nothing").values()
        assert math.isnan(point.value)
        assert reader.history([], "loss") == reader.history(written.ids, "absent") == {}

    def test_experiments_have_ids(self, written, reader, experiment):
        found = reader.experiments()
        assert {EXPERIMENT, "another"} <= found.keys()
        (other,) = reader.matching("lr=0.1", found["another"])
        assert other.experiment_id == found["another"] != experiment
        assert "deleted" not in found
        assert reader.experiments(are_deleted=True) == {"deleted": written.deleted}
