"""The stored changes of a checkout reproduce its files."""

import os
import subprocess

import pytest

from bpexp.runs import environment


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one commit, from which ``environment`` reads."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "text.txt").write_text("one\ntwo\nthree\n")
    (folder / "binary.bin").write_bytes(bytes(range(256)))
    (folder / "script.sh").write_text("#!/bin/sh\n")
    (folder / "old name.txt").write_text("".join(f"line {n}\n" for n in range(50)))
    (folder / "no_newline.txt").write_text("a\nb")
    (folder / "crlf.txt").write_bytes(b"a\r\nb\r\n")
    (folder / "latin.txt").write_bytes(b"caf\xe9\n")
    (folder / "deleted.txt").write_text("x\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    monkeypatch.setattr(environment, "__file__", str(folder / "module.py"))
    return folder


def files(folder):
    """Content and execution bit of each file."""
    return {
        path.name: (path.read_bytes(), os.access(path, os.X_OK))
        for path in folder.iterdir()
        if path.is_file()
    }


def change_text(folder):
    (folder / "text.txt").write_text("one\n2\nthree  \n\n")


def change_binary(folder):
    (folder / "binary.bin").write_bytes(bytes(range(255, -1, -1)))


def change_mode(folder):
    (folder / "script.sh").chmod(0o755)


def rename(folder):
    git(folder, "mv", "old name.txt", "\u00e4 new name.txt")


def remove_last_newline(folder):
    (folder / "text.txt").write_text("one\ntwo\nthree")


def change_file_without_newline(folder):
    (folder / "no_newline.txt").write_text("a\nc")


def change_line_ends(folder):
    (folder / "crlf.txt").write_bytes(b"a\r\nc\r\n")
    (folder / "text.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")


def change_encoding(folder):
    (folder / "latin.txt").write_bytes(b"caf\xe9 \xff\n")


def delete(folder):
    (folder / "deleted.txt").unlink()


CHANGES = [change_text, change_binary, change_mode, rename, remove_last_newline,
           change_file_without_newline, change_line_ends, change_encoding, delete]  # fmt: skip
SETTINGS = {
    "color.ui": "always",
    "diff.external": "false",
    "diff.noprefix": "true",
    "diff.renames": "copies",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_stored_changes_apply_to_a_clean_checkout(checkout, tmp_path, change):
    for key, value in SETTINGS.items():
        git(checkout, "config", key, value)
    change(checkout)
    expected = files(checkout)
    (tmp_path / "git.diff").write_bytes(environment.git_diff())
    clean = tmp_path / "clean"
    git(tmp_path, "clone", "-q", str(checkout), str(clean))
    assert files(clean) != expected
    git(clean, "apply", str(tmp_path / "git.diff"))
    assert files(clean) == expected


def test_untracked_files_are_listed(checkout):
    change_text(checkout)
    (checkout / "new file.py").write_text("x = 1\n")
    (checkout / "folder").mkdir()
    (checkout / "folder" / "other.py").write_text("y = 1\n")
    assert environment.untracked_files() == ["folder/other.py", "new file.py"]


def test_git_does_not_start_the_file_system_monitor_of_a_repository(checkout):
    monitor = checkout / ".git" / "monitor.sh"
    monitor.write_text(f"#!/bin/sh\ntouch {checkout}/.git/started\n")
    monitor.chmod(0o755)
    git(checkout, "config", "core.fsmonitor", str(monitor))
    change_text(checkout)
    assert environment.git_diff()
    assert environment.untracked_files() == []
    assert environment._git_text("status", "--porcelain") == "M text.txt"
    assert not (checkout / ".git" / "started").exists()
    # The repository would start it otherwise.
    git(checkout, "status", "--porcelain")
    assert (checkout / ".git" / "started").exists()
