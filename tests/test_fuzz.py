"""Random bad input is answered by one sentence: no traceback, no executed code, no stray files.

``--fuzz N`` sets the number of inputs of the long tests.
"""

import io
import os
import pickle
import random
import re
import shutil
import sqlite3
from contextlib import chdir, closing, suppress
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

import bpexp
from bpexp.analysis import page as analysis_page
from bpexp.analysis import report
from bpexp.cli import commands
from bpexp.config.compose import Composer, compose
from bpexp.config.paths import conf_dir
from bpexp.config.schema import keys, parse
from bpexp.data import load
from bpexp.data.file_settings import FileConfig
from bpexp.data.registry import DATA_SOURCES
from bpexp.errors import sentences
from bpexp.explain.page import page
from bpexp.explain.step import compute_step
from bpexp.explain.symbols import digits
from bpexp.fields.checks import ConfigError
from bpexp.nn.optimizers import OPTIMIZERS
from bpexp.nn.schedules import SCHEDULES
from bpexp.render import html
from bpexp.sweeps import plan
from bpexp.sweeps.grid import sub_sweeps
from bpexp.training.batching import load_engine
from bpexp.training.loop import train_batch


def fuzz(strategy, check, amount, record_property, examples=()):
    """Check ``amount`` inputs; small amounts use the same inputs in every run."""
    count = 0

    def counted(value):
        nonlocal count
        count += 1
        check(value)

    test = given(strategy)(counted)
    for one in examples:
        test = example(one)(test)
    settings(
        max_examples=amount, deadline=None, database=None, derandomize=amount < 500,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(test)()  # fmt: skip
    record_property("inputs fuzzed", count)


def check_sentence(error, typed=()):
    sentence = sentences.describe(error, typed)
    assert 0 < len(sentence) < 20_000
    assert "\n" not in sentence
    assert "\x1b" not in sentence
    assert not sentence.endswith("shows where)."), sentence


# Overrides: parse, compose, check, and train two epochs of what is valid.

GROUPS = {
    "data": list(DATA_SOURCES), "model": ["sigmoid", "classifier", "regressor"],
    "optimizer": list(OPTIMIZERS), "schedule": list(SCHEDULES), "study": ["seed_lottery"],
}  # fmt: skip
WORDS = [
    "null", "true", "", "''", "[]", "{}", "inf", "nan", "-0.0", "1e400", "1_000", "0x10", "???",
    "${lr}", "${seed", "${a.b}", "${oc.env:HOME}", "${oc.decode:'1'}", "${lr}${lr}",
    "range(3)", "range(3,0)", "range(0,1,0)", "range(0,1,0.3)", "range(0,1e300,1e-300)",
    "range(inf,0)", "range(0,99999999999)", "choice(1,2)", "interval(0,1)", "glob(*)",
    "shuffle(1,2)", "sort(2,1)", "tag(a,1)", "int(1.5)", "float(x)", "str(3)", "bool(2)", "1,2",
    "[1,2],3", "[1,[2]]", "{a:1}", "{a:{b:[1,2]}}", "\\", "'a", '"', "..", "../x", "/etc/passwd",
    "xor", "iris", "softmax", "cross_entropy", "@", "=", ":", "é", "\x00", "\x1b[31m", "\ud800",
    "[red]", "'\x1b[2J'", "9" * 50, "-" + "9" * 400, "[" * 40 + "]" * 40, "[" * 900 + "]" * 900,
    "'" + "x" * 7000 + "'", "*", "~", "+", "a b", "'a b'",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(WORDS),
    st.integers(-3, 12).map(str),
    st.integers().map(str),
    st.floats().map(repr),
    st.text(max_size=8),
    st.text(max_size=8).map(lambda t: f"'{t}'"),
    st.lists(st.integers(-1, 5), max_size=3).map(str),
)
KEYS = [
    *keys(), *GROUPS, "hydra", "hydra/launcher", "hydra/sweeper", "hydra.sweep.dir", "hydra.mode",
    "hydra.run.dir", "hydra.job.num", "hydra.searchpath", "hydra.callbacks", "hydra.launcher",
    "x", "x.y", "_target_", "x._target_", "data._target_", "data@x", "optimizer@model", "study",
    "defaults", "_self_", "study.trials", "study.rows", "study.common", "data.0", "hidden.0",
    "tracking.uri.x", "lr.x", "data/file", "hydra/job_logging", "",
]  # fmt: skip
VALID = [
    "lr=0.5", "seed=range(0,3)", "hidden=2,4,[8,4]", "hidden=[]", "data=iris", "model=classifier",
    "data=parity", "data.bits=3", "optimizer=adam", "schedule=cosine", "stop.loss=0.1", "epochs=2",
    "data=spirals", "+study=seed_lottery", "batch_size=2", "data=encoder",
    "model.output=softmax", "model=regressor", "optimizer=rprop", "stop.tolerance=0.4",
]  # fmt: skip
OVERRIDES = st.tuples(
    st.lists(st.sampled_from(VALID), max_size=3),
    st.lists(
        st.one_of(
            st.builds("{}{}={}".format, st.sampled_from(["", "", "", "+", "++", "~"]),
                      st.sampled_from(KEYS), VALUES),
            st.builds("{}={}".format, st.sampled_from(keys()), VALUES),
            st.builds("{}={}".format, st.sampled_from(list(GROUPS)), VALUES),
            st.builds("{}{}".format, st.sampled_from(["~", "", "+"]), st.sampled_from(KEYS)),
            st.text(max_size=10),
        ),
        max_size=2,
    ),
).map(lambda lists: [*lists[0], *lists[1]])  # fmt: skip


@pytest.fixture
def composer():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().hydra.config_loader
        master = loader.load_configuration("config", [], RunMode.MULTIRUN)
        yield OverridesParser.create(config_loader=loader), Composer(loader, master)


def train_first(made):
    """Train two epochs of the first run of a plan, if it is small."""
    config = plan.replace(made.configs[0], epochs=min(made.configs[0].epochs, 2))
    data = load(config.data)
    if data.X.size * (sum(config.hidden) + 1) > 10**6 or len(config.hidden) > 20:
        return
    engine = load_engine("numpy")
    with np.errstate(all="ignore"):
        results = [result for _, result in train_batch([config], engine)]
    assert len(results) == 1
    assert 1 <= results[0].epochs_run <= 2


def test_override_lists(fuzzed, composer, record_property):
    parser, composer = composer

    def check(typed):
        try:
            jobs = sub_sweeps.jobs(typed, parser.parse_overrides)
            made = plan.make_plan([composer.compose(job) for job in jobs[:3]], typed)
        except Exception as error:
            # Hydra raises errors of other types than HydraException, too.
            check_sentence(error, typed)
        else:
            assert len({job.name for job in made.jobs}) <= len(made.jobs)
            train_first(made)

    fuzz(OVERRIDES, check, fuzzed * 20 // 100, record_property)


# Configuration files: random YAML is checked by the schema.

PLAIN = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-2, 9), st.integers(), st.floats(),
        st.text(max_size=6), st.dates(), st.binary(max_size=4), st.just("9" * 30),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)  # fmt: skip
HOSTILE = [
    "!!python/object/apply:os.mkdir [pwned]", "!!python/name:os.system", "!!timestamp x",
    "!!int ''", "!!float x", "!!bool x", "!!binary x", "2023-99-99", "&a [*a]", "*a", "? [1]: 2",
    "{a: 1, a: 2}", "\t- x", "%YAML 9.9", "--- 1\n--- 2", "!!set {1, 2}", "<<: 3", "\x00",
    "{_target_: os.mkdir, path: pwned}", "'\\xe9", "1e999", ".nan", "0o17", "1:20:30", "- " * 500,
    "[" * 3000, "&a [1,1,1,1,1,1,1,1,1]\nb: [*a,*a,*a,*a,*a,*a,*a,*a]",
]  # fmt: skip


@pytest.fixture(scope="module")
def defaults():
    return [compose([f"data={data}"]) for data in ("xor", "parity", "spirals", "encoder", "file")]


@st.composite
def changed(draw, bases):
    """Draw a valid configuration as YAML, with some values changed, added or deleted."""
    base = yaml.safe_load(yaml.safe_dump(draw(st.sampled_from(bases))))
    for _ in range(draw(st.integers(1, 3))):
        node = base
        key = draw(st.sampled_from(sorted(node, key=str)))
        if isinstance(node[key], dict) and node[key] and draw(st.booleans()):
            node = node[key]
            key = draw(st.sampled_from(sorted(node, key=str)))
        what = draw(st.integers(0, 5))
        if what == 0:
            del node[key]
        elif what == 1:
            node[draw(st.one_of(st.text(max_size=4), st.integers(), st.none()))] = draw(PLAIN)
        else:
            node[key] = draw(PLAIN)
    text = yaml.dump(base, allow_unicode=True)
    if draw(st.integers(0, 3)) == 0:
        text = f"{draw(st.sampled_from(sorted(composed_keys)))}: {draw(st.sampled_from(HOSTILE))}"
    return text


composed_keys = ("lr", "data", "hidden", "tracking", "model", "x")


def test_configuration_files(fuzzed, defaults, record_property, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def check(text):
        try:
            values = yaml.safe_load(text)
        except Exception:
            # test_real_files_and_command_lines checks how the program reports invalid YAML.
            return
        try:
            train, session = parse(values) if isinstance(values, dict) else parse({})
        except ConfigError as error:
            check_sentence(error)
        else:
            assert train.epochs >= 1
            assert session.n_jobs != 0
        assert os.listdir(tmp_path) == []

    fuzz(changed(defaults), check, fuzzed * 40 // 100, record_property)


# Tables: CSV, Parquet and NPZ.


class Mkdir:
    """Creates a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("pwned",)


def npz(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def parquet(table):
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


X, Y = np.arange(6.0).reshape(3, 2), np.array([0.0, 1, 0])
CSV = b"a,b,y\n0.5,1,0\n1.5,2,1\n2,3.25,0\n"
NPZ = npz(x=X, y=Y)
PARQUET = parquet(pa.table({"a": X[:, 0], "b": X[:, 1], "y": Y, "k": ["u", "v", "u"]}))
HUGE_HEADER = NPZ.replace(b"(3, 2)", b"(3e9,)"), NPZ.replace(b"'<f8'", b"'|O8'")


@st.composite
def broken(draw, whole):
    """Draw bytes in which some are replaced, deleted, inserted or repeated."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 5))):
        place = draw(st.integers(0, len(content)))
        match draw(st.integers(0, 4)):
            case 0:
                content[place : place + 1] = draw(st.binary(max_size=1))
            case 1:
                del content[place:]
            case 2:
                content[place:place] = draw(st.binary(max_size=8))
            case 3:
                del content[place : place + draw(st.integers(1, 16))]
            case _:
                content[place:place] = content[place : place + draw(st.integers(1, 40))]
    return bytes(content)


CELLS = [
    st.floats(), st.floats(-9, 9), st.floats(-9, 9), st.booleans(), st.integers(-3, 3),
    st.integers(), st.none(), st.sampled_from("uvw"), st.text(max_size=3), st.binary(max_size=2),
    st.datetimes(), st.lists(st.integers(), max_size=2), st.decimals(), st.complex_numbers(),
    st.dictionaries(st.just("a"), st.integers(), max_size=1),
]  # fmt: skip


@st.composite
def columns(draw):
    """Draw a table as (name, values) per column, with repeated names and unusual types."""
    rows = draw(st.integers(0, 4))
    names = ["y", *draw(st.lists(st.sampled_from(["a", "b", "y", "", "0", "a.1", "\x1b[0m", "é"]),
                                 min_size=1, max_size=3))]  # fmt: skip
    cells = [draw(st.sampled_from(CELLS)) for _ in names]
    return [
        (name, draw(st.lists(cell, min_size=rows, max_size=rows)))
        for name, cell in zip(names, cells, strict=True)
    ]


def as_csv(table):
    rows = zip(*(values for _, values in table), strict=True)
    lines = [",".join(name for name, _ in table), *(",".join(map(str, row)) for row in rows)]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def as_parquet(table):
    try:
        arrays = [pa.array(values) for _, values in table]
        return parquet(pa.Table.from_arrays(arrays, [name for name, _ in table]))
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return b"PAR1"


def as_npz(table):
    made = {}
    for name, values in table:
        with suppress(ValueError, OverflowError):
            made[name.replace("\x1b", "e")] = np.array(values)
    return npz(**made)


FILES = st.one_of(
    *(st.tuples(st.just(suffix), made) for suffix, made in (
        (".csv", broken(CSV)), (".csv", columns().map(as_csv)), (".csv", st.binary(max_size=40)),
        (".csv", st.text(",\n\"'ay01.eE- \r\x00é", max_size=60).map(str.encode)),
        (".parquet", broken(PARQUET)), (".parquet", columns().map(as_parquet)),
        (".npz", broken(NPZ)), (".npz", columns().map(as_npz)),
    ))
)  # fmt: skip
KNOWN = [
    *((".npz", header) for header in HUGE_HEADER),
    (".npz", npz(a=np.array([Mkdir(), 1], object), y=Y[:2])),
    (".npz", pickle.dumps(Mkdir())),
    (".npz", NPZ[:-10]), (".csv", pickle.dumps(Mkdir())), (".parquet", pickle.dumps(Mkdir())),
    (".npz", npz(y=np.zeros((3, 2, 2)))), (".csv", "a,y\n1,2\n".encode("utf-16")),
    (".csv", b"a,y\n\xff,1\n"), (".csv", b"y\n1\n"),
]  # fmt: skip
ODD_NAME = npz(**{"../../pwned": Y, "y": Y})


def test_tables(fuzzed, record_property, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    targets = st.sampled_from([("y",), ("y",), ("y",), ("a",), ("y", "a"), ("k",)])
    options = st.fixed_dictionaries({
        "target": targets, "task": st.sampled_from([None, None, "classification", "regression"]),
        "test_fraction": st.sampled_from([0.0, 0.5]), "standardize": st.booleans(),
    })  # fmt: skip

    def check(given):
        (suffix, content), chosen = given
        Path(f"t{suffix}").write_bytes(content)
        try:
            made = load(FileConfig(name="file", path=f"t{suffix}", **chosen))
        except ConfigError as error:
            check_sentence(error)
        else:
            assert len(made.X) == len(made.Y) > 0
            assert (made.X.shape[1], made.Y.shape[1]) == (len(made.inputs), len(made.targets))
            assert all(np.isfinite(a).all() for a in (made.X, made.Y, made.X_test, made.Y_test))
            assert len({*made.inputs}) == len(made.inputs)
        assert {p.suffix for p in tmp_path.iterdir()} <= {".csv", ".parquet", ".npz"}

    plain = {"target": ("y",), "task": None, "test_fraction": 0.0, "standardize": False}
    fuzz(st.tuples(FILES, options), check, fuzzed * 34 // 100, record_property,
         [(case, plain) for case in (*KNOWN, (".npz", ODD_NAME))])  # fmt: skip


# Stored runs: rows and files of the store are changed.


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, put_store):
    """A folder with a store that holds a sweep of two runs."""
    folder = tmp_path_factory.mktemp("pristine")
    put_store(folder)
    with chdir(folder):
        bpexp.sweep(seed=range(2), epochs=4, engine="numpy")
    return folder


TEXTS = [
    "", "x", "sweep", "FINISHED", "{}", "[]", "null", "1", "-1", "9" * 40, "[/]", "\x1b[31m",
    "../../../pwned", "file:///pwned", "<script>alert(1)</script>", "a b c 1 d", "- - - - -",
    "lr=1 'x", "seed=0,1 hydra.searchpath=[pkg://evil]", "seed=0,1 hydra/launcher=basic",
    "+x._target_=os.mkdir", "seed=range(0,999999999)", "epochs=2 seed=${oc.env:HOME}", "é" * 999,
    '{"_target_": "os.mkdir", "path": "pwned"}', '{"lr": 1e999}', "[" * 5000, "exact 1",
]  # fmt: skip
TAGS = [
    "bpexp.config", "bpexp.identity", "bpexp.result", "bpexp.process", "bpexp.overrides",
    "bpexp.outcome", "bpexp.kind", "bpexp.best_run", "bpexp.arithmetic", "bpexp.reason",
    "mlflow.parentRunId", "mlflow.note.content", "mlflow.loggedArtifacts", "mlflow.runName",
]  # fmt: skip
ROWS = [
    ("runs", "name"), ("runs", "status"), ("runs", "artifact_uri"), ("params", "value"),
    ("datasets", "digest"), ("latest_metrics", "value"), ("latest_metrics", "key"),
    ("params", "key"),
]  # fmt: skip
ARTIFACTS = ["losses.npz", "weights.npz", "predictions.csv", "config.yaml", "plan.jsonl.gz",
             "results.parquet"]  # fmt: skip
CHANGES = st.one_of(
    st.tuples(st.just("tag"), st.sampled_from(TAGS), st.sampled_from(TEXTS)),
    st.tuples(st.just("no tag"), st.sampled_from(TAGS), st.just("")),
    st.tuples(st.just("json"), st.just("bpexp.config"), st.integers(0, 10**6)),
    st.tuples(st.just("row"), st.sampled_from(ROWS), st.sampled_from(TEXTS)),
    st.tuples(st.just("break"), st.sampled_from(ARTIFACTS), st.integers(0, 10**6)),
    st.tuples(
        st.just("file"), st.sampled_from(ARTIFACTS),
        st.one_of(st.sampled_from([None, b"", pickle.dumps(Mkdir()), NPZ, PARQUET, CSV,
                                   *(text.encode() for text in HOSTILE), *HUGE_HEADER,
                                   npz(loss=np.array([Mkdir()], object))]),
                  st.binary(max_size=20)),
    ),
)  # fmt: skip
COMMANDS = [
    *(["show", run] for run in ("SWEEP", "RUN", "RUN", "RUN")), ["runs"],
    ["compare", "RUN", "OTHER"],
    *(["reproduce", "--all", "--engine", "numpy", "--n-jobs", "1"] for _ in range(8)),
    ["reproduce", "SWEEP", "--engine", "numpy", "--n-jobs", "1"],
    ["runs", "--sweep", "SWEEP", "--format", "csv"],
    *(["resume", "SWEEP"] for _ in range(5)),
]  # fmt: skip
SLOW = [["report", "SWEEP", "--format", "html,json"], ["export", "RUN"]]


def restore(pristine, here):
    """Restore the store in ``here`` while MLflow is connected to it."""
    for name in os.listdir(here):
        if name != "outputs":
            shutil.rmtree(here / name) if (here / name).is_dir() else (here / name).unlink()
    shutil.rmtree(here / "outputs" / "artifacts", ignore_errors=True)
    shutil.rmtree(here / "outputs" / "reports", ignore_errors=True)
    shutil.copytree(pristine / "outputs" / "artifacts", here / "outputs" / "artifacts")
    with (
        closing(sqlite3.connect(pristine / "outputs" / "mlflow.db")) as whole,
        closing(sqlite3.connect(here / "outputs" / "mlflow.db")) as ours,
    ):
        whole.backup(ours)
        # The store holds absolute paths of artifacts.
        ours.execute("update runs set artifact_uri = replace(artifact_uri, ?, ?)",
                     (str(pristine), str(here)))  # fmt: skip
        ours.commit()


def change(here, runs, what, chance):
    """Apply one of ``CHANGES`` to a random run."""
    kind, where, value = what
    run = chance.choice(runs)
    with (
        closing(sqlite3.connect(here / "outputs" / "mlflow.db")) as db,
        suppress(sqlite3.IntegrityError),
    ):
        if kind == "tag":
            db.execute("insert or replace into tags values (?, ?, ?)", (where, value, run))
        elif kind == "no tag":
            db.execute("delete from tags where key = ? and run_uuid = ?", (where, run))
        elif kind == "json":
            rows = db.execute("select run_uuid, value from tags where key = ?", (where,)).fetchall()
            if not rows:  # an earlier change deleted them
                return
            run, text = chance.choice(rows)
            parts = re.split(r'([{},:\[\]]|"[^"]*"|[\d.]+)', text)
            parts[chance.randrange(len(parts))] = chance.choice(
                ["", "0", "-1", "1e999", "null", '"x"', "[]", "{}", "9" * 30, '"_target_"']
            )
            db.execute("update tags set value = ? where key = ? and run_uuid = ?",
                       ("".join(parts), where, run))  # fmt: skip
        elif kind == "row":
            table, column = where
            rows = [r for (r,) in db.execute(f"select rowid from {table}")]
            db.execute(f"update {table} set {column} = ? where rowid = ?",
                       (value, chance.choice(rows)))  # fmt: skip
        db.commit()
    if kind in ("file", "break"):
        paths = sorted((here / "outputs" / "artifacts").glob(f"*/artifacts/{where}"))
        if not paths:
            return
        path = chance.choice(paths)
        if kind == "break":
            content = bytearray(path.read_bytes())
            for _ in range(chance.randint(1, 4)):
                place = chance.randint(0, len(content))
                content[place : place + chance.randint(0, 9)] = chance.randbytes(
                    chance.randint(0, 9)
                )
            path.write_bytes(content)
        elif value is None:
            path.unlink()
        else:
            path.write_bytes(value)


@pytest.mark.filterwarnings("ignore:.*type hint:UserWarning")
def test_stored_runs(fuzzed, pristine, record_property, tmp_path, monkeypatch, capsys):
    here = tmp_path / "here"
    shutil.copytree(pristine, here)
    monkeypatch.chdir(here)
    # A package that creates a folder if anything stored makes the program import it.
    package = tmp_path / "evil"
    package.mkdir()
    (package / "__init__.py").write_text(f"import os; os.mkdir({str(tmp_path / 'pwned')!r})")
    monkeypatch.syspath_prepend(str(tmp_path))
    with closing(sqlite3.connect(here / "outputs" / "mlflow.db")) as db:
        runs = [run for (run,) in db.execute("select run_uuid from runs order by name")]
        (sweep,) = db.execute("select run_uuid from tags where value = 'sweep'").fetchone()
    one, other = [run for run in runs if run != sweep]
    named = {"SWEEP": sweep, "RUN": one, "OTHER": other}

    def check(given):
        changes, command, seed = given
        restore(pristine, here)
        chance = random.Random(seed)
        for what in changes:
            change(here, runs, what, chance)
        status = 0
        try:
            commands.main([named.get(word, word) for word in command])
        except SystemExit as exit_:
            status = exit_.code or 0
        out, err = capsys.readouterr()
        assert status in (0, 1, 2), (status, err)
        lines = 1 if status == 2 and "reproduce" not in command else 0
        assert len(err.splitlines()) == lines, (status, out, err)
        assert "Traceback" not in out + err
        assert "shows where" not in err, err
        assert "\x1b" not in out + err
        assert set(os.listdir(here)) <= {"outputs"}
        assert set(os.listdir(tmp_path)) <= {"here", "evil"}
        assert not Path("/pwned").exists()
        for written in (here / "outputs" / "reports").rglob("*.html"):
            assert "<script>" not in written.read_text()

    quick = st.tuples(st.lists(CHANGES, min_size=1, max_size=3), st.sampled_from(COMMANDS),
                      st.integers(0, 2**32))  # fmt: skip
    slow = st.tuples(st.lists(CHANGES, min_size=1, max_size=2), st.sampled_from(SLOW),
                     st.integers(0, 2**32))  # fmt: skip
    fuzz(quick, check, fuzzed * 5 // 100, record_property)
    fuzz(slow, check, max(2, fuzzed // 500), record_property)


# HTML pages: names are escaped.


class Tags(HTMLParser):
    """Collects the tags of a page with the names of their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.kinds, self.text = set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.kinds |= {(tag, name) for name, _ in (*attrs, (None, None))}

    def handle_data(self, data):
        self.text += data


NAMES = st.one_of(
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12),
    st.lists(
        st.sampled_from(["<", ">", "&", '"', "'", "/", "=", "script", "img src=x", " onerror=a()",
                         "&lt;", "&#60;", "<!--", "]]>", "</td>", "</style>", "javascript:", "-1"]),
        min_size=1, max_size=5,
    ).map("".join),
)  # fmt: skip


def test_names_are_escaped_in_html(fuzzed, record_property, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def explained(name):
        pd.DataFrame({name: [0.5, 1.5], "b": [1.0, 0.0], "y": [0.0, 1.0]}).to_parquet("t.parquet")
        values = {**compose(["data=file"]), "epochs": 1}
        values["data"] |= {"path": "t.parquet", "target": "y"}
        made = plan.make_plan([values])
        document = page(compute_step(made.configs[0], 1, "numpy"), load(made.configs[0].data),
                      digits(6), None)  # fmt: skip
        return html.render(document)

    def reported(name):
        rows = pd.DataFrame({
            "run_id": [f"{n:032x}" for n in range(4)], "sweep": "s", "seed": [0, 1, 0, 1],
            "data.name": "xor", "epochs": 9, "stop.loss": None, "stop.tolerance": None,
            "lr": [name, name, "b", "b"], "outcome": "completed", "final_loss": [1.0, 2, 3, 4],
            "epochs_run": 9, "accuracy": None, "artifacts": "nowhere",
        })  # fmt: skip
        flat = lambda some, epochs: np.ones((len(some), len(epochs)))  # noqa: E731
        reader = SimpleNamespace(
            losses=flat,
            validation_losses=flat,
            artifact=lambda row, file: None,
            data=lambda row: None,
        )
        made = report.build(rows, name, {name: name}, reader)
        return html.render(analysis_page.document(made, {}))

    known = {make: Tags(make("plain")).kinds for make in (explained, reported)}

    def check(name):
        for make in (explained, reported):
            # With the letter it is neither a number nor the name of the other column.
            found = Tags(make(f"n{name}"))
            assert found.kinds <= known[make] | {("sub", None), ("sup", None)}, name
            assert f"n{name[:3]}".split()[0] in found.text

    fuzz(NAMES, check, max(5, fuzzed // 100), record_property)


# The program, started as a process.


@pytest.mark.long
def test_real_files_and_command_lines(bpexp, tmp_path, record_property):
    conf = tmp_path / "mine"
    conf.mkdir()
    count = 0

    def refused(*arguments):
        nonlocal count
        count += 1
        before = sorted(p for p in tmp_path.rglob("*"))
        done = bpexp(*arguments)
        assert done.returncode in (1, 2), done.stderr
        assert "Traceback" not in done.stderr
        assert "shows where" not in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stdout == ""
        assert sorted(p for p in tmp_path.rglob("*")) == before

    (conf / "data").mkdir()
    for text in HOSTILE[:12]:
        (conf / "data" / "mine.yaml").write_text(f"name: {text}\n")
        refused("--config-dir", "mine", "data=mine")
    for suffix, content in KNOWN:
        (tmp_path / f"t{suffix}").write_bytes(content)
        refused("data=file", f"data.path=t{suffix}", "data.target=y")
    refused("--config-dir", "nowhere")
    refused("--config-name", "nowhere")
    # This error comes after the announcement on standard output.
    late = bpexp("tracking.uri=sqlite:////proc/x/y.db")
    assert (late.returncode in (1, 2), len(late.stderr.splitlines())) == (True, 1)
    (tmp_path / "t.npz").write_bytes(ODD_NAME)
    before = {*os.listdir(tmp_path)}
    assert bpexp("data=file", "data.path=t.npz", "data.target=y", "epochs=5").returncode == 0
    assert {*os.listdir(tmp_path)} == before | {"outputs"}
    record_property("inputs fuzzed", count)
