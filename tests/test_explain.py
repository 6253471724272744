"""The page on one training step: its numbers and its formats."""

import itertools
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import bpexp
from bpexp.cli import explain
from bpexp.config.compose import compose
from bpexp.config.replicates import OWN_SEEDS
from bpexp.data import load
from bpexp.explain.page import page
from bpexp.explain.step import compute_step
from bpexp.explain.symbols import digits
from bpexp.nn.optimizers import OPTIMIZERS
from bpexp.render import markdown
from bpexp.render.document import Equations, Heading
from bpexp.sweeps import plan


def configured(*settings):
    (config,) = plan.make_plan([compose(settings)]).configs
    return config


def printed(capsys, *arguments):
    explain.main(arguments)
    return capsys.readouterr().out


def tables(text):
    """The Markdown page's tables: a list of rows of cells each."""
    found = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


@pytest.fixture
def one_sample(tmp_path):
    (tmp_path / "one.csv").write_text("x,y\n1.0,1.0\n")
    return ("data=file", f"data.path={tmp_path}/one.csv", "data.target=y", "hidden=1", "lr=16",
            "model.init_high=0", "data.standardize=false")  # fmt: skip


def test_the_page_contains_a_step_calculated_by_hand(capsys, one_sample):
    # x = 1, y = 1, all weights 0: both units give 1/2; E = 1/8; delta2 = -1/2 * 1/4 = -1/8;
    # dE/dw2 = -1/16, dE/db2 = -1/8; with lr 16 w2 = 1 and b2 = 2; w2 = 0 lets nothing through.
    text = printed(capsys, *one_sample)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "a⁽²⁾₁ = σ(0) = 0.5",
        "= ½ (0.5 − 1)²",
        "= 0.125",
        "= (0.5 − 1) · 0.5 · (1 − 0.5)",
        "= (-0.5) · 0.25",
        "= -0.125",
        "= (0 · (-0.125)) · 0.5 · (1 − 0.5)",
        "new w = w − η g",
        "= 0 − 16 · (-0.0625)",
        "w⁽²⁾₁₁ 0 -0.0625 1 1",
        "b⁽²⁾₁ 0 -0.125 2 2",
        "w⁽¹⁾₁₁ 0 0 0 0",
    ):
        assert line in lines, line
    # The second step: z = 1/2 + 2.
    a = 1.0 / (1.0 + math.exp(-2.5))
    text = printed(capsys, *one_sample, "--epoch", "2", "--digits", "12")
    assert f"= σ(2.5) = {a:.12g}" in text
    delta1 = (a - 1.0) * a * (1.0 - a) * 1.0 * 0.25
    assert f"{delta1:.12g}" in text
    assert f"goes down from {(a - 1.0) ** 2:.12g} to" in text


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("data=parity", "data.bits=3", "hidden=[3,2]", "model.activation=tanh"),
        ("data=iris", "model=classifier", "hidden=3", "batch_size=10"),
        ("model.loss=cross_entropy", "model.bias_input=0.5"),
        ("data=symmetry", "model.class_weight=balanced", "model.loss=cross_entropy"),
        ("model.output=identity", "model.activation=softsign", "model.init_low=-1"),
        ("data=iris", "model=classifier", "model.loss=half_squared", "hidden=[]"),
        ("model.activation=relu", "model.output=symmetric_sigmoid", "data.low=-0.5",
         "data.high=0.5"),
    ],
)  # fmt: skip
def test_the_printed_gradient_equals_its_finite_difference(capsys, settings):
    text = printed(capsys, *settings, "--format", "md", "--epoch", "2", "--digits", "5")
    (gradient,) = [t for t in tables(text) if "central difference" in t[0]]
    ours, theirs = (gradient[0].index(name) for name in ("gradient", "central difference"))
    assert len(gradient) > 8
    for row in gradient[2:]:
        # Below 1e-6 the central difference has fewer than five correct digits.
        assert row[ours] == row[theirs] or abs(float(row[ours])) < 1e-6


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_step_has_the_results_of_training_to_the_bit(optimizer):
    settings = (
        f"optimizer={optimizer}",
        "optimizer.weight_decay=0.001",
        "optimizer.by_fan_in=true",
    )
    result = bpexp.train(
        epochs=7, optimizer=optimizer, optimizer__weight_decay=0.001, optimizer__by_fan_in=True
    )
    step = compute_step(configured(*settings), 7)
    weights, biases = step.problem.network.split(step.update.after)
    for ours, theirs in zip([*weights, *biases], [*result.weights, *result.biases], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(step.forward.activations[-1], result.predictions)
    assert step.forward.loss == result.final_loss
    assert compute_step(configured(*settings), 8).forward.loss == step.update.loss_after


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_update_lines_end_in_the_new_weight(optimizer):
    config = configured(f"optimizer={optimizer}", "lr=0.01")
    for epoch in (1, 5):
        step = compute_step(config, epoch)
        blocks = page(step, load(config.data), digits(17)).blocks
        place = next(
            i for i, b in enumerate(blocks) if isinstance(b, Heading) and b.text.startswith("7.")
        )
        lines = next(b for b in blocks[place:] if isinstance(b, Equations)).lines
        # The lines show the first weight of layer 2; its index is 4, after the weights of layer 1.
        assert lines[-1][1] == f"{step.update.after[4]:.17g}"


def test_the_page_states_where_the_update_is_not_the_gradient(capsys):
    settings = ("model.error=arctanh", "model.dead_zone=0.1", "model.derivative_offset=0.1")
    text = " ".join(printed(capsys, *settings).split())
    assert "e(d) = ln((1 + d) / (1 − d)), within ±17." in text
    assert "e(d) is 0 where |d| < 0.1." in text
    assert "the update direction is not the gradient of E" in text


@pytest.mark.parametrize(
    ("settings", "total"),
    [
        ((), "Σ (a − y) a"),
        (("model.error=arctanh",), "Σ e(a − y) a"),
        (("model.dead_zone=0.1",), "Σ e(a − y) a"),
    ],
)
def test_the_sum_of_softmax_outputs_has_the_errors_of_its_numbers(settings, total):
    config = configured("data=iris", "model=classifier", "model.loss=half_squared", *settings)
    step = compute_step(config, 1)
    lines = [
        line for block in page(step, load(config.data), digits(17)).blocks
        if isinstance(block, Equations) for line in block.lines
        if line[0] == "δ⁽²⁾₁"
    ]  # fmt: skip
    assert len(lines) == 1
    assert total in lines[0][1]


def test_the_page_states_the_learning_rate_of_the_schedule_and_its_division(capsys):
    settings = ("schedule=step", "schedule.every=2", "schedule.factor=0.5", "lr=0.2")
    schedule, division = "the schedule makes η = 0.1.", "η is divided by the number of connections"
    for by_fan_in, epoch in itertools.product((False, True), (2, 3)):
        fan_in = f"optimizer.by_fan_in={by_fan_in}".lower()
        text = " ".join(printed(capsys, *settings, fan_in, "--epoch", str(epoch)).split())
        assert (schedule in text) == (epoch == 3)
        assert (division in text) == by_fan_in


def test_the_page_states_every_seed_of_its_own(capsys):
    seeds = [f"{key}={number}" for number, key in enumerate(OWN_SEEDS, start=901)]
    drawn = ("optimizer=rprop", "optimizer.step_init_low=0.01", "optimizer.step_init_high=0.1")
    text = " ".join(printed(capsys, *drawn, *seeds, "batch_size=2").split())
    for number in range(901, 901 + len(OWN_SEEDS)):
        assert re.search(rf", seed of the [\w -]+ {number},", text), number


def test_the_page_says_how_a_run_diverges(capsys):
    # The gradient times the learning rate is above 1.8e308.
    large = ("model.output=identity", "model.init_high=1e3", "data.high=1e3", "lr=1e308")
    text = " ".join(printed(capsys, *large).split())
    assert "With this update a weight is no longer finite: the run diverges" in text
    assert "is not made" not in text
    # The loss overflows after the first update, whose weights are finite.
    text = " ".join(printed(capsys, "model.output=identity", "lr=1e200", "--epoch", "2").split())
    assert "the loss is no longer finite at this forward pass" in text
    assert "this update is not made" in text
    # No output gets a weight by which the loss could change: ReLU units below 0.
    still = ("model.output=relu", "model.init_low=-1", "model.init_high=0")
    assert "the loss stays 0.5." in " ".join(printed(capsys, *still).split())


def test_a_step_of_a_later_epoch_starts_with_the_weights_of_the_epoch_before():
    config = configured("data=iris", "model=classifier", "batch_size=10", "epochs=9")
    step = compute_step(config, 4)
    earlier = bpexp.train(data="iris", model="classifier", batch_size=10, epochs=3)
    weights, biases = step.problem.network.split(step.before)
    for ours, theirs in zip([*weights, *biases], [*earlier.weights, *earlier.biases], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (len(step.rows), step.n_mini_batches) == (10, 12)


@pytest.mark.slow
def test_the_page_of_a_wide_network_states_what_is_not_shown(capsys):
    text = printed(capsys, "data=digits", "model=classifier", "hidden=40", "--format", "md")
    assert len(text.splitlines()) < 400
    assert "Of each layer the first 4 units are shown." in text
    assert "Of 64 inputs the first 4 are shown." in text
    assert "… (60 more)" in text
    n_parameters = 64 * 40 + 40 + 40 * 10 + 10
    assert f"{n_parameters - 40:,} more parameters not shown." in text


def test_an_epoch_after_the_end_of_the_run_is_an_error(inside):
    done = inside("explain", "stop.loss=0.2", "lr=5", "--epoch", "9000")
    assert done.returncode == 2
    assert done.stderr.startswith("bpexp: epoch must be one of the run's ")
    assert len(done.stderr.splitlines()) == 1


class Texts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.texts = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_column_names_are_escaped_in_html_and_markdown(capsys, tmp_path):
    (tmp_path / "t.csv").write_text("<script>alert(1)</script>|*a*,y\n1,0\n2,1\n")
    settings = ("data=file", f"data.path={tmp_path}/t.csv", "data.target=y")
    reader = Texts()
    reader.feed(printed(capsys, *settings, "--format", "html"))
    assert "script" not in reader.tags
    assert "x<script>" not in "".join(reader.texts)
    assert "<script>alert(1)</script>|*a*" in "".join(reader.texts)
    text = printed(capsys, *settings, "--format", "md")
    assert "<script" not in text
    assert r"&lt;script\>alert(1)&lt;/script\>\|\*a\*" in text


def test_text_and_html_have_the_same_numbers_and_output_goes_to_a_file(inside, tmp_path):
    page = inside("explain", "--format", "html", "-o", "page.html")
    assert (page.returncode, page.stdout, page.stderr) == (0, "", "")
    written = (tmp_path / "page.html").read_text()
    assert "http" not in written
    assert "0.70333" in written
    plain = inside("explain", "lr=0.5")
    assert plain.returncode == 0
    assert "\x1b" not in plain.stdout
    assert "0.70333" in plain.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lr=-1"], "lr must be a finite number above 0, got -1."),
        (["lrr=1"], "lrr is not a key of the configuration; did you mean lr?"),
        (["data=iri"], "data must be one of"),
        (["lr=1,2"], "lr must be one value, got 'lr=1,2'."),
        (["--epoch", "0"], "--epoch must be in 1..10000 (epochs), got 0."),
        (["--digits", "18"], "--digits must be in 1..17, got 18."),
        (["--sample", "9"], "--sample must be one of this step's (1, 2, 3, 4), got 9."),
        (["-o", "no/such/folder.md", "--format", "md"], "-o must be a file that can be written"),
    ],
)
def test_invalid_input_is_reported_in_one_sentence(inside, tmp_path, arguments, message):
    done = inside("explain", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_markdown_has_code_blocks_a_diagram_and_regular_tables():
    config = configured()
    text = markdown.render(page(compute_step(config, 1), load(config.data), digits(6)))
    assert text.count("```") % 2 == 0
    assert "```mermaid\nflowchart LR\n" in text
    for table in tables(text):
        assert len({len(row) for row in table}) == 1
