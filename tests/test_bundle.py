"""A sweep is handed over in a zip file, which is checked before anything in it is trusted."""

import hashlib
import io
import json
import os
import pickle
import shutil
import stat
import zipfile
from contextlib import chdir, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bpexp
from bpexp.cli import commands
from bpexp.export.zip_writer import ZipWriter, packed
from bpexp.fields.checks import ConfigError
from bpexp.runs import run_tags
from bpexp.tracking.archive import open_archive
from bpexp.tracking.bundle import open_bundle
from bpexp.tracking.reading import EVERYTHING, FINISHED, NO_PARTS, Parts, Query
from bpexp.tracking.store import locate

TABLE = "a,b,y\n0,0,0\n0,1,1\n1,0,1\n1,1,0\n1,1,0\n0,1,1\n"


def call(*arguments):
    """Call a command; returns the exit status, 0 for success."""
    try:
        commands.main(list(arguments))
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.fixture(scope="module")
def made(tmp_path_factory, put_store):
    """A folder with a store, its data file, and bundles of its sweep."""
    folder = tmp_path_factory.mktemp("made")
    put_store(folder)
    with chdir(folder):
        Path("t.csv").write_text(TABLE)
        bpexp.sweep(
            data="file", data__path="t.csv", data__target="y", data__validation_fraction=0.3,
            lr=[0.1, 1.0], seed=range(2), epochs=6,
        )  # fmt: skip
        assert call("bundle", "latest", "-o", "sweep.zip") == 0
        printed = io.StringIO()
        with redirect_stdout(printed):
            assert call("bundle", "latest", "-o", "small.zip", "--without-data") == 0
        assert printed.getvalue().splitlines() == [
            "Written: small.zip (4 runs, without t.csv)",
            "Check: bpexp verify small.zip --data t.csv",
            "Train again: bpexp reproduce small.zip --data t.csv",
        ]
        assert sorted(os.listdir()) == ["outputs", "small.zip", "sweep.zip", "t.csv"]
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A folder with the bundles alone; what they were made of is somewhere else."""
    for name in ("sweep.zip", "small.zip"):
        shutil.copy(made / name, tmp_path)
    hidden = made.with_name("hidden")
    made.rename(hidden)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    hidden.rename(made)


@pytest.fixture
def run(capsys):
    """Calls a command; returns its exit status, stdout and stderr."""

    def called(*arguments):
        status = call(*arguments)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return called


def rewrite(file, change, *, is_listed=True):
    """Change the members of a bundle, given by name, and list them in its manifest."""
    with zipfile.ZipFile(file) as old:
        members = {name: old.read(name) for name in old.namelist()}
    manifest = json.loads(members.pop("bundle.json"))
    change(members, manifest)
    if is_listed:
        manifest["files"] = {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in members.items()
        }
    with zipfile.ZipFile(file, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
        new.writestr("bundle.json", json.dumps(manifest))


def first(members, suffix):
    return next(name for name in members if name.endswith(suffix))


@pytest.mark.parametrize(
    ("command", "printed"),
    [("verify", "4 of 4 runs match their digests.\n"),
     ("reproduce", "4 of 4 runs identical to the bit.\n")],
)  # fmt: skip
def test_a_bundle_is_checked_without_a_store(here, run, command, printed):
    assert run(command, "sweep.zip") == (0, printed, "")
    assert sorted(os.listdir(here)) == ["small.zip", "sweep.zip"]


@pytest.mark.parametrize("command", ["verify", "reproduce"])
def test_missing_data_are_one_sentence_and_can_be_given(here, run, command):
    missing = "bpexp: small.zip was made without the data file t.csv; add --data FILE.\n"
    assert run(command, "small.zip") == (2, "", missing)
    # The same values in another file are the same data.
    Path("other.csv").write_text(TABLE.replace("0,0,0", "0.0,0.0,0"))
    status, out, _ = run(command, "small.zip", "--data", "other.csv")
    assert (status, out.startswith("4 of 4 runs ")) == (0, True)
    Path("wrong.csv").write_text(TABLE.replace("1,0,1", "1,2,1"))
    status, out, err = run(command, "small.zip", "--data", "wrong.csv")
    assert (status, err, out.count("have changed since the run was trained")) == (2, "", 1)
    assert out.splitlines()[-1].endswith("4 unreadable.")
    status, _, err = run(command, "small.zip", "--data", "absent.csv")
    assert (status, err) == (2, "bpexp: --data must be an existing file, got 'absent.csv'.\n")


def test_missing_data_of_a_store_are_one_sentence(made, run, tmp_path, monkeypatch):
    shutil.copytree(made / "outputs", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    for command in ("verify", "reproduce"):
        status, out, _ = run(command, "--all")
        assert status == 2
        sentence, count = out.splitlines()
        assert "data.path must be an existing file, got 't.csv'." in sentence
        assert count.endswith("4 unreadable.")


def test_a_bundle_answers_as_its_store(made):
    archive = open_archive(locate(None, made, {}), "bpexp")
    (sweep,) = [run for run in archive.search() if run.is_sweep]
    with open_bundle(made / "sweep.zip") as bundle:
        assert (bundle.run.run_id, bundle.experiment_id) == (sweep.run_id, sweep.experiment_id)
        assert bundle.reader.experiments().items() <= archive.reader.experiments().items()
        some = Parts(params=["seed", "x"], tags=[run_tags.RESULT], metrics=["loss"], data=False)
        children = archive.search(FINISHED, NO_PARTS)
        for query in (
            Query(), FINISHED, replace(FINISHED, sweep=sweep.run_id), Query(sweep="0" * 32),
            Query(statuses=["FAILED"]), Query(tags={run_tags.OUTCOME: "completed"}),
        ):  # fmt: skip
            for parts in (EVERYTHING, NO_PARTS, some):
                stored = [replace(r, artifact_uri="") for r in archive.search(query, parts)]
                assert bundle.search(query, parts) == stored
            wanted = archive.reader.count(archive.experiment_id, query)
            assert bundle.reader.count(archive.experiment_id, query) == wanted
        ids = [run.run_id for run in children]
        for metric in ("loss", "validation_loss"):
            found = bundle.reader.history(ids, metric)
            assert found == archive.reader.history(ids, metric)
        for run in archive.search():
            names = [name for name in archive.files(run) if name.rpartition(".")[2] != "html"]
            assert {*bundle.files(run)} == {*names}
            for name in names:
                assert bundle.file(run, name) == archive.file(run, name)
        (match,) = bundle.reader.matching(ids[0], archive.experiment_id)
        assert match.run_id == ids[0]
        with pytest.raises(ConfigError, match="filtered in a store of MLflow only"):
            bundle.search(Query("metrics.loss < 1"))


def test_an_altered_weight_is_found_with_and_without_its_digest(here, run):
    def alter(members, manifest):
        name = first(members, "weights.npz")
        with np.load(io.BytesIO(members[name])) as arrays:
            layers = dict(arrays)
        layers["W1"][0, 0] = np.nextafter(layers["W1"][0, 0], 9)
        content = io.BytesIO()
        np.savez(content, **layers)
        members[name] = content.getvalue()

    rewrite("sweep.zip", alter, is_listed=False)
    status, out, _ = run("verify", "sweep.zip")
    assert (status, "weights.npz in sweep.zip was altered" in out) == (1, True)
    rewrite("sweep.zip", lambda members, manifest: None)
    status, out, _ = run("verify", "sweep.zip")
    assert status == 1
    assert "The losses, predictions or weights were altered" in out
    status, out, _ = run("reproduce", "sweep.zip")
    assert (status, "weights.npz was altered: W1[0, 0]" in out) == (1, True)


HOSTILE = {
    "runs/x/artifacts/../../../evil": b"", "../evil": b"", "/tmp/evil": b"", "C:\\evil": b"",
    "runs/x/artifacts/served.py": b"import os", "runs/x/artifacts/model.pkl": b"",
    "data/0/..": b"", "data/0/../../evil": b"", "runs/../artifacts/x.csv": b"", "folder/": b"",
    "conf/x.yaml": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_member_that_bpexp_does_not_write_is_refused(here, run, name):
    rewrite("sweep.zip", lambda members, manifest: members.update({name: HOSTILE[name]}))
    before = sorted(os.listdir(here))
    for command in ("verify", "reproduce"):
        status, out, err = run(command, "sweep.zip")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("bpexp: sweep.zip is not a bundle that bpexp wrote: it contains ")
    assert sorted(os.listdir(here)) == before


class Made:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("made",)


def test_pickles_are_not_loaded(here, run):
    def alter(members, manifest):
        content = io.BytesIO()
        np.savez(content, loss=np.array([Made()], object))
        members[first(members, "losses.npz")] = content.getvalue()
        members[first(members, "weights.npz")] = pickle.dumps(Made())

    rewrite("sweep.zip", alter)
    for command in ("verify", "reproduce"):
        assert run(command, "sweep.zip")[0] == 1
    assert not Path("made").exists()


def set_run(name, value):
    def change(members, manifest):
        member = first(members, "run.json")
        values = json.loads(members[member])
        values["run"][name] = value
        members[member] = json.dumps(values).encode()

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda members, manifest: manifest.update(format=2), "must have format 1 of bundles"),
        (lambda members, manifest: manifest.update(run="x"), "does not say which sweep"),
        (lambda members, manifest: manifest.update(data=3), "does not list its data files"),
        (lambda members, manifest: manifest["data"].append({"path": 1, "member": "bundle.json",
                                                            "sha256": None}),
         "does not list its data files"),
        (set_run("run_id", "y"), "is not a run"),
        (set_run("tags", {"a": 1}), "is not a run"),
        (set_run("metrics", []), "is not a run"),
        (set_run("started", None), "is not a run"),
    ],
)  # fmt: skip
def test_a_malformed_bundle_is_refused_in_one_sentence(here, run, change, reason):
    rewrite("sweep.zip", change)
    status, out, err = run("verify", "sweep.zip")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert reason in err


def test_links_second_copies_and_other_sizes_are_refused(here, run):
    def changed(action):
        shutil.copy("sweep.zip", "bad.zip")
        with zipfile.ZipFile("bad.zip", "a") as file:
            action(file)
        status, _, err = run("verify", "bad.zip")
        assert (status, err.count("\n")) == (2, 1)
        return err

    def link(file):
        member = zipfile.ZipInfo("data/9/t.csv")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(member, "/etc/passwd")

    assert "data/9/t.csv is not a plain file" in changed(link)
    assert "is not listed" in changed(lambda file: file.writestr("data/9/t.csv", "a"))
    with pytest.warns(UserWarning, match="Duplicate name"):
        again = changed(lambda file: file.writestr(first(file.namelist(), "run.json"), "{}"))
    assert "two files of the same name" in again
    rewrite("sweep.zip", lambda members, manifest: members.popitem(), is_listed=False)
    assert "is missing" in run("verify", "sweep.zip")[2]


@pytest.fixture(scope="module")
def content(made):
    return (made / "sweep.zip").read_bytes()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_bundle_never_raises_another_error(content, tmp_path, data):
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        damaged = content[:position]
    else:
        bit = 1 << data.draw(st.integers(0, 7))
        damaged = content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :]
    (tmp_path / "x.zip").write_bytes(damaged)
    assert call("verify", str(tmp_path / "x.zip")) in (0, 1, 2)


def test_only_intact_runs_with_their_data_are_bundled(made, run, tmp_path, monkeypatch):
    shutil.copytree(made / "outputs", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    status, _, err = run("bundle", "latest", "-o", "a.zip")
    assert (status, "data.path must be an existing file" in err) == (2, True)
    Path("t.csv").write_text(TABLE.replace("1,0,1", "1,2,1"))
    status, _, err = run("bundle", "latest", "-o", "a.zip")
    assert (status, "have changed since the run was trained" in err) == (2, True)
    Path("t.csv").write_text(TABLE)
    for wrong, reason in (("a.tar", "-o must end in .zip"), ("no/a.zip", "-o must be a file")):
        status, _, err = run("bundle", "latest", "-o", wrong)
        assert (status, reason in err) == (2, True)
    next(Path("outputs/artifacts").glob("*/artifacts/weights.npz")).write_bytes(b"PK")
    status, _, err = run("bundle", "latest", "-o", "a.zip")
    assert (status, "is altered: weights.npz of run" in err) == (2, True)
    assert sorted(os.listdir()) == ["outputs", "t.csv"]


def test_a_bundle_may_have_more_files_than_zip_had_at_first():
    file, names = io.BytesIO(), [f"runs/{number}" for number in range(70_000)]
    large = b"bpexp" * 10_000
    with zipfile.ZipFile(file, "w") as zip_file:
        writer = ZipWriter(zip_file)
        for start in range(0, len(names), 10_000):
            writer.append(packed({name: name.encode() for name in names[start : start + 10_000]}))
        writer.append(packed({"large": large}))
    with zipfile.ZipFile(file) as zip_file:
        assert zip_file.namelist() == [*names, "large"]
        assert [zip_file.read(name) for name in names[::1000]] == [
            n.encode() for n in names[::1000]
        ]
        assert zip_file.read("large") == large
        assert zip_file.getinfo("large").compress_size < 1000
    assert writer.listed["large"]["sha256"] == hashlib.sha256(large).hexdigest()


@pytest.mark.usefixtures("a_store")
def test_a_bundle_says_which_runs_it_lacks(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bpexp.sweep(seed=range(3), epochs=3)
    archive = open_archive(locate(None, tmp_path, {}), "bpexp")
    lost = archive.search(FINISHED)[0]
    archive.client.delete_run(lost.run_id)
    said = f"1 run of results.csv is deleted, or moved to another sweep: {lost.label}."
    status, out, _ = run("bundle", "latest", "-o", "s.zip")
    assert (status, out.splitlines()[:2]) == (0, ["Written: s.zip (2 runs)", said])
    for wanted in ("latest", "s.zip"):
        status, out, _ = run("verify", wanted)
        assert (status, said in out) == (1, True)
    (table,) = Path("outputs/artifacts").glob("*/artifacts/results.csv")
    table.write_bytes(table.read_bytes() + b"1")
    status, _, err = run("bundle", "latest", "-o", "t.zip")
    assert (status, "is altered: results.csv was altered" in err) == (2, True)
    assert not Path("t.zip").exists()


@pytest.mark.usefixtures("a_store")
def test_a_search_is_proposed_again_from_its_bundle(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(TABLE)
    bpexp.sweep(
        "lr=interval(0.1,1)", "search=random", "search.trials=3", "data=file", "data.path=t.csv",
        "data.target=y", epochs=3,
    )  # fmt: skip
    assert run("bundle", "latest", "-o", "s.zip")[0] == 0
    Path("t.csv").unlink()
    shutil.rmtree("outputs")
    status, out, _ = run("reproduce", "s.zip")
    assert (status, out.splitlines()) == (
        0, ["3 of 3 runs identical to the bit.", "3 of 3 trials proposed again."]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["verify", "absent.zip"], "RUN must be a run or an existing bundle, got 'absent.zip'."),
        (["reproduce", "a.zip", "--all"], "reproduce must be given one bundle without runs"),
        (["verify", "a.zip", "latest"], "verify must be given one bundle without runs"),
        (["verify", "latest", "--data", "t.csv"], "--data must go with a bundle"),
        (["verify", "text.zip"], "text.zip is damaged, or not a zip file"),
    ],
)
def test_wrong_arguments_are_one_sentence(run, tmp_path, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    Path("text.zip").write_text("text")
    status, out, err = run(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert reason in err
