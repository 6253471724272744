"""Damaged and malicious stores are reported in one sentence, and no code in them is executed."""

import io
import os
import shutil
import sqlite3
import zipfile
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from hypothesis.extra.numpy import arrays as arrays_of

import bpexp
from bpexp.fields.checks import ConfigError
from bpexp.nn.network import Network
from bpexp.tracking import artifact_files, stored_results, stored_zip
from bpexp.tracking.archive import Archive
from bpexp.tracking.reading import StoredRun
from bpexp.tracking.store import Store


@pytest.fixture
def sweep(a_store, tmp_path, monkeypatch):
    """The id of a sweep of two runs, tracked in the working directory."""
    monkeypatch.chdir(tmp_path)
    bpexp.sweep(seed=range(2), epochs=4, engine="numpy")
    with closing(sqlite3.connect("outputs/mlflow.db")) as db:
        return db.execute("select run_uuid from tags where value = 'sweep'").fetchone()[0]


def change(statement, *values):
    with closing(sqlite3.connect("outputs/mlflow.db")) as db:
        db.execute(statement, values)
        db.commit()


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.mkdir [pwned]", "!!timestamp x", "!!int ''", "!!bool x",
             "\t-", "[1]", ""]
)  # fmt: skip
def test_yaml_must_be_a_mapping_of_plain_values(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError,
        match=r"^config\.yaml (must be a mapping|is not valid YAML|must not contain itself)",
    ):
        artifact_files.mapping(text.encode(), "config.yaml")
    assert os.listdir(tmp_path) == []


def test_yaml_must_not_contain_itself():
    with pytest.raises(ConfigError, match=r"^config\.yaml must not contain itself, as 'a' does"):
        artifact_files.mapping(b"&a [*a]", "config.yaml")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04", "is truncated"),
        (b"\x80\x04N.", "must contain arrays of numbers"),
    ],
)
def test_a_file_without_arrays_is_rejected(content, reason):
    with pytest.raises(ConfigError, match=rf"^weights\.npz {reason}"):
        artifact_files.arrays(content, "weights.npz")


@given(
    arrays=st.dictionaries(
        st.text("abW1é", min_size=1, max_size=4),
        array_shapes(max_dims=2, max_side=4).flatmap(
            lambda shape: st.builds(np.full, st.just(shape), st.floats())
        ),
        max_size=3,
    ),
    compressed=st.booleans(),
    data=st.data(),
)
def test_an_npz_file_is_read_as_the_zipfile_module_reads_it(arrays, compressed, data):
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, **arrays)
    content = out.getvalue()
    found = artifact_files.arrays(content, "x.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    position = data.draw(st.integers(0, len(content) - 1))
    changed = bytes([content[position] ^ (1 << data.draw(st.integers(0, 7)))])
    for damaged in (content[:position], content[:position] + changed + content[position + 1 :]):
        members = stored_zip.members(damaged)
        if members is not None:
            with zipfile.ZipFile(io.BytesIO(damaged)) as file:
                assert members == {name: file.read(name) for name in file.namelist()}


@given(
    arrays=st.dictionaries(
        st.text("abW1", min_size=1, max_size=4),
        st.one_of(
            arrays_of(dtype, array_shapes(min_side=0, max_dims=3, max_side=5))
            for dtype in ("f8", "i8")
        ),
        max_size=4,
    ),
    view=st.sampled_from(["C", "F", "every second"]),
)
def test_an_npz_file_is_written_as_numpy_writes_it(arrays, view):
    if view == "every second":
        arrays = {name: array[..., ::2] for name, array in arrays.items()}
    else:
        arrays = {name: np.asarray(array, order=view) for name, array in arrays.items()}
    out = io.BytesIO()
    np.savez(out, **arrays)
    assert artifact_files.npz(arrays) == out.getvalue()


def test_weights_of_another_network_are_not_exported():
    out = io.BytesIO()
    np.savez(out, W1=np.zeros((3, 2)), b1=np.zeros((1, 2)))
    network = Network((2, 2, 1), ("sigmoid", "sigmoid"))
    stored = artifact_files.arrays(out.getvalue(), "weights.npz")
    with pytest.raises(ConfigError, match="does not have the layers of the run's network: W1, b1"):
        stored_results.layers_of(network, stored)


def test_nothing_is_written_outside_the_store(sweep, inside, tmp_path):
    outside = tmp_path / "elsewhere"
    change("update runs set artifact_uri = ?", outside.as_uri())
    done = inside("report", sweep)
    assert done.returncode == 0, done.stderr
    assert "Not logged to the sweep: " in done.stdout
    assert "where nothing is written" in done.stdout
    refused = inside("export", sweep)
    assert refused.returncode == 2
    assert "outside the folder of the store" in refused.stderr
    assert not outside.exists()


@pytest.mark.usefixtures("a_store")
@pytest.mark.parametrize("name", ["..", "../../x"])
def test_the_name_of_an_experiment_is_not_used_as_a_path(name, tmp_path, inside):
    (tmp_path / "in").mkdir()
    assert inside("-m", "seed=1,2", "epochs=5", f"tracking.experiment='{name}'").returncode == 0
    done = inside("report", "--experiment", name, "--format", "csv")
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path)) == ["in", "outputs"]
    assert len(list((tmp_path / "outputs" / "reports").glob("*/report.csv"))) == 1
    assert {"mlflow.db", "artifacts", "reports"} <= set(os.listdir(tmp_path / "outputs"))
    assert not (tmp_path / "outputs" / "report.csv").exists()


@pytest.mark.parametrize(
    ("file", "verb"),
    [("results.parquet", "report"), ("losses.npz", "report"), ("predictions.csv", "export"),
     ("config.yaml", "export")],
)  # fmt: skip
def test_the_message_names_a_damaged_file(file, verb, sweep, inside, tmp_path):
    for path in (tmp_path / "outputs" / "artifacts").glob(f"*/artifacts/{file}"):
        path.write_bytes(b"broken")
    done = inside(verb, sweep)
    assert done.returncode == 2
    assert file in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    shutil.rmtree(tmp_path / "outputs")


def test_a_metric_that_is_text_is_left_out(sweep, inside):
    change("update latest_metrics set value = 'x' where key = 'final_loss'")
    for verb in (("runs",), ("show", "seed=0"), ("compare", "seed=0", "seed=1")):
        done = inside(*verb)
        assert done.returncode == 0, done.stderr
        assert "final_loss" not in done.stdout


def folder(path):
    path.mkdir()


def endless_device(path):
    path.symlink_to("/dev/zero")


def large_file(path):
    path.touch()
    os.truncate(path, 2**42)


def link_to_nothing(path):
    path.symlink_to("nothing")


def link_to_itself(path):
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (folder, "cannot be read: it is a folder."),
        (os.mkfifo, "cannot be read: it is not a regular file."),
        (endless_device, "cannot be read: it is not a regular file."),
        (large_file, "which is too much."),
        (link_to_itself, "cannot be read: "),
        (link_to_nothing, "has no artifact losses.npz."),
    ],
    ids=lambda value: getattr(value, "__name__", "reason"),
)
def test_an_artifact_that_is_not_a_readable_file_is_refused(tmp_path, put, reason):
    """And neither waited for, as a named pipe, nor read until the memory is full."""
    artifacts = tmp_path / ("a" * 32) / "artifacts"
    artifacts.mkdir(parents=True)
    run = StoredRun("a" * 32, "run", "FINISHED", artifact_uri=artifacts.as_uri())
    archive = Archive(None, Store("sqlite:///runs.db", tmp_path), "1")
    put(artifacts / "losses.npz")
    with pytest.raises(ConfigError) as refused:
        archive.file(run, "losses.npz")
    assert reason in str(refused.value)
    assert list(archive.files(run)) == ["losses.npz"]
    shutil.rmtree(artifacts)
    artifacts.write_text("not a folder")
    with pytest.raises(ConfigError, match="has no artifact"):
        archive.file(run, "losses.npz")
