"""Compiles generated code to machine code and caches it on disk as object files.

Compiling takes some tenths of a second, loading an object file some milliseconds. The cache is a
directory ``bpexp`` in the user's cache directory, or the directory in BPEXP_CACHE_DIR. The code is
compiled for the processor of the machine, or for BPEXP_CPU and BPEXP_CPU_FEATURES (names and
features as LLVM spells them, such as ``haswell`` and ``+avx2,-fma``).

>>> def generate():
...     return "define i64 @double(i64 %x) { %y = add i64 %x, %x  ret i64 %y }"
>>> double = load_function("an example", FunctionType("double", ctypes.c_int64, [ctypes.c_int64]),
...                        generate)
>>> double(21)
42
"""

import ctypes
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs
from llvmlite import binding

from bpexp.guards import regular_file
from bpexp.training.llvm.compiler import compile_assembly, target_cpu, target_machine

DIGEST_SIZE = 32
"""Bytes of the SHA-256 digest before the object code. It covers the object code, because LLVM
crashes on some damaged files, and what the code is for, because a file may have been renamed."""


class FunctionType(NamedTuple):
    """A function of the generated code.

    Attributes:
        name: Name of the function.
        result: ctypes type of the result, or None.
        arguments: ctypes types of the arguments.
    """

    name: str
    result: Any
    arguments: Sequence[Any]


class Library(NamedTuple):
    """Code that several functions call. It is compiled and cached once for all of them.

    Attributes:
        key: Identifies the code: values with the same repr mean the same code.
        generate: Generates the code as LLVM assembly; only called if it is not cached.
    """

    key: Any
    generate: Callable[[], str]


MAX_CODE_BYTES = 2**28
"""A larger cache file is not read."""
_lock = threading.Lock()
_functions: dict[str, Any] = {}


def load_function(
    key: Any,
    function_type: FunctionType,
    generate: Callable[[], str],
    libraries: Sequence[Library] = (),
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Any:
    """Return a compiled function, from memory, from the disk cache, or newly compiled.

    The function releases the GIL while it runs.

    Args:
        key: Identifies the generated code: values with the same repr mean the same code.
        function_type: The function to return.
        generate: Generates the code as LLVM assembly; only called if it is not cached.
        libraries: What the code calls without defining it.
        is_cancelled: Whether to give up a compilation that takes seconds.

    Raises:
        Cancelled: It was given up.
    """
    name = _code_name(function_type.name, key)
    # LLVM is not thread-safe.
    with _lock:
        if name not in _functions:
            object_codes = [
                _cached_object_code(
                    _code_name("library", library.key), library.generate, is_cancelled
                )
                for library in libraries
            ]
            object_codes.append(_cached_object_code(name, generate, is_cancelled))
            _functions[name] = _link(object_codes, function_type)
        return _functions[name]


def _code_name(name: str, key: Any) -> str:
    return f"{name} {hashlib.sha256(repr(key).encode()).hexdigest()}"


@cache
def cache_directory() -> Path | None:
    """Return the cache directory for this version of the sources, and create it.

    None if it cannot be created, or the user has no home: code is then not cached.
    """
    package = Path(__file__).resolve().parents[2]
    sha = hashlib.sha256()
    for source in sorted([*(package / "nn").glob("*.py"), *(package / "training").rglob("*.py")]):
        sha.update(source.read_bytes())
    configured = os.environ.get("BPEXP_CACHE_DIR")
    try:
        Path.home()  # platformdirs would use a folder named "~" if there is no home.
        root = (
            Path(configured).expanduser() if configured else platformdirs.user_cache_path("bpexp")
        )
        directory = root / sha.hexdigest()[:16]
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return directory


def object_file(name: str) -> Path | None:
    """Return the cache file of the code with this name; None if there is no cache."""
    directory = cache_directory()
    return directory and directory / f"{_code_key(name).hex()[:16]}.o"


def _code_key(name: str) -> bytes:
    """The digest of the name of code, the processor it is compiled for, and the LLVM version."""
    key = (name, *target_cpu(), version("llvmlite"))
    return hashlib.sha256(repr(key).encode()).digest()


def has_cpu_feature(feature: str) -> bool:
    """Return whether the processor that code is compiled for has a feature."""
    return f"+{feature}" in target_cpu()[1].split(",")


def _cached_object_code(
    name: str, generate: Callable[[], str], is_cancelled: Callable[[], bool]
) -> bytes:
    """Return object code from the cache if it is undamaged; else compile it and cache it."""
    file = object_file(name)
    if file is None:
        return compile_assembly(generate(), is_cancelled)
    with suppress(OSError):
        content = _own_content(file)
        digest, object_code = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
        if digest_of(name, object_code) == digest:
            return object_code
    object_code = compile_assembly(generate(), is_cancelled)
    # Write to another name first: other processes must not read an incomplete file.
    temporary = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        temporary.write_bytes(digest_of(name, object_code) + object_code)
        temporary.replace(file)
    return object_code


def digest_of(name: str, object_code: bytes) -> bytes:
    """The digest at the beginning of a cache file: of its object code, and of what it is for."""
    return hashlib.sha256(_code_key(name) + object_code).digest()


def _own_content(file: Path) -> bytes:
    """Read a cache file; empty if another user, who could have written any code, owns it.

    Empty, too, if it is larger than code is.

    Raises:
        OSError: It cannot be read, or is a pipe or a device.
    """
    with open(file, "rb", opener=regular_file.open_regular) as opened:
        found = os.fstat(opened.fileno())
        is_own = found.st_uid in (0, os.geteuid())
        return opened.read() if is_own and found.st_size <= MAX_CODE_BYTES else b""


def _link(object_codes: Sequence[bytes], function_type: FunctionType) -> Any:
    """Load object code into memory; return the function as a ctypes function."""
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target_machine())
    for object_code in object_codes:
        engine.add_object_file(binding.ObjectFileRef.from_data(object_code))
    engine.finalize_object()
    prototype = ctypes.CFUNCTYPE(function_type.result, *function_type.arguments)
    function: Any = prototype(engine.get_function_address(function_type.name))
    # The engine owns the machine code, so it must live as long as the function.
    function.engine = engine
    return function
