"""The stored changes of a checkout reproduce its files."""

import json
import os
import shutil
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
    forget_repository()
    yield folder
    forget_repository()


def forget_repository():
    for cached in (environment.tags, environment.repository, environment.repository_filters):
        cached.cache_clear()


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


def change_names(folder):
    """Names that git quotes in a patch."""
    for name in (b"a\tb.txt", b'"quoted".txt', b" space ", b"a\nb.txt", b"lat\xe9.txt"):
        (folder / os.fsdecode(name)).write_text("new\n")
    git(folder, "add", "--intent-to-add", ".")


def replace_by_link(folder):
    (folder / "text.txt").unlink()
    (folder / "text.txt").symlink_to("crlf.txt")


def delete(folder):
    (folder / "deleted.txt").unlink()


CHANGES = [change_text, change_binary, change_mode, rename, remove_last_newline,
           change_file_without_newline, change_line_ends, change_encoding, change_names,
           replace_by_link, delete]  # fmt: skip
SETTINGS = {
    "color.ui": "always",
    "core.quotePath": "false",
    "diff.context": "0",
    "diff.external": "false",
    "diff.mnemonicPrefix": "true",
    "diff.noprefix": "true",
    "diff.orderFile": "none",
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GIT_DIR", "other"),
        ("GIT_WORK_TREE", "other"),
        ("GIT_INDEX_FILE", "other"),
        ("GIT_OBJECT_DIRECTORY", "other"),
        ("GIT_DIFF_OPTS", "--unified=0"),
        ("GIT_EXTERNAL_DIFF", "false"),
    ],
)
def test_variables_that_git_sets_for_hooks_do_not_change_what_is_stored(
    checkout, monkeypatch, name, value
):
    change_text(checkout)
    expected = environment.git_diff()
    monkeypatch.setenv(name, value)
    assert environment.git_diff() == expected
    assert environment._git_text("status", "--porcelain") == "M text.txt"


def program(checkout, path):
    """A program that leaves a file as a trace, and copies its input."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\ntouch {checkout}/.git/started\ncat\n")
    path.chmod(0o755)
    return str(path)


def monitor(checkout):
    found = program(checkout, checkout / ".git" / "monitor.sh")
    git(checkout, "config", "core.fsmonitor", found)


def hook(checkout):
    program(checkout, checkout / ".git" / "hooks" / "post-index-change")


def clean_filter(checkout):
    (checkout / ".git" / "info").mkdir(exist_ok=True)
    (checkout / ".git" / "info" / "attributes").write_text("*.txt filter=trace.it\n")
    git(checkout, "config", "filter.trace.it.required", "true")
    found = program(checkout, checkout / ".git" / "filter.sh")
    git(checkout, "config", "filter.trace.it.clean", found)


def filter_of_a_submodule(checkout):
    clean_filter(checkout)
    outer = checkout.parent / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    checkout.rename(outer / "checkout")
    git(outer, "submodule", "--quiet", "add", "./checkout")
    git(outer, "commit", "-qm", "first")
    outer.rename(checkout)
    # The trace of the inner repository is that of the outer one.
    inner = checkout / "checkout" / ".git"
    (inner / "started").unlink(missing_ok=True)
    (inner / "filter.sh").write_text(f"#!/bin/sh\ntouch {checkout}/.git/started\ncat\n")
    git(checkout / "checkout", "config", "filter.trace.it.clean", str(inner / "filter.sh"))
    (checkout / "checkout" / "text.txt").write_text("changed\n")


@pytest.mark.parametrize(
    "prepare", [monitor, hook, clean_filter, filter_of_a_submodule], ids=lambda f: f.__name__
)
def test_git_starts_no_program_that_a_repository_names(checkout, prepare):
    prepare(checkout)
    changed = checkout / ("checkout/" * (prepare is filter_of_a_submodule)) / "text.txt"
    changed.write_text("one\n2\n")
    os.utime(changed.with_name("crlf.txt"), (1, 1))
    assert environment.git_diff()
    assert environment.untracked_files() == []
    assert environment._git_text("status", "--porcelain").startswith("M ")
    stored = environment._stored_diff().decode()
    assert not (checkout / ".git" / "started").exists()
    if "filter" in prepare.__name__:
        assert stored.endswith(
            "which were not started (trace.it). Those of the user's configuration "
            "(git config --global) are started.\n"
        )
    else:
        assert "\n+2\n" in stored
    # The repository would start it otherwise.
    os.utime(changed.with_name("crlf.txt"), (2, 2))
    git(checkout, "status", "--porcelain")
    assert (checkout / ".git" / "started").exists()


def test_the_filters_are_those_of_the_repository_that_is_read(checkout, tmp_path, monkeypatch):
    """The package is outside of a repository, and the user's configuration has a filter, too."""
    clean_filter(checkout)
    (checkout / "text.txt").write_text("one\n2\n")
    user = tmp_path / "user.config"
    user.write_text('[filter "lfs"]\n    clean = cat\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(user))
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "module.py"))
    monkeypatch.chdir(checkout)
    assert environment.repository_filters() == ("trace.it",)
    assert environment._git_text("status", "--porcelain") == "M text.txt"
    assert not (checkout / ".git" / "started").exists()


def old_git(checkout, monkeypatch):
    """Git before version 2.26 ends with 129 at an option that it does not know."""
    real, fake = shutil.which("git"), checkout / ".git" / "bin" / "git"
    program(checkout, fake)
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *--show-scope*)\n'
        f'echo "error: unknown option \'show-scope\'" >&2; exit 129;; esac\nexec {real} "$@"\n'
    )
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")


def broken_configuration(checkout, monkeypatch):
    with open(checkout / ".git" / "config", "a") as file:
        file.write("[filter\n")


def name_that_no_option_can_switch_off(checkout, monkeypatch):
    with open(checkout / ".git" / "config", "a") as file:
        file.write(f'[filter "a=b"]\nclean = {checkout}/.git/filter.sh\n')
    (checkout / ".git" / "info" / "attributes").write_text("*.txt filter=a=b\n")


def slow_git(checkout, monkeypatch):
    monkeypatch.setattr(environment, "GIT_SECONDS", 0)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (old_git, "'git config --show-scope' failed (error: unknown option 'show-scope')"),
        (broken_configuration, "'git rev-parse --show-toplevel' failed (fatal: bad config line "),
        (name_that_no_option_can_switch_off, "has '=' in its name"),
        (slow_git, "'git rev-parse --show-toplevel' took more than 0 s"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_without_the_filters_of_a_repository_no_changes_are_read(
    checkout, monkeypatch, prepare, reason
):
    clean_filter(checkout)
    (checkout / "text.txt").write_text("changed\n")
    prepare(checkout, monkeypatch)
    stored = environment.artifacts()
    assert not (checkout / ".git" / "started").exists()
    assert list(stored) == ["environment.json"]
    document = json.loads(stored["environment.json"])
    assert document["git_error"].startswith(
        "Uncommitted changes, if there are any, were not stored: "
    )
    assert reason in document["git_error"]
    assert document["git_error"].count(".\n") == 0
    assert document["git_error"].endswith(".")
    assert "bpexp.git.dirty" not in document
    assert "untracked_files" not in document


def test_a_folder_without_a_repository_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "module.py"))
    monkeypatch.chdir(tmp_path)
    forget_repository()
    assert "git_error" not in json.loads(environment.artifacts()["environment.json"])
    monkeypatch.setenv("PATH", str(tmp_path))
    forget_repository()
    assert "git_error" not in json.loads(environment.artifacts()["environment.json"])
    forget_repository()
