"""The composer is fast and gives the same results and errors as Hydra."""

from datetime import datetime
from decimal import Decimal

import pytest
from hydra import __version__ as hydra_version
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from hypothesis import HealthCheck, example, given, note, reject, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf, open_dict

import bpexp
from bpexp.config import hydra_internals
from bpexp.config.compose import Composer, compose, compose_settings
from bpexp.config.paths import conf_dir
from bpexp.fields.checks import ConfigError
from bpexp.sweeps.grid import sub_sweeps

EXAMPLES = settings.default.max_examples
"""20; 100 or 2,000 with --hypothesis-profile=full or thorough. Hydra composes each example."""


class Counted:
    """A loader that counts its compositions."""

    def __init__(self, loader):
        self.loader, self.composed = loader, 0

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def load_sweep_config(self, master, overrides):
        self.composed += 1
        return self.loader.load_sweep_config(master, overrides)


class Hydra:
    """Hydra's loader, and the configuration of a sweep."""

    def __init__(self, *typed):
        self.loader = GlobalHydra.instance().hydra.config_loader
        self.master = self.loader.load_configuration("config", list(typed), RunMode.MULTIRUN)
        self.parser = OverridesParser.create(config_loader=self.loader)

    def jobs(self, *typed):
        return sub_sweeps.jobs(typed, self.parser.parse_overrides)


class OneMoment(datetime):
    """A clock that stands still: errors can contain the time, as a part of ``hydra.sweep.dir``."""

    @classmethod
    def now(cls, tz=None):
        return cls(2000, 1, 2, tzinfo=tz)


@pytest.fixture(scope="module")
def hydra():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hydra.core.utils.datetime", OneMoment)
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield Hydra()


def by_hydra(hydra, overrides):
    config = hydra.loader.load_sweep_config(hydra.master, overrides)
    with open_dict(config):
        del config["hydra"]
    return OmegaConf.to_container(config, resolve=True)


def spelled(value):
    """A form of a configuration that compares types, order and NaN."""
    if isinstance(value, dict):
        return [(repr(key), spelled(item)) for key, item in value.items()]
    return [spelled(item) for item in value] if isinstance(value, list) else repr(value)


def outcome(compose, *arguments):
    """The composed configuration, or the type and message of the error."""
    try:
        return spelled(compose(*arguments))
    except Exception as error:
        return type(error), str(error)


KEYS = [
    "lr", "seed", "epochs", "hidden", "batch_size", "n_jobs", "stop", "stop.loss", "stop.tolerance",
    "data", "data.bits", "data.low", "data.name", "data.path", "data.target", "model.init_low",
    "model.loss", "optimizer.momentum", "optimizer.name", "schedule.every", "schedule",
    "tracking.experiment", "tracking.uri", "tracking", "hidden.0", "lr.deep", "nothing",
    "data.nothing", "stop.nothing.deep", "hydra.verbose", "hydra.job.chdir", "hydra.sweep.dir",
    "hydra.nothing", "hydra.output_subdir", "hydra", "$lr", "lr@data", "hydra.searchpath",
]  # fmt: skip
NUMBERS = [
    "0", "-0", "7", "-3", "+5", "1_000", "007", "1e-3", "1E3", "1.", ".5", "-2.50", "0.1", "1e400",
    "0.30000000000000004", "inf", "-inf", "nan", "123456789012345678901", "999999999999999999",
]  # fmt: skip
TEXTS = [
    "", "null", "NULL", "true", "False", "abc", "a b", " x ", "a/b.c", "???", "1x", "\\,", "a\\=b",
    "$\\{lr\\}", "'quoted'", '"dou ble"', "'it\\'s'", "'1'", "'null'", "'${lr}'", "'a,b'", "''",
    "${lr}", "${data.name}", "${stop}", "${hidden}", "${nothing}", "${data.${model.init}}",
    "x${lr}",
    "${oc.env:HOME}", "${.name}", "${hydra:job.name}", "'\\${lr}'", "\\\\${lr}", "(", "a=b", "[1",
    "1,2", "range(1,3)", "choice(1,2)", "interval(0,1)", "glob(*)", "int(2.5)", "str([1,2])",
    "float(1)", "shuffle(1,2)", "sort(3,1)", "json_str({a:1})", "xor", "parity", "lr", "name",
]  # fmt: skip
atoms = st.sampled_from(NUMBERS + TEXTS) | st.integers().map(str) | st.floats().map(repr)
few = {"min_size": 0, "max_size": 3}
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, **few).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(st.sampled_from(["a", "low", "name", "0"]), inner), **few).map(
            lambda items: "{" + ",".join(f"{key}:{value}" for key, value in items) + "}"
        )
    ),
    max_leaves=4,
)
settings_ = st.builds(
    "{}{}={}".format,
    st.sampled_from(["", "", "", "", "+", "++", "~"]),
    st.sampled_from(KEYS),
    values,
)
GROUPS = [
    "data=xor", "data=parity", "data=encoder", "data=file", "data=nothing", "data=null",
    "data=[xor]",
    "model=classifier", "model=regressor", "optimizer=momentum", "optimizer=adam", "schedule=step",
    "schedule=cosine", "~schedule", "~data=xor", "~data=parity", "~lr", "~stop.loss", "~stop",
    "~lr=0.1", "~data.low", "~nothing", "data@other=parity", "+data@extra=parity", "+data=xor",
    "++data=xor", "data@data:extra=xor", "+study=seed_lottery", "~optimizer@optimizer",
    "hydra/launcher=basic", "hydra/launcher=nothing", "optimizer={name:adam}", "data=3",
    "extra.low=2",
    "lr=[shuffle(1,2)]", "data=xor,parity", "+optimizer@other.deep=adam",
    "other.deep.beta1=0.5", "study.trials=3",
]  # fmt: skip
overrides = st.lists(settings_ | st.sampled_from(GROUPS), max_size=5)
# Common overrides, which are composed without Hydra.
usual = [*NUMBERS, "null", "[2,4]", "[]", "'text'", "abc"]
typed = st.lists(
    st.sampled_from(["data=xor", "data=parity", "optimizer=adam", "hydra.verbose=true"])
    | st.builds(
        "{}={}".format,
        st.sampled_from(["lr", "seed", "hidden", "stop.loss", "++lr", "data.low"]),
        st.sampled_from(usual) | st.integers().map(str),
    ),
    max_size=6,
)


def check(hydra, jobs):
    """Compose all jobs with one composer, whose cache must not change later results."""
    composer = Composer(hydra.loader, hydra.master)
    for job in jobs:
        note(f"{job}")
        assert outcome(composer.compose, job) == outcome(by_hydra, hydra, job)


@settings(max_examples=EXAMPLES // 10, suppress_health_check=[HealthCheck.too_slow])
@given(jobs=st.lists(typed | overrides, min_size=1, max_size=3))
@example(jobs=[["~hydra.sweep.dir=0"]])
def test_jobs_equal_those_of_hydra(hydra, jobs):
    check(hydra, jobs)


@pytest.mark.slow
@settings(max_examples=EXAMPLES // 10, suppress_health_check=list(HealthCheck))
@given(typed=typed | overrides, swept=st.sampled_from(["seed=1,2", "data=xor,parity"]))
def test_jobs_of_command_lines_equal_those_of_hydra(hydra, typed, swept):
    try:
        own = Hydra(*typed, swept)
        jobs = own.jobs(*typed, swept)
    except Exception:
        reject()
    check(own, [[text for text in job if not text.startswith("hydra.")] for job in jobs[:3]])


def test_the_composition_of_the_sweep_is_reused(hydra):
    typed = ["data=parity", "epochs=5", "seed=range(0,3)", "hydra.verbose=true", "hidden=2,[8,4]"]
    ours = Hydra(*typed)
    counted = Counted(ours.loader)
    composer = Composer(counted, ours.master)
    jobs = ours.jobs(*typed[:3], typed[4])
    assert [spelled(composer.compose(job)) for job in jobs] == [
        spelled(by_hydra(ours, job)) for job in jobs
    ]
    assert counted.composed == 0
    # Other options than those of the command line.
    assert composer.compose(["data=xor"])["data"]["name"] == "xor"
    assert counted.composed == 1


def test_each_choice_of_options_is_composed_once(hydra):
    counted = Counted(hydra.loader)
    composer = Composer(counted, hydra.master)
    jobs = hydra.jobs("data=xor,parity", "optimizer=adam,momentum", "seed=range(0,25)",
                      "hidden=2,[8,4]", "++lr=0.1,1e-3", "stop.loss=null,0.01")  # fmt: skip
    composed = [composer.compose(job) for job in jobs]
    assert len(composed) == 800
    assert counted.composed == 4
    assert [c["seed"] for c in composed[:16:8]] == [0, 1]
    assert composed[-1]["hidden"] == [8, 4]
    assert (composed[-1]["data"]["name"], composed[-1]["lr"]) == ("parity", 0.001)


def test_later_compositions_do_not_change_a_job(hydra):
    composer = Composer(hydra.loader, hydra.master)
    first = composer.compose(["hidden=[3,2]", "stop.loss=0.5"])
    composer.compose(["hidden=[3,2]", "stop.loss=0.25"])["hidden"].append(1)
    composer.compose(["stop.tolerance=0.4"])
    assert first["hidden"] == composer.compose(["hidden=[3,2]"])["hidden"] == [3, 2]
    assert first["stop"] == {"loss": 0.5, "tolerance": None, "patience": None, "restart": None,
                             "validation_interval": 1, "generalization": None,
                             "progress": None}  # fmt: skip
    assert composer.compose([])["stop"]["loss"] is None


def swept(hydra, text):
    return [job[0].partition("=")[2] for job in hydra.jobs(f"lr={text}")]


@settings(max_examples=EXAMPLES // 2)
@given(
    first=st.integers(-(10**6), 10**6),
    step=st.integers(-(10**6), 10**6).filter(bool),
    digits=st.integers(1, 9),
    count=st.integers(1, 60),
    exponent=st.booleans(),
)
def test_ranges_count_in_decimals(hydra, first, step, digits, count, exponent):
    def decimal(number):
        whole = f"{number}e-{digits}"
        return whole if exponent else f"{Decimal(whole):f}"

    typed = [decimal(number) for number in (first, first + count * step, step)]
    # An integer divided by a power of ten is the float that is nearest to the decimal.
    meant = [(first + place * step) / 10**digits for place in range(count)]
    assert swept(hydra, f"range({','.join(typed)})") == [repr(value) for value in meant]


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("range(.1,.5,.1)", ["0.1", "0.2", "0.3", "0.4"]),
        ("range(0,.9,.3)", ["0.0", "0.3", "0.6"]),
        ("range(0.5,0.1,-0.1)", ["0.5", "0.4", "0.3", "0.2"]),
        ("range(3e-4,0,-1e-4)", ["0.0003", "0.0002", "0.0001"]),
        ("range(1e20,4e20,1e20)", ["1e+20", "2e+20", "3e+20"]),
        ("sort(range(.1,.5,.1),reverse=true)", ["0.4", "0.3", "0.2", "0.1"]),
        ("range(0,4)", ["0", "1", "2", "3"]),
        ("range(5,-5,-4)", ["5", "1", "-3"]),
        ("range(9007199254740993,9007199254740995)", ["9007199254740993", "9007199254740994"]),
        ("0.30000000000000004,1", ["0.30000000000000004", "1"]),
    ],
)
def test_ranges_have_the_decimal_values(hydra, typed, values):
    assert swept(hydra, typed) == values


def test_a_shuffled_range_has_the_same_values(hydra):
    values = swept(hydra, "shuffle(range(0,3,0.1))")
    assert sorted(values, key=float) == [repr(place / 10) for place in range(30)]


@pytest.mark.parametrize("typed", ["range(0,inf,0.1)", "range(0,1,0)", "range(0.5,1,0.0)"])
def test_an_endless_range_is_refused(hydra, typed):
    with pytest.raises(ConfigError, match="lr must be a range of finite numbers"):
        swept(hydra, typed)


@pytest.mark.parametrize("typed", ["range(1,1)", "range(0.5,0.1,0.1)"])
def test_an_empty_range_is_refused(hydra, typed):
    with pytest.raises(ConfigError, match="lr must have at least one value"):
        swept(hydra, typed)


def test_hydra_has_the_version_whose_private_interfaces_were_tested():
    assert hydra_version.rpartition(".")[0] == hydra_internals.TESTED


def test_python_and_the_command_line_compose_the_same():
    typed = compose(["data=parity", "data.bits=3", "optimizer=adam", "hidden=[8,4]", "lr=0.5"])
    settings = {
        "data": "parity", "data__bits": 3, "optimizer": "adam", "hidden": (8, 4), "lr": 0.5,
    }  # fmt: skip
    assert compose_settings(settings) == typed


def test_several_values_are_refused_where_one_run_is_composed():
    with pytest.raises(ConfigError, match=r"lr must be one value, got 'lr=1,2'\."):
        compose(["lr=1,2"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"optimizer": "Adam"},
            "optimizer must be one of adam, gradient_descent, momentum, nesterov, quickprop, "
            "rmsprop, rprop, got 'Adam'; did you mean optimizer=adam?",
        ),
        ({"data__bits": 3}, "data.bits is a setting of data=parity or symmetry; add data=parity."),
        ({"learning_rate": 3}, "learning_rate is not a key of the configuration; did you mean lr?"),
        ({"LR": 3}, "LR is not a key of the configuration; did you mean lr?"),
        (
            {"momentum": 0.5},
            "momentum is not a key of the configuration; did you mean optimizer.momentum?",
        ),
        ({"lr": -1}, "lr must be a finite number above 0, got -1."),
        (
            {"lr__deep": 1},
            "lr.deep is not a key of the configuration; bpexp --help lists the keys.",
        ),
        (
            {"lr": [0.1, 1]},
            "lr must be one value for a single run, got [0.1, 1]; to sweep over it call "
            "bpexp.sweep(lr=[0.1, 1]).",
        ),
        (
            {"data": ["xor", "parity"]},
            "data must be one value for a single run, got ['xor', 'parity']; to sweep over it "
            "call bpexp.sweep(data=['xor', 'parity']).",
        ),
        (
            {"data": "spirals", "model": "classifier"},
            "model.output=softmax needs at least two outputs, but data=spirals has one; use "
            "model.output=sigmoid instead.",
        ),
    ],
)
def test_wrong_settings_in_python_get_one_sentence(settings, message):
    with pytest.raises(ConfigError) as error:
        bpexp.train(**settings)
    assert str(error.value) == message
