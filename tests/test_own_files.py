"""A folder of the user's own configurations, studies and sweeps, and names and tags of runs."""

import os
import re
import unicodedata

import pytest
import yaml

import bpexp
from bpexp.config.compose import compose_settings, composer
from bpexp.config.schema import parse_runtime, plain
from bpexp.fields.checks import ConfigError, Tags, TagValues
from bpexp.sweeps.grid import sweep_files
from bpexp.tracking import artifact_files
from bpexp.tracking.archive import open_archive
from bpexp.tracking.store import locate

STUDY = """# Two rates.
name: mine
source: a paper
measure: epochs
trials: 2
common: [data=xor, epochs=20]
rows:
  - {name: slow, overrides: [lr=0.1]}
  - {name: fast, overrides: [lr=1], published: {n: 25, mean: 100}}
"""
LAUGHS = 'a0: &a0 ["ha", "ha"]\n' + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)
"""Aliases that stand for millions of values ("billion laughs")."""
SWEEP = """
common: [epochs=2, "seed=range(0,2)"]
union:
  - optimizer=momentum optimizer.momentum=0.5,0.9
  - {optimizer: adam, lr: [0.001, 0.01], hidden: [[8, 4]]}
"""


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """The folder ./conf with a data set, a study and a sweep."""
    monkeypatch.chdir(tmp_path)
    for path, text in {
        "data/mine.yaml": "# Parity of three bits.\nname: parity\nbits: 3\nlow: 0\nhigh: 1\n",
        "study/mine.yaml": STUDY,
        "sweep/optimizers.yaml": SWEEP,
        "sweep/broken.yaml": "common: [epochs=2]\nunions: []\n",
        "sweep/empty.yaml": "# Nothing yet.\n",
        "sweep/word.yaml": "- lr: [0.1, 1]\n- hello\n",
    }.items():
        (tmp_path / "conf" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / path).write_text(text)
    return tmp_path / "conf"


def test_data_of_ones_own_are_an_option_everywhere(conf, inside, a_store):
    assert "bits=3" in inside("data=mine", "--help").stdout.replace("data.", "")
    assert "Parity of three bits" in inside("--help").stdout
    assert inside("data=mine", "epochs=2").stdout.startswith("1 run of parity, layers 3-2-1")
    assert compose_settings({"data": "mine"})["data"]["bits"] == 3
    assert len(bpexp.train(data="mine", epochs=2).predictions) == 8


def test_another_folder_is_given_by_an_option(conf, inside, a_store):
    conf.rename(conf.with_name("other"))
    assert inside("data=mine").returncode == 1
    assert "bits: 3" in inside("--config-dir", "other", "--cfg", "job", "data=mine").stdout
    assert "bits=3" in inside("--config-dir=other", "data=mine", "--help").stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# \nname: momentum\n", ""),
        ("name: [momentum]\n", ""),
        (
            "- lr=1\n",
            "conf/optimizer/mine.yaml must have lines such as KEY: VALUE, got ['lr=1'].\n",
        ),
    ],
)
def test_the_help_takes_files_with_mistakes(content, message, conf, inside):
    (conf / "optimizer").mkdir()
    (conf / "optimizer" / "mine.yaml").write_text(content)
    assert "    mine                   of your own\n" in inside("--help").stdout
    done = inside("optimizer=mine", "--help")
    assert done.stderr.endswith(message)
    assert bool(done.stderr) == bool(message) == bool(done.returncode)


def test_a_study_of_ones_own_is_run(conf, inside, a_store):
    done = inside("-m", "+study=mine")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ *fast", done.stdout, re.M)


def test_a_file_of_sub_sweeps_is_run(conf, inside, a_store):
    done = inside("-m", "sweep=optimizers", "engine=numpy", "n_jobs=1")
    assert done.stdout.startswith("8 runs over"), done.stderr
    jobs = sweep_files.jobs(["sweep=optimizers", "seed=7"], composer())
    assert [" ".join(job) for job in jobs] == [
        "epochs=2 seed=7 optimizer=momentum optimizer.momentum=0.5",
        "epochs=2 seed=7 optimizer=momentum optimizer.momentum=0.9",
        "epochs=2 seed=7 optimizer=adam lr=0.001 hidden=[8,4]",
        "epochs=2 seed=7 optimizer=adam lr=0.01 hidden=[8,4]",
    ]
    rows = bpexp.sweep(sweep="optimizers", engine="numpy", n_jobs=1, tracking__runs=False)
    assert len(rows) == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["größe", "gro\u0308ße", "my sweep", "a.b", "it's", "日本"])
def test_a_file_of_sub_sweeps_may_have_any_name(name, conf):
    (conf / "sweep" / f"{name}.yaml").write_text("lr: [0.1, 1]")
    composed = unicodedata.normalize("NFC", name)
    for typed in (name, composed, f'"{composed}"'):
        assert sweep_files.jobs([f"sweep={typed}"], composer()) == [["lr=0.1"], ["lr=1"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr: [0.1, 1]\nhidden: 3", ["lr=0.1 hidden=3", "lr=1 hidden=3"]),
        ("- optimizer: {name: adam, beta2: [0.9, 0.99]}",
         ["optimizer=adam optimizer.beta2=0.9", "optimizer=adam optimizer.beta2=0.99"]),
        ("- zip: {lr: [0.1, 1], hidden: [2, [3, 2]]}", ["lr=0.1 hidden=2", "lr=1 hidden=[3,2]"]),
        ("- zip: {lr: 'logspace(-1,0,2)', hidden: [2, 3]}", ["lr=0.1 hidden=2", "lr=1 hidden=3"]),
        ("- zip(lr=[0.1,1],hidden=[2,3]):\n  epochs: 5",
         ["lr=0.1 hidden=2 epochs=5", "lr=1 hidden=3 epochs=5"]),
        ("lr=0.1,1 hidden=3", ["lr=0.1 hidden=3", "lr=1 hidden=3"]),
        ("- lr=0.1 | lr=1 hidden=2,3\n- lr=5",
         ["lr=0.1", "lr=1 hidden=2", "lr=1 hidden=3", "lr=5"]),
        ("- [lr=0.1, 'hidden=2,3']\n- lr=1", ["lr=0.1 hidden=2", "lr=0.1 hidden=3", "lr=1"]),
        ("- stop:\n    patience: null\n  data: {name: parity, bits: 3}",
         ["stop.patience=null data=parity data.bits=3"]),
    ],
)  # fmt: skip
def test_sub_sweeps_are_written_in_several_ways(text, expected, conf):
    (conf / "sweep" / "own.yaml").write_text(text)
    found = sweep_files.jobs(["sweep=own"], composer())
    assert [" ".join(job) for job in found] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("common: [data=xor\nunion: [lr=1]", "line 2: the [ of line 1 is not closed"),
        ("- {lr: 1\n- lr=2", "line 2: the { of line 1 is not closed"),
        ("- lr=1\n- 'hidden=2\n", "the quote of line 2 is not closed"),
        ("common: [lr=1]\n\tunion: [seed=1]", "line 2: indent with spaces instead of tabs"),
        ("- lr: 0.1 hidden: 2", "line 1: type one key: value on a line"),
        ("common: [lr=1]\nunion:[seed=1]", "type key: value, with a space after the colon"),
        ("- lr=1\nunion: 2", "indent the lines of a list, or of the same keys, alike"),
        ("- @lr", "line 1: type quotes around the value"),
        ("common: [lr=1, seed=range(0,3)]", "type quotes around a setting that contains commas"),
        ("comon: [lr=1]\nunion: [seed=1]", "did you mean common?"),
        ("common: [lr=1]\nunion: []", "sweep.union must be a list of sub-sweeps, got []"),
        ("lr: 1\nsweep: own", "which only a new sweep takes: bpexp -m sweep=NAME"),
    ],
)
def test_a_mistake_in_a_file_is_answered_by_what_to_change(text, message, conf, refused):
    (conf / "sweep" / "own.yaml").write_text(text)
    said = refused("-m", "sweep=own")
    assert message in said
    assert "own" in said or said.startswith("bpexp: sweep")
    with pytest.raises(ConfigError, match=re.escape(message)):
        bpexp.sweep("sweep=own")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_that_is_not_in_utf8_is_named(encoding, conf, refused):
    (conf / "sweep" / "own.yaml").write_bytes("lr: [1, 2]  # Rä\n".encode(encoding))
    assert f"The YAML file {conf}/sweep/own.yaml must be in UTF-8" in refused("-m", "sweep=own")


def test_a_file_with_a_number_is_refused(conf, refused):
    (conf / "sweep" / "own.yaml").write_text("5\n")
    assert "lines such as lr: 0.1, got one value" in refused("-m", "sweep=own")


@pytest.mark.parametrize("typed", ["mine", "mine.yml", "mine.yaml"])
def test_a_file_with_another_ending_is_to_be_renamed(typed, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    for group in ("sweep", "data", "study"):
        (tmp_path / "conf" / group).mkdir(parents=True)
        (tmp_path / "conf" / group / "mine.yml").write_text("lr: [0.1, 1]")
        plus = "+" if group == "study" else ""
        said = refused("-m", f"{plus}{group}={typed}")
        assert f"conf/{group}/mine.yml to mine.yaml." in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "sweep=nothing"],
         "sweep must be one of broken, empty, optimizers, word, got 'nothing'"),
        (["-m", "sweep=optimizers,word"], "sweep must be one name, got optimizers,word"),
        (["-m", "sweep=empty"], "sweep must have sub-sweeps, such as - lr=0.1,1, got an empty"),
        (["-m", "sweep=word"], "sweep=word must have settings such as lr=0.1,1, got 'hello'"),
        (["-m", "sweep=broken"], "must have the keys common and union, got 'unions'; did you mean"),
        (["-m", "sweep=conf/sweep/optimizers.yaml"], "type sweep=optimizers."),
        (["-m", "sweep=optimizers", "search=random", "lr=interval(1,2)"], "no file of sub-sweeps"),
        (["sweep=optimizers"], "to sweep over them add -m"),
        (["tracking.tags.mlflow.user=me"], "must have no key that starts with mlflow. or bpexp."),
        (["tracking.name="], "tracking.name has no value"),
        (["tracking.name=latest"], "must not be latest, which stands for"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(conf, refused, arguments, message):
    assert message in refused(*arguments)


def test_without_a_file_of_sub_sweeps_the_user_is_told_where_it_is_searched(inside, tmp_path):
    assert "needs the file conf/sweep/mine.yaml" in inside("-m", "sweep=mine").stderr
    (tmp_path / "other").mkdir()
    said = inside("--config-dir", "other", "-m", "sweep=mine").stderr
    assert f"needs the file {tmp_path}/other/sweep/mine.yaml" in said


def test_names_and_tags_are_in_the_store(inside, a_store, tmp_path):
    inside("-m", "lr=0.1,1", "epochs=2", "tracking.name=rates", "tracking.tags.team.name=vision")
    inside("epochs=2", "tracking.name=one", "tracking.tags.final=true")
    inside("-m", "seed=1,2", "epochs=2", "optimizer=adam")
    texts = {"version": "1.50", "list": "a,b", "town": "Köln", "quoted": '"1"', "none": "null"}
    inside("-m", "seed=3,4", "epochs=2", "tracking.name=1.0,x", "tracking.experiment=7",
           *(f"tracking.tags.{key}={value}" for key, value in texts.items()))  # fmt: skip
    named = list(open_archive(locate(None, tmp_path, {}), "7").search())
    assert [run.tags["mlflow.runName"] for run in named if run.is_sweep] == ["1.0,x"]
    expected = {**texts, "quoted": "1"}
    assert all(expected.items() <= run.tags.items() for run in named)
    archive = open_archive(locate(None, tmp_path, {}), "bpexp")
    runs = archive.search()
    tagged = [run for run in runs if run.tags.get("team.name") == "vision"]
    assert len(tagged) == 3
    assert [run.tags["mlflow.runName"] for run in tagged if run.is_sweep] == ["rates"]
    (single,) = [run for run in runs if run.tags.get("final") == "true"]
    assert single.tags["mlflow.runName"] == "one"
    names = {run.tags["mlflow.runName"] for run in runs if run.is_sweep}
    assert "sweep seed, xor, adam, 2 runs" in names
    assert "rates" in inside("show", "rates").stdout
    (parent,) = [run for run in runs if run.is_sweep and run in tagged]
    params = archive.client.get_run(parent.run_id).data.params
    assert params["epochs"] == "2"
    assert params["sweep.lr"] == "0.1, 1"
    assert "lr" not in params


def test_tags_of_python_are_plain_values_again():
    composed = compose_settings({"tracking__tags": {"a": 1, "b": {"c": True}}})
    runtime = {k: composed[k] for k in composed if k in ("backend", "tracking", "n_jobs", "engine")}
    parsed = parse_runtime(runtime)
    assert plain(parsed)["tracking"]["tags"] == {"a": "1", "b.c": "true"}
    assert hash(parsed) == hash(parse_runtime(plain(parsed)))


def test_tags_that_mlflow_cannot_store_are_refused():
    assert TagValues()("tracking.tags", {"a b/c-d.e": "x"}) == Tags({"a b/c-d.e": "x"})
    for value in ({"a": "x" * 5001}, {"a": None}, {"a:b": 1}, {"": 1}, {"bpexp.kind": "sweep"}, 3):
        with pytest.raises(ConfigError):
            TagValues()("tracking.tags", value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"name: parity\n{LAUGHS}", "have at most 20000 values, each alias counted as what it st"),
        ("name: parity\na: &a {b: *a}\n", "not contain itself, as 'a' does."),
        ("name: parity\na: " + "[" * 1000 + "]" * 1000, "be nested at most 50 deep."),
        ("name: parity\na: '" + "x" * 10_000_001 + "'", "have at most 10 MB."),
    ],
    ids=["aliases", "cycle", "deep", "large"],
)
def test_a_file_that_would_fill_the_memory_is_refused(text, reason, inside, tmp_path):
    folder = tmp_path / "mine"
    (folder / "data").mkdir(parents=True)
    (folder / "data/large.yaml").write_text(text)
    for arguments in (["data=large"], ["--help"]):
        done = inside("--config-dir", str(folder), *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith(f"bpexp: {folder}/data/large.yaml must {reason}")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_file_without_an_end_is_refused(make, inside, tmp_path):
    folder = tmp_path / "mine"
    (folder / "data").mkdir(parents=True)
    make(folder / "data" / "endless.yaml")
    done = inside("--config-dir", str(folder), "data=endless")
    assert done.returncode == 1
    assert done.stderr == (
        f"bpexp: {folder}/data/endless.yaml cannot be read: it is not a regular file.\n"
    )


def test_a_stored_configuration_that_would_fill_the_memory_is_refused():
    with pytest.raises(ConfigError, match=r"config.yaml must have at most 1000000 values"):
        artifact_files.mapping(LAUGHS, "config.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("common: [lr=1,2]", 'got ["lr=1", 2]; type "lr=1,2"'),
        ("common: {lr: 0.1,0.2}", "type lr: [0.1,0.2]"),
        ("- {seed: 1, optimizer: adam,momentum}", "type optimizer: [adam,momentum]"),
        ("- +study=fahlman_1988", "takes no study, got +study=fahlman_1988; start it with -m"),
    ],
)
def test_what_yaml_takes_apart_is_explained(content, message):
    with pytest.raises(ConfigError) as error:
        sweep_files.arguments(yaml.safe_load(content))
    assert message in str(error.value).replace("'", '"')
    assert sweep_files.arguments([{"lr": 0.1, "batch_size": None}]) == [
        ["lr=0.1", "batch_size=null"]
    ]


def test_the_command_line_replaces_a_part_of_a_zip_and_of_a_sub_sweep(conf, inside):
    """What is left is ``hidden=2,4``, and two sub-sweeps that differ in their epochs."""
    (conf / "sweep" / "zipped.yaml").write_text(
        '- {zip: {lr: [1, 2, 3], hidden: [2, 4, 4]}, epochs: 3}\n- "lr=1 | lr=2 epochs=4"\n'
    )
    shown = inside("-m", "--cfg", "job", "sweep=zipped", "lr=0.5").stdout
    jobs = [yaml.safe_load(text) for text in shown.split("---\n")[1:]]
    found = [(job["lr"], job["hidden"], job["epochs"]) for job in jobs]
    assert found == [(0.5, [2], 3), (0.5, [4], 3), (0.5, [2], 10000), (0.5, [2], 4)]
