"""One record of each kind is added from outside the package and used in everything that it does.

Nothing here changes a file of the package: a metric, an optimizer, an activation, a data set, an
executor and a plot are registered, and a sampler is passed to ``app.run_sweep``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from exact_csv import read_csv
from matplotlib.figure import Figure

import bpexp
from bpexp import app
from bpexp.analysis.plots import PLOTS, Plot
from bpexp.config.compose import compose_settings
from bpexp.config.schema import BACKENDS, BackendConfig
from bpexp.data import DATA_SOURCES, DataConfig, DataSource, Table, load
from bpexp.fields import setting
from bpexp.fields.checks import ConfigError, Integer, Real
from bpexp.nn.activations import ACTIVATIONS, Activation
from bpexp.nn.notation import ActivationNotation
from bpexp.nn.optimizers import OPTIMIZERS, Optimizer, OptimizerConfig
from bpexp.reporter import SilentReporter
from bpexp.reproduce.verify import Finding, verify
from bpexp.runs import identity
from bpexp.runs.metrics import METRICS, Direction, Metric, Split
from bpexp.sweeps.executors import base
from bpexp.sweeps.executors.base import Batch, Executor, train_jobs
from bpexp.sweeps.executors.local import LocalExecutor
from bpexp.sweeps.generations import Generations
from bpexp.sweeps.job import Job
from bpexp.sweeps.plan import make_plan
from bpexp.tracking.archive import open_archive
from bpexp.tracking.reading import FINISHED
from bpexp.tracking.store import locate
from bpexp.training.batching import load_engine

NEAR = 0.1
"""An output hits its target if it is closer than this."""


def hits(run):
    """The share of training outputs that hit their targets."""
    if run.result.outcome == "diverged":
        return None
    return float(np.mean(np.abs(run.result.predictions - run.dataset.Y) < NEAR))


HITS = Metric("hits", "share of hits", Direction.MAXIMIZE, Split.TRAINING, hits)


@dataclass(frozen=True, kw_only=True)
class DampedConfig(OptimizerConfig):
    """Settings of ``damped``."""

    strength: float = setting(Real(above=0.0), 1.0, "factor of the squared gradients")


class DampedState(NamedTuple):
    """The sum of squared gradients."""

    total: Any


def damped(w, g, state, lr, h):
    """Gradient descent whose steps become shorter: w - lr g / (1 + strength sum(g^2))."""
    total = state.total + g * g
    return w - lr * g / (1.0 + h.strength * total), DampedState(total)


def explain_damped(n, show):
    """The new parameter as an equation."""
    return [("new w", f"w − η g / (1 + c s) = {show(n.new_w)}")]


DAMPED = Optimizer(
    "damped", DampedConfig, DampedState, {"total": 0.0}, damped, explain_damped, {"total": "s"}
)
HALF_TANH = Activation(
    "half_tanh",
    lambda arithmetic, z: 0.5 * arithmetic.tanh(z),
    lambda a: 0.5 - 2.0 * (a * a),
    (-0.5, 0.5),
    ActivationNotation("h", "½ tanh z", "½ − 2 a²", lambda a: f"(½ − 2 · {a}²)"),
    lambda node, z: node("Mul", node("Tanh", z), "half"),
)


@dataclass(frozen=True, kw_only=True)
class ParabolaConfig(DataConfig):
    """Settings of ``parabola``."""

    points: int = setting(Integer(2), 9, "number of rows")


def load_parabola(config):
    """Rows of y = x^2 on [0, 1]."""
    X = np.linspace(0.0, 1.0, config.points)[:, None]
    return Table(X, X * X, ("x",), ("y",), is_classification=False)


PARABOLA = DataSource("parabola", ParabolaConfig, load_parabola)


class BackwardsConfig(BackendConfig):
    """Settings of ``backwards``."""


class BackwardsExecutor(Executor):
    """Trains the last batch first, in the calling thread."""

    @classmethod
    def from_config(cls, runtime):
        return cls()

    @property
    def n_workers(self):
        return 3

    def map(self, batches):
        for batch in reversed(batches):
            yield from train_jobs(batch, load_engine(batch.engine))


class OneGenerationExecutor(BackwardsExecutor):
    """Is interrupted, as by Ctrl-C, when it is to train a second generation."""

    def __init__(self):
        self.generations = 0

    def map(self, batches):
        self.generations += 1
        if self.generations > 1:
            raise KeyboardInterrupt
        yield from super().map(batches)


class NarrowingSampler:
    """Proposes three learning rates, and then two around the best of them."""

    def __init__(self):
        self.best, self.generation = None, 0

    def ask(self):
        self.generation += 1
        if self.generation == 1:
            self.proposed = [0.01, 0.1, 1.0]
        elif self.generation == 2:
            self.proposed = [0.5 * self.best, 2.0 * self.best]
        else:
            self.proposed = []
        return [{"lr": lr} for lr in self.proposed]

    def tell(self, scores):
        ranked = [(x, lr) for x, lr in zip(scores, self.proposed, strict=True) if x is not None]
        self.best = min(ranked)[1]


def draw_hits(data):
    """The hits of each group."""
    figure = Figure()
    columns = [summary.group.column("hits") for summary in data.findings.summaries]
    figure.subplots().plot([column.mean() for column in columns])
    return figure


HITS_PLOT = Plot("hits", "Mean share of hits of each group.", draw_hits)
ADDED = (
    (METRICS, HITS), (OPTIMIZERS, DAMPED), (ACTIVATIONS, HALF_TANH), (DATA_SOURCES, PARABOLA),
    (PLOTS, HITS_PLOT),
)  # fmt: skip


@pytest.fixture
def restored(monkeypatch):
    """Remove at the end what a test registers."""
    for registry in (*(registry for registry, _ in ADDED), BACKENDS):
        monkeypatch.setattr(registry, "_records", dict(registry))
    monkeypatch.setattr(base, "EXECUTORS", dict(base.EXECUTORS))


@pytest.fixture
def added(restored):
    """Register everything."""
    for registry, record in ADDED:
        registry.register(record)
    base.register("backwards", BackwardsConfig)(BackwardsExecutor)
    base.register("one_generation", BackendConfig)(OneGenerationExecutor)


@pytest.fixture
def store(put_store, tmp_path, monkeypatch):
    """An empty store in the working directory."""
    put_store(tmp_path)
    monkeypatch.chdir(tmp_path)


SETTINGS: Mapping[str, Any] = {
    "data": {"name": "parabola", "points": 7}, "optimizer": {"name": "damped", "strength": 0.25},
    "model__activation": "half_tanh", "model__output": "identity", "hidden": 3, "epochs": 40,
}  # fmt: skip


def sweep(**settings):
    return bpexp.sweep(**SETTINGS, lr=[0.02, 0.2], seed=range(3), **settings)


def archive(experiment="bpexp"):
    return open_archive(locate(None, Path.cwd(), {}), experiment)


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize("hidden", [2, [40, 33]])
def test_both_engines_are_bit_identical(hidden):
    settings = {**SETTINGS, "hidden": hidden, "batch_size": 3}
    numpy, compiled = (bpexp.train(**settings, engine=name) for name in ("numpy", "compiled"))
    assert identity.of_result(numpy) == identity.of_result(compiled)
    assert numpy.metrics == compiled.metrics
    assert numpy.losses[-1] < numpy.losses[0]


@pytest.mark.usefixtures("added")
def test_the_formulas_of_the_records_are_computed():
    def weights(optimizer, lr):
        result = bpexp.train(**{**SETTINGS, "epochs": 1, "optimizer": optimizer}, lr=lr)
        return np.concatenate([part.ravel() for part in (*result.weights, *result.biases)])

    w = weights("gradient_descent", 1e-300)
    g = w - weights("gradient_descent", 1.0)
    expected = w - 0.5 * g / (1.0 + 0.25 * g**2)
    np.testing.assert_allclose(weights(SETTINGS["optimizer"], 0.5), expected, rtol=1e-12)
    result = bpexp.train(**{**SETTINGS, "epochs": 1}, lr=1e-300)
    x = np.linspace(0.0, 1.0, 7)[:, None]
    (inner, outer), (inner_bias, outer_bias) = result.weights, result.biases
    outputs = 0.5 * np.tanh(x @ inner + inner_bias) @ outer + outer_bias
    np.testing.assert_allclose(result.predictions, outputs, rtol=1e-12)
    assert result.metrics["hits"] == np.mean(np.abs(outputs - x**2) < NEAR)
    with pytest.raises(ConfigError, match=r"must have targets from -0\.5 to 0\.5"):
        bpexp.train(**{**SETTINGS, "model__output": "half_tanh"})


@pytest.mark.slow
@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("module", [__name__, "numpyro.optim", "bpexp_more.optimizers"])
def test_a_changed_formula_does_not_use_the_compiled_code_of_the_old_one(module):
    def losses(strength):
        def update(w, g, state, lr, h):
            return w - strength * (lr * g), state

        update.__module__ = module
        OPTIMIZERS._records.pop("changed", None)
        OPTIMIZERS.register(replace(DAMPED, name="changed", update=update))
        both = [
            bpexp.train(optimizer={"name": "changed"}, epochs=5, engine=engine).losses
            for engine in ("numpy", "compiled")
        ]
        np.testing.assert_array_equal(both[0], both[1])
        return both[0]

    assert losses(1.0)[-1] != losses(0.5)[-1]


@pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning")
@pytest.mark.usefixtures("added", "store")
def test_a_sweep_is_tracked_reported_and_reproduced(inside):
    results = sweep(backend={"name": "backwards"})
    assert list(results["seed"]) == [0, 1, 2] * 2
    runs = bpexp.load_runs().sort_values(["lr", "seed"])
    assert runs["hits"].tolist() == results["hits"].tolist()
    assert set(runs["optimizer.strength"]) == {0.25}
    assert set(runs["data.points"]) == {7}
    (parent,) = [run for run in archive().search() if run.is_sweep]
    stored = read_csv(next(Path("outputs/artifacts").glob("*/artifacts/results.csv")))
    assert stored["hits"].tolist() == results["hits"].tolist()

    report = bpexp.report(measure="hits")
    assert "has the highest share of hits" in report.question
    medians = results.groupby("lr")["hits"].median()
    assert report.table["hits_median"].tolist() == sorted(medians, reverse=True)
    assert report.table["lr"].tolist() == [str(medians.idxmax()), str(medians.idxmin())]
    files = report.files(["md"])
    assert files["figures/hits.png"].startswith(b"\x89PNG")
    assert "![Mean share of hits of each group.](figures/hits.png)" in files["report.md"].decode()

    children = [run.run_id for run in archive().search() if not run.is_sweep]
    for engine in ("numpy", "compiled"):
        verdicts = list(verify(archive(), children, engine, 1))
        assert [verdict.finding for verdict in verdicts] == [Finding.IDENTICAL] * 6
    for command in (
        ("runs",), ("report", "--measure", "hits", "--format", "json", parent.run_id),
        ("reproduce", parent.run_id), ("export", parent.run_id),
        ("explain", "optimizer=gradient_descent", "model.activation=half_tanh"),
    ):  # fmt: skip
        done = inside(*command)
        assert done.returncode == 0, done.stderr
    assert "share of hits" in inside("report", "--measure", "hits", parent.run_id).stdout
    assert "hits" in inside("report", "--help").stdout


@pytest.mark.usefixtures("added", "store")
def test_an_executor_gives_the_results_of_the_built_in_ones():
    backwards, serial = (sweep(backend={"name": name}) for name in ("backwards", "serial"))
    columns = [name for name in METRICS if name in serial]
    assert {"final_loss", "epochs_run", "hits"} <= set(columns)
    backwards, serial = backwards[columns], serial[columns]
    pd.testing.assert_frame_equal(backwards, serial)


@pytest.mark.slow
@pytest.mark.usefixtures("added")
def test_worker_processes_know_what_is_registered():
    configs = make_plan([compose_settings({**SETTINGS, "seed": seed}) for seed in range(4)]).configs
    jobs = [Job(i, "", config, load(config.data)) for i, config in enumerate(configs)]
    with LocalExecutor(2) as processes:
        mapped = processes.map([Batch((job,), "numpy") for job in jobs])
        trained = {one.job.index: one.result for results in mapped for one in results}
    for job in jobs:
        ((one,),) = train_jobs(Batch((job,), "compiled"), load_engine("compiled"))
        expected = one.result
        assert identity.of_result(trained[job.index]) == identity.of_result(expected)
        assert trained[job.index].metrics == expected.metrics
        assert "hits" in expected.metrics


@pytest.mark.usefixtures("restored", "store")
def test_a_sweep_from_before_a_metric_was_registered_is_still_reported():
    bpexp.sweep(lr=[0.1, 1.0], seed=range(3), epochs=20)
    METRICS.register(HITS)
    (parent,) = [run for run in archive().search() if run.is_sweep]
    assert "hits_median" not in bpexp.report(parent.run_id).table
    with pytest.raises(ConfigError, match=r"--measure must be one of .*got 'hits'"):
        bpexp.report(parent.run_id, measure="hits")
    assert "hits" not in bpexp.load_runs()


@pytest.mark.usefixtures("added", "store")
def test_diverged_runs_are_worse_than_any_value_of_a_metric():
    bpexp.sweep(**{**SETTINGS, "optimizer": "gradient_descent"}, lr=[0.02, 1e200], seed=range(3))
    report = bpexp.report(measure="hits")
    assert report.table["lr"].tolist() == ["0.02", "1e+200"]
    assert report.table["diverged"].tolist() == [0, 3]
    assert report.table["hits_median"].tolist()[1] == -np.inf


def search(backend, experiment="bpexp"):
    """Start a sweep whose second generation depends on the results of the first."""

    def compose(proposal):
        return compose_settings({
            **SETTINGS, **proposal, "seed": 1, "backend": {"name": backend},
            "tracking__experiment": experiment,
        })  # fmt: skip

    generations = Generations(NarrowingSampler(), compose)
    return app.run_sweep(generations.first_plan(), SilentReporter(), generations=generations)


def digests(experiment):
    finished = archive(experiment).search(FINISHED)
    return sorted(run.tags["bpexp.result"] for run in finished)


@pytest.mark.usefixtures("added", "store")
def test_a_sampler_proposes_a_second_generation_and_the_sweep_can_be_resumed(inside):
    complete = search("backwards", "complete")
    by_lr = {row.job.config.lr: row.metrics["final_loss"] for row in complete.rows}
    first = [0.01, 0.1, 1.0]
    best = min(first, key=by_lr.get)
    assert list(by_lr) == [*first, 0.5 * best, 2.0 * best]
    interrupted = search("one_generation")
    assert interrupted.interrupted
    assert [row.outcome for row in interrupted.rows] == ["completed"] * 3 + ["interrupted"] * 2
    parent = archive().get(interrupted.parent)
    request = app.ResumeRequest(
        archive(), "bpexp", parent, backend=BackwardsConfig(name="backwards")
    )
    resumed = app.resumed(request, SilentReporter()).train(SilentReporter())
    assert [row.job.config.lr for row in resumed.rows] == list(by_lr)
    assert [row.metrics["final_loss"] for row in resumed.rows] == list(by_lr.values())
    assert len(digests("bpexp")) == 5
    assert digests("bpexp") == digests("complete")
    assert inside("reproduce", interrupted.parent).returncode == 0
    assert "lr" in bpexp.report(interrupted.parent).table


@pytest.mark.usefixtures("added", "store")
def test_the_command_line_finds_the_options_in_a_folder_of_yaml_files(inside, tmp_path):
    for group, text in {
        "data/parabola": "name: parabola\npoints: 5", "backend/backwards": "name: backwards",
        "optimizer/damped": "name: damped\nstrength: 0.5",
    }.items():  # fmt: skip
        file = tmp_path / "options" / f"{group}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    overrides = (
        "data=parabola", "data.points=6,8", "optimizer=damped", "backend=backwards",
        "model.activation=half_tanh", "model.output=identity", "epochs=10",
    )  # fmt: skip
    done = inside("--config-dir", str(tmp_path / "options"), "-m", *overrides)
    assert done.returncode == 0, done.stderr
    runs = bpexp.load_runs()
    assert sorted(runs["data.points"]) == [6, 8]
    assert set(runs["optimizer.name"]) == {"damped"}
    report = inside("report", "--format", "json", "--only", "data.points=6")
    assert report.returncode == 0, report.stderr
    (written,) = Path("outputs/reports").rglob("report.json")
    assert "hits_median" in json.loads(written.read_text())["groups"][0]


@pytest.mark.usefixtures("added")
def test_a_name_that_is_taken_is_refused():
    for registry, record in ADDED:
        other = replace(record, name=next(iter(registry)))
        with pytest.raises(ValueError, match=r"^There is already an? .* named "):
            registry.register(other)
    with pytest.raises(ValueError, match=r"^There is already an executor named 'serial'"):
        base.register("serial", BackendConfig)(BackwardsExecutor)
