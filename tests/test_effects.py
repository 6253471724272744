"""The effect of each setting: compared with pandas and SciPy, and what the report says of it."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import wilcoxon
from test_report import built, by_lr, rows

from bpexp.analysis import effects, findings, groups, page
from bpexp.analysis.findings import Summary
from bpexp.analysis.trials import Trials
from bpexp.render import markdown
from bpexp.runs.objective import objectives


def crossed(values, score, seeds=8, outcome="completed"):
    """Runs of all combinations of values of settings: score(settings, seed) is the loss."""
    combinations = [
        dict(zip(values, some, strict=True)) for some in itertools.product(*values.values())
    ]
    return rows(
        [(s, seed, outcome, score(s, seed), 100) for s in combinations for seed in range(seeds)]
    )


NOISE = np.random.default_rng(1).normal(size=(40, 40))


def noisy(settings, seed):
    """A loss that lr changes, and hidden does not."""
    lr, hidden = settings["lr"], settings["hidden"]
    return 1.0 + lr + 0.05 * NOISE[seed, int(10 * lr) + hidden]


def test_a_marginal_effect_is_the_median_over_the_other_settings_seed_by_seed():
    frame = crossed({"lr": [0.1, 0.3, 1.0], "hidden": [2, 4, 8]}, noisy)
    lr, hidden = built(frame).effects
    by_seed = frame.pivot_table("final_loss", "seed", "lr", aggfunc="median")
    assert [level.value for level in lr.levels] == ["0.1", "0.3", "1"]
    assert [level.center for level in lr.levels] == pytest.approx(by_seed.median().tolist())
    # Shaffer's method for three values: the smallest p is multiplied by 3, the other by 1.
    p = [wilcoxon(by_seed[0.1], by_seed[other], method="exact").pvalue for other in (0.3, 1.0)]
    assert [c.p for c in lr.comparisons] == pytest.approx(p)
    # Holm's method for the two settings.
    assert lr.p == pytest.approx(2 * 3 * min(p))
    assert hidden.p == min(c.p_adjusted for c in hidden.comparisons)
    assert lr.sentence.startswith("lr matters (p = 0.047): lr=0.1 is best (median final loss ")
    assert lr.sentence.endswith("lr=0.1 is best in 3 of 3 combinations of the other settings.")
    assert hidden.sentence.startswith("hidden has no effect that 8 seeds can show (p = ")


def test_accuracies_are_best_where_they_are_high():
    frame = crossed({"lr": [0.1, 1.0], "hidden": [2, 4]}, noisy)
    frame["accuracy"] = 1 - frame["final_loss"] / 10
    lr = built(frame, "accuracy").effects[0]
    assert [level.value for level in lr.ranked] == ["0.1", "1"]
    assert lr.ranked[0].center > lr.ranked[1].center > 0


def test_epochs_to_converge_are_averaged_within_the_budget():
    frame = crossed({"lr": [0.1, 1.0], "hidden": [2, 4]}, noisy, outcome="converged")
    frame["stop.loss"] = 0.1
    frame["epochs_run"] = np.where(frame["lr"] == 1.0, 10, 60)
    frame.loc[(frame["lr"] == 0.1) & (frame["hidden"] == 2), "outcome"] = "completed"
    lr = built(frame).effects[0]
    # Without convergence a run counts 100 epochs.
    assert {level.value: level.center for level in lr.levels} == {"0.1": (60 + 100) / 2, "1": 10}
    assert "lr=1 is best (mean epochs to converge 10), lr=0.1 worst (80)" in lr.sentence


def test_a_setting_of_one_optimizer_is_compared_within_it():
    some = [
        {"optimizer.name": "adam", "optimizer.momentum": None, "lr": lr} for lr in (1, 2)
    ] + [
        {"optimizer.name": "momentum", "optimizer.momentum": m, "lr": lr}
        for m in (0.5, 0.9) for lr in (1, 2)
    ]  # fmt: skip
    frame = rows([(s, k, "completed", s["lr"] + k / 9, 1) for s in some for k in range(3)])
    found = {effect.key: effect for effect in built(frame).effects}
    assert [level.value for level in found["optimizer.momentum"].levels] == ["0.5", "0.9"]
    assert [level.value for level in found["lr"].levels] == ["1", "2"]
    assert len(found["lr"].levels[0].by_combination) == 3


def test_only_seeds_with_all_values_count():
    frame = crossed({"lr": [0.1, 1.0], "hidden": [2, 4]}, noisy, seeds=6)
    lost = (frame["lr"] == 1.0) & (frame["hidden"] == 2) & (frame["seed"] == 5)
    frame.loc[lost, "outcome"] = "failed"
    lr = built(frame).effects[0]
    # Of seed 5 only hidden=4 is left, for both values.
    kept = frame[(frame["seed"] != 5) | (frame["hidden"] == 4)]
    by_seed = kept.pivot_table("final_loss", "seed", "lr", aggfunc="median")
    assert [level.center for level in lr.levels] == pytest.approx(by_seed.median().tolist())


def test_settings_that_change_together_are_compared_as_one():
    frame = rows([
        ({"lr": v, "hidden": 2 * v}, k, "completed", v + NOISE[k, 0] / 9, 1)
        for v in (1, 2, 3) for k in range(9)
    ])  # fmt: skip
    made = built(frame)
    (effect,) = made.effects
    assert [level.value for level in effect.levels] == ["1, 2", "2, 4", "3, 6"]
    assert effect.sentence == (
        "lr and hidden, which change together, matter (p = 0.012): lr=1 hidden=2 is best (median "
        "final loss 1.086), lr=3 hidden=6 worst (3.086); no other setting varies."
    )
    # The smallest p of nine pairs, corrected for three pairs of values.
    assert effect.p == pytest.approx(3 * 2 / 2**9)
    (axes,) = made.figures["effects"].axes
    assert axes.get_xlabel() == "lr, hidden"


def test_the_best_groups_describe_values_that_no_two_groups_can_be_compared_by():
    some = [
        *({"optimizer.name": "adam", "lr": lr} for lr in (0.01, 0.02)),
        *({"optimizer.name": "momentum", "lr": lr} for lr in (0.1, 1)),
    ]
    frame = rows([(s, k, "completed", s["lr"] + k / 1e4, 1) for s in some for k in range(6)])
    made = built(frame)
    found = {effect.key: effect for effect in made.effects}
    effect = found["optimizer.name"]
    assert effect.sentence == (
        "optimizer.name: no two values were run with the same seeds and the same values of the "
        "other settings, so that its own effect is not tested. Of the best groups with each value "
        "lr=0.01 optimizer.name=adam is best (median final loss 0.01025), lr=0.1 "
        "optimizer.name=momentum worst (0.1003)."
    )
    assert np.isnan(effect.p)
    assert [len(level.by_combination) for level in effect.levels] == [2, 2]
    # lr is compared within one optimizer, and the others are named.
    assert found["lr"].left_out
    assert "Not compared: lr=" in found["lr"].sentence
    assert "effects" in made.figures


def test_the_only_setting_with_other_seeds_for_each_value_is_that_of_the_groups():
    runs = [({"lr": lr}, seed, "completed", lr + seed / 1e4, 1)
            for lr, first in ((0.1, 0), (1.0, 10)) for seed in range(first, first + 8)]  # fmt: skip
    made = built(rows(runs))
    assert [effect.sentence for effect in made.effects] == [
        "lr: no two values were run with the same seeds, and no other setting varies, so that its "
        "effect is the difference of the groups above: lr=0.1 is best (median final loss 0.1003), "
        "lr=1 worst (1.001)."
    ]
    assert "The difference is statistically significant (p = 0.00016). The test is" in made.answer
    assert made.figures["effects"] is not None


@pytest.mark.parametrize(("seeds", "said"), [(1, "one seed"), (5, "5 seeds")])
def test_too_few_seeds_test_nothing(seeds, said):
    effect = built(crossed({"lr": [0.1, 1.0], "hidden": [2, 4]}, noisy, seeds)).effects[1]
    assert effect.sentence.startswith(f"hidden cannot be tested with {said}: ")


def test_a_single_setting_has_a_sentence_and_a_plot():
    made = built(by_lr({0.1: [0.1, 0.2], 1: [0.3, 0.4]}))
    (sentence,) = made.effect_sentences
    assert sentence == (
        "lr cannot be tested with 2 seeds: lr=0.1 is best (median final loss "
        "0.15), lr=1 worst (0.35); no other setting varies."
    )
    assert "effects" in made.figures


def test_a_single_setting_without_common_seeds_is_described():
    frame = by_lr({0.1: [0.1, 0.2], 1: [0.3, 0.4]})
    frame["seed"] = range(4)
    (effect,) = built(frame).effects
    assert not effect.is_matched
    assert "lr=0.1 is best (median final loss 0.15), lr=1 worst (0.35)." in effect.sentence


def test_effects_are_drawn_with_their_intervals():
    made = built(crossed({"lr": [0.1, 0.3, 1.0], "hidden": [2, 4]}, noisy))
    lr, hidden = (axes for axes in made.figures["effects"].axes if axes.get_xlabel())
    assert (hidden.get_xlabel(), lr.get_xlabel()) == ("hidden", "lr")
    assert [tick.get_text() for tick in lr.get_xticklabels()] == ["0.1", "0.3", "1"]
    # One line for each number of hidden units, and the median of both.
    assert sum(len(line.get_xdata()) == 3 for line in lr.lines) >= 3
    text = markdown.render(page.document(made, {}))
    assert "- hidden has no effect" in text


@pytest.mark.slow
def test_without_an_effect_few_reports_find_one():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        losses = rng.lognormal(size=(10, 20))
        frame = crossed(
            {"lr": [0.1, 0.3], "hidden": [2, 4]},
            lambda s, seed, losses=losses: losses[s["hidden"] + int(10 * s["lr"]) - 3, seed],
            seeds=20,
        )
        ranked = findings.find(groups.group(frame), groups.FINAL_LOSS, 0)
        found += any(effect.p < 0.05 for effect in effects.effects(ranked))
    # 7 or more of 40 have a probability of 0.3% if each has 5%.
    assert found < 7


def test_sentences_on_a_search_name_the_values_of_the_best_tenth_of_its_trials():
    trials = [
        Summary(SimpleNamespace(
            settings={
                "lr": str(n), "hidden": str(max(2, 6 - n)),
                "optimizer.name": "adam" if n % 2 else "rprop",
            },
            scores=lambda objective, n=n: np.array([abs(n - 7.5) if n else np.inf]),
        ), {}, None, None, None, 0.0, 0.0, {})
        for n in range(31)
    ]  # fmt: skip
    varying = {
        "lr": list(map(str, range(31))), "hidden": list("23456"),
        "optimizer.name": ["adam", "rprop"],
    }  # fmt: skip
    found = SimpleNamespace(
        grouped=SimpleNamespace(varying=varying), objective=objectives()["final_loss"], horizon=1.0
    )
    assert Trials(found, trials).sentences == [
        "lr: 6 to 8 in the best tenth (3 of 30 trials with a value), 1 to 30 in all; not tested, "
        "since the other settings differ, too.",
        "hidden: 2 in the best tenth (3 of 30 trials with a value), 2 to 5 in all; not tested, "
        "since the other settings differ, too.",
        "optimizer.name: the best tenth (3 of 30 trials with a value) has 2 of the 15 with "
        "optimizer.name=rprop and 1 of the 15 with optimizer.name=adam; not tested, since the "
        "other settings differ, too.",
    ]
