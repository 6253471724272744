"""Machine code that is made once and kept between starts as object files, which LLVM loads."""

import ctypes
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llvmlite import binding

DIGEST = 32
"""Bytes of SHA-256 in front of the code: LLVM does not survive a file that is cut."""


@cache
def folder() -> Path:
    """BPEXP_CACHE_DIR, else the user's cache; in it a folder for these very sources."""
    package = Path(__file__).resolve().parents[2]
    sha = hashlib.sha256()
    for source in sorted([*(package / "nn").glob("*.py"), *(package / "training").rglob("*.py")]):
        sha.update(source.read_bytes())
    asked = os.environ.get("BPEXP_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    found = Path(asked).expanduser() / "bpexp" / sha.hexdigest()[:16]
    try:
        found.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="bpexp-"))
    return found


_lock = threading.Lock()
_functions: dict[str, Any] = {}


def function(
    about: Any, entry: str, write: Callable[[], str], result: Any, arguments: Sequence[Any]
) -> Any:
    """The function ``entry`` of the code whose text ``write`` gives, made once: for the same
    ``about``, which tells by its repr from others' what the code serves for. It leaves Python's
    lock.
    """
    name = f"{entry} {hashlib.sha256(repr(about).encode()).hexdigest()}"
    # LLVM takes one thread at a time.
    with _lock:
        if name not in _functions:
            code = _kept(name, lambda: _optimised(write()))
            _functions[name] = _linked(code, entry, result, arguments)
        return _functions[name]


def file_of(name: str) -> Path:
    """Where code of that name is kept for this processor, by this compiler."""
    made = (name, *_asked(), version("llvmlite"))
    return folder() / f"{hashlib.sha256(repr(made).encode()).hexdigest()[:16]}.o"


def _kept(name: str, make: Callable[[], Any]) -> bytes:
    """The code that an earlier start has left, whole; else that of the LLVM module which
    ``make`` gives, left for the next.
    """
    file = file_of(name)
    with suppress(OSError):
        found = file.read_bytes()
        digest, code = found[:DIGEST], found[DIGEST:]
        if hashlib.sha256(code).digest() == digest:
            return code
    code = bytes(_processor().emit_object(make()))
    growing = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        growing.write_bytes(hashlib.sha256(code).digest() + code)
        growing.replace(file)
    return code


def _optimised(text: str) -> Any:
    """LLVM's module of that text after its passes; none of them changes a bit of a result."""
    module = binding.parse_assembly(text)
    options = binding.create_pipeline_tuning_options(speed_level=3)
    builder = binding.create_pass_builder(_processor(), options)
    builder.getModulePassManager().run(module, builder)
    return module


def _linked(code: bytes, entry: str, result: Any, arguments: Sequence[Any]) -> Any:
    """The function of that name in the code, by ctypes: it leaves Python's lock."""
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _processor())
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    function: Any = ctypes.CFUNCTYPE(result, *arguments)(engine.get_function_address(entry))
    # The code lives as long as what can call it.
    function.engine = engine
    return function


def has(feature: str) -> bool:
    """Whether the processor that code is made for has it."""
    return f"+{feature}" in _asked()[1].split(",")


def _asked() -> tuple[str, str]:
    """The processor's name and features, or those that the environment says, in numba's words."""
    name = os.environ.get("BPEXP_CPU")
    features = "" if name else binding.get_host_cpu_features().flatten()
    return name or binding.get_host_cpu_name(), os.environ.get("BPEXP_CPU_FEATURES", features)


def _processor() -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    name, features = _asked()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(
        cpu=name, features=features, opt=3, reloc="default", codemodel="jitdefault"
    )
