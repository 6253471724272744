"""``bpexp extend``: runs and trials that are added to a stored sweep."""

import pytest

import bpexp
from bpexp.config.compose import composer
from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.sweeps import extension, plan_file, resume
from bpexp.sweeps.grid_plan import plan_grid
from bpexp.sweeps.resume import recompose
from bpexp.tracking import database
from bpexp.tracking.archive import open_archive
from bpexp.tracking.reading import Query
from bpexp.tracking.store import locate


def planned(*arguments):
    return plan_grid(recompose(arguments), arguments).plan


def added(plan, *arguments):
    """The names of the jobs that an extension adds, after checking that the others stay."""
    extended = extension.extended_plan(plan, arguments, composer())
    assert extended.configs[: len(plan.jobs)] == plan.configs
    return [job.name for job in extended.jobs[len(plan.jobs) :]]


def stored(folder):
    """The parent of the only sweep, and the result digest of its finished runs by job."""
    archive = open_archive(locate(None, folder, {}), "bpexp")
    (parent,) = [run for run in archive.search(Query()) if run.is_sweep]
    runs = archive.search(Query(statuses=["FINISHED"], sweep=parent.run_id, are_sweeps=False))
    keys = ("lr", "hidden", "seed", "optimizer.name")
    return parent, {
        tuple(run.params[key] for key in keys): run.tags[run_tags.RESULT]
        for run in runs
        if run.parent == parent.run_id
    }


def test_each_setting_is_combined_with_the_new_values():
    plan = planned("lr=0.1,1", "seed=0,1", "epochs=5")
    assert added(plan, "seed=range(1,3)") == ["lr=0.1 seed=2", "lr=1 seed=2"]
    assert added(plan, "lr=3") == ["lr=3 seed=0", "lr=3 seed=1"]
    assert added(plan, "lr=1,3", "seed=1,2") == ["lr=1 seed=2", "lr=3 seed=1", "lr=3 seed=2"]
    assert added(plan, "zip(lr=[3,4],hidden=[4,8])", "seed=0") == [
        "lr=3 hidden=4 seed=0", "lr=4 hidden=8 seed=0",
    ]  # fmt: skip
    names = added(plan, "optimizer=momentum optimizer.momentum=0.5 | lr=3")
    assert len(names) == 6
    assert names[0] == "lr=0.1 optimizer.name=momentum seed=0"


@pytest.mark.parametrize(
    ("option", "key", "values"),
    [
        ("optimizer=momentum", "optimizer.momentum", (0.5, 0.7)),
        ("optimizer=adam", "optimizer.beta1", (0.5, 0.6)),
        ("schedule=cosine", "schedule.final", (0.1, 0.2)),
        ("data=parity", "data.bits", (3, 5)),
    ],
)
def test_every_value_of_a_setting_of_an_added_option_is_added(option, key, values):
    group, name = key.split(".")
    default = composer().compose([option])[group][name]
    plan = planned("lr=0.1", "seed=0", "epochs=5")
    extended = extension.extended_plan(plan, [option, f"{key}={values[0]},{values[1]}"], composer())
    found = [getattr(getattr(config, group), name) for config in extended.configs[1:]]
    assert found == list(values)
    # The values of an extension are not the defaults of what is composed later.
    assert composer().compose([option])[group][name] == default
    assert default not in values


def test_sub_sweeps_of_an_extension_do_not_share_values():
    plan = planned("lr=0.1", "seed=0", "epochs=5")
    sub_sweeps = "optimizer=momentum optimizer.momentum=0.5 | optimizer=momentum lr=3"
    extended = extension.extended_plan(plan, [sub_sweeps], composer())
    assert [config.optimizer.momentum for config in extended.configs[1:]] == [0.5, 0.9]


def test_values_are_added_once_to_a_sweep_over_many_values():
    """Not once for each value that they replace, which are too many together."""
    plan = planned("seed=range(0,1001)", "epochs=5")
    names = added(plan, "seed=range(1001,2001)")
    assert names == [f"seed={seed}" for seed in range(1001, 2001)]


def test_sub_sweeps_keep_the_settings_of_their_optimizers():
    union = "optimizer=momentum optimizer.momentum=0.5,0.9 | optimizer=adam lr=0.01"
    plan = planned(union, "seed=0", "epochs=5")
    extended = extension.extended_plan(plan, ["seed=1"], composer())
    assert [config.optimizer for config in extended.configs[3:]] == [
        config.optimizer for config in plan.configs
    ]
    assert {config.seed for config in extended.configs[3:]} == {1}


def test_jobs_planned_before_are_named_by_what_varies_now():
    plan = planned("lr=0.1,1", "epochs=5")
    extended = extension.extended_plan(plan, ["seed=7"], composer())
    assert [job.name for job in extended.jobs] == [
        "lr=0.1 seed=42", "lr=1 seed=42", "lr=0.1 seed=7", "lr=1 seed=7",
    ]  # fmt: skip
    assert extended.extensions == ("seed=7",)
    assert plan_file.from_bytes(plan_file.to_bytes(extended)).extensions == ("seed=7",)


@pytest.fixture
def sweep(a_store, inside, tmp_path):
    """Two combinations with two seeds, tracked in ``tmp_path``."""
    assert inside("-m", "lr=0.1,1", "seed=0,1", "epochs=20", "n_jobs=1").returncode == 0
    return stored(tmp_path)[0]


def test_an_extended_sweep_has_the_runs_of_one_that_was_larger_from_the_start(
    sweep, inside, tmp_path, put_store, monkeypatch
):
    done = inside("extend", sweep.run_id, "seed=range(1,4)", "budget.runs=3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Adding 4 runs to the 4 of the sweep.\n8 runs over lr (2 values)")
    assert "The budget is spent: 1 of 8 runs is left out." in done.stdout
    assert inside("resume", "latest").returncode == 0
    parent, runs = stored(tmp_path)
    assert parent.run_id == sweep.run_id
    assert parent.tags[run_tags.EXTENSIONS] == "'seed=range(1,4)'"
    assert parent.tags["mlflow.note.content"].startswith("Swept 8 runs")
    assert parent.name == "sweep lr x seed, xor, gradient_descent, 8 runs"
    assert parent.params["sweep.seed"] == "0, 1, 2, 3"
    assert inside("reproduce", "latest").stdout == "8 of 8 runs identical to the bit.\n"
    assert inside("verify", "latest").returncode == 0
    assert "Over 4 seeds on xor" in inside("report", "latest").stdout
    other = tmp_path / "other"
    other.mkdir()
    put_store(other)
    monkeypatch.chdir(other)
    bpexp.sweep(lr=[0.1, 1], seed=range(4), epochs=20, backend="serial")
    assert stored(other)[1] == runs


def test_python_extends_a_sweep_and_returns_all_of_its_runs(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = bpexp.extend("latest", "hidden=2,3", seed=range(1, 3), budget__runs=4)
    assert len(table) == 8
    rest = bpexp.extend(sweep.run_id, lr=3, seed=[0])
    _, runs = stored(tmp_path)
    assert len(rest) == len(runs) == 10 + 2
    assert set(rest["lr"]) == {0.1, 1.0, 3.0}
    with pytest.raises(ConfigError, match=r"has the runs of lr=0.1,1 .* already"):
        bpexp.extend("latest", lr=[0.1, 1], seed=1, hidden=2)
    with pytest.raises(ConfigError, match="extend takes settings with values to add"):
        bpexp.extend("latest")
    with pytest.raises(ConfigError, match=r"budget\.runs, budget\.epochs and"):
        bpexp.extend("latest", seed=9, budget__foo=1)


def test_an_extension_in_between_is_noticed_and_kept(sweep, inside, tmp_path, monkeypatch):
    plan_of = resume.plan_of

    def plan_of_then_extend(*arguments):
        plan = plan_of(*arguments)
        monkeypatch.setattr(resume, "plan_of", plan_of)
        assert inside("extend", "latest", "seed=7").returncode == 0
        return plan

    monkeypatch.setattr(resume, "plan_of", plan_of_then_extend)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="extended meanwhile"):
        bpexp.extend("latest", seed=8)
    assert stored(tmp_path)[0].params["sweep.seed"] == "0, 1, 7"


@pytest.mark.slow
def test_a_setting_that_all_runs_shared_may_vary(sweep, inside, tmp_path):
    assert inside("extend", "latest", "hidden=3", "--backend", "local").returncode == 0
    parent, runs = stored(tmp_path)
    assert len(runs) == 8
    assert parent.params["hidden"] == "2, 3"
    assert parent.params["sweep.hidden"] == "2, 3"
    assert "which combination of lr (0.1, 1) and hidden (2, 3)" in inside("report", "latest").stdout


@pytest.mark.slow
def test_a_store_that_cannot_change_parameters_keeps_them(inside, a_store, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "unsupported_reason", lambda engine: "requested by the test")
    assert inside("-m", "lr=0.1,1", "epochs=5", "n_jobs=1").returncode == 0
    assert inside("extend", "latest", "lr=3").returncode == 0
    parent, runs = stored(tmp_path)
    assert len(runs) == 3
    assert parent.params["sweep.lr"] == "0.1, 1"


@pytest.mark.slow
def test_a_search_takes_more_trials(inside, a_store, tmp_path, put_store, monkeypatch):
    search = ["-m", "lr=tag(log,interval(0.1,10))", "seed=0,1", "epochs=20", "search=tpe",
              "search.generation=2", "n_jobs=1"]  # fmt: skip
    assert inside(*search, "search.trials=4").returncode == 0
    done = inside("extend", "latest", "seed=3")
    assert "A search is extended by search.trials=N alone, got seed=3." in done.stderr
    done = inside("extend", "latest", "search.trials=3")
    assert "search.trials must be above 4, got 3." in done.stderr
    assert inside("extend", "latest", "search.trials=7").returncode == 0
    _, runs = stored(tmp_path)
    assert len(runs) == 14
    assert inside("reproduce", "latest").stdout.endswith("7 of 7 trials proposed again.\n")
    assert (
        "no multiple of search.generation (2)"
        in inside("extend", "latest", "search.trials=9").stderr
    )
    other = tmp_path / "other"
    other.mkdir()
    put_store(other)
    monkeypatch.chdir(other)
    assert inside(*search, "search.trials=7").returncode == 0
    assert stored(other)[1] == runs


REFUSED = [
    (["seed=0,1"], "The sweep has the runs of seed=0,1 already; bpexp resume trains"),
    (["n_jobs=1"], "extend takes settings on which results depend, got 'n_jobs=1'"),
    (["sed=3"], "did you mean seed?"),
    (["~seed"], "extend takes settings with values, got '~seed'"),
    (["lr=-1"], "lr must be a finite number above 0, got -1"),
    (["optimizer.momentum=0.5"], "optimizer.momentum is a setting of optimizer=momentum"),
    (["optimizer=sgdd"], "sgdd"),
    (["seed=range(3,1)"], "seed must have at least one value"),
    (["seed=3", "budget.foo=1"], "budget.runs, budget.epochs and budget.seconds"),
    (["data.foo.bar=1"], "data.foo"),
    ([], "required: KEY=V1,V2"),
]


def test_what_cannot_be_added_is_refused_and_nothing_is_written(sweep, inside, tmp_path):
    for arguments, message in REFUSED:
        done = inside("extend", sweep.run_id, *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    parent, runs = stored(tmp_path)
    assert (parent.status, len(runs), parent.params) == ("FINISHED", 4, sweep.params)
