"""Grids: which jobs the sweep functions of the override grammar give."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpexp.config.compose import composer
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.grid import sub_sweeps


@pytest.fixture(scope="module")
def values():
    """The values of one override, as text."""
    one = composer()

    def listed(text):
        return [job[0].partition("=")[2] for job in sub_sweeps.jobs([text], one.parse)]

    return listed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed=sort(range(10,20,4),reverse=true)", ["18", "14", "10"]),
        ("seed=sort(range(0,5,2),reverse=true)", ["4", "2", "0"]),
        ("seed=sort(range(10,0,-3))", ["1", "4", "7", "10"]),
        ("seed=sort(range(10,0,-3),reverse=true)", ["10", "7", "4", "1"]),
        ("seed=sort(range(5))", ["0", "1", "2", "3", "4"]),
        ("seed=sort(sort(range(10,20,4),reverse=true))", ["10", "14", "18"]),
        ("lr=sort(range(0.1,0.5,0.1),reverse=true)", ["0.4", "0.3", "0.2", "0.1"]),
        ("lr=sort(range(0,.9,.3),reverse=true)", ["0.6", "0.3", "0.0"]),
        ("seed=sort(3,1,2)", ["1", "2", "3"]),
        ("seed=sort(choice(3,1,2),reverse=true)", ["3", "2", "1"]),
        ("seed=sort(shuffle(range(0,9)))", [*"012345678"]),
        ("seed=sort(shuffle(3,1,2))", ["1", "2", "3"]),
    ],
)
def test_sort_gives_the_values_of_the_range_in_order(values, text, expected):
    assert values(text) == expected


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 9), st.booleans())
def test_a_sorted_range_has_the_values_of_python(values, start, stop, step, reverse):
    step = step if stop > start else -step
    expected = sorted(range(start, stop, step), reverse=reverse)
    text = f"seed=sort(range({start},{stop},{step}),reverse={str(reverse).lower()})"
    if expected:
        assert values(text) == [str(value) for value in expected]
    else:
        with pytest.raises(ConfigError, match="at least one value"):
            values(text)


SHUFFLED = (
    "seed=shuffle(range(0,20))", "seed=shuffle(1,2,3,4,5,6,7,8)",
    "seed=int(shuffle(range(0,20)))", "hidden=shuffle([1,2,3,4,5,6,7,8])",
)  # fmt: skip


def test_shuffle_gives_the_same_order_in_another_process(values):
    code = (
        "from bpexp.config.compose import composer\n"
        "from bpexp.sweeps.grid.sub_sweeps import jobs\n"
        f"for text in {SHUFFLED!r}:\n"
        "    print([j[0].partition('=')[2] for j in jobs([text], composer().parse)])\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert other.stdout.splitlines() == [str(values(text)) for text in SHUFFLED]


def test_shuffle_changes_the_order_and_keeps_the_values(values):
    shuffled = values("seed=shuffle(range(0,20))")
    assert shuffled != [str(i) for i in range(20)]
    assert sorted(map(int, shuffled)) == list(range(20))
    assert values("seed=shuffle(range(0,21))")[:20] != shuffled


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        ("lr=0.1,0.1", "0.1"),
        ("lr=0.1,1e-1", "0.1"),
        ("lr=1,0.5,1.0", "1"),
        ("seed=choice(2,2)", "2"),
        ("optimizer=adam,sgd,adam", "'adam'"),
        ("hidden=[8,4],[2],[8,4]", r"\[8, 4\]"),
    ],
)
def test_a_value_that_is_listed_twice_is_refused(values, text, twice):
    with pytest.raises(ConfigError, match=f"must have different values, got {twice} twice"):
        values(text)


def test_values_of_other_types_are_different(values):
    assert values("x=true,1,'1.5',null") == ["True", "1", "'1.5'", "null"]


@pytest.fixture
def experiments(tmp_path):
    """A folder with the files experiment/a.yaml, which defines a sweep, and experiment/b.yaml."""
    folder = tmp_path / "files" / "experiment"
    folder.mkdir(parents=True)
    sweep = "hydra:\n  sweeper:\n    params:\n      lr: 0.1,0.2\n"
    (folder / "a.yaml").write_text(f"# @package _global_\nepochs: 2\n{sweep}")
    (folder / "b.yaml").write_text("# @package _global_\nepochs: 2\n")
    return folder.parent


@pytest.mark.parametrize("selected", ["+experiment=glob(*)", "+experiment=a,b"])
def test_a_sweep_over_files_that_define_sweeps_is_refused(refused, experiments, selected):
    said = refused("-m", "--config-dir", str(experiments), selected)
    assert said.startswith(
        "bpexp: A sweep cannot select files that define a sweep, got lr=0.1,0.2 in "
        "hydra.sweeper.params of +experiment=a"
    )


def test_one_file_that_defines_a_sweep_is_swept(inside, a_store, experiments):
    done = inside("-m", "--config-dir", str(experiments), "+experiment=a")
    assert done.stdout.startswith("2 runs over lr (2 values)")
