"""The software and hardware that runs are trained with: commit, package versions, CPU.

>>> from bpexp.runs import environment, run_tags
>>> environment.tags()[run_tags.PYTHON].startswith("3.")
True
"""

import getpass
import json
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from bpexp.guards import passwords
from bpexp.runs import masked_patch, run_tags

PACKAGES = ("bpexp", "numpy", "llvmlite", "hydra-core", "mlflow", "joblib")
"""Packages whose versions are tags of every run."""
MAX_DIFF_BYTES = 2**24
"""Larger changes are not stored as ``git.diff``."""
MAX_UNTRACKED = 1000
"""Untracked files that ``environment.json`` lists."""
GIT_SECONDS = 10
"""A command of git that takes longer is stopped."""
_GIT_OPTIONS = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
"""A repository may name a file system monitor and have hooks, programs that git would start."""
_GIT_VARIABLES = ("GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_EXEC_PATH")
"""Variables that are passed to git, apart from those of the user's configuration. Others, which git
sets for hooks, name another repository or index, or change the form of a patch."""


class GitError(Exception):
    """Git did not do what it was asked for; the message is a part of a sentence that says why."""


@cache
def tags() -> dict[str, str]:
    """Tags of every run: versions of Python and packages, processor, Git commit."""
    found = {
        run_tags.PYTHON: platform.python_version(),
        run_tags.PLATFORM: platform.platform(),
        run_tags.PROCESSOR: _processor(),
    }
    for package in PACKAGES:
        try:
            found[run_tags.VERSION + package] = version(package)
        except PackageNotFoundError:
            found[run_tags.VERSION + package] = "not installed"
    found["mlflow.source.name"] = "bpexp"
    found["mlflow.source.type"] = "LOCAL"
    with suppress(KeyError, OSError, ImportError):
        # What getpass raises for a user without a name.
        found["mlflow.user"] = getpass.getuser()
    with suppress(GitError):
        # Nothing of a repository that Git cannot read is known.
        commit = _git_text("rev-parse", "--quiet", "--verify", "HEAD")
        if commit:
            found["mlflow.source.git.commit"] = commit
            found[run_tags.GIT_COMMIT] = commit
            found[run_tags.GIT_DIRTY] = "true" if _git_text("status", "--porcelain") else "false"
    return found


@cache
def hardware_tags() -> dict[str, str]:
    """Tags of a sweep, or of a single run: the CPU features.

    Separate from ``tags`` because the runs of a sweep do not repeat them.
    """
    return {run_tags.CPU_FEATURES: cpu_features()}


def cpu_features() -> str:
    """Instruction sets that NumPy uses, without those in ``NPY_DISABLE_CPU_FEATURES``."""
    features = np.show_config(mode="dicts")["SIMD Extensions"]
    return " ".join(features["baseline"] + features.get("found", []))


def _libraries() -> list[dict[str, str]]:
    """The loaded libraries with thread pools, such as BLAS, as threadpoolctl describes them."""
    return threadpool_info()  # type: ignore[no-any-return]


def artifacts() -> dict[str, bytes]:
    """``environment.json``, and ``git.diff`` if there are uncommitted changes."""
    document: dict[str, object] = {
        **tags(),
        **hardware_tags(),
        "packages": _packages(),
        "libraries": _libraries(),
    }
    files = {}
    try:
        # Raises the error that ``tags`` leaves out.
        repository_filters()
        if tags().get(run_tags.GIT_DIRTY) == "true":
            document["untracked_files"] = untracked_files()[:MAX_UNTRACKED]
            files["git.diff"] = _stored_diff()
    except GitError as error:
        document["git_error"] = f"Uncommitted changes, if there are any, were not stored: {error}."
    return {"environment.json": json.dumps(document, indent=2).encode(), **files}


def _stored_diff() -> bytes:
    """The uncommitted changes without passwords, or a sentence that says why they are missing."""
    filters = repository_filters()
    if filters:
        names = ", ".join(filters)
        return (
            "The changes were not stored: they depend on programs in the configuration of the "
            f"repository, which were not started ({names}). Those of the user's configuration "
            "(git config --global) are started.\n"
        ).encode()
    diff = git_diff()
    # A part of a patch does not apply.
    if len(diff) > MAX_DIFF_BYTES:
        return f"The changes have {len(diff)} bytes and were not stored.\n".encode()
    return masked_patch.without_passwords(diff, key_markers())


def _packages() -> dict[str, str]:
    """Versions of all installed packages, by name.

    Taken from the names of their metadata folders: ``importlib.metadata`` opens every file.
    """
    found = [entry.stem.split("-") for path in sys.path for entry in Path(path).glob("*.dist-info")]
    return dict(sorted((name, number) for name, number, *_ in found))


def _processor() -> str:
    """The model name of the CPU; ``platform.processor`` does not know it on Linux."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_text(*arguments: str) -> str:
    """The output of git as text, without white space at its ends."""
    return _git(*arguments).decode(errors="replace").strip()


def _git(*arguments: str) -> bytes:
    """The output of git in the repository; empty without one, or if what is asked for is not there.

    No program is started that the repository itself names, and nothing is fetched from another one.

    Raises:
        GitError: Git failed, or it is not known which programs the repository names.
    """
    if not repository():
        return b""
    off = [f"filter.{name}.{key}=" for name in repository_filters() for key in ("clean", "process")]
    off += [f"filter.{name}.required=false" for name in repository_filters()]
    return _git_in(repository(), *(part for option in off for part in ("-c", option)), *arguments)


@cache
def repository() -> str:
    """The top folder of this package's repository, or else of that of the working directory.

    Empty if neither is in a repository or git is not installed.

    Raises:
        GitError: There is a repository that Git refuses to read.
    """
    for folder in (Path(__file__).parent, Path.cwd()):
        try:
            top = _git_in(str(folder), "rev-parse", "--show-toplevel").removesuffix(b"\n")
        except GitError as error:
            if "not a git repository" in str(error) or isinstance(error.__cause__, OSError):
                continue
            raise
        if top:
            return os.fsdecode(top)
    return ""


@cache
def repository_filters() -> tuple[str, ...]:
    """Names of the filters in the configuration of the repository and of its submodules.

    Git starts a filter that ``.gitattributes`` assigns to a file to compare the file with the
    commit.

    Raises:
        GitError: The filters are not known, or cannot be switched off. Before version 2.26 Git does
            not tell the configuration of a repository from that of the user.
    """
    if not repository():
        return ()
    listing = ("config", "--show-scope", "--name-only", "--get-regexp", r"^filter\.")
    listed = _git_in(repository(), *listing)
    if os.path.exists(os.path.join(repository(), ".gitmodules")):
        # Git ends with 1 if nothing was found.
        command = f"git {' '.join(listing[:-1])} '{listing[-1]}' || test $? -eq 1"
        listed += _git_in(repository(), "submodule", "--quiet", "foreach", "--recursive", command)
    scoped = [line.partition("\t") for line in os.fsdecode(listed).splitlines()]
    keys = (key for scope, _, key in scoped if scope in ("local", "worktree"))
    names = {key.removeprefix("filter.").rpartition(".")[0] for key in keys}
    if any("=" in name for name in names):
        raise GitError("a filter in the configuration of the repository has '=' in its name")
    return tuple(sorted(names))


def _git_in(folder: str, *arguments: str) -> bytes:
    """The output of git in a folder; empty if it ends with 1, for what was not found."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith("GIT_CONFIG_") or name in _GIT_VARIABLES
    } | {"GIT_OPTIONAL_LOCKS": "0", "GIT_ALLOW_PROTOCOL": "none", "LC_ALL": "C"}
    options = [option for option in arguments if option != "-c" and "=" not in option]
    command = " ".join(["git", *options[:2]])
    try:
        done = subprocess.run(
            ["git", *_GIT_OPTIONS, "-C", folder, *arguments],
            capture_output=True, timeout=GIT_SECONDS, stdin=subprocess.DEVNULL, env=variables,
        )  # fmt: skip
    except OSError as error:
        raise GitError(f"git cannot be started ({error.strerror})") from error
    except subprocess.TimeoutExpired as error:
        raise GitError(f"{command!r} took more than {GIT_SECONDS} s") from error
    if done.returncode not in (0, 1):
        lines = done.stderr.decode(errors="replace").splitlines()
        reason = passwords.mask_text(lines[0]) if lines else f"exit code {done.returncode}"
        raise GitError(f"{command!r} failed ({reason})")
    return done.stdout if done.returncode == 0 else b""


def git_diff() -> bytes:
    """Uncommitted changes of tracked files, as a patch from the top of the repository.

    ``git apply`` reproduces the files on a clean checkout of the commit. Options of the user's
    configuration that change the format are overridden.
    """
    return _git(
        "-c", "core.quotePath=true", "-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false",
        "-c", "diff.submodule=short", "-c", "diff.relative=false",
        "-c", "diff.suppressBlankEmpty=false", "diff", "--binary", "--unified=3",
        "--no-color", "--no-ext-diff", "--no-textconv", f"-O{os.devnull}",
        "--src-prefix=a/", "--dst-prefix=b/", "HEAD",
    )  # fmt: skip


def untracked_files() -> list[str]:
    """Names of the files that git neither tracks nor ignores, from the top of the repository."""
    listed = _git("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames")
    entries = listed.decode(errors="replace").split("\0")
    return [entry[3:] for entry in entries if entry.startswith("?? ")]


def key_markers() -> dict[str, dict[int, passwords.KeyMarker]]:
    """Where private keys begin and end in the files of the commit.

    Returns:
        For each file with a private key, the numbers of these lines.
    """
    found: dict[str, dict[int, passwords.KeyMarker]] = {}
    listed = _git(
        "-c", "core.quotePath=true", "grep", "-z", "-a", "-n", "-F", "--no-color", "--full-name",
        "--no-recurse-submodules", "-e", "PRIVATE", "HEAD", "--",
    )  # fmt: skip
    for name, number, line in re.findall(rb"HEAD:([^\0]*)\0(\d+)\0([^\n]*)\n", listed):
        marker = passwords.key_marker(line.decode("latin-1"))
        if marker is not None:
            found.setdefault(name.decode("latin-1"), {})[int(number)] = marker
    return found
