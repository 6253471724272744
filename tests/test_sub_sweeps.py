"""Sweep arguments beyond Hydra's grammar: zips, sub-sweeps, linspace and logspace."""

import itertools
import shlex

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpexp
from bpexp.config.compose import composer
from bpexp.config.grammar import linspace, logspace
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.grid import sub_sweeps

PARSE = composer().parse


def jobs(*arguments):
    return [" ".join(job) for job in sub_sweeps.jobs(arguments, PARSE)]


def test_a_zip_takes_the_values_of_its_settings_together():
    expected = ["lr=0.1 hidden=2 seed=0", "lr=0.1 hidden=2 seed=1",
                "lr=0.01 hidden=8 seed=0", "lr=0.01 hidden=8 seed=1"]  # fmt: skip
    assert jobs("zip(lr=[0.1,0.01],hidden=[2,8])", "seed=0,1") == expected
    assert jobs("size=zip(lr=choice(0.1,0.01),hidden=[2,8])", "seed=range(0,2)") == expected


def test_a_zip_takes_any_finite_sweep_and_lists_as_values():
    assert jobs("zip(seed=range(1,3),lr=logspace(-1,0,2), hidden = [[8,4],[]])") == [
        "seed=1 lr=0.1 hidden=[8,4]", "seed=2 lr=1 hidden=[]",
    ]  # fmt: skip
    assert jobs("zip(optimizer=[adam,momentum],tracking.uri=['a,b','(c'])") == [
        r"optimizer=adam tracking.uri=a\,b", r"optimizer=momentum tracking.uri=\(c",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("zip(lr=[1,2],hidden=[1,2,3])", "same number of values for each key, got 2 of lr, 3 of"),
        ("zip(lr=[1,2])", "at least two settings"),
        ("zip(lr=[1,2],lr=[3,4])", "lr must be in zip once"),
        ("zip(lr=[],seed=[])", "zip must have a list of values for lr"),
        ("zip(lr=interval(0,1),seed=[1])", "lr must be a list, range"),
        ("zip(lr,seed)", r"must be written zip\(key="),
        ("zip(seed=range(0,1001),lr=range(1,1002)) | zip()", "must be written zip"),
    ],
)
def test_a_wrong_zip_is_refused(argument, message):
    with pytest.raises(ConfigError, match=message):
        jobs(argument)


def test_a_value_may_repeat_in_a_zip_but_not_a_run():
    assert jobs("zip(lr=[1,1,2],hidden=[2,4,2])") == [
        "lr=1 hidden=2", "lr=1 hidden=4", "lr=2 hidden=2",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"must be different, got .*lr=1 hidden=2.* twice"):
        bpexp.sweep("zip(lr=[1,1],hidden=[2,2])")


@pytest.mark.parametrize("argument", ["lr=1 || lr=2", "| lr=1", "|", " | "])
def test_a_sub_sweep_without_settings_is_refused(argument):
    with pytest.raises(ConfigError, match=r"sub-sweep must have settings|^Sub-sweeps are written"):
        jobs("seed=1", argument)


def test_a_setting_is_not_set_inside_and_outside_of_a_zip():
    with pytest.raises(ConfigError, match="lr must be set once, got it again in 'lr=3'"):
        jobs("zip(lr=[1,2],hidden=[1,2])", "lr=3")


def test_sub_sweeps_are_combined_with_what_is_outside_of_them():
    found = jobs("data=iris", "optimizer=momentum lr=0.1,1 | optimizer=adam lr=0.01", "seed=0,1")
    assert found == [
        "data=iris optimizer=momentum lr=0.1 seed=0", "data=iris optimizer=momentum lr=0.1 seed=1",
        "data=iris optimizer=momentum lr=1 seed=0", "data=iris optimizer=momentum lr=1 seed=1",
        "data=iris optimizer=adam lr=0.01 seed=0", "data=iris optimizer=adam lr=0.01 seed=1",
    ]  # fmt: skip


def test_a_setting_in_a_sub_sweep_replaces_the_one_outside():
    assert jobs("lr=1,2", "lr=3 hidden=4 | hidden=5") == [
        "lr=3 hidden=4", "lr=1 hidden=5", "lr=2 hidden=5",
    ]  # fmt: skip


def test_sub_sweeps_may_hold_zips_lists_with_spaces_and_quotes():
    assert jobs("zip(lr=[1,2], hidden=[3,4])|hidden=[8, 4] data.path='a | lr=1'") == [
        "lr=1 hidden=3", "lr=2 hidden=4", "hidden=[8,4] data.path='a | lr=1'",
    ]  # fmt: skip


def test_two_arguments_with_sub_sweeps_are_combined():
    found = jobs("lr=1 | lr=2", "seed=1 | seed=2 | seed=3")
    assert found == [f"lr={lr} seed={seed}" for lr in (1, 2) for seed in (1, 2, 3)]


def test_a_vertical_line_in_a_value_separates_nothing():
    assert jobs("data.target=a|b") == ["data.target=a|b"]


@given(st.lists(st.integers(1, 4), min_size=2, max_size=3), st.integers(1, 3))
def test_the_number_of_jobs_is_the_sum_of_the_products(sizes, seeds):
    parts = [f"epochs={index + 1} hidden=range(1,{n + 1})" for index, n in enumerate(sizes)]
    found = jobs(" | ".join(parts), f"seed=range(0,{seeds})")
    assert len(found) == sum(sizes) * seeds == len(set(found))


@pytest.mark.slow
def test_too_many_runs_are_refused_before_they_are_listed():
    with pytest.raises(ConfigError, match="at most 1000000 runs"):
        jobs("seed=range(0,999999)", "lr=1 | lr=2")


@given(st.integers(-6, 6), st.integers(-6, 6), st.integers(1, 30))
def test_logspace_has_the_numbers_of_numpy_with_six_digits(start, stop, num):
    np.testing.assert_allclose(logspace(start, stop, num), np.logspace(start, stop, num), rtol=5e-6)


@given(st.integers(-99, 99), st.integers(-99, 99), st.integers(1, 30))
def test_linspace_has_the_numbers_of_numpy_with_six_digits(start, stop, num):
    expected = np.linspace(start / 10, stop / 10, num)
    np.testing.assert_allclose(linspace(start / 10, stop / 10, num), expected, rtol=5e-6, atol=1e-9)


def test_spaces_are_written_as_a_person_would():
    assert jobs("lr=logspace(-3,0,7)") == [
        f"lr={value}"
        for value in ("0.001", "0.00316228", "0.01", "0.0316228", "0.1", "0.316228", 1)
    ]
    assert jobs("lr=linspace(0.1,0.7,7)") == [f"lr=0.{digit}" for digit in range(1, 8)]
    assert jobs("epochs=logspace(0,3,4)") == [f"epochs={n}" for n in (1, 10, 100, 1000)]
    assert jobs("hidden=sort(linspace(2,8,4),reverse=true)") == [
        f"hidden={n}" for n in (8, 6, 4, 2)
    ]
    assert jobs("hidden=int(logspace(0.3,1,3))") == ["hidden=1", "hidden=4", "hidden=10"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("lr=logspace(-3,0,0)", "number of values in 1..1000000 .* got 0"),
        ("lr=linspace(0,1,2.5)", "number of values"),
        ("lr=logspace(-3,0)", r"as its third argument, such as logspace\(-3,0,7\), got none"),
        ("lr=logspace(0.001,1,4,base=-2)", "base above 0"),
        ("lr=logspace(0,400,4)", "the limits are exponents"),
        ("lr=logspace(1e-3,1,7)", r"for 0.001 to 1 type logspace\(-3,0,7\); .*,base=10\)"),
        ("lr=logspace(1,1e-3)", r"for 1 to 0.001 type logspace\(0,-3,7\);"),
        ("hidden=logspace(1,256,3)", r"for 1 to 256 type logspace\(0,2.40824,3\);"),
        ("lr=range(0.1,1)", r"one value .* type a step, such as range\(0.1,1,0.1\)"),
        ("lr=range(0.5,1.5)", r"such as range\(0.5,1.5,0.1\)"),
        ("seed=range(10,0)", r"at least one value, .*; type range\(10,0,-1\)"),
        ("lr=linspace(0,inf,4)", "finite limits"),
        ("lr=linspace(a,1,4)", "numbers as arguments, got 'a'"),
        ("lr=logspace(1,1,4)", "lr must have different values, got 10 twice"),
    ],
)
def test_a_wrong_space_is_refused(argument, message):
    with pytest.raises(ConfigError, match=message):
        jobs(argument)


def test_runs_that_two_sub_sweeps_have_in_common_are_trained_once(inside, a_store):
    done = inside("-m", "lr=0.1,1 | lr=1.0,2", "epochs=2")
    assert done.stdout.startswith("3 runs over lr (3 values)")


def test_limits_that_may_be_exponents_are_exponents():
    assert jobs("lr=logspace(0.3,1,2)") == ["lr=1.99526", "lr=10"]
    assert jobs("lr=logspace(0.001,1,2,base=10)") == ["lr=1.00231", "lr=10"]
    assert jobs("lr=logspace(0.001,1,2,base=2)") == ["lr=1.00069", "lr=2"]


def test_each_optimizer_has_its_own_settings(inside, a_store):
    own = "optimizer=momentum optimizer.momentum=0.5,0.9 | optimizer=adam optimizer.beta2=0.9,0.99"
    done = inside("-m", own, "epochs=2", "lr=0.1,1", "engine=numpy", "n_jobs=1")
    assert done.stdout.startswith(
        "8 runs over lr (2 values), optimizer.name (2 values), optimizer.momentum (2 values), "
        "optimizer.beta2 (2 values) on"
    )
    assert "null" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lr=logspace(-2,0,3)"], "has several values; to sweep over them add -m"),
        (["zip(lr=[1,2],seed=[1,2])"], "has several values; to sweep over them add -m"),
        (["-m", "lr=1", "|", "lr=2"], "Sub-sweeps are written in one argument"),
        (["-m", "lr=1 | lr=2", "optimizer.beta1=0.5"], "setting of optimizer=adam"),
        (["-m", "lr=range(0,1)"], "got 0, a value of range(0,1); type other limits or a step"),
        (["-m", "hidden=linspace(0,1,2)"], "such as hidden=range(1,9,2) or hidden=linspace(2,8,4)"),
        (["-m", "lr=linspace(0,1)"], "linspace must have a number of values"),
        (["-m", "zip(lr=[1,2],hidden=[2,3]"], "zip must be written zip(key=[...],key=[...])"),
        (
            ["-m", "optimizer=adam,momentum", "optimizer.momentum=0.5", "optimizer.beta2=0.9"],
            "'optimizer=adam optimizer.beta2=0.9 | optimizer=momentum optimizer.momentum=0.5'",
        ),
        (
            ["-m", "optimizer=adam lr=1 | optimizer=momentum", "optimizer.momentum=0.5"],
            "'optimizer=adam lr=1 | optimizer=momentum optimizer.momentum=0.5'",
        ),
        (
            ["-m", "search=random", "optimizer=adam,momentum", "optimizer.momentum=0.5"],
            "search each optimizer on its own",
        ),
        (["-m", "search=random", "lr=loguniform(0.1,1)"], "'lr=tag(log,interval(0.1,1))'"),
        (["-m", "search=random", "lr=log(interval(0.1,1))"], "'lr=tag(log,interval(0.1,1))'"),
        (["-m", "Zip(lr=[1,2],hidden=[2,3])"], "zip must be written zip(key=[...],key=[...])"),
        (
            ["-m", "lr=interval(0.1,1) | search=random lr=interval(1,2)"],
            "search must be the same for all runs of a sweep",
        ),
        (["-m", "search=tpe lr=1 | search=random lr=2"], "or start a sweep with each."),
        (["-m", "search=grid", "lr=1,2"], "got 'grid'; type lists such as lr=0.1,1 without"),
        (["-m", "search=bayes", "lr=1,2"], "got 'bayes'; type search=tpe."),
        (["-m", "sweep=a | lr=1"], "sweep must be one name, got a | lr=1"),
        (["-m", "+study=seed_lottery", "search=tpe"], "A study lists its settings; leave out"),
        (["-m", "lr = 0.1, 1"], "settings are written key=value without spaces: type lr=0.1,1."),
        (["-m", "lr='0.1,1'"], "got '0.1,1'; type -m lr=0.1,1."),
        (["-m", "lr=choice()"], "choice() has no values for lr"),
        (["-m", "weight_decay=0,01"], "did you mean optimizer.weight_decay=0.01?"),
        (["weight_decay=0,01"], "did you mean optimizer.weight_decay=0.01?"),
        (["-m", "lr=0,1,0,05"], "got 0 twice; with decimal points type lr=0.1,0.05."),
        (["-m", "lr=1 |"], "got '1 |'; type -m lr=1."),
        (["-m", "lr=1,2 | lr=3 tracking.tags.team=a"], "tracking.tags.team is a tag of the whole"),
        (["-m", "zip(lr=[1,2],tracking.tags.team=[a,b])"], "outside of sub-sweeps and zip(...)."),
    ],
)
def test_the_command_line_says_what_to_type(refused, arguments, message):
    assert message in refused(*arguments)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *((text, "zip(lr=[0.1,1],hidden=[2,4])") for text in (
            "zip(lr=[0.1,1],hidden=[2,4]",
            "zip(lr=[0.1,1,hidden=[2,4])",
            "zip(lr=[0.1,1]],hidden=[2,4])",
            "zip(lr=0.1,1],hidden=2,4)",
            "zip(lr=(0.1,1),hidden=(2,4)",
            "zip(lr: [0.1,1], hidden: [2,4])",
            "zip[lr=[0.1,1],hidden=[2,4]]",
            "zip lr=[0.1,1],hidden=[2,4])",
            "zip(lr=[0.1,1],hidden=[2,4],)",
        )),
        (
            "zip(lr=logspace(-1,0,2,hidden=[[8,4],[2])",
            "zip(lr=logspace(-1,0,2),hidden=[[8,4],[2]])",
        ),
        (
            "zip(lr=[0.1,1],hidden=[2,4] | lr=3 hidden=5",
            "zip(lr=[0.1,1],hidden=[2,4]) | lr=3 hidden=5",
        ),
        ("lr=choice(1,2 | lr=3", "lr=choice(1,2) | lr=3"),
    ],
)  # fmt: skip
def test_brackets_that_do_not_match_are_answered_by_an_argument_that_works(refused, typed, meant):
    assert refused("-m", typed).endswith(f"type {shlex.quote(meant)}.\n")
    assert 2 <= len(jobs(meant)) <= 3


def test_no_other_zip_is_suggested_if_it_is_not_known_what_was_meant(refused):
    for typed in ("zip(lr=[1,2,hidden=[3])", "zip(data.path=['a=b','c'],lr=[1,2]", "zip("):
        assert "type" not in refused("-m", typed)


def test_python_takes_the_same_language(tmp_path, monkeypatch, a_store):
    monkeypatch.chdir(tmp_path)
    options = {"epochs": 2, "tracking__runs": False}
    rows = bpexp.sweep("zip(lr=[0.1,0.01],hidden=[2,8])", seed=range(2), **options)
    assert list(zip(rows["lr"], rows["hidden"], rows["seed"], strict=True)) == [
        (0.1, "2", 0), (0.1, "2", 1), (0.01, "8", 0), (0.01, "8", 1),
    ]  # fmt: skip
    rows = bpexp.sweep("lr=1 | lr=1.0,2", optimizer="adam", **options)
    assert rows["lr"].tolist() == [1, 2]
    rows = bpexp.sweep(lr="logspace(-2,0,3)", seed=[3, 4], **options)
    expected = list(itertools.product([0.01, 0.1, 1.0], [3, 4]))
    assert list(zip(rows["lr"], rows["seed"], strict=True)) == expected
