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
from concurrent.futures import Future
from dataclasses import replace
from functools import lru_cache
from threading import Thread, current_thread, main_thread
from typing import Any

import numpy as np

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
        network, group_size, n_runs = problem.network, groups.group_size, state.n_runs
        training = Training(
            problem.optimizer,
            has_weight_decay=problem.has_weight_decay,
            has_lr_divisor=bool((problem.lr_divisor != 1.0).any()),
            is_shuffled=sample_orders is not None,
        )
        layout, numbers = _layout(network, group_size)
        parameters = groups.group_parameters(state.parameters)
        final_parameters = np.empty_like(parameters)
        optimizer_state = groups.group_parameters(state.optimizer_state)
        outputs = groups.group_outputs(state.outputs)
        stopping_rows = np.stack([getattr(state, name) for name in kernel.STOPPING])
        stopping = groups.group_scalars(stopping_rows)
        n_groups = len(parameters)
        losses = aligned_empty((len(lr_factors), n_groups * group_size))
        lr_divisor: Array = np.empty(0)
        if training.has_lr_divisor:
            lr_divisor = groups.group_parameters(groups.repeat(problem.lr_divisor))
        arguments = {
            "n_epochs": len(lr_factors),
            "n_groups": n_groups,
            "n_samples": len(problem.X),
            "batch_size": problem.batch_size,
            "layout": numbers,
            "sample_orders": _padded_orders(sample_orders, n_groups * group_size),
            "lr_factors": lr_factors,
            "X": problem.X,
            "Y": groups.group_outputs(groups.repeat(problem.Y)),
            "lr_divisor": lr_divisor,
            "lr": groups.group_scalars(state.lr),
            "weight_decay": groups.group_scalars(state.weight_decay),
            "hyperparameters": groups.group_scalars(state.hyperparameters),
            "parameters": parameters,
            "final_parameters": final_parameters,
            "optimizer_state": optimizer_state,
            "outputs": outputs,
            "stopping": stopping,
            "losses": losses,
            "workspace": _workspace(layout),
        }
        products = 3 * network.n_parameters * len(problem.X) * len(lr_factors) * n_runs
        n_epochs = self._call(KernelKind(network, group_size, training), arguments, products)
        state.parameters[:] = groups.ungroup_parameters(parameters, state.parameters)
        state.optimizer_state[:] = groups.ungroup_parameters(optimizer_state, state.optimizer_state)
        state.outputs[:] = groups.ungroup_outputs(outputs, state.outputs)
        *_, best_loss, epochs_since_best = groups.ungroup_scalars(stopping, stopping_rows)
        state.best_loss[:], state.epochs_since_best[:] = best_loss, epochs_since_best
        losses = losses[:n_epochs, :n_runs]
        statuses = statuses_after_forward_pass(state, problem.Y, losses[-1])
        final = groups.ungroup_parameters(final_parameters, state.parameters)
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
        if kind.training is None:
            name, signature, generate = (
                kernel.EVALUATE,
                kernel.EVALUATE_SIGNATURE,
                kernel.evaluation_module,
            )
        else:
            name, signature, generate = kernel.TRAIN, kernel.TRAIN_SIGNATURE, kernel.training_module
        # Widths are arguments of the kernel: they are not part of the key.
        formulas = formulas_key(
            kind.network.functions, None if kind.training is None else kind.training.optimizer
        )
        network = replace(kind.network, sizes=())
        key = (kind._replace(network=network), len(kind.network.sizes), *formulas)
        function = jit.load_function(
            key, jit.FunctionType(name, ctypes.c_int64, _types(signature)), lambda: generate(kind)
        )
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
        future: Future[int] = Future()

        def run() -> None:
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)

        try:
            Thread(target=run, daemon=True).start()
            return future.result()
        except BaseException:
            # Not joined: Ctrl-C may have prevented the start of the thread.
            self.cancel()
            raise


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
