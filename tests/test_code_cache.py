"""The cache of machine code: what was compiled for one purpose is not run for another."""

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from sweeping import clean_environment

from bpexp.tracking.store import configure_mlflow
from bpexp.training.engine import Cancelled
from bpexp.training.llvm import compiler, jit

HOMELESS = """
import pwd

def unknown(uid):
    raise KeyError(uid)

pwd.getpwuid = unknown
from bpexp.cli.main import main
main()
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A new cache in ``tmp_path / "cache"``, and a function that forgets what is in memory."""
    monkeypatch.setenv("BPEXP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(jit, "_functions", {})

    def forget():
        jit._functions.clear()
        jit.cache_directory.cache_clear()

    forget()
    yield forget
    jit.cache_directory.cache_clear()


def times(factor, generated):
    """A compiled function that multiplies by a number; ``generated`` counts the compilations."""

    def generate():
        generated.append(factor)
        return f"define i64 @times(i64 %x) {{ %y = mul i64 %x, {factor}  ret i64 %y }}"

    function = jit.FunctionType("times", ctypes.c_int64, [ctypes.c_int64])
    return jit.load_function(factor, function, generate)(10)


TWICE = "define i64 @twice(i64 %x) { %y = add i64 %x, %x  ret i64 %y }"


def test_a_process_that_compiles_long_code_gives_the_same_code(monkeypatch):
    monkeypatch.setattr(compiler, "LONG_ASSEMBLY", 0)
    monkeypatch.setattr(compiler, "object_code_of", None)
    # Several checks pass before the process has read the code, which is more than a pipe holds.
    monkeypatch.setattr(compiler, "SECONDS_BETWEEN_CHECKS", 0.01)
    deadline = time.monotonic() + 60
    longer = "; a comment\n" * 50_000 + TWICE
    made = compiler.compile_assembly(longer, lambda: time.monotonic() > deadline)
    monkeypatch.undo()
    assert made == compiler.compile_assembly(TWICE, lambda: False)


def test_compiling_long_code_is_given_up_and_leaves_nothing(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "LONG_ASSEMBLY", 0)
    function = jit.FunctionType("twice", ctypes.c_int64, [ctypes.c_int64])
    with pytest.raises(Cancelled):
        jit.load_function("twice", function, lambda: TWICE, is_cancelled=lambda: True)
    assert not list(tmp_path.rglob("*.o"))
    monkeypatch.setattr(compiler, "LONG_ASSEMBLY", 10**6)
    assert jit.load_function("twice", function, lambda: TWICE)(4) == 8


def test_long_code_is_compiled_here_where_no_process_can_be_started(monkeypatch):
    monkeypatch.setattr(compiler, "LONG_ASSEMBLY", 0)
    monkeypatch.setattr(sys, "executable", "/missing/python")
    assert compiler.compile_assembly(TWICE, lambda: False) == compiler.object_code_of(TWICE)


def test_code_is_compiled_once(cache, tmp_path):
    generated = []
    assert (times(2, generated), times(3, generated)) == (20, 30)
    cache()
    assert (times(2, generated), times(3, generated)) == (20, 30)
    assert generated == [2, 3]


def test_code_under_the_name_of_other_code_is_not_run(cache, tmp_path):
    generated = []
    assert (times(2, generated), times(3, generated)) == (20, 30)
    one, other = (tmp_path / "cache").rglob("*.o")
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    cache()
    assert (times(2, generated), times(3, generated)) == (20, 30)
    assert generated == [2, 3, 2, 3]


def test_a_truncated_file_is_compiled_again_and_replaced(cache, tmp_path):
    # LLVM crashes on some truncated object files.
    generated = []
    assert times(2, generated) == 20
    (file,) = (tmp_path / "cache").rglob("*.o")
    complete = file.read_bytes()
    for length in (0, jit.DIGEST_SIZE, len(complete) // 2, len(complete) - 1):
        file.write_bytes(complete[:length])
        cache()
        assert times(2, generated) == 20
        assert file.read_bytes() == complete
    assert generated == [2] * 5
    assert list((tmp_path / "cache").rglob("*.*")) == [file]


def zero_device(file):
    file.symlink_to("/dev/zero")


def huge_file(file):
    file.touch()
    os.truncate(file, 2**42)


@pytest.mark.parametrize("replace", [os.mkfifo, zero_device, huge_file], ids=lambda f: f.__name__)
def test_what_is_no_file_of_code_is_replaced(cache, tmp_path, replace):
    generated = []
    assert times(2, generated) == 20
    (file,) = (tmp_path / "cache").glob("*/*.o")
    file.unlink()
    replace(file)
    for _ in range(2):
        cache()
        assert times(2, generated) == 20
    assert generated == [2, 2]
    assert file.is_file()
    assert file.stat().st_size < 2**20


@pytest.mark.slow
def test_code_that_another_user_wrote_is_not_run(cache, tmp_path, monkeypatch):
    generated = []
    assert times(2, generated) == 20
    (file,) = (tmp_path / "cache").rglob("*.o")
    if os.geteuid() == 0:
        os.chown(file, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    cache()
    assert times(2, generated) == 20
    assert generated == [2, 2]


def test_without_a_usable_cache_code_is_compiled_and_no_folder_is_left(
    cache, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("BPEXP_CACHE_DIR", str(tmp_path / "file" / "cache"))
    cache()
    before = set(os.listdir(tempfile.gettempdir()))
    generated = []
    assert times(2, generated) == 20
    assert generated == [2]
    assert not [n for n in set(os.listdir(tempfile.gettempdir())) - before if "bpexp" in n]


@pytest.mark.slow
def test_a_user_without_a_home_has_no_cache_and_can_import_mlflow(cache, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BPEXP_CACHE_DIR")
    monkeypatch.setenv("HOME", "set by the test, so that it is restored")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert jit.cache_directory() is None
    assert times(2, []) == 20
    configure_mlflow()
    assert not Path.home().exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_program_works_without_a_home(tmp_path):
    environment = {k: v for k, v in clean_environment().items() if k != "HOME"}
    for arguments in (["-m", "seed=1,2", "epochs=5"], ["runs"], ["report"]):
        done = subprocess.run(
            [sys.executable, "-c", HOMELESS, *arguments], cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=170,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), arguments
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
