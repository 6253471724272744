"""The compiled engine: calls kernels that were generated for the problem at hand.

The engine rearranges the arrays of a batch as the kernels expect them, calls a kernel, and copies
the results back. Very small networks use ``unrolled_kernel``, all others the kernels in ``kernel``.

>>> from bpexp.training.engine import Problem
>>> network = Network(sizes=(1, 1), functions=("identity",))
>>> problem = Problem(
...     network=network, X=np.array([[1.0], [2.0]]), Y=np.array([[2.0], [4.0]]),
...     optimizer="gradient_descent", lr_divisor=np.ones(2), has_weight_decay=False, batch_size=2,
... )
>>> parameters = np.array([[1.0, 2.0], [0.0, 0.0]])  # two runs: y = x and y = 2 x
>>> LlvmEngine().evaluate(network, parameters, problem.X, problem.Y).losses
array([2.5, 0. ])
"""

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from threading import current_thread, main_thread
from typing import Any

import numpy as np

from bpexp.interrupts import in_daemon_thread, result_of
from bpexp.nn.network import Network
from bpexp.training.engine import BatchState, Cancelled, Evaluation, Integers, Problem, Progress
from bpexp.training.llvm import jit, kernel, unrolled_kernel
from bpexp.training.llvm.formulas import formulas_key
from bpexp.training.llvm.forward import CANCELLED
from bpexp.training.llvm.kernel import Signature
from bpexp.training.llvm.kind import KernelKind, Training
from bpexp.training.llvm.lane_layout import RunGroups, aligned_empty, choose_group_size
from bpexp.training.llvm.layout import Layout
from bpexp.training.stopping import mark_nonfinite_parameters, statuses_after_forward_pass
from bpexp.typing import Array

PRODUCTS_PER_SECOND = 2**30
MAX_UNINTERRUPTIBLE = 2**27
"""Multiplications of a call in the main thread that Ctrl-C need not end: some 20 milliseconds."""


class LlvmEngine:
    """Implements ``bpexp.training.engine.Engine`` by machine code.

    Args:
        group_size: Use always this group size (see ``lane_layout``) and never the unrolled
            kernel; None chooses what is fastest.
    """

    def __init__(self, group_size: int | None = None) -> None:
        self._group_size = group_size
        self._cancelled = np.zeros(1, np.int64)

    def cancel(self) -> None:
        """See ``Engine.cancel``."""
        self._cancelled[0] = 1

    def advance(
        self,
        problem: Problem,
        state: BatchState,
        lr_factors: Array,
        sample_orders: Integers | None,
    ) -> Progress:
        """See ``Engine.advance``."""
        if self._cancelled[0]:
            raise Cancelled
        if self._group_size is None and unrolled_kernel.supports(problem, state):
            progress = unrolled_kernel.advance(problem, state, lr_factors)
            if progress is not None:
                return progress
        groups = self._run_groups(problem.network, state.n_runs)
        return self._advance(problem, state, lr_factors, sample_orders, groups)

    def epochs_per_second(self, problem: Problem, n_runs: int) -> float:
        """See ``Engine.epochs_per_second``."""
        return PRODUCTS_PER_SECOND / problem.n_products(n_runs)

    def evaluate(self, network: Network, parameters: Array, X: Array, Y: Array) -> Evaluation:
        """See ``Engine.evaluate``."""
        n_runs = parameters.shape[-1]
        groups = self._run_groups(network, n_runs)
        layout, numbers = _layout(network, groups.group_size)
        grouped_parameters = groups.group_parameters(parameters)
        grouped_outputs = groups.empty_outputs(len(grouped_parameters), len(X))
        losses = np.empty(len(grouped_parameters) * groups.group_size)
        arguments = {
            "n_groups": len(grouped_parameters),
            "n_samples": len(X),
            "layout": numbers,
            "X": X,
            "Y": groups.group_outputs(groups.repeat(Y)),
            "class_weights": _class_weights(network, groups),
            "parameters": grouped_parameters,
            "outputs": grouped_outputs,
            "losses": losses,
            "workspace": _workspace(layout),
        }
        products = network.n_parameters * len(X) * n_runs
        self._call(KernelKind(network, groups.group_size), arguments, products)
        outputs = groups.ungroup_outputs(grouped_outputs, np.empty((*Y.shape, n_runs)))
        return Evaluation(losses[:n_runs], outputs)

    def _run_groups(self, network: Network, n_runs: int) -> RunGroups:
        return RunGroups(network, self._group_size or choose_group_size(network, n_runs))

    def _advance(
        self,
        problem: Problem,
        state: BatchState,
        lr_factors: Array,
        sample_orders: Integers | None,
        groups: RunGroups,
    ) -> Progress:
        """Train with the kernel of ``kernel.training_module``."""
        network, n_runs = problem.network, state.n_runs
        training = Training(
            problem.optimizer,
            has_weight_decay=problem.has_weight_decay,
            has_lr_divisor=_has_lr_divisor(problem),
            is_shuffled=sample_orders is not None,
        )
        arguments = _training_arguments(problem, state, lr_factors, sample_orders, groups)
        products = problem.n_products(n_runs) * len(lr_factors)
        kind = KernelKind(network, groups.group_size, training)
        n_epochs = self._call(kind, arguments, products)
        _copy_results(arguments, groups, state)
        losses = arguments["losses"][:n_epochs, :n_runs]
        statuses = statuses_after_forward_pass(state, problem.Y, losses[-1])
        final = groups.ungroup_parameters(arguments["final_parameters"], state.parameters)
        return Progress(losses, statuses, mark_nonfinite_parameters(state, statuses, final))

    def _call(self, kind: KernelKind, arguments: Mapping[str, Any], products: int) -> int:
        """Call the kernel of this kind.

        Args:
            kind: The kind.
            arguments: Arguments by name, without ``cancelled``.
            products: Number of multiplications, to estimate the time.

        Returns:
            The result of the kernel.

        Raises:
            Cancelled: Another thread called ``cancel``.
        """
        function, signature = _load_kernel(kind, lambda: bool(self._cancelled[0]))
        arguments = {**arguments, "cancelled": self._cancelled}
        values = [
            arguments[name] if name in signature.sizes else np.ascontiguousarray(arguments[name])
            for name in signature.names
        ]

        def call() -> int:
            # Refers to the values, and so keeps contiguous copies alive during the call.
            result: int = function(
                *(value.ctypes.data if isinstance(value, np.ndarray) else value for value in values)
            )
            return result

        is_long = products > MAX_UNINTERRUPTIBLE and current_thread() is main_thread()
        result = self._call_interruptibly(call) if is_long else call()
        if result == CANCELLED:
            raise Cancelled
        return result

    def _call_interruptibly(self, call: Callable[[], int]) -> int:
        """Call a function in another thread, and cancel it on Ctrl-C.

        Python handles signals in the main thread, but not before a compiled function returns.
        """
        try:
            return result_of(in_daemon_thread(call))
        except BaseException:
            # Not joined: Ctrl-C may have prevented the start of the thread.
            self.cancel()
            raise


def _has_lr_divisor(problem: Problem) -> bool:
    return bool((problem.lr_divisor != 1.0).any())


def _training_arguments(
    problem: Problem,
    state: BatchState,
    lr_factors: Array,
    sample_orders: Integers | None,
    groups: RunGroups,
) -> dict[str, Any]:
    """The arguments of the training kernel by name, see ``kernel.training_module``."""
    layout, numbers = _layout(problem.network, groups.group_size)
    parameters = groups.group_parameters(state.parameters)
    n_groups = len(parameters)
    n_lanes = n_groups * groups.group_size
    lr_divisor: Array = np.empty(0)
    if _has_lr_divisor(problem):
        lr_divisor = groups.group_parameters(groups.repeat(problem.lr_divisor))
    return {
        "n_epochs": len(lr_factors),
        "n_groups": n_groups,
        "n_samples": len(problem.X),
        "batch_size": problem.batch_size,
        "layout": numbers,
        "sample_orders": _padded_orders(sample_orders, n_lanes),
        "lr_factors": lr_factors,
        "X": problem.X,
        "Y": groups.group_outputs(groups.repeat(problem.Y)),
        "class_weights": _class_weights(problem.network, groups),
        "lr_divisor": lr_divisor,
        "lr": groups.group_scalars(state.lr),
        "weight_decay": groups.group_scalars(state.weight_decay),
        "hyperparameters": groups.group_scalars(state.hyperparameters),
        "parameters": parameters,
        "final_parameters": np.empty_like(parameters),
        "optimizer_state": groups.group_parameters(state.optimizer_state),
        "outputs": groups.group_outputs(state.outputs),
        "stopping": groups.group_scalars(_stopping_rows(state)),
        "losses": aligned_empty((len(lr_factors), n_lanes)),
        "workspace": _workspace(layout),
    }


def _class_weights(network: Network, groups: RunGroups) -> Array:
    """Thresholds, weights of low and of high targets, (1, 3, row length); empty without them."""
    if network.class_weights is None:
        return np.empty(0)
    threshold, low, high = network.class_weights
    rows = np.array([[threshold] * len(low), low, high])
    return groups.group_outputs(groups.repeat(rows))


def _stopping_rows(state: BatchState) -> Array:
    """The rows of ``kernel.STOPPING``, (n_rows, L)."""
    return np.stack([getattr(state, name) for name in kernel.STOPPING])


def _copy_results(arguments: Mapping[str, Any], groups: RunGroups, state: BatchState) -> None:
    """Copy what the training kernel has changed to the state of the batch."""
    state.parameters[:] = groups.ungroup_parameters(arguments["parameters"], state.parameters)
    state.optimizer_state[:] = groups.ungroup_parameters(
        arguments["optimizer_state"], state.optimizer_state
    )
    state.outputs[:] = groups.ungroup_outputs(arguments["outputs"], state.outputs)
    rows = groups.ungroup_scalars(arguments["stopping"], _stopping_rows(state))
    *_, state.best_loss[:], state.epochs_since_best[:] = rows


def _load_kernel(kind: KernelKind, is_cancelled: Callable[[], bool]) -> tuple[Any, Signature]:
    """The compiled kernel of a kind, and its arguments. Raises Cancelled."""
    is_training = kind.training is not None
    wanted = kernel.TRAINING_KERNEL if is_training else kernel.EVALUATION_KERNEL
    formulas = formulas_key(kind.network.functions, kind.training and kind.training.optimizer)
    # Widths and class weights are arguments of the kernel: they are not part of the key.
    network = replace(kind.network, sizes=(), class_weights=None)
    is_weighted = kind.network.class_weights is not None
    key = (kind._replace(network=network), len(kind.network.sizes), is_weighted, *formulas)
    function_type = jit.FunctionType(wanted.name, ctypes.c_int64, _types(wanted.signature))
    function = jit.load_function(
        key, function_type, lambda: wanted.generate(kind), kernel.libraries(), is_cancelled
    )
    return function, wanted.signature


@lru_cache(maxsize=64)
def _layout(network: Network, group_size: int) -> tuple[Layout, Integers]:
    """The layout, and its numbers as the kernels read them."""
    layout = Layout.of(network, group_size)
    return layout, np.array(layout.to_list())


def _padded_orders(sample_orders: Integers | None, n_lanes: int) -> Integers:
    """Sample orders for all lanes; unused lanes repeat the first run."""
    if sample_orders is None:
        return np.empty((1, 0, 0), np.int64)
    n_unused = n_lanes - sample_orders.shape[-1]
    return np.concatenate([sample_orders, *[sample_orders[..., :1]] * n_unused], axis=-1)


def _workspace(layout: Layout) -> Array:
    workspace: Array = aligned_empty((layout.workspace_size,))
    workspace[:] = 0.0
    workspace[layout.ones : layout.ones + layout.block] = 1.0
    return workspace


def _types(signature: Signature) -> list[Any]:
    arrays = signature.integer_arrays + signature.number_arrays
    sizes: list[Any] = [ctypes.c_int64] * len(signature.sizes)
    return sizes + [ctypes.c_void_p] * len(arrays)
