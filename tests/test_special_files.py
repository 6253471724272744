"""Data files that have no end, no text or no bytes on disk are refused at once."""

import bz2
import gzip
import os
import socket
from pathlib import Path

import pytest

from bpexp.data import file_settings, proben1, tabular
from bpexp.fields.checks import ConfigError
from bpexp.tracking import bundle

FOUR_TERABYTES = 2**42


def folder(path):
    path.mkdir()


def pipe(path):
    os.mkfifo(path)


def listening_socket(path):
    # The path of a socket has at most 107 bytes.
    here = os.getcwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


def link_to(target):
    def make(path):
        path.symlink_to(target)

    return make


def sparse(content=b"", size=FOUR_TERABYTES):
    def make(path):
        with path.open("wb") as file:
            file.write(content)
            file.truncate(size)

    return make


def zeros_in_gzip(path):
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(bytes(2**24))


NO_FILE, TOO_LARGE, ZEROS = "must be an existing file", "fits into a quarter", "with zero bytes"
CASES = [
    ("a.csv", folder, NO_FILE + ", got 'a.csv', a folder."),
    ("a.csv", pipe, NO_FILE + ", got 'a.csv', a pipe."),
    ("a.csv", listening_socket, NO_FILE + ", got 'a.csv', a socket."),
    ("a.csv", link_to("/dev/zero"), NO_FILE + ", got 'a.csv', a device."),
    ("a.csv", link_to("a.csv"), NO_FILE + ", got 'a.csv': Too many levels of symbolic links."),
    ("a.csv/b.csv", lambda path: path.parent.write_text(""), NO_FILE + ", got 'a.csv/b.csv'."),
    ("a.csv", sparse(), TOO_LARGE),
    ("a.csv", sparse(b"x,y\n1,2\n"), TOO_LARGE),
    ("a.csv", sparse(b"\xff\xfex\0,\0y\0\n\0"), TOO_LARGE),
    ("a.csv", sparse(b"x,y\n1,2\n", 2**23), ZEROS),
    ("a.csv", lambda path: path.write_bytes("x,y\n1,2\n".encode("utf-16-le")), ZEROS),
    ("a.csv.gz", zeros_in_gzip, ZEROS),
    (
        "a.csv",
        lambda path: path.write_bytes(gzip.compress(b"x,y\n1,2\n")),
        "begins like a .gz file",
    ),
    ("a.txt", lambda path: path.write_bytes(bz2.compress(b"x,y\n1,2\n")), "begins like a .bz2"),
    ("a.csv", lambda path: path.write_bytes(b"PK\x03\x04" * 9), "like a .zip, .npz or .xlsx file"),
    ("a.csv.gz", lambda path: path.write_bytes(gzip.compress(b"PAR1" * 9)), "like a .parquet file"),
    ("table-1.csv", lambda path: path.with_name("Table_1.csv").touch(), "mean 'Table_1.csv'?"),
    ("~a.csv", lambda path: path.mkdir(), NO_FILE + ", got '~a.csv', a folder."),
    ("a.parquet", sparse(), "readable .parquet file"),
    ("a.npz", sparse(), "readable .npz file, got 'a.npz': it is not a zip file"),
]


@pytest.mark.parametrize(("name", "make", "reason"), CASES)
def test_a_table_that_cannot_be_read_to_its_end_is_refused(
    tmp_path, monkeypatch, name, make, reason
):
    monkeypatch.chdir(tmp_path)
    make(Path(name))
    with pytest.raises(ConfigError, match=r"data\.path must ") as refused:
        tabular.load(file_settings.FileConfig(name="file", path=name, target=("y",)))
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("make", "reason"),
    [(pipe, ", a pipe."), (link_to("/dev/zero"), "device"), (sparse(), "quarter")],
)
def test_a_file_of_the_proben1_collection_is_checked_alike(tmp_path, make, reason):
    make(tmp_path / "a.dt")
    with pytest.raises(ConfigError, match=reason):
        proben1.load(proben1.Proben1Config(name="proben1", path=str(tmp_path / "a.dt")))


def test_the_data_file_of_a_bundle_is_not_read_from_a_pipe(tmp_path):
    pipe(tmp_path / "a.csv")
    with pytest.raises(ConfigError, match="--data must be an existing file"):
        bundle._meant(tmp_path / "a.csv", [])


@pytest.mark.parametrize("make", [pipe, link_to("/dev/zero"), folder])
def test_a_bundle_without_an_end_is_refused(tmp_path, make):
    make(tmp_path / "sweep.zip")
    with (
        pytest.raises(ConfigError, match=r"sweep\.zip is damaged, or not a zip file: .* it is "),
        bundle.open_bundle(tmp_path / "sweep.zip"),
    ):
        pass
