"""The kernel as machine code, kept between starts.

numba compiles it. To import numba and to have it find what it compiled before takes longer
than most sweeps train; LLVM, which numba is built on, loads an object file in milliseconds.
"""

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import binding

from bpexp.engines.layout import PARAMETERS

ENTRY = "bpexp_advance"
DIGEST = 32
"""Bytes of SHA-256 in front of the code: LLVM does not survive a file that is cut."""
SCALARS: dict[str, Any] = {
    "int64": ctypes.c_int64, "float64": ctypes.c_double, "bool": ctypes.c_bool,
}  # fmt: skip


@cache
def folder() -> Path:
    """NUMBA_CACHE_DIR, else the user's cache; in it a folder for these very sources."""
    package = Path(__file__).resolve().parents[1]
    sha = hashlib.sha256()
    engine = [package / "engines" / f"{name}.py" for name in ("kernel", "vectors", "layout")]
    for source in (*sorted((package / "nn").glob("*.py")), *engine, Path(__file__)):
        sha.update(source.read_bytes())
    asked = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    found = Path(asked).expanduser() / "bpexp" / sha.hexdigest()[:16]
    try:
        found.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="bpexp-"))
    return found


def is_compiled() -> bool:
    """Whether an earlier start has left code for this processor."""
    return _file().is_file()


@cache
def advance() -> Callable[..., int]:
    """``kernel.advance``, compiled if it never was. Raises TypeError for values that are not
    those of ``layout.PARAMETERS``, arrays in C order.
    """
    engine = _linked(_code())
    kinds = [_fields(kind) for kind in PARAMETERS.values()]
    pointer = ctypes.POINTER(ctypes.c_int64)
    types = [pointer, ctypes.c_void_p, *(field for fields in kinds for field in fields)]
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *types)(engine.get_function_address(ENTRY))

    def call(*values: Any) -> int:
        done, error = ctypes.c_int64(), ctypes.c_void_p()
        flat = [part for value, kind in zip(values, PARAMETERS.values(), strict=True)
                for part in _passed(value, kind)]  # fmt: skip
        if function(done, ctypes.byref(error), *flat):
            raise RuntimeError("the kernel raised an error: it has none to raise.")
        return done.value

    # The code lives as long as what can call it.
    call.engine = engine  # type: ignore[attr-defined]
    return call


def _passed(value: Any, kind: str) -> Sequence[Any]:
    """A value as numba's functions take it: of an array nobody to tell of its end, how many
    values of how many bytes, where they are, its shape and its strides.
    """
    if not isinstance(value, np.ndarray):
        return (value,)
    if kind != f"{value.dtype}[{value.ndim}]" or not value.flags.c_contiguous:
        raise TypeError(f"the kernel takes {kind} in C order, got {value.dtype}[{value.ndim}].")
    address, _ = value.__array_interface__["data"]
    return (None, None, value.size, value.itemsize, address, *value.shape, *value.strides)


def _fields(kind: str) -> list[Any]:
    name, _, axes = kind.rstrip("]").partition("[")
    if not axes:
        return [SCALARS[name]]
    whole, address = ctypes.c_int64, ctypes.c_void_p
    return [address, address, whole, whole, address, *[whole] * (2 * int(axes))]


def _linked(code: bytes) -> Any:
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _processor())
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def _code() -> bytes:
    """What an earlier start has left, whole; else compiled, and left for the next."""
    file = _file()
    with suppress(OSError):
        kept = file.read_bytes()
        digest, code = kept[:DIGEST], kept[DIGEST:]
        if hashlib.sha256(code).digest() == digest:
            return code
    code = _compiled()
    growing = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        growing.write_bytes(hashlib.sha256(code).digest() + code)
        growing.replace(file)
    return code


def _compiled() -> bytes:
    import numba

    from bpexp.engines import kernel

    def typed(kind: str) -> Any:
        name, _, axes = kind.rstrip("]").partition("[")
        one = numba.boolean if name == "bool" else getattr(numba, name)
        return numba.types.Array(one, int(axes), "C") if axes else one

    signature = tuple(map(typed, PARAMETERS.values()))
    compiler: Any = numba.njit
    function = compiler(no_cpython_wrapper=True, no_cfunc_wrapper=True, **kernel.options)(
        kernel.advance
    )
    function.compile(signature)
    module = binding.parse_assembly(function.inspect_llvm(signature))
    name = function.overloads[signature].fndesc.llvm_func_name
    module.get_function(name).name = ENTRY
    code: bytes = _processor().emit_object(module)
    return code


def _file() -> Path:
    """Code is one processor's, and one compiler's."""
    made = (*_asked(), version("numba"), version("llvmlite"))
    return folder() / f"{hashlib.sha256(repr(made).encode()).hexdigest()[:16]}.o"


def _asked() -> tuple[str, str]:
    """The processor's name and features, or the ones that numba is told to assume."""
    name = os.environ.get("NUMBA_CPU_NAME")
    features = "" if name else binding.get_host_cpu_features().flatten()
    return name or binding.get_host_cpu_name(), os.environ.get("NUMBA_CPU_FEATURES", features)


def _processor() -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    name, features = _asked()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(
        cpu=name, features=features, opt=3, reloc="default", codemodel="jitdefault"
    )
