"""The report: what it says of runs that are known, and what it leaves in the store."""

import contextlib
import csv
import io
import itertools
import json
import pathlib
import re
from importlib.metadata import version
from types import SimpleNamespace
from xml.etree import ElementTree

import mlflow
import numpy as np
import pandas as pd
import pytest
from html_page import Page
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure
from PIL import Image
from read_back import client_of
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import wilcoxon

import bpexp as package
from bpexp.analysis import (
    findings,
    group_labels,
    group_plots,
    groups,
    objective_choice,
    page,
    plots,
    report,
    survival,
    tables,
    words,
)
from bpexp.analysis.intervals import Interval
from bpexp.analysis.objective_choice import ObjectiveChoice
from bpexp.analysis.options import ReportOptions
from bpexp.config import schema
from bpexp.config.compose import compose, compose_settings
from bpexp.data import load
from bpexp.fields.checks import ConfigError
from bpexp.render import axes as plot_axes
from bpexp.render.document import Heading, Table
from bpexp.sweeps.job import format_setting
from bpexp.sweeps.plan import make_plan
from bpexp.tracking import ids as run_ids

PNG = b"\x89PNG\r\n\x1a\n"


def rows(runs):
    """A table as a store gives it: each run is (settings, seed, outcome, loss, epochs)."""
    fixed = {"data.name": "xor", "epochs": 100, "stop.loss": None, "stop.tolerance": None}
    return pd.DataFrame(
        {
            "run_id": f"{number:032x}", "sweep": "s", "seed": seed, **fixed, **settings,
            "outcome": outcome, "final_loss": loss, "epochs_run": epochs, "accuracy": None,
            "artifacts": "nowhere",
        }
        for number, (settings, seed, outcome, loss, epochs) in enumerate(runs)
    )  # fmt: skip


def reader(losses, files=None):
    """Reads losses by a function, and the same files for every run, which was trained on XOR."""
    config = schema.parse(compose([]))[0]
    return SimpleNamespace(
        losses=losses,
        validation_losses=losses,
        artifact=lambda row, name: (files or {}).get(name),
        data=lambda row: (config, load(config.data)),
    )


def built(frame, measure=None, allow_test=False, **more):
    def flat(some, epochs):
        return np.tile(np.linspace(1, 0.5, len(epochs)), (len(some), 1))

    options = ReportOptions(choice=ObjectiveChoice(measure, allow_test), **more)
    return report.build(frame, "a sweep", {}, reader(flat), options)


@pytest.mark.parametrize(
    ("tags", "measure"),
    [
        ({}, "final_loss"),
        ({"bpexp.objective": "accuracy"}, "accuracy"),
        ({"bpexp.objective": "test_loss"}, "final_loss"),
        ({"bpexp.objective": "test_loss", "bpexp.objective.allow_test": "true"}, "test_loss"),
        ({"bpexp.objective": "anything"}, "final_loss"),
        ({"bpexp.objective": "epochs_to_converge"}, "epochs_to_converge"),
    ],
)
def test_a_report_ranks_by_the_objective_of_the_sweep(tags, measure):
    frame = by_lr({0.1: [0.1, 0.2], 1: [0.3, 0.4]}).assign(accuracy=0.5, test_loss=0.7)
    choice = objective_choice.with_objective_of(ObjectiveChoice(), [SimpleNamespace(tags=tags)])
    chosen = objective_choice.choose(groups.group(frame), choice)
    assert chosen.name == measure
    if chosen.is_time:
        # No run converged, but runs were chosen by it, as in a search.
        flat = reader(lambda some, epochs: np.ones((len(some), len(epochs))))
        made = report.build(frame, "a sweep", {}, flat, ReportOptions(choice))
        assert made.answer.startswith("None of the 4 runs converged")
        return
    is_optimistic = "optimistic" in built(frame, measure, allow_test=True).answer
    assert is_optimistic == (measure == "test_loss")


def test_a_report_refuses_test_rows_unless_they_are_allowed():
    frame = by_lr({0.1: [0.1, 0.2], 1: [0.3, 0.4]}).assign(test_loss=0.7)
    with pytest.raises(ConfigError, match=r"--measure=test_loss would choose.*add --allow-test"):
        built(frame, "test_loss")


def test_validation_loss_ranks_where_all_runs_have_it():
    frame = by_lr({0.1: [0.1, 0.2], 1: [0.3, 0.4]}).assign(lowest_validation_loss=[4, 3, 2, 1])
    assert built(frame).findings.objective.name == "lowest_validation_loss"
    frame.loc[0, "lowest_validation_loss"] = None
    assert built(frame).findings.objective.name == "final_loss"


def table_below(made, heading):
    """The table of the report's document that follows a heading."""
    blocks = list(made.document.blocks)
    (table,) = [
        after for before, after in itertools.pairwise(blocks)
        if isinstance(before, Heading) and before.text == heading
    ]  # fmt: skip
    assert isinstance(table, Table)
    return table


def by_lr(losses, outcome="completed"):
    """Runs of lr -> its losses, seed by seed."""
    return rows(
        [
            ({"lr": lr}, seed, outcome, loss, 100)
            for lr, some in losses.items()
            for seed, loss in enumerate(some)
        ]
    )


def test_groups_are_all_that_varies_but_the_seed():
    both = itertools.product((0.1, 1.0), ("2", "[8,4]"), range(3))
    frame = rows([({"lr": lr, "hidden": h}, seed, "completed", 0.5, 100) for lr, h, seed in both])
    found = groups.group(frame)
    assert found.varying == {"hidden": ["2", "[8,4]"], "lr": ["0.1", "1"]}
    assert [group.name for group in found.groups] == [
        "lr=0.1 hidden=2", "lr=0.1 hidden=[8,4]", "lr=1 hidden=2", "lr=1 hidden=[8,4]",
    ]  # fmt: skip
    assert [len(group) for group in found.groups] == [3, 3, 3, 3]


MOMENTUM = {"optimizer.name": "momentum", "optimizer.momentum": 0.9, "optimizer.beta1": None}
ADAM = {"optimizer.name": "adam", "optimizer.momentum": None, "optimizer.beta1": 0.9}


def settled(*some):
    return groups.group(rows([(s, seed, "completed", 0.5, 100) for s in some for seed in range(2)]))


def test_settings_implied_by_another_setting_are_not_named():
    found = settled(MOMENTUM, ADAM)
    assert found.varying == {"optimizer.name": ["adam", "momentum"]}
    assert [group.name for group in found.groups] == [
        "optimizer.name=adam", "optimizer.name=momentum",
    ]  # fmt: skip
    assert [len(group) for group in found.groups] == [2, 2]


def test_settings_that_vary_within_an_option_are_named():
    found = settled(MOMENTUM, MOMENTUM | {"optimizer.momentum": 0.5}, ADAM)
    assert found.varying == {
        "optimizer.momentum": ["0.5", "0.9", "null"], "optimizer.name": ["adam", "momentum"],
    }  # fmt: skip
    assert [len(group) for group in found.groups] == [2, 2, 2]


def test_three_models_are_named_by_the_fewest_settings_that_distinguish_them():
    sigmoid = {"model.activation": "sigmoid", "model.init": "uniform", "model.loss": "half_squared",
               "model.output": "sigmoid"}  # fmt: skip
    glorot = {"model.activation": "tanh", "model.init": "glorot"}
    regressor = glorot | {"model.loss": "half_squared", "model.output": "identity"}
    classifier = glorot | {"model.loss": "cross_entropy", "model.output": "softmax"}
    found = settled(sigmoid, regressor, classifier)
    assert list(found.varying) == ["model.activation", "model.loss"]
    assert len(found.groups) == 3


def test_numbers_that_change_together_and_settings_of_other_parts_are_all_named():
    found = settled(
        {"model.init_low": -1, "model.init_high": 1, "optimizer.name": "adam"},
        {"model.init_low": -2, "model.init_high": 2, "optimizer.name": "momentum"},
    )
    assert list(found.varying) == ["model.init_low", "model.init_high", "optimizer.name"]


def test_a_report_lists_settings_in_the_order_in_which_the_sweep_does():
    varied = [{"optimizer": "momentum", "optimizer__momentum": share, "lr": lr, "hidden": [hidden],
               "data__low": low, "seed": 1}
              for share, lr, hidden, low in ((0.5, 0.1, 2, 0), (0.9, 1, 4, -1))]  # fmt: skip
    plan = make_plan([compose_settings(one | {"model": "regressor"}) for one in varied])
    found = settled(*(
        {key: format_setting(value) for key, value in schema.flatten(schema.plain(one)).items()}
        for one in plan.configs
    ))  # fmt: skip
    assert list(found.varying) == list(plan.varying)
    assert list(found.varying) == ["lr", "hidden", "data.low", "optimizer.momentum"]


def test_groups_of_one_run_have_no_column_of_probabilities():
    alone = tables.short_ranking(built(by_lr({0.1: [0.5], 1: [0.3]})).findings, 10)
    assert list(alone.columns) == ["rank", "lr", "runs", "final loss, median"]
    paired = tables.short_ranking(built(by_lr({0.1: [0.5, 0.6], 1: [0.3, 0.4]})).findings, 10)
    assert list(paired.columns) == [*alone.columns, "P(best is better)"]
    best_per = built(three_optimizers().query("seed == 0"), per="optimizer.name").best_per.table
    assert "P(best is better)" not in best_per.columns


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.1, "0.1"), ("0.1", "0.1"), (2, "2"), ("[2]", "2"), ("2", "2"), ("[8, 4]", "[8,4]"),
     ("[8,4]", "[8,4]"), (True, "true"), ("True", "true"), (None, "null"), ("None", "null"),
     (float("nan"), "null"), (pd.NA, "null"), ("xor", "xor"), (1e-5, "1e-05")],
)  # fmt: skip
def test_a_setting_reads_the_same_from_a_table_and_from_mlflows_text(value, said):
    assert groups.label(value) == said


def test_the_best_median_is_first_and_the_answer_has_its_numbers():
    made = built(by_lr({0.1: [0.5, 0.6, 0.7, 0.8, 0.9], 1.0: [0.1, 0.2, 0.3, 0.4, 0.45]}))
    table = made.table
    assert table["lr"].tolist() == ["1", "0.1"]
    assert table["final_loss_median"].tolist() == [0.3, 0.7]
    assert table["final_loss_iqm"].tolist() == pytest.approx([0.3, 0.7])
    assert table["final_loss_mean"].tolist() == pytest.approx([0.29, 0.7])
    assert table["best_is_better"][1] == 1.0
    # Five differences of the same sign: 2 / 2^5. They are 0.4 four times and 0.45 once.
    assert table["pairs"][1] == 5
    assert table["p"][1] == 2 / 32
    assert table["best_minus_this"][1] == pytest.approx(-0.4)
    assert made.question == "Over 5 seeds on xor: which lr (0.1, 1) has the lowest final loss?"
    assert made.answer.startswith("lr=1 has the lowest final loss: median final loss 0.3 over 5")
    # The exact lower bound for 5 of 5 is 0.025^(1/5).
    assert made.answer.endswith(
        "With the same seed, the first does better than the second with probability 1 (0.4782 to "
        "1). With 5 seeds and 2 groups no pair of groups can reach p < 0.05; 6 seeds "
        "could."
    )


def test_loss_and_accuracy_have_median_iqm_and_mean_and_medians_have_intervals():
    losses, accuracies = [0.05, 0.1, 0.2, 0.3, 0.9], [1.0, 0.95, 0.8, 0.7, 0.4]
    frame = by_lr({0.1: losses, 1.0: losses[::-1]}).assign(accuracy=2 * accuracies)
    made = built(frame)
    first = made.table.iloc[0]
    # Of five values the interquartile mean cuts one at each end.
    by_hand = {
        "final_loss_median": 0.2, "final_loss_iqm": 0.6 / 3, "final_loss_mean": 1.55 / 5,
        "accuracy_median": 0.8, "accuracy_iqm": 2.45 / 3, "accuracy_mean": 3.85 / 5,
    }  # fmt: skip
    assert first[[*by_hand]].to_dict() == pytest.approx(by_hand)
    # Two groups need 1 - 2 / 2^n >= 0.975 for an interval of the median.
    assert np.isnan(first[["final_loss_median_low", "final_loss_median_high"]].astype(float)).all()
    assert words.about_intervals(made.findings).endswith(" needs 7 runs per group.")
    assert not [name for name in first.index if re.search("(mean|iqm)_(low|high)", name)]
    eight = built(by_lr({lr: np.arange(1.0, 9.0) / lr for lr in (1.0, 2.0)}))
    ends = eight.table.iloc[0][["final_loss_median_low", "final_loss_median_high"]].tolist()
    assert ends == [0.5, 4.0]
    assert words.about_intervals(eight.findings).endswith(
        " best one included, and likewise for the comparison."
    )


def test_a_report_says_that_there_is_no_interval_and_how_many_runs_one_needs():
    few = built(by_lr({0.1: [0.1, 0.2, 0.3]}))
    said = "No estimate has an interval. The interval of a median needs 6 runs per group."
    assert words.about_intervals(few.findings) == said
    single = built(by_lr({0.1: [0.1], 1.0: [0.3]}))
    assert words.about_intervals(single.findings).startswith("No estimate has an interval. ")
    compared = built(by_lr({lr: lr * np.arange(1.0, 4.0) for lr in (1.0, 2.0, 3.0)}))
    of_comparisons = (
        "In parentheses: 95% confidence intervals that hold for all comparisons together. The "
        "interval of a median needs 7 runs per group."
    )
    assert words.about_intervals(compared.findings) == of_comparisons
    one_converged = built(converging({1: 100}, {1: [10]}))
    assert words.about_intervals(one_converged.findings).startswith("In parentheses: ")


def test_the_page_has_the_metrics_of_tables_and_the_measure_and_the_file_has_all():
    frame = by_lr({0.1: [0.1, 0.2], 1.0: [0.3, 0.4]}).assign(accuracy=0.5, macro_f1=0.5, mae=1.0)
    made = built(frame, measure="macro_f1")
    columns = list(table_below(made, "Groups, the best first").columns)
    assert [name for name in columns if name.endswith("median")] == [
        "final loss, median", "accuracy, median", "macro F1, median",
    ]  # fmt: skip
    assert {"accuracy_median", "macro_f1_median", "mae_median"} <= set(made.table.columns)


def test_a_diverged_run_counts_as_accuracy_0():
    frame = by_lr({0.1: [0.1, 0.2, 1e300], 1.0: [0.1, 0.2, 0.3]})
    frame["accuracy"] = [1.0, 0.5, 1.0, 0.75, 0.75, 0.75]
    frame.loc[2, "outcome"] = "diverged"
    table = built(frame, measure="accuracy").table.set_index("lr")
    assert table["accuracy_mean"].to_dict() == {"1": 0.75, "0.1": 0.5}
    assert table["accuracy_median"].to_dict() == {"1": 0.75, "0.1": 0.5}


def test_equal_groups_share_a_rank():
    frame = by_lr({lr: [0.1, 0.2, 0.3, 0.4] for lr in (1, 2, 3, 4)})
    frame["accuracy"] = [1, 1, 1, 0.5] + [1] * 8 + [0.5] * 4
    made = built(frame, measure="accuracy")
    assert made.table["lr"].tolist() == ["2", "3", "1", "4"]
    assert made.table["rank"].tolist() == [1, 1, 3, 4]
    assert made.answer == (
        "2 groups are tied for first, lr=2, lr=3: median accuracy 1 over 4 runs each. "
        "With 4 seeds and 4 groups no pair of groups can reach p < 0.05; 8 seeds could."
    )


def test_groups_that_mostly_diverged_are_ranked_by_the_number_of_diverged_runs():
    worst = [("diverged", 10)] * 6 + [("completed", 10)] * 4
    frame = by_lr({1: [0.1] * 10, 2: [0.1] * 10})
    frame["outcome"] = ["diverged"] * 10 + [end for end, _ in worst]
    made = built(frame)
    assert made.table["lr"].tolist() == ["2", "1"]
    assert made.table["rank"].tolist() == [1, 2]
    assert made.answer.startswith(
        "lr=2 is first by final loss: 6 of 10 runs diverged; the next, lr=1: 10 of 10 runs "
        "diverged. Most runs of both diverged; the share of diverged runs decides the rank. "
    )


def test_runs_with_the_same_seed_are_compared_as_pairs():
    # The seeds vary much more than the groups: 0.52 is lower on 20 of 20 seeds.
    seeds = np.random.default_rng(0).lognormal(0, 2, 20)
    made = built(by_lr({0.5: seeds, 0.52: 0.98 * seeds}))
    (comparison,) = made.findings.comparisons
    assert comparison.a.settings["lr"] == "0.52"
    assert comparison.n_pairs == 20
    assert comparison.p == wilcoxon(0.02 * seeds, method="exact").pvalue == 2 / 2**20
    assert comparison.improvement.estimate == 1.0
    assert comparison.difference.estimate == pytest.approx(-0.02 * np.median(seeds))
    # The 6th and the 15th of 20 values enclose the median with a confidence of 95.9%.
    ordered = np.sort(-0.02 * seeds)
    assert comparison.difference[1:] == pytest.approx((ordered[5], ordered[14]))
    assert made.answer.endswith("The difference is statistically significant (p < 0.0001).")


@pytest.mark.slow
def test_paired_comparisons_have_power_where_unpaired_ones_have_none():
    # Six groups with correlation 0.8 between runs of the same seed; one is 0.75 sd lower.
    rng = np.random.default_rng(2)
    found = []
    for _ in range(60):
        losses = np.sqrt(0.8) * rng.normal(size=20) + np.sqrt(0.2) * rng.normal(size=(6, 20)) + 9
        losses[0] -= 0.75
        made = groups.group(by_lr(dict(enumerate(losses))))
        found.append(findings.find(made, groups.FINAL_LOSS, 0))
    detected = [f.summaries[0].group.settings["lr"] == "0" for f in found]
    detected = [
        first and all(c.p_adjusted < 0.05 for c in f.comparisons)
        for first, f in zip(detected, found, strict=True)
    ]
    any_pair = [
        c.p_adjusted < 0.05 for f in found for c in f.comparisons if c.a.settings["lr"] == "0"
    ]
    assert np.mean(any_pair) >= 0.85
    assert np.mean(detected) >= 0.6


def test_groups_without_common_seeds_are_compared_unpaired_and_the_answer_says_why():
    frame = by_lr({0.1: [0.1, 0.3, 0.5, 0.7], 1.0: [1.2, 1.4, 1.6, 1.8]})
    frame.loc[frame["lr"] == 1.0, "seed"] += 3
    made = built(frame)
    (comparison,) = made.findings.comparisons
    assert (comparison.n_pairs, comparison.n_shared_seeds) == (0, 1)
    assert comparison.p == pytest.approx(2 / 70)
    assert made.answer.endswith(
        "The difference is statistically significant (p = 0.029). The interval of the probability "
        "holds for any distribution; the test is that both groups have the same one. The test is "
        "unpaired because the two groups have only 1 seed in common."
    )
    frame.loc[frame["lr"] == 1.0, "seed"] += 1
    assert built(frame).answer.endswith("because the two groups have no seeds in common.")


def test_the_unpaired_difference_of_epochs_is_that_of_the_medians_in_the_answer():
    frame = converging({1: 500, 2: 500}, {1: [10, 20, 40, 90], 2: [200, 300, 400, None]})
    frame.loc[frame["lr"] == 2, "seed"] += 10
    made = built(frame)
    (comparison,) = made.findings.comparisons
    first, second = made.findings.summaries
    assert (first.epochs.estimate, second.epochs.estimate) == (20.0, 300.0)
    assert (comparison.n_pairs, comparison.difference.estimate) == (0, 20.0 - 300.0)
    assert "the difference of the medians is 280 fewer. It" in made.answer
    html = made.files(["html"])["report.html"].decode()
    # The mean difference is what the p value is of.
    assert f">{comparison.mean_difference:.4g}<" in html


def test_runs_without_a_partner_are_left_out_of_pairs():
    frame = by_lr({0.1: [0.1, 0.3, 0.5, 0.7], 1.0: [1.2, 1.4, 1.6, 1.8]})
    frame.loc[(frame["lr"] == 1.0) & (frame["seed"] == 0), "outcome"] = "failed"
    (comparison,) = built(frame).findings.comparisons
    assert (comparison.n_pairs, comparison.p) == (3, 0.25)


def test_a_difference_that_is_not_significant_is_reported_as_such():
    made = built(by_lr({0.1: [0.1, 0.3, 0.5] * 2, 1.0: [0.2, 0.4, 0.45] * 2}))
    # Of the signs of six differences, four are negative; all have an absolute rank of 3.5 or 5.5.
    (comparison,) = made.findings.comparisons
    assert comparison.improvement.estimate == pytest.approx(4 / 6)
    assert f"not statistically distinguishable with 6 seeds (p = {comparison.p:.2g})" in made.answer


def test_equal_medians_are_no_lowest_one():
    made = built(by_lr({1: [0.1] * 5 + [0.4] * 3, 2: [0.1] * 5 + [0.2] * 3}))
    assert made.answer.startswith("lr=2 is first by final loss: median final loss 0.1 (0.1 to 0.2)")
    assert ". Their medians are equal; the interquartile mean decides the rank. W" in made.answer
    (sentence,) = made.effect_sentences[:1]
    assert sentence.endswith(
        ": the median final loss is 0.1 with all values; no other setting varies."
    )


def test_a_single_run_is_not_compared_with_a_group_and_the_answer_says_so():
    frame = by_lr({1: [0.1], 2: np.arange(1.0, 9.0), 3: np.arange(3.0, 11.0)})
    made = built(frame)
    assert (
        "over 8 runs. Their difference cannot be tested, because lr=1 has a single" in made.answer
    )
    sentence = made.effect_sentences[0]
    assert sentence.endswith(" 14 runs with seeds that not all values have are left out.")


def test_nothing_is_tested_with_one_seed_per_group():
    made = built(by_lr({0.1: [0.5], 1.0: [0.1], 3.0: [0.2]}))
    assert "With one seed per group no difference can be tested." in made.answer
    assert made.findings.comparisons == []


def test_the_best_group_is_compared_with_each_other_one():
    made = built(by_lr({lr: (np.arange(8) + shift) / 20 for shift, lr in enumerate((1, 2, 3))}))
    found = made.findings.comparisons
    assert [(c.a.settings["lr"], c.b.settings["lr"]) for c in found] == [("1", "2"), ("1", "3")]
    # Any of the three pairs could have been the best and the second best group.
    assert [c.p_adjusted for c in found] == [3 * 2 / 2**8] * 2
    assert "(p = 0.023, corrected for 3 pairs of groups)" in made.answer
    assert "The first is significantly better than the other one." in made.answer


def test_too_few_seeds_for_any_significant_difference_are_reported_with_the_number_needed():
    best = np.array([1.6e-4, 1.7e-4, 1.8e-4, 1.9e-4, 2e-4])
    made = built(by_lr({lr: best * 4.4**place for place, lr in enumerate((1, 2, 3, 4, 5, 6))}))
    assert "With 5 seeds and 6 groups no pair of groups can reach p < 0.05; 10 seeds" in made.answer
    assert "distinguishable" not in made.answer
    best = np.linspace(1.6e-4, 2e-4, 10)
    made = built(by_lr({lr: best * 4.4**place for place, lr in enumerate((1, 2, 3, 4, 5, 6))}))
    assert made.findings.comparisons[0].p_adjusted == 15 * 2 / 2**10
    assert made.answer.endswith("The first is significantly better than each of the 4 others.")


def test_a_diverged_run_is_worse_than_any_loss_and_is_counted():
    frame = by_lr({0.1: [0.5, 0.6, 0.7], 1.0: [0.1, 0.2, 0.3]})
    frame.loc[frame["final_loss"].isin([0.1, 0.2]), ["outcome", "final_loss"]] = ["diverged", 1e300]
    table = built(frame).table
    assert table["lr"].tolist() == ["0.1", "1"]
    assert table["diverged"].tolist() == [0, 2]
    assert table["final_loss_median"].tolist() == [0.6, np.inf]
    # Two of the three runs of the other group with the same seed diverged.
    assert table["best_is_better"][1] == pytest.approx(2 / 3)


def test_runs_that_did_not_converge_are_censored_not_dropped():
    frame = rows(
        [
            ({"lr": lr, "stop.loss": 0.1}, seed, outcome, 0.1, epochs)
            for lr, ends in {
                1.0: [("converged", 10), ("converged", 20), ("completed", 100)],
                8.0: [("converged", 5), ("diverged", 7), ("completed", 100)],
            }.items()
            for seed, (outcome, epochs) in enumerate(ends)
        ]
    )
    made = built(frame)
    assert made.findings.objective.name == "epochs_to_converge"
    table = made.table.set_index("lr")
    assert table["converged"].to_dict() == {"1": 2, "8": 1}
    # Of three runs two must converge for a median; without its censored runs lr=8 had 5.
    assert table["epochs_median"].to_dict() == {"1": 20.0, "8": np.inf}
    # The diverged run stays at risk to the end of its budget, not to epoch 7.
    assert table["epochs_mean"].to_dict() == pytest.approx({"1": 130 / 3, "8": 205 / 3})
    assert table["best_minus_this_mean"]["8"] == pytest.approx(130 / 3 - 205 / 3)
    # 10 - 5, 20 - 100 and 100 - 100.
    assert table["best_minus_this"]["8"] == 0.0
    assert "convergence" in made.figures


def test_a_stalled_run_never_converges():
    # 18 of 40 runs converge. The others stall, before most of the 18 have converged.
    ends = [("converged", 700 + seed) for seed in range(18)] + [("stalled", 150)] * 22
    fixed = {"lr": 4.0, "stop.loss": 0.1, "epochs": 20000}
    frame = rows([(fixed, seed, *end[:1], 0.1, end[1]) for seed, end in enumerate(ends)])
    (summary,) = built(frame).findings.summaries
    assert summary.convergence.share[-1] == pytest.approx(18 / 40)
    assert summary.epochs.estimate == np.inf
    assert built(frame).answer.startswith("Mean 11319 epochs, median not reached, 18 of 40 runs ")
    table = table_below(built(frame), "Groups, the best first")
    assert table.rows[0][list(table.columns).index("epochs to converge, median")] == "not reached"


def cumulative_incidence(epochs, converged, ended):
    """Aalen and Johansen (1978): the sum over events of S(t-) times the hazard of converging."""
    survival, incidence, steps = 1.0, 0.0, {}
    for t in np.unique(epochs):
        at_risk = (epochs >= t).sum()
        incidence += survival * ((epochs == t) & converged).sum() / at_risk
        survival *= 1.0 - ((epochs == t) & (converged | ended)).sum() / at_risk
        steps[t] = incidence
    return steps


def test_the_share_converged_is_the_cumulative_incidence_of_aalen_and_johansen():
    rng = np.random.default_rng(3)
    outcomes = rng.choice(["converged", "stalled", "diverged", "completed"], 60)
    epochs = np.where(outcomes == "completed", 100, rng.integers(1, 100, 60))
    frame = rows(
        [({"stop.loss": 0.1}, seed, outcome, 0.1, end)
         for seed, (outcome, end) in enumerate(zip(outcomes, epochs, strict=True))]
    )  # fmt: skip
    (group,) = groups.group(frame).groups
    curve = survival.cumulative_incidence(group.scores(groups.TIME_TO_CONVERGE))
    ended = (outcomes == "stalled") | (outcomes == "diverged")
    expected = cumulative_incidence(epochs, outcomes == "converged", ended)
    share = dict(zip(curve.epochs, curve.share, strict=True))
    converged = np.unique(epochs[outcomes == "converged"])
    assert [share[t] for t in converged] == pytest.approx([expected[t] for t in converged])


def converging(budgets, ends):
    """Runs with stop.loss, of lr -> its budget and the epochs its runs took, if they converged."""
    return rows(
        [
            ({"lr": lr, "stop.loss": 0.1, "epochs": budgets[lr]}, seed,
             "completed" if end is None else "converged", 0.1, end or budgets[lr])
            for lr, some in ends.items() for seed, end in enumerate(some)
        ]
    )  # fmt: skip


def test_groups_are_compared_within_the_shorter_budget():
    frame = converging({1: 100, 2: 1000}, {1: [50, 60, None, None], 2: [55, 65, 300, 400]})
    (comparison,) = built(frame).findings.comparisons
    assert comparison.a.settings["lr"] == "1"
    # Within 100 epochs: 50 and 60 are lower than 55 and 65, the other two pairs are level.
    assert comparison.improvement.estimate == (2 + 2 / 2) / 4
    assert comparison.mean_difference == (50 + 60 + 200) / 4 - (55 + 65 + 200) / 4
    assert comparison.difference.estimate == -2.5


def test_groups_without_a_converged_run_are_tied_and_ordered_by_final_loss():
    frame = converging({1: 100, 2: 100, 3: 100}, {1: [None] * 2, 2: [None] * 2, 3: [50, 60]})
    frame.loc[frame["lr"] == 1, "final_loss"] = 0.4
    found = built(frame).findings
    assert [summary.group.settings["lr"] for summary in found.summaries] == ["3", "2", "1"]
    assert found.ranks == [1, 2, 2]


def test_a_run_that_did_not_converge_costs_its_budget():
    made = built(converging({1: 100}, {1: [10, 20, None, None]}))
    (line,) = made.figures["best_of_n"].axes[0].lines
    assert line.get_xdata().tolist() == [1, 2, 3, 4]
    # Of the six pairs of runs three hold the 10, two the 20 and not the 10.
    assert line.get_ydata()[:2] == pytest.approx([230 / 4, (3 * 10 + 2 * 20 + 1 * 100) / 6])


def test_the_answer_on_convergence_has_counts_and_the_permutation_test():
    ends = {1: [10, 20, 30, 40, 50, 60], 2: [15, 18, 35, 45, None, None]}
    made = built(converging({1: 100, 2: 100}, ends))
    assert made.answer.startswith(
        "lr=1 converges soonest on average: mean 35 epochs, median 30, 6 "
    )
    assert "the next, lr=2: mean 52.17 epochs, median 35, 4 of 6 runs converged. " in made.answer
    (comparison,) = made.findings.comparisons
    # 5, -2, 5, 5, 50 and 40: of the 64 signs, only those of the 2 or of one or two fives may
    # change: a sum of 103 or more has the signs of all but the 2, or of all.
    flips = [*itertools.product((-1, 1), repeat=6)]
    sums = np.abs(np.array(flips) @ [5, 2, 5, 5, 50, 40])
    assert comparison.p == (sums >= 103).mean() == 4 / 64
    assert comparison.mean_difference == pytest.approx(-103 / 6)
    assert (
        "With the same seed, the first takes 17.17 fewer epochs than the second on average, "
        "counting at most 100 epochs per run; the median difference is 5 fewer (50 fewer to 2 "
        "more)." in made.answer
    )
    verdict = "The means are not statistically distinguishable with 6 seeds (p = 0.062)"
    assert verdict in made.answer


def test_the_mean_ranks_and_is_tested_where_curves_cross_and_the_answer_says_so():
    # lr=1 is fast and stuck in 9 of 20 runs; lr=2 is slow and converges on every seed.
    fast = [10 + seed if seed < 11 else None for seed in range(20)]
    slow = [40 + 2 * seed if seed < 9 else 60 + seed for seed in range(20)]
    made = built(converging({1: 1000, 2: 1000}, {1: fast, 2: slow}))
    (comparison,) = made.findings.comparisons
    assert comparison.a.settings["lr"] == "2"
    assert comparison.mean_difference < 0 < comparison.difference.estimate
    assert comparison.p < 0.01
    assert comparison.improvement.estimate == 9 / 20
    assert "lr=2 converges soonest on average: mean 62.3 epochs, median 69" in made.answer
    assert "It converges sooner only with probability 0.45 (" in made.answer
    assert f"takes {-comparison.mean_difference:.4g} fewer epochs than" in made.answer
    # The median goes the other way, which no sign has to tell.
    assert "the median difference is 30.5 more (" in made.answer
    assert made.answer.endswith(
        "Their convergence curves cross: early, more runs of lr=1 have converged, later more runs "
        "of lr=2, so the better one depends on the number of epochs."
    )
    same = built(converging({1: 1000, 2: 1000}, {1: slow, 2: [end + 5 for end in slow]}))
    assert "cross" not in same.answer


def test_final_loss_ranks_where_some_groups_could_not_stop_early():
    frame = rows([({"stop.loss": 0.1}, 0, "converged", 0.1, 10), ({}, 0, "completed", 0.2, 100)])
    assert built(frame).findings.objective.name == "final_loss"
    assert (
        built(frame, measure="epochs_to_converge").findings.objective.name == "epochs_to_converge"
    )
    with pytest.raises(ConfigError, match="--measure must be one of epochs_to_converge, final"):
        built(frame, measure="test_loss")


def test_failed_runs_are_counted_and_repeated_ones_are_not_a_second_seed():
    frame = rows(
        [({}, 0, "completed", 0.1, 100), ({}, 0, "completed", 0.1, 100),
         ({}, 1, "completed", 0.3, 100), ({}, 2, "failed", None, None)]
    )  # fmt: skip
    made = built(frame)
    (row,) = made.table.to_dict("records")
    assert (row["runs"], row["without_result"]) == (2, 1)
    text = made.files(["md"])["report.md"].decode()
    assert "1 run repeats the settings and seed" in text
    assert "1 run failed or was interrupted" in text
    with pytest.raises(ConfigError, match="at least one finished run"):
        built(frame[frame["outcome"] == "failed"])


def test_a_sweep_that_only_diverged_has_a_report():
    made = built(by_lr({0.1: [1e300, 1e300], 1.0: [1e300, 1e300]}, "diverged"))
    assert made.table["diverged"].tolist() == [2, 2]
    assert list(made.files(["html"])) == ["report.html", "figures/loss_curves.png"]
    assert made.answer == "All 4 runs diverged: no group is better than another."
    assert made.table["rank"].tolist() == [1, 1]


def test_the_html_page_is_self_contained_and_escapes_names():
    frame = by_lr({"<script>alert(1)</script>": [0.1, 0.2], "b & c": [0.3, 0.4]})
    made = built(frame)
    page = Page(made.files(["html"])["report.html"].decode())
    assert "script" not in {tag for tag, _ in page.tags}
    assert "lr=<script>alert(1)</script>" in page.text
    assert len(page.pictures) == len(made.figures) >= 3
    assert page.is_self_contained
    for word in (made.question, made.answer, "Shaffer", "Mann-Whitney", "Clopper"):
        assert word in page.text


def answering(table):
    def flat(some, epochs):
        return np.ones((len(some), len(epochs)))

    frame = by_lr({0.1: [0.1, 0.2]})
    files = {"predictions.csv": table}
    return report.build(frame, "a sweep", {}, reader(flat, files))


def test_of_several_outputs_targets_and_predictions_are_lists():
    title = b"row,split,x,a,b,predicted label a,predicted label b,predicted a,predicted b\n"
    table = title + b"1,training,0.5,0.0,1.0,0.0,1.0,0.25,0.75\n" * 300
    made = answering(table).predictions
    assert made["rank"].value_counts().to_dict() == {"best": 200, "worst": 200}
    assert made.iloc[201].drop("run").to_dict() == {
        "rank": "worst", "seed": 1, "sample": 1, "inputs": [0.5], "target": [0.0, 1.0],
        "prediction": [0.25, 0.75],
    }  # fmt: skip


@pytest.mark.parametrize("table", [b"", b"x,y\n1,2\n", b"row,split\n1,test,2\n", b"\xff\n"])
def test_damaged_predictions_are_reported_in_one_sentence(table):
    with pytest.raises(ConfigError, match=r"^predictions.csv of run 00000000 is (damaged|empty)"):
        answering(table)


@pytest.mark.parametrize("weights", [b"", b"PK\x03\x04", b"W1"])
def test_damaged_weights_are_reported_in_one_sentence(weights):
    files = {"weights.npz": weights}
    losses = reader(lambda rows, epochs: np.ones((len(rows), len(epochs))), files)
    with pytest.raises(ConfigError, match=r"^weights.npz of run 00000000 "):
        report.build(by_lr({0.1: [0.1, 0.2]}), "a sweep", {}, losses)


def test_weights_that_do_not_fit_the_data_have_no_surface():
    file = io.BytesIO()
    np.savez(file, W1=np.ones((3, 2)), b1=np.ones((1, 2)))
    files = {"weights.npz": file.getvalue()}
    losses = reader(lambda rows, epochs: np.ones((len(rows), len(epochs))), files)
    assert report.build(by_lr({0.1: [0.1, 0.2]}), "a sweep", {}, losses).surfaces == []


def xor_files():
    """The weights of a network on two inputs."""
    file = io.BytesIO()
    shapes = {"W1": (2, 2), "W2": (2, 1), "b1": (1, 2), "b2": (1, 1)}
    np.savez(file, **{name: np.ones(shape) for name, shape in shapes.items()})
    return {"weights.npz": file.getvalue()}


def surface_grid_of(runs, files):
    """The grid of surfaces of runs of (settings, loss), and the report that has it."""
    frame = rows([(settings, 0, "completed", loss, 1) for settings, loss in runs])
    losses = reader(lambda some, epochs: np.ones((len(some), len(epochs))), files)
    made = report.build(frame, "a sweep", {}, losses)
    return made.surface_grid, made


@pytest.mark.slow
def test_a_grid_of_surfaces_has_a_panel_for_each_combination_of_two_settings():
    values = [(lr, hidden, m) for lr in range(9) for hidden in (2, 4) for m in (0.5, 0.9)]
    runs = [
        ({"lr": lr, "hidden": hidden, "optimizer.momentum": m}, abs(lr - 3) + hidden + m)
        for lr, hidden, m in values
    ]
    found, made = surface_grid_of(runs, xor_files())
    # Of many values the first, the last and the best one; the third setting as in the best group.
    assert (found.keys, found.levels) == (("lr", "hidden"), (list("023568"), ["2", "4"]))
    assert (found.best, found.others) == ((2, 0), {"optimizer.momentum": "0.5"})
    assert {place: float(s.title) for place, s in found.cells.items()} == {
        (row, column): abs(int(lr) - 3) + hidden + 0.5
        for row, lr in enumerate("023568") for column, hidden in enumerate((2, 4))
    }  # fmt: skip
    drawn = made.figures["surface_grid"]
    frames = [axes.spines["top"].get_linewidth() for axes in drawn.axes[:-1]]
    # The lowest row of panels has the lowest value, as a heat map has.
    assert [place for place, width in enumerate(frames) if width > 2] == [2 * 3]
    assert plots.notes(made)[-1] == (
        "Decision surfaces over two settings are drawn of 6 of 9 values of lr, at "
        "optimizer.momentum=0.5."
    )


@pytest.mark.parametrize(
    ("runs", "files"),
    [
        ([({"lr": v, "hidden": v}, v) for v in (1, 2, 3)], xor_files()),
        ([({"lr": v}, v) for v in (1, 2, 3)], xor_files()),
        ([({"lr": v, "hidden": w}, v) for v in (1, 2) for w in (1, 2)], {}),
    ],
    ids=["zip", "one setting", "no weights"],
)
def test_without_combinations_or_weights_there_is_no_grid_of_surfaces(runs, files):
    found, made = surface_grid_of(runs, files)
    assert found is None
    assert "surface_grid" not in made.figures


@pytest.mark.slow
@pytest.mark.usefixtures("pictures")
def test_the_order_of_the_rows_does_not_change_the_files():
    frame = by_lr({0.1: [0.5, 0.6, 0.7], 1.0: [0.1, 0.2, 0.3]})
    first = built(frame).files(report.FORMATS)
    again = built(frame.sample(frac=1.0, random_state=1)).files(report.FORMATS)
    assert first == again


def test_of_many_groups_some_are_drawn_and_100_are_listed():
    frame = by_lr({lr: [lr / 1000, lr / 999] for lr in range(1, 151)})
    made = built(frame)
    assert len(made.table) == 150
    assert "The first 100 of 150 groups are shown." in made.files(["md"])["report.md"].decode()
    legend = made.figures["loss_curves"].axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()][-1] == "lr=150"


@pytest.mark.slow
@pytest.mark.usefixtures("pictures")
def test_long_group_names_are_shortened_in_plots_only():
    files = [f"/a/long/folder/of/tables/{part}/with/a/long/name.csv" for part in "abc"]
    some = [
        {"data.path": path, "optimizer.name": name, "optimizer.eta_plus": grow, "lr": 0.1 * grow}
        for path in files
        for name in ("rprop", "gradient_descent")
        for grow in (1.2, 1.3)
    ]
    frame = rows([(s, seed, "converged", 0.1 + s["lr"] + seed / 9, 50)
                  for s in some for seed in range(3)])  # fmt: skip
    made = built(frame)
    # Warnings are errors, also the one of a layout that does not fit.
    made.files(["html"])
    names = [summary.group.name for summary in made.findings.summaries]
    assert len(set(names)) == 12
    assert min(map(len, names)) > group_labels.NAME_LENGTH
    ranking = table_below(made, "Groups, the best first")
    assert [row[2] for row in ranking.rows[:4]] == [n.split()[1][10:] for n in names[:4]]
    for name in ("loss_curves", "convergence", "distribution", "profiles", "best_of_n"):
        axes = made.figures[name].axes[0]
        assert axes.get_position().width >= 0.5, name
    ticks = [text.get_text() for text in made.figures["distribution"].axes[0].get_yticklabels()]
    assert len(set(ticks)) == 12
    assert max(map(len, ticks)) == group_labels.NAME_LENGTH
    # Each key is named by its last part, where that is unique.
    assert ticks[0].startswith("#1 lr=0.12 path=/a/")


def test_legends_name_only_what_varies_between_the_lines():
    all_of_them = itertools.product((0.1, 1.0), ("adam", "rmsprop"), (2, 4, 6, 8))
    some = [{"lr": lr, "optimizer.name": name, "hidden": width} for lr, name, width in all_of_them]
    # All of the groups that are drawn, the six best and the worst, have lr=1.
    frame = rows(
        [(s, seed, "completed", 5 - s["lr"] + s["hidden"], 50) for s in some for seed in range(2)]
    )
    is_drawn = frame["lr"] == 1.0
    frame.loc[is_drawn & (frame["hidden"] < 8), "final_loss"] -= 4
    frame.loc[is_drawn & (frame["hidden"] == 8), "final_loss"] += 9
    legend = built(frame).figures["profiles"].axes[0].get_legend()
    names = {text.get_text() for text in legend.get_texts()}
    assert len(names) == 7
    assert {"hidden=2 optimizer=adam", "hidden=6 optimizer=rmsprop"} <= names


def test_long_names_in_legends_have_several_lines_and_all_settings():
    values = {"batch_size": ("30", "null"), "optimizer.name": ("adam", "gradient_descent"),
              "hidden": ("[2,2]", "[4,4]")}  # fmt: skip
    some = [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]
    frame = rows([(s, seed, "completed", 1 + k + seed / 9, 50)
                  for k, s in enumerate(some[:7]) for seed in range(2)])  # fmt: skip
    made = built(frame)
    legend = made.figures["profiles"].axes[0].get_legend()
    names = [text.get_text() for text in legend.get_texts()]
    assert names[2].split() == ["hidden=[2,2]", "batch_size=30", "optimizer=gradient_descent"]
    assert len(set(names)) == 7
    assert (
        max(len(line) for name in names for line in name.splitlines()) <= group_labels.NAME_LENGTH
    )


def grid(settings):
    """Two seeds of each combination of so many settings of two values; losses rise with both."""
    names = ("epochs", "lr", "optimizer.momentum", "optimizer.weight_decay", "model.dead_zone")
    combinations = itertools.product((1, 2), repeat=settings)
    some = [(dict(zip(names, values, strict=False)), sum(values)) for values in combinations]
    return rows([(s, k, "completed", total + k / 9, 1) for s, total in some for k in (0, 1)])


@pytest.mark.parametrize(
    ("settings", "maps", "note"),
    [(2, 1, None), (3, 3, None),
     pytest.param(4, 6, None, marks=pytest.mark.slow),
     (5, 6, "6 of 10 pairs of settings have a heat map; the parallel coordinates show all "
            "settings.")],
)  # fmt: skip
def test_a_note_states_how_many_heat_maps_are_left_out(settings, maps, note):
    made = built(grid(settings))
    drawn = [axes for axes in made.figures["heat_maps"].axes if axes.get_title()]
    assert len(drawn) == maps
    assert page.remarks(made) == ([note] if note else [])
    assert ("parallel" in made.figures) == (settings > 2)


def test_parallel_coordinates_have_a_line_per_group_colored_by_its_median():
    made = built(grid(3))
    axes, bar = made.figures["parallel"].axes
    (lines,) = axes.collections
    assert len(lines.get_segments()) == 8
    names = list(made.findings.grouped.varying)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == names
    # Lines are drawn from the worst group to the best and shifted by at most 0.02.
    ranked = made.findings.summaries[::-1]
    for line, summary in zip(lines.get_segments(), ranked, strict=True):
        heights = [float(value == "2") for value in summary.group.settings.values()]
        assert line[:, 0].tolist() == [0, 1, 2]
        assert np.abs(line[:, 1] - heights).max() <= 0.02
    medians = [np.median(summary.group.column("final_loss")) for summary in ranked]
    scale = LogNorm(min(medians), max(medians))
    assert lines.get_colors()[:, :3] == pytest.approx(colormaps["viridis"](scale(medians))[:, :3])
    assert bar.get_ylabel() == "median final loss"


def test_parallel_coordinates_without_any_median_are_gray():
    frame = grid(3)
    frame.loc[frame["seed"] == 0, ["outcome", "final_loss"]] = ["diverged", np.nan]
    (lines,) = built(frame).figures["parallel"].axes[0].collections
    assert (lines.get_colors()[:, :3] == 0.75).all()


def test_parallel_coordinates_of_epochs_have_the_mean_that_ranks_the_groups():
    frame = grid(3).assign(outcome="completed", epochs_run=100)
    frame["stop.loss"] = 0.1
    frame.loc[frame["seed"] == 0, ["outcome", "epochs_run"]] = ["converged", 10]
    made = built(frame)
    axes, bar = made.figures["parallel"].axes
    # Two of three runs did not converge, so that there is no median.
    assert bar.get_ylabel() == "mean epochs to converge"
    assert axes.get_title().endswith("colored by its mean epochs to converge")
    known = made.findings.summaries[0].group.scores(made.findings.objective)
    assert np.isinf(np.median(known))
    (lines,) = axes.collections
    grays = (lines.get_colors()[:, :3] == 0.75).all(axis=1)
    assert not grays.any()


def test_a_plot_is_added_to_page_files_and_figures_by_one_record(monkeypatch):
    def draw(data):
        figure = Figure()
        figure.subplots().plot([summary.n_runs for summary in data.findings.summaries])
        return figure

    added = plots.Plot("runs", "Number of runs.", draw, note=lambda data: "A note on the plot.")
    absent = plots.Plot("absent", "Nothing to show.", lambda data: None)
    monkeypatch.setattr(plots.PLOTS, "_records", dict(plots.PLOTS))
    for plot in (added, absent):
        plots.PLOTS.register(plot)
    made = built(by_lr({0.1: [0.1, 0.2], 1.0: [0.3, 0.4]}))
    assert list(made.figures)[-1] == "runs"
    files = made.files(["md", "html"])
    assert files["figures/runs.png"].startswith(PNG)
    assert "figures/absent.png" not in files
    text = files["report.md"].decode()
    assert "![Number of runs.](figures/runs.png)" in text
    assert "A note on the plot." in text
    assert '<figure id="runs">' in files["report.html"].decode()


def lightness(color):
    """L* of CIE 1976, from 0 (black) to 100."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    luminance = np.dot([0.2126, 0.7152, 0.0722], linear)
    return 116 * np.cbrt(luminance) - 16 if luminance > 0.008856 else 903.3 * luminance


def test_line_styles_can_be_distinguished_without_color():
    assert len(set(plot_axes.COLORS)) == len(plot_axes.COLORS) == plot_axes.MAX_LINES
    assert len(set(plot_axes.DASHES)) == plot_axes.MAX_LINES
    # Each color has contrast on white.
    assert max(map(lightness, plot_axes.COLORS)) < 75
    drawn = built(by_lr({lr: [lr / 9, lr / 8] for lr in range(1, 8)})).figures["profiles"]
    lines = drawn.axes[0].lines
    assert [line.get_color() for line in lines] == list(plot_axes.COLORS)
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == plot_axes.MAX_LINES


@pytest.mark.slow
@pytest.mark.usefixtures("pictures")
def test_plots_are_png_files_with_200_dots_per_inch():
    made = built(by_lr({0.1: [0.1, 0.2]}))
    for name, figure in made.figures.items():
        with Image.open(io.BytesIO(made.files([])[f"figures/{name}.png"])) as image:
            assert image.info["dpi"] == pytest.approx((200, 200), abs=0.01)
            assert image.size == pytest.approx(figure.get_size_inches() * 200, abs=1)


@pytest.mark.slow
def test_a_report_for_print_has_booktabs_captions_and_vector_figures_with_embedded_fonts():
    made = built(by_lr({"a_b": np.arange(8) / 10, "50%": np.arange(8) / 9}))
    files = made.files(["tex", "svg"])
    figures = {name for name in files if name.startswith("figures/")}
    assert figures == {f"figures/{n}.{k}" for n in made.figures for k in ("png", "pdf", "svg")}
    text = files["report.tex"].decode()
    for word in (
        r"\usepackage{booktabs}",
        r"\toprule",
        r"lr=a\_b",
        r"50\%",
        r"\caption{Combinations",
    ):
        assert word in text
    header = re.search(r"toprule\n(.*) \\\\\n", text)[1]
    assert header.split(" & ") == [
        "rank", "lr", "runs", r"\shortstack[r]{final loss, \\ median}", "p, corrected",
    ]  # fmt: skip
    # Every figure that the text includes exists, with its caption.
    included = re.findall(r"includegraphics\[[^]]*\]{([^}]*)}\n\\caption{(.)", text)
    assert [name for name, _ in included] == [f"figures/{name}.pdf" for name in made.figures]
    assert all(name in files for name, _ in included)
    pdf = files["figures/profiles.pdf"]
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf
    assert ElementTree.fromstring(files["figures/profiles.svg"]).tag.endswith("svg")
    assert made.files(["pdf"])["figures/profiles.pdf"] == pdf


@given(st.lists(st.text(), unique=True, max_size=30), st.integers(12, 40))
def test_different_texts_stay_different_when_shortened(texts, most):
    # Group names and setting values never start with "#"; "$" is doubled in length by escaping.
    texts = [text.replace("$", "") for text in texts if not text.startswith("#")]
    texts += [text * 20 for text in texts if text * 20 not in texts]
    texts = list(dict.fromkeys(texts))
    short = plot_axes.shortened(texts, most)
    assert list(short) == texts
    assert len(set(short.values())) == len(texts)
    assert all(len(after) <= most for after in short.values())
    unescaped = [text for text in texts if text.isprintable() and "\\" not in text]
    assert all(short[text] == text for text in unescaped if len(text) <= most)


def two(first, second):
    return pd.concat([by_lr(first), by_lr(second).assign(sweep="t")])


def test_two_sweeps_of_the_same_runs_agree():
    losses = {0.1: [0.5, 0.6, 0.7], 1.0: [0.1, 0.2, 0.3]}
    made = built(two(losses, losses))
    assert made.answer == (
        "The sweeps agree: they contain the same runs. Of 6 runs with the same combination and "
        "seed, 6 have equal final losses and numbers of epochs."
    )


def test_diverged_runs_of_two_sweeps_are_equal_and_failed_ones_are_not():
    diverged = by_lr({0.1: [np.nan] * 3}, "diverged")
    same = built(pd.concat([diverged, diverged.assign(sweep="t")]))
    assert same.agreement.n_identical == 3
    assert same.agreement.n_differing == 0
    other = built(pd.concat([diverged, diverged.assign(sweep="t", epochs_run=99)]))
    assert other.agreement.n_identical == 0


def test_two_sweeps_that_differ_say_where():
    low, high = np.arange(20) / 100, 1 + np.arange(20) / 100
    made = built(two({0.1: low, 1.0: low}, {0.1: low[::-1], 1.0: high}))
    assert made.answer.startswith("The sweeps do not agree: 1 of 2 shared groups differ; the")
    assert (
        "for lr=1, where a run of the first sweep is better than one of the second with the same "
        "seed with probability 1 (0.8032 to 1)" in made.answer
    )
    assert "Of 40 runs with the same combination and seed, 0 have equal final losses" in made.answer
    assert "left out" not in made.answer
    some = built(two({0.1: low}, {0.1: [*low[:8], *high[8:]]}))
    assert made.agreement.comparisons[0].n_pairs == 20
    assert some.agreement.comparisons[0].n_pairs == 12
    assert some.answer.endswith(
        "Of 20 runs with the same combination and seed, 8 have equal final losses and numbers "
        "of epochs. These are left out of the comparison."
    )
    single = built(two({0.1: low}, {1.0: high}))
    assert "Compared on all runs: sweep=s lr=0.1 has the lowest final loss" in single.answer


@pytest.mark.parametrize(("one", "other"), [("273484e9", "00012345"), ("00012345", "273484e9")])
def test_sweeps_keep_their_names_and_the_order_of_the_arguments(one, other):
    low, high = np.arange(20) / 100, 1 + np.arange(20) / 100
    frame = pd.concat([by_lr({1.0: high}).assign(sweep=one), by_lr({1.0: low}).assign(sweep=other)])
    made = built(frame)
    assert made.findings.grouped.varying == {"sweep": [one, other]}
    assert [group.name for group in made.findings.grouped.groups] == [
        f"sweep={one}", f"sweep={other}",
    ]  # fmt: skip
    assert (
        "a run of the first sweep is better than one of the second with the same seed with "
        "probability 0 (0 to 0.1684)" in made.answer
    )
    first, second, *_ = table_below(made, "Groups in both sweeps").rows[0]
    assert (first, second) == (f"sweep={one}", f"sweep={other}")


@pytest.mark.parametrize(
    ("value", "said"),
    [((0.12345, 0.1, 0.15), "0.1235 (0.1 to 0.15)"),
     ((0.249931, 0.249913, 0.249952), "0.24993 (0.24991 to 0.24995)"),
     ((12345.4, 12345.1, 12345.6), "12345.4 (12345.1 to 12345.6)"), ((1, 1, 1), "1 (1 to 1)"),
     ((250, 200, np.inf), "250 (200 to ∞)"), ((np.inf,) * 3, "∞"), ((3, np.nan, np.nan), "3"),
     ((0.0, -0.1, 0.1), "0 (-0.1 to 0.1)")],
)  # fmt: skip
def test_an_interval_has_enough_digits_to_distinguish_its_ends(value, said):
    assert words.interval(Interval(*value)) == said


def test_a_band_is_the_median_run_and_from_the_5th_to_the_95th_percentile():
    ends = [("completed", 100)] * 19 + [("converged", 10), ("diverged", 10)]
    frame = rows([({}, k, end, k + 1.0, epochs) for k, (end, epochs) in enumerate(ends)])

    def constant(some, epochs):
        last = some["epochs_run"].to_numpy()[:, None]
        return np.where(epochs <= last, some["final_loss"].to_numpy()[:, None], np.nan)

    made = report.build(frame, "a sweep", {}, reader(constant))
    (bands,) = made.curves.values()
    band = bands.training
    # Of 21 runs with losses 1 to 21 the 2nd, 11th and 20th; the worst one diverges after epoch 10.
    assert {*band.low.tolist()} == {2.0}
    assert {*band.median.tolist()} == {11.0}
    assert {*band.high.tolist()} == {20.0}
    axes = made.figures["loss_curves"].axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.lines[0].get_ydata().tolist() == band.median.tolist()


def test_validation_curves_are_drawn_beside_training_curves():
    frame = by_lr({0.1: [1.0, 2.0, 3.0], 1.0: [4.0, 5.0, 6.0]}).assign(
        lowest_validation_loss=[1, 2, 3, None, None, None], **{"stop.validation_interval": 10}
    )

    def constant(some, epochs):
        return np.tile(some[["final_loss"]].to_numpy(), (1, len(epochs)))

    found = reader(constant)
    found.validation_losses = lambda some, epochs: 10 * constant(some, epochs)
    made = report.build(frame, "a sweep", {}, found)
    # Without an evaluation before epoch 10 there is nothing to draw; lr=1 has no validation rows.
    assert made.curves["lr=1"].validation is None
    assert made.curves["lr=0.1"].validation.epochs[0] >= 10
    training, validation = made.figures["loss_curves"].axes
    assert (training.get_title()[:13], validation.get_title()) == (
        "Training loss",
        "Validation loss",
    )
    assert [line.get_ydata()[-1] for line in training.lines] == [2.0, 5.0]
    assert [line.get_ydata()[-1] for line in validation.lines] == [20.0]
    assert validation.lines[0].get_color() == training.lines[0].get_color()
    assert len(built(by_lr({0.1: [1.0, 2.0]})).figures["loss_curves"].axes) == 1


@pytest.mark.slow
def test_validation_curves_are_those_that_the_runs_logged(a_store, inside, tmp_path):
    done = inside("-m", "seed=0,1,2", "data=iris", "model=classifier", "epochs=20", "n_jobs=1",
                  "data.validation_fraction=0.2", "stop.validation_interval=5")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (bands,) = package.report("latest").curves.values()
    band = bands.validation
    client = client_of(tmp_path)
    runs = package.load_runs()
    logged = [client.get_metric_history(run, "validation_loss") for run in runs["run_id"]]
    assert [point.step for point in logged[0]] == [5, 10, 15, 20]
    medians = [sorted(points[k].value for points in logged)[1] for k in range(4)]
    found = dict(zip(band.epochs.tolist(), band.median.tolist(), strict=True))
    assert min(found) == 5
    assert [found[epoch] for epoch in (5, 10, 15, 20)] == pytest.approx(medians)


def test_the_convergence_curve_rises_at_the_epochs_of_convergence():
    made = built(converging({1: 100}, {1: [10, 20, 20, None]}))
    (line,) = made.figures["convergence"].axes[0].lines
    steps = dict(zip(line.get_xdata().tolist(), line.get_ydata().tolist(), strict=True))
    assert [steps[x] for x in (10, 20, 100)] == pytest.approx([0.25, 0.75, 0.75])


def test_the_distribution_shows_runs_quartiles_and_the_number_of_diverged_runs():
    frame = by_lr({0.1: [0.1, 0.2, 0.3, 0.4, 0.5], 1.0: [0.6, 0.7, 0.8, 0.9, 1e300]})
    frame.loc[9, "outcome"] = "diverged"
    axes = built(frame).figures["distribution"].axes[0]
    first, second = (points.get_offsets()[:, 0].tolist() for points in axes.collections)
    assert (first, second) == ([0.1, 0.2, 0.3, 0.4, 0.5], [0.6, 0.7, 0.8, 0.9])
    half, median, *_ = axes.lines
    assert half.get_xdata().tolist() == pytest.approx([0.2, 0.4])
    assert float(np.squeeze(median.get_xdata())) == 0.3
    assert [text.get_text() for text in axes.texts] == ["1 diverged"]


def test_a_heat_map_shows_the_median_of_all_runs_with_two_settings():
    frame = grid(3)
    maps = [axes for axes in built(frame).figures["heat_maps"].axes if axes.get_title()]
    assert len(maps) == 3
    for axes in maps:
        y, x = axes.get_ylabel(), axes.get_xlabel()
        expected = frame.pivot_table("final_loss", y, x, aggfunc="median").to_numpy()
        (image,) = axes.images
        best = np.unravel_index(expected.argmin(), expected.shape)
        for frame_of_best in axes.patches:
            middle = np.array(frame_of_best.get_xy()) + 0.47
            assert middle.round().tolist() == [best[1], best[0]]
        assert len(axes.patches) == 2
        assert image.get_array().tolist() == expected.tolist()
        assert [float(text.get_text()) for text in axes.texts] == pytest.approx(
            expected.ravel().tolist(), rel=1e-3
        )


def test_log_axes_are_labeled_with_plain_numbers():
    axes = built(by_lr({0.1: [0.1, 0.2]})).figures["loss_curves"].axes[0]
    assert [axes.xaxis.get_major_formatter()(x) for x in (1, 10, 1000)] == ["1", "10", "1000"]


def test_sweeps_without_a_common_combination_are_compared_by_their_best_ones():
    seeds = np.arange(10) / 1000
    made = built(two({0.1: 0.3 + seeds, 1.0: 0.4 + seeds}, {3.0: 0.2 + seeds, 9.0: 0.9 + seeds}))
    assert made.question.startswith("Which sweep is best? Over 10 seeds on xor: ")
    assert made.answer.startswith(
        "Best combination of each sweep by final loss: s: lr=0.1 (best of 2); t: lr=3 (best of 2). "
        "Compared on the runs that chose them: sweep=t lr=3 has the lowest final loss: "
    )
    # The signs of ten differences, and any of six pairs of the four combinations could be compared.
    assert made.best_per.findings.comparisons[0].p_adjusted == 6 * 2 / 2**10
    assert "(p = 0.012, corrected for 6 pairs of groups)" in made.answer
    # Every run of t is better than all of s, or worse; the best of all 20 is the lowest.
    assert made.answer.endswith(
        "Of all their runs, whatever the combination, one of s does better than one of t with "
        "probability 0.5; of 20 runs drawn from each, the best is expected to reach a final loss "
        "of 0.3 and 0.2."
    )
    table = table_below(made, "The best combination of each sweep")
    assert [row[:5] for row in table.rows] == [
        ["1", "t", "2", "20", "lr=3"], ["2", "s", "2", "20", "lr=0.1"],
    ]  # fmt: skip


def test_best_combinations_chosen_by_validation_are_compared_on_test_rows():
    seeds = np.arange(6) / 1000
    frame = two({0.1: 0.1 + seeds, 1.0: 0.1 + seeds}, {3.0: 0.1 + seeds})
    frame["lowest_validation_loss"] = np.repeat([0.5, 0.4, 0.3], 6) + np.tile(seeds, 3)
    # lr=0.1 has the lowest test loss, but the worse validation loss of its sweep.
    frame["test_loss"] = np.repeat([0.1, 0.2, 0.6], 6) + np.tile(seeds, 3)
    made = built(frame)
    found = made.best_per.findings
    assert found.objective.name == "test_loss"
    assert [summary.group.name for summary in found.summaries] == ["sweep=s lr=1", "sweep=t lr=3"]
    # The test rows were not used to choose: only one pair is compared.
    assert found.comparisons[0].p_adjusted == 2 / 2**6
    assert (
        "Compared on the test rows, which were not used to choose: sweep=s lr=1 has the"
        in made.answer
    )
    assert made.findings.objective.name == "lowest_validation_loss"


def three_optimizers():
    """Runs of three optimizers, whose validation and test losses order them differently."""
    names, seeds = ("adam", "momentum", "rprop"), np.arange(6) / 1000
    settings = [{"optimizer.name": name, "lr": lr} for name in names for lr in (0.1, 1.0)]
    frame = rows([(s, seed, "completed", 0.5, 100) for s in settings for seed in range(6)])
    frame["lowest_validation_loss"] = np.repeat([5, 4, 3, 4, 6, 7], 6) / 10 + np.tile(seeds, 6)
    frame["test_loss"] = np.repeat([1, 3, 4, 1, 6, 1], 6) / 10 + np.tile(seeds, 6)
    return frame


@pytest.mark.parametrize("key", ["optimizer", "optimizer.name"])
def test_per_compares_the_best_combination_within_each_value_on_test_rows(key):
    made = built(three_optimizers(), per=key)
    assert made.question.startswith("Which optimizer.name is best? ")
    assert made.answer.startswith(
        "Best combination within each optimizer.name by validation loss: adam: lr=1 (best of 2, "
        "median validation loss 0.4025 over 6 runs); momentum: lr=0.1 (best of 2, median "
    )
    found = made.best_per.findings
    assert [summary.group.name for summary in found.summaries] == [
        "lr=1 optimizer.name=adam", "lr=0.1 optimizer.name=momentum",
        "lr=0.1 optimizer.name=rprop",
    ]  # fmt: skip
    # Three values have three pairs, of which any could be compared.
    assert [c.p_adjusted for c in found.comparisons] == [3 * 2 / 2**6] * 2
    table = table_below(made, "The best combination per optimizer.name")
    assert [row[1] for row in table.rows] == ["adam", "momentum", "rprop"]
    written = json.loads(made.files(["json"])["report.json"])
    assert [best["combination"]["lr"] for best in written["best_per"]] == ["1", "0.1", "0.1"]
    assert [best["combinations"] for best in written["best_per"]] == [2, 2, 2]


def test_per_without_test_rows_is_corrected_for_all_combinations():
    made = built(three_optimizers().drop(columns="test_loss"), per="optimizer.name")
    assert "Compared on the runs that chose them: lr=0.1 optimizer.name=momentum has" in made.answer
    assert "With 6 seeds and 6 groups no pair of groups can reach p < 0.05; 10 seeds" in made.answer


def test_per_takes_a_setting_that_follows_from_another_one():
    frame = three_optimizers()
    is_adam = frame["optimizer.name"] == "adam"
    frame["optimizer.beta1"] = np.where(is_adam, 0.9, None)
    made = built(frame, per="optimizer.beta1")
    assert [best.value for best in made.best_per.of_values] == ["0.9", "null"]
    assert [len(best.groups) for best in made.best_per.of_values] == [2, 4]


@pytest.mark.parametrize(
    ("key", "said"),
    [("hidden", r"--per must be a setting that varies in these runs \(lr, opt.*, got 'hidden'"),
     ("seed", "--per must be a setting .*, got 'seed'"),
     ("model.loss", "the values of model.loss cannot be compared by test loss: model.loss is "
      "cross_entropy and half_squared; use --measure validation_accuracy"),
     ("data.name", "the values of data.name are not on the same data"),
     ("lr", "on several data sets")],
)  # fmt: skip
def test_per_refuses_what_cannot_be_compared(key, said):
    frame = three_optimizers().assign(validation_accuracy=0.5)
    if key == "model.loss":
        frame[key] = np.where(frame["optimizer.name"] == "adam", "half_squared", "cross_entropy")
    if said.endswith(("same data", "data sets")):
        frame["data.name"] = np.where(frame["optimizer.name"] == "adam", "iris", "xor")
    with pytest.raises(ConfigError, match=said):
        built(frame, per=key)


def test_sweeps_with_some_combinations_in_common_are_compared_on_these_and_by_their_best():
    seeds = np.arange(10) / 1000
    made = built(two({0.1: 0.3 + seeds, 1.0: 0.4 + seeds}, {1.0: 0.4 + seeds, 3.0: 0.2 + seeds}))
    assert made.answer.startswith("The sweeps agree on all runs that both contain. Of 10 runs")
    assert "Best combination of each sweep by final loss: s: lr=0.1 (best of 2); t: " in made.answer


def test_epochs_of_two_sweeps_are_drawn_within_the_shorter_budget():
    frame = pd.concat([
        converging({1: 100}, {1: [None, None, 90]}),
        converging({2: 1000}, {2: [500, 500, 80]}).assign(sweep="t"),
    ])  # fmt: skip
    # Within 100 epochs one run of each sweep converges.
    assert built(frame).answer.endswith("is expected to converge after 90 and 80 epochs.")


@pytest.mark.parametrize(
    ("first", "second", "measure", "said"),
    [
        ({}, {"data.name": "iris"}, None, "not on the same data.* data.name is xor in s and iris"),
        ({"data.name": "parity", "data.bits": 3}, {"data.name": "parity", "data.bits": 4}, None,
         "not on the same data.*data.bits is 3 in s"),
        ({"data.low": 0}, {"data.low": -1}, "accuracy", "not on the same data.*data.low is 0 in s"),
        ({"data.stratify": True}, {"data.stratify": False}, "accuracy", "data.stratify is true"),
        ({"data.validation_fraction": 0.1}, {"data.validation_fraction": 0.2}, "accuracy",
         "not on the same data.*data.validation_fraction is 0.1 in s and 0.2 in t"),
        ({"data.name": "file", "data.target": "[y,z]", "data.scale_target": True},
         {"data.name": "file", "data.target": "[y,z]", "data.scale_target": False}, None,
         "by final loss: data.scale_target is true in s and false in t"),
        ({"model.loss": "half_squared"}, {"model.loss": "cross_entropy"}, None,
         "by final loss: model.loss is half_squared in s and cross_entropy in t; use --measure "
         "accuracy"),
        ({"model.loss": "cross_entropy", "model.output": "softmax"},
         {"model.loss": "cross_entropy", "model.output": "sigmoid"}, None,
         "by final loss: model.output is softmax in s and sigmoid in t"),
        ({"stop.loss": 0.1}, {"stop.loss": 0.01}, "epochs_to_converge",
         "by epochs to converge: stop.loss is 0.1 in s and 0.01 in t; use --measure accuracy"),
        ({"model.class_weight": "none"}, {"model.class_weight": "balanced"}, None,
         "model.class_weight is none in s and balanced in t; use --measure balanced_accuracy"),
    ],
)  # fmt: skip
def test_sweeps_that_cannot_be_compared_are_refused(first, second, measure, said):
    runs = [({}, seed, "converged", 0.1, 50) for seed in range(2)]
    frame = pd.concat(
        [rows(runs).assign(sweep=sweep, lr=lr, accuracy=0.5, balanced_accuracy=0.5, **settings)
         for sweep, lr, settings in (("s", 1, first), ("t", 2, second))]
    )  # fmt: skip
    with pytest.raises(ConfigError, match=said):
        built(frame, measure)


@pytest.mark.parametrize(
    ("first", "second", "measure"),
    [({"data.standardize": True}, {"data.standardize": False}, None),
     ({"model.loss": "half_squared"}, {"model.loss": "cross_entropy"}, "accuracy"),
     ({"data.split_seed": 0}, {"data.split_seed": 1}, None),
     ({"stop.loss": 0.1}, {"stop.loss": 0.01}, None)],
)  # fmt: skip
def test_sweeps_on_the_same_rows_by_the_same_measure_are_compared(first, second, measure):
    runs = [({}, seed, "completed", 0.1, 50) for seed in range(2)]
    frame = pd.concat(
        [rows(runs).assign(sweep=sweep, lr=lr, accuracy=0.5, **settings)
         for sweep, lr, settings in (("s", 1, first), ("t", 2, second))]
    )  # fmt: skip
    assert built(frame, measure).answer.startswith("Best combination of each sweep by ")


def test_sweeps_with_different_objectives_need_a_measure():
    parents = [
        SimpleNamespace(tags={"bpexp.objective": name}) for name in ("accuracy", "final_loss")
    ]
    with pytest.raises(ConfigError, match=r"objectives, accuracy and final_loss: .* --measure"):
        objective_choice.with_objective_of(ObjectiveChoice(), parents)
    assert (
        objective_choice.with_objective_of(ObjectiveChoice("accuracy"), parents).key == "accuracy"
    )


def test_first_and_second_are_the_sweeps_as_typed(a_store, inside, tmp_path):
    for lr in ("2", "0.01"):
        done = inside("-m", "seed=range(0,3)", f"lr={lr}", "epochs=5", "n_jobs=1")
        assert done.returncode == 0, done.stderr
    client = client_of(tmp_path)
    experiment = client.get_experiment_by_name("bpexp").experiment_id
    parents = client.search_runs([experiment], "tags.`bpexp.kind` = 'sweep'")
    ids = [run.info.run_id for run in parents]
    made = package.report(*ids)
    assert made.findings.grouped.varying["sweep"] == [run_id[:8] for run_id in ids]
    assert inside("report", *ids[::-1], "--format", "json", "-o", "made").returncode == 0
    varying = json.loads(pathlib.Path("made", "report.json").read_text())["varying"]
    assert varying["sweep"] == [run_id[:8] for run_id in ids[::-1]]


@pytest.mark.slow
def test_sweeps_with_ids_of_the_same_beginning_are_distinguished(
    a_store, inside, tmp_path, monkeypatch
):
    monkeypatch.setattr(run_ids, "randbelow", lambda n: 7)
    for lr in ("lr=1", "lr=2"):
        done = inside("-m", "seed=0,1", lr, "epochs=5", "n_jobs=1")
        assert done.returncode == 0, done.stderr
    client = client_of(tmp_path)
    experiment = client.get_experiment_by_name("bpexp").experiment_id
    parents = client.search_runs([experiment], "tags.`bpexp.kind` = 'sweep'")
    typed = [run.info.run_id for run in parents]
    assert typed[0][:8] == typed[1][:8]
    assert inside("report", *typed, "--format", "csv,md", "-o", "made").returncode == 0
    text = pathlib.Path("made/report.md").read_text()
    # No longer than they must be: each names its sweep, and every verb takes it.
    named = re.findall(r"\((\w+)\)", text.splitlines()[0])
    assert [run.startswith(name) for run, name in zip(typed, named, strict=True)] == [True, True]
    assert named[0][:-1] == named[1][:-1]
    assert set(pd.read_csv("made/report.csv", dtype=str)["sweep"]) == set(named)
    assert inside("show", named[1]).returncode == 0


@pytest.fixture
def swept(a_store, inside):
    done = inside(
        "-m", "seed=range(0,6)", "lr=2,8", "hidden=2,4", "epochs=300", "stop.loss=0.05",
        "model.init_low=-1", "n_jobs=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return inside


def parent(folder):
    client = client_of(folder)
    experiment = client.get_experiment_by_name("bpexp").experiment_id
    (found,) = client.search_runs([experiment], "tags.`bpexp.kind` = 'sweep'")
    return client, found


def test_a_sweeps_report_is_printed_written_and_logged(swept, tmp_path, monkeypatch):
    client, run = parent(tmp_path)
    said = swept("report", run.info.run_id[:8], "--format", "html,md,csv,json")
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("Over 6 seeds on xor: which combination of lr (2, 8) and")
    folder = tmp_path / "outputs" / "reports" / run.info.run_id[:8]
    names = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    figures = {f"figures/{name}.png" for name in (
        "loss_curves", "convergence", "distribution", "profiles", "best_of_n", "effects",
        "heat_maps", "surfaces", "surface_grid")}  # fmt: skip
    assert names == figures | {f"report.{name}" for name in ("html", "md", "csv", "json")}
    for name in figures:
        assert (folder / name).read_bytes().startswith(PNG)
    answer = json.loads((folder / "report.json").read_text())["answer"]
    assert answer in said.stdout

    # What MLflow reads back: the page, the figures, the table and the answer in the note.
    logged = client.download_artifacts(run.info.run_id, "")
    for name in figures | {"report.html"}:
        assert (folder / name).read_bytes() == (tmp_path / logged / name).read_bytes()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/outputs/mlflow.db")
    table = client.load_table(run.info.experiment_id, "ranking.json", [run.info.run_id])
    assert table["rank"].tolist() == [1, 2, 3, 4]
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", run.info.experiment_id)
    answered = mlflow.load_table("predictions.json", [run.info.run_id], ["run_id"])
    assert list(answered.columns) == [
        "rank", "run", "seed", "sample", "inputs", "target", "prediction", "run_id",
    ]  # fmt: skip
    assert answered["rank"].tolist() == [p for p in ("best", "median", "worst") for _ in range(4)]
    assert answered["inputs"].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]] * 3
    assert answered["target"].tolist() == [0, 1, 1, 0] * 3
    written = json.loads((tmp_path / logged / "predictions.json").read_text())
    exact = pd.DataFrame(written["data"], columns=written["columns"])
    assert answered["prediction"].tolist() == pytest.approx(exact["prediction"].tolist())
    for run_id, part in exact.groupby("run"):
        file = client.download_artifacts(run_id, "predictions.csv")
        kept = csv.DictReader(pathlib.Path(file).read_text().splitlines())
        assert part["prediction"].tolist() == [float(row["predicted y1"]) for row in kept]
        assert {str(seed) for seed in part["seed"]} == {client.get_run(run_id).data.params["seed"]}
    note = client.get_run(run.info.run_id).data.tags["mlflow.note.content"]
    first, rest = note.split("\n\n---\n\n")
    assert first == f"**Report.** {answer}"
    assert rest.startswith("Swept 24 runs on `xor`. Best run: **")

    # Again, with the answer in the store by now: the same bytes, and the note no longer.
    first = (folder / "report.html").read_bytes()
    assert swept("report", run.info.run_id[:8], "-o", "elsewhere").returncode == 0
    assert (tmp_path / "elsewhere" / "report.html").read_bytes() == first
    assert client.get_run(run.info.run_id).data.tags["mlflow.note.content"] == note

    # The whole experiment says the same of the same runs.
    assert swept("report", "--format", "csv").returncode == 0
    whole = pd.read_csv(tmp_path / "outputs" / "reports" / "bpexp" / "report.csv")
    pd.testing.assert_frame_equal(whole, pd.read_csv(folder / "report.csv"))

    # From Python: the numbers are those of the runs themselves, the curves those they logged.
    monkeypatch.chdir(tmp_path)
    made = package.report(run.info.run_id)
    runs = package.load_runs(run.info.run_id)
    best = made.table.iloc[0]
    mine = runs[(runs["lr"] == float(best["lr"])) & (runs["hidden"] == f"[{best['hidden']}]")]
    assert best["final_loss_median"] == pytest.approx(mine["final_loss"].median())
    assert made.surfaces[0].title.startswith("best run, epochs to converge ")
    # Decision surfaces answer as the runs do, but for the last update.
    assert [surface.title.split()[0] for surface in made.surfaces] == ["best", "median", "worst"]
    for surface in made.surfaces:
        at = RegularGridInterpolator((surface.y, surface.x), surface.Z)
        answers = made.predictions[made.predictions["rank"] == surface.title.split()[0]]
        points = [(x2, x1) for x1, x2 in answers["inputs"]]
        assert at(points) == pytest.approx(answers["prediction"].to_numpy(float), abs=0.03)
    # In each cell of the grid the best run of its group, which the table at the end names, too.
    cells = made.surface_grid
    assert (cells.keys, cells.levels) == (("lr", "hidden"), (["2", "8"], ["2", "4"]))
    for (row, column), surface in cells.cells.items():
        lr, hidden = float(cells.levels[0][row]), cells.levels[1][column]
        of_cell = runs[(runs["lr"] == lr) & (runs["hidden"] == f"[{hidden}]")]
        converged = of_cell[of_cell["outcome"] == "converged"]["epochs_run"]
        assert float(surface.title) == pytest.approx(converged.min(), rel=0.005)
    best = made.findings.summaries[0].group.settings
    assert (cells.levels[0][cells.best[0]], cells.levels[1][cells.best[1]]) == (
        best["lr"], best["hidden"],
    )  # fmt: skip
    page = Page((folder / "report.html").read_text())
    for package_name in ("numpy", "mlflow", "bpexp"):
        assert f"version.{package_name}{version(package_name)}" in page.text.replace("\n", "")
    line = made.figures["loss_curves"].axes[0].lines[0]
    ends = [client.get_metric_history(r, "loss")[0].value for r in mine["run_id"]]
    assert line.get_ydata()[0] == pytest.approx(np.quantile(ends, 0.5, method="inverted_cdf"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["nope"],
            "SWEEP must be the id, its beginning, or the name of a sweep, got 'nope'; "
            "bpexp runs lists them.",
        ),
        (["--per", "lr"], "--per must be a setting that varies in these runs (none), got 'lr'."),
        (
            ["--format", "docx"],
            "--format must be of html, md, csv, json, tex, pdf, svg, got 'docx'.",
        ),
        (
            ["--measure", "x"],
            "--measure must be one of final_loss, accuracy, balanced_accuracy, macro_f1 for",
        ),
        (["--experiment", "x"], "--experiment must be an experiment of this store, got 'x'"),
        (["seed=1"], "'seed=1' is a single run; give the id of a sweep's parent run."),
        (["--seed", "-1"], "--seed must be a whole number of at least 0, got -1."),
    ],
)
def test_an_impossible_report_is_an_error_of_one_sentence_and_writes_nothing(
    one_sweep, inside, monkeypatch, arguments, said
):
    monkeypatch.chdir(one_sweep)
    done = inside("report", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (one_sweep / "outputs" / "reports").exists()


@pytest.fixture(scope="module")
def one_sweep(tmp_path_factory, put_store):
    folder = tmp_path_factory.mktemp("store")
    put_store(folder)
    with contextlib.chdir(folder):
        package.sweep(seed=[1, 2], epochs=5)
    return folder


def test_a_test_that_favors_the_second_group_is_not_said_to_favor_the_first():
    """Most runs of the first are slightly better, the others much worse."""
    n = 61
    first = [0.001] * 32 + [0.25] * 29
    made = built(by_lr({0.1: first, 1: [0.0011] * n, 2: [0.5] * n}))
    differences = np.array(first) - 0.0011
    assert wilcoxon(differences).pvalue < 0.01
    (to_second, to_third) = made.findings.comparisons
    assert (to_second.is_worse, to_second.is_better) == (True, False)
    assert to_third.is_better
    assert "but in favor of the second." in made.answer
    assert "The first is significantly better than the other one." in made.answer
    assert "it is significantly worse than lr=1, although not by the median" in " ".join(
        made.effect_sentences
    )
    made = built(by_lr({0.1: first, 0.2: [0.00105] * n, 1: [0.0011] * n}))
    assert "The other one is significantly better than the first by what is tested" in made.answer


def test_ranking_probability_and_test_are_reconciled_in_words():
    """Eleven of twenty pairs are won by much, nine lost by little."""
    losses = np.linspace(0.2, 0.3, 20)
    won = np.where(np.arange(20) < 11, 0.1, -1e-4)
    made = built(by_lr({0.1: losses - won, 1: losses}))
    (compared,) = made.findings.comparisons
    assert compared.is_better
    assert compared.improvement.low < 0.5
    assert "The test counts how large the differences are" in made.answer


def test_the_worst_of_many_groups_has_the_number_of_its_rank():
    paths = [f"/a/folder/with/a/long/name/of/tables/number/{place}.csv" for place in range(30)]
    frame = rows([({"data.path": path}, 0, "completed", 0.1 + place, 50)
                  for place, path in enumerate(paths)])  # fmt: skip
    labels = list(group_labels.labels_of_rows(built(frame).findings).values())
    assert labels[0].startswith("#1 ")
    assert labels[-2].startswith("#23 ")
    assert labels[-1].startswith("#30 ")


def test_two_sweeps_with_too_few_seeds_are_said_to_be_so():
    runs = [({"lr": 1, "sweep": sweep}, seed, "completed", 0.1 + seed + (sweep == "b"), 100)
            for sweep in "ab" for seed in range(3)]  # fmt: skip
    answer = built(rows(runs)).answer
    assert (
        "With 3 seeds and 1 shared group no pair of groups can reach p < 0.05; 6 seeds could"
        in answer
    )
    assert (
        "better than one of the second with the same seed with probability 1 (0.2924 to 1)"
        in answer
    )


def test_the_page_on_methods_has_every_source_that_a_report_names():
    path = pathlib.Path(__file__).resolve().parents[1] / "docs" / "explanation" / "statistics.md"
    text, _, sources = path.read_text().partition("## Sources")
    made = built(by_lr({0.1: [0.1, 0.2], 1: [0.3, 0.4]}))
    said = [text, *page.methods(made.findings), *page.RACE, page.PLANNING, page.SHARED_LEVELS]
    named = set(re.findall(r"([A-Z][a-z]+)(?: et al\.)?,? \(?((?:19|20)\d\d)\b", " ".join(said)))
    assert len(named) > 15
    for name, year in named:
        assert re.search(rf"^- .*\b{name}\b.*\({year}\)", sources.replace("\n  ", " "), re.M), name


def test_the_median_that_is_drawn_counts_runs_that_did_not_converge():
    measure = groups.TIME_TO_CONVERGE
    low, middle, high = group_plots._quartiles(
        measure, np.array([3.0, 1.0, 2.0, np.inf, np.inf, np.inf])
    )
    assert (low, middle, high) == (2.0, 3.0, np.inf)
    assert np.isinf(
        group_plots._quartiles(measure, np.array([1.0, 2.0, np.inf, np.inf, np.inf]))[1]
    )
    found = group_plots._quartiles(groups.FINAL_LOSS, np.array([1.0, 2.0, 3.0, 4.0]))
    assert found.tolist() == [1.75, 2.5, 3.25]
    # As in the tables: half of four epochs to converge is reached at the second, of losses never.
    half = np.array([1.0, 2.0, np.inf, np.inf])
    assert [group_plots._quartiles(m, half)[1] for m in (measure, groups.FINAL_LOSS)] == [
        2.0,
        np.inf,
    ]
