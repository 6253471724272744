"""The kernel for networks of every shape, which numba compiles; numba itself is imported only
to do so: that, and to have it find what it compiled before, takes longer than most sweeps train.
"""

import ctypes
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding

from bpexp.engines import machine
from bpexp.engines.layout import PARAMETERS

NAME = "bpexp_advance"
SCALARS: dict[str, Any] = {
    "int64": ctypes.c_int64, "float64": ctypes.c_double, "bool": ctypes.c_bool,
}  # fmt: skip
_lock = threading.Lock()


def is_compiled() -> bool:
    """Whether an earlier start has left the kernel's code for this processor."""
    return machine.file_of(NAME).is_file()


def advance(*values: Any) -> int:
    """``kernel.advance``, compiled if it never was. Raises TypeError for values that are not
    those of ``layout.PARAMETERS``, arrays in C order.
    """
    flat = [
        part
        for value, kind in zip(values, PARAMETERS.values(), strict=True)
        for part in _passed(value, kind)
    ]
    done, error = ctypes.c_int64(), ctypes.c_void_p()
    with _lock:
        function = _function()
    if function(done, ctypes.byref(error), *flat):
        raise RuntimeError("the kernel raised an error: it has none to raise.")
    return done.value


@cache
def _function() -> Any:
    fields = [field for kind in PARAMETERS.values() for field in _fields(kind)]
    arguments = [ctypes.POINTER(ctypes.c_int64), ctypes.c_void_p, *fields]
    return machine.linked(machine.kept(NAME, _compiled), NAME, ctypes.c_int32, arguments)


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


def _parts(kind: str) -> tuple[str, int]:
    name, _, axes = kind.rstrip("]").partition("[")
    return name, int(axes or 0)


def _fields(kind: str) -> list[Any]:
    name, axes = _parts(kind)
    whole, address = ctypes.c_int64, ctypes.c_void_p
    return (
        [address, address, whole, whole, address, *[whole] * 2 * axes] if axes else [SCALARS[name]]
    )


def _compiled() -> Any:
    import numba

    from bpexp.engines import kernel

    def typed(kind: str) -> Any:
        name, axes = _parts(kind)
        one = numba.boolean if name == "bool" else getattr(numba, name)
        return numba.types.Array(one, axes, "C") if axes else one

    signature = tuple(map(typed, PARAMETERS.values()))
    compiler: Any = numba.njit
    function = compiler(no_cpython_wrapper=True, no_cfunc_wrapper=True, **kernel.options)(
        kernel.advance
    )
    function.compile(signature)
    module = binding.parse_assembly(function.inspect_llvm(signature))
    module.get_function(function.overloads[signature].fndesc.llvm_func_name).name = NAME
    return module
