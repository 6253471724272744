"""Identifies formulas from outside the package in the keys of the cache of compiled code.

Compiled code is cached on disk for one version of the package's sources. The formulas of an
optimizer or activation that another package registers are not among these sources, so that the code
of an old formula would be used after a change. Therefore such a formula is traced alone, and its
instructions become a part of the key.

>>> formulas_key(["tanh", "sigmoid"], "adam")
()
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from llvmlite import ir

from bpexp.nn.activations import ACTIVATIONS
from bpexp.nn.arithmetic import EXACT
from bpexp.nn.optimizers import OPTIMIZERS
from bpexp.training.llvm.vector_ir import FLOATS, Symbol
from bpexp.training.update import apply_update, hyperparameter_names, initial_state

Formula = Callable[..., Any]


def formulas_key(functions: Iterable[str], optimizer: str | None = None) -> tuple[str, ...]:
    """Return the instructions of those formulas that are not part of the package.

    Args:
        functions: Names of activations.
        optimizer: Name of the optimizer; None if no optimizer is compiled.
    """
    key: list[str] = []
    for name in dict.fromkeys(functions):
        activation = ACTIVATIONS[name]
        if not _is_built_in(activation.function):
            key.append(_trace_activation(activation.function))
        if activation.derivative is not None and not _is_built_in(activation.derivative):
            key.append(_trace(activation.derivative, 1))
    if optimizer is not None and not _is_built_in(OPTIMIZERS[optimizer].update):
        key.append(_trace_update(optimizer, OPTIMIZERS[optimizer].update))
    return tuple(key)


def _is_built_in(formula: Formula) -> bool:
    return formula.__module__.partition(".")[0] in ("bpexp", "numpy")


@lru_cache(maxsize=64)
def _trace_activation(function: Formula) -> str:
    return _trace(lambda z: function(EXACT, z), 1)


@lru_cache(maxsize=64)
def _trace_update(optimizer: str, update: Formula) -> str:
    """Trace the update of an optimizer; ``update`` is only a part of the cache key."""
    n_state, n_hyperparameters = len(initial_state(optimizer)), len(hyperparameter_names(optimizer))

    def formula(w: Any, g: Any, lr: Any, *values: Any) -> Sequence[Any]:
        new_w, state = apply_update(optimizer, w, g, values[:n_state], lr, values[n_state:])
        return [new_w, *state]

    return _trace(formula, 3 + n_state + n_hyperparameters)


def _trace(formula: Formula, n_arguments: int) -> str:
    """Return the instructions of a formula, and which of their results it returns."""
    module = ir.Module()
    function_type = ir.FunctionType(ir.VoidType(), [FLOATS] * n_arguments)
    function = ir.Function(module, function_type, "formula")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    returned = formula(*(Symbol(builder, argument) for argument in function.args))
    results = returned if isinstance(returned, list) else [returned]
    references = [r.value.get_reference() if isinstance(r, Symbol) else repr(r) for r in results]
    return f"{module}\n{references}"
