"""The files beside an SQLite store: its lock, and names with special characters."""

import contextlib
import fcntl
import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import make_url

import bpexp
from bpexp.fields.checks import ConfigError
from bpexp.tracking import durable, output_directory, store_lock
from bpexp.tracking.factory import open_tracker
from bpexp.tracking.store import locate, sqlite_file, sqlite_uri

NAMES = ["a?b", "50%", "%41", "it's", 'say "x"', "a#b", "ä ö", "a&b=c", "a;b", "..."]


@pytest.mark.parametrize("name", NAMES)
def test_the_address_of_a_folder_with_special_characters_names_its_file(name, tmp_path):
    found = locate(None, tmp_path / name, {})
    assert found.database == tmp_path / name / "outputs" / "mlflow.db"
    assert make_url(found.uri).database == str(found.database)
    assert locate(found.uri, Path("/elsewhere"), {}).uri == found.uri
    assert sqlite_file(sqlite_uri(found.database)) == found.database


@pytest.mark.parametrize("number", range(20))
def test_a_file_can_be_written_twice_at_the_same_time(tmp_path, number):
    together = threading.Barrier(2)

    def write(content):
        together.wait(30)
        output_directory.create(tmp_path / "outputs")
        durable.write_file(tmp_path / "outputs" / "results.csv", content)

    contents = [b"a" * 100_000, b"b" * 100_000]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, contents))
    outputs = tmp_path / "outputs"
    assert sorted(os.listdir(outputs)) == [".gitignore", "results.csv"]
    assert (outputs / ".gitignore").read_bytes() == b"*\n"
    assert (outputs / "results.csv").read_bytes() in contents


@pytest.mark.parametrize("name", ["a?b %41 'x'", pytest.param('50% "ä#', marks=pytest.mark.long)])
def test_a_sweep_in_a_folder_with_special_characters_can_be_read(
    name, tmp_path, monkeypatch, put_store
):
    folder = tmp_path / name
    folder.mkdir()
    put_store(folder)
    monkeypatch.chdir(folder)
    assert len(bpexp.sweep(seed=[1, 2], epochs=3)) == 2
    assert len(bpexp.load_runs()) == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == [name]
    assert len(bpexp.report().table) == 1


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("sqlite:///runs.db", "runs.db"),
        ("sqlite+pysqlite:///runs.db", "runs.db"),
        ("sqlite:///runs.db?timeout=1", "runs.db"),
        ("sqlite:///a%20b.db", "a b.db"),
        ("sqlite:////data/runs.db", "/data/runs.db"),
        ("sqlite:///../runs.lock", "../runs.lock"),
    ],
)
def test_addresses_of_sqlite_are_read_as_sqlalchemy_does(address, file, tmp_path):
    found = locate(address, tmp_path, {})
    assert found.database == (tmp_path / file).resolve()
    assert found.artifacts == found.database.parent / "artifacts"
    assert make_url(found.uri).query == make_url(address).query


@pytest.mark.parametrize(
    "address", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+aiosqlite:///a.db"]
)
def test_an_address_without_a_file_is_refused(address, tmp_path):
    with pytest.raises(ConfigError, match=r"tracking.uri must name a file"):
        locate(address, tmp_path, {})


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("sqlite:///a.db?mode=ro", "no option but"),
        ("sqlite:///a.db?mode=memory&uri=true", "no option but"),
        ("sqlite:///file:a.db?uri=true&timeout=1", "no option but"),
        ("sqlite:///a.db?timeout=soon", "no option but"),
        ("sqlite:///loop.db", "must name a file"),
        ("sqlite:///a%00b.db", "must name a file"),
    ],
)
def test_an_address_that_names_another_file_than_sqlite_opens_is_refused(address, words, tmp_path):
    (tmp_path / "loop.db").symlink_to("loop.db")
    with pytest.raises(ConfigError, match=f"tracking.uri .*{words}"):
        locate(address, tmp_path, {})
    assert [file.name for file in tmp_path.iterdir()] == ["loop.db"]


def test_a_tilde_in_an_address_means_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = locate("sqlite:///~/runs.db?timeout=9", tmp_path, {})
    assert found.database == tmp_path / "home" / "runs.db"
    assert found.uri == f"sqlite:///{tmp_path}/home/runs.db?timeout=9"


@pytest.mark.parametrize(
    ("create", "words"),
    [
        (lambda file: file.write_text("a,b\n1,2\n"), "is not an SQLite database"),
        (Path.mkdir, "is not a regular file"),
        (os.mkfifo, "is not a regular file"),
    ],
)
def test_a_start_on_another_file_than_a_database_leaves_nothing(create, words, tmp_path):
    create(tmp_path / "runs.csv")
    with pytest.raises(ConfigError, match=rf"Cannot open the store .*runs.csv': it {words}\.$"):
        open_tracker(locate("sqlite:///runs.csv", tmp_path, {}), "bpexp")
    assert [file.name for file in tmp_path.iterdir()] == ["runs.csv"]


@pytest.mark.parametrize("name", ["runs.lock", "poetry.db", "runs.db.new"])
def test_the_lock_changes_no_file(name, tmp_path):
    """Neither a database whose name ends in .lock, nor a lock of another program beside it."""
    others = {"poetry.lock": "theirs", "runs.db.new": "theirs", ".runs.db.new": "theirs"}
    for other, content in others.items():
        (tmp_path / other).write_text(content)
    database = tmp_path / name
    if name not in others:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE t (x)")
    before = database.read_bytes()
    with store_lock.exclusive(database):
        assert (tmp_path / f"{name}.lock").exists()
    assert database.read_bytes() == before
    assert {other: (tmp_path / other).read_text() for other in others} == others


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "theirs").write_text("content")
    (tmp_path / "runs.db.lock").symlink_to("theirs")
    with (
        pytest.raises(OSError, match="symbolic links"),
        store_lock.exclusive(tmp_path / "runs.db"),
    ):
        pass
    assert (tmp_path / "theirs").read_text() == "content"


def test_a_lock_that_another_process_holds_is_waited_for_in_limits(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BPEXP_RETRY_SECONDS", "0.2")
    monkeypatch.setattr(store_lock, "NOTICE_SECONDS", 0.0)
    database = tmp_path / "runs.db"
    held = os.open(tmp_path / "runs.db.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with (
            pytest.raises(ConfigError, match=r"Another process holds the lock .*runs.db.lock"),
            store_lock.exclusive(database),
        ):
            pass
    finally:
        os.close(held)
    assert capsys.readouterr().err.startswith("Waiting for another process that holds ")
    with store_lock.exclusive(database):
        pass


@pytest.mark.parametrize("run_id", ["../../x", "..", "/etc", "a/b", "."])
def test_an_id_of_a_foreign_store_names_one_folder(run_id):
    name = output_directory.file_name(run_id[:8])
    assert Path("reports", name).resolve().parent == Path("reports").resolve()


def test_sweeps_that_start_in_the_same_second_have_a_folder_each(a_store, inside, tmp_path):
    for seeds in ("1,2", "3,4", "5,6"):
        assert inside("-m", f"seed={seeds}", "epochs=1").returncode == 0
    assert len(list(tmp_path.glob("outputs/sweeps/*/results.csv"))) == 3
