"""The compiled engine: calls kernels that were generated for the problem at hand.

The engine rearranges the arrays of a batch as the kernels expect them, calls a kernel, and copies
the results back. Very small networks use ``unrolled_kernel``, all others the kernels in ``kernel``.

>>> from bpexp.training.engine import Problem
>>> network = Network(sizes=(1, 1), activation_names=("identity",))
>>> problem = Problem(
...     network=network, X=np.array([[1.0], [2.0]]), Y=np.array([[2.0], [4.0]]),
...     optimizer="gradient_descent", lr_divisor=np.ones(2), has_weight_decay=False, batch_size=2,
... )
>>> parameters = np.array([[1.0, 2.0], [0.0, 0.0]])  # two runs: y = x and y = 2 x
>>> LlvmEngine().evaluate(network, parameters, problem.X, problem.Y).losses
array([2.5, 0. ])
"""

import ctypes
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from threading import current_thread, main_thread
from typing import Any

import numpy as np

from bpexp.interrupts import in_daemon_thread, result_of
from bpexp.nn.network import Network
from bpexp.training.engine import BatchState, Cancelled, EngineOutputs, Integers, Problem, Progress
from bpexp.training.llvm import jit, kernel, unrolled_kernel
from bpexp.training.llvm.formulas import formulas_key
from bpexp.training.llvm.kernel import Signature
from bpexp.training.llvm.kind import KernelKind, Training
from bpexp.training.llvm.lane_layout import RunGroups, aligned_empty, choose_group_size
from bpexp.training.llvm.layout import Layout
from bpexp.training.llvm.team import CANCELLED, TEAM_SIZE
from bpexp.training.stopping import mark_nonfinite_parameters, statuses_after_forward_pass
from bpexp.typing import Array

PRODUCTS_PER_SECOND = 2**32
"""Full batches of digits take a third of the time that this gives, small batches several times."""
MIN_PRODUCTS_PER_THREAD, MIN_ROWS_PER_THREAD = 2**21, 32
"""Multiplications of the forward pass of a block, and its samples, for each thread of a call, at
least. With fewer samples, copying the weights between processors takes as long as computing."""
MIN_PROCESSOR_SHARE = 0.9
"""A thread that had less of a processor had to share it with other programs. Threads that wait for
each other are then slower than a single one."""
PAUSE = 10.0
"""Calls use one thread for so many times the time of a call whose threads had no processor each."""
MAX_UNINTERRUPTIBLE = 2**27
"""Multiplications of a call in the main thread that Ctrl-C need not end: some 20 milliseconds."""


class LlvmEngine:
    """Implements ``bpexp.training.engine.Engine`` by machine code.

    Args:
        group_size: Use always this group size (see ``lane_layout``) and never the unrolled
            kernel; None chooses what is fastest.
        n_threads: Use always so many threads; None chooses what is fastest, up to ``max_threads``.

    Attributes:
        max_threads: See ``Engine``.
    """

    def __init__(self, group_size: int | None = None, n_threads: int | None = None) -> None:
        self.max_threads = 1
        self._group_size, self._n_threads = group_size, n_threads
        self._cancelled = np.zeros(1, np.int64)
        self._alone_until = 0.0

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

    def evaluate(self, network: Network, parameters: Array, X: Array, Y: Array) -> EngineOutputs:
        """See ``Engine.evaluate``."""
        n_runs = parameters.shape[-1]
        groups = self._run_groups(network, n_runs)
        layout, numbers = _layout(network, groups.group_size)
        n_threads = self._count_threads(network, groups, min(len(X), layout.block))
        grouped_parameters = groups.group_parameters(parameters)
        grouped_outputs = groups.empty_outputs(len(grouped_parameters), len(X))
        losses = np.empty(len(grouped_parameters) * groups.group_size)
        arguments = {
            "n_groups": len(grouped_parameters),
            "n_samples": len(X),
            "layout": numbers,
            "X": X,
            "Y": groups.pad_outputs(Y),
            "class_weights": _class_weights(network, groups),
            "parameters": grouped_parameters,
            "outputs": grouped_outputs,
            "losses": losses,
            "workspace": _workspace(layout, n_threads),
        }
        products = network.n_parameters * len(X) * n_runs
        self._call(KernelKind(network, groups.group_size), arguments, products, n_threads)
        outputs = groups.ungroup_outputs(grouped_outputs, np.empty((*Y.shape, n_runs)))
        return EngineOutputs(losses[:n_runs], outputs)

    def _run_groups(self, network: Network, n_runs: int) -> RunGroups:
        return RunGroups(network, self._group_size or choose_group_size(network, n_runs))

    def _count_threads(self, network: Network, groups: RunGroups, n_samples: int) -> int:
        """How many threads share the products of so many samples of a group."""
        if self._n_threads is not None:
            return self._n_threads
        if time.monotonic() < self._alone_until:
            return 1
        products = network.n_parameters * groups.group_size * n_samples
        n_worthwhile = min(products // MIN_PRODUCTS_PER_THREAD, n_samples // MIN_ROWS_PER_THREAD)
        return max(1, min(self.max_threads, n_worthwhile))

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
        layout, numbers = _layout(network, groups.group_size)
        n_threads = self._count_threads(network, groups, min(problem.batch_size, layout.block))
        arguments = _training_arguments(problem, state, lr_factors, sample_orders, groups)
        arguments |= {"layout": numbers, "workspace": _workspace(layout, n_threads)}
        products = problem.n_products(n_runs) * len(lr_factors)
        kind = KernelKind(network, groups.group_size, training)
        n_epochs = self._call(kind, arguments, products, n_threads)
        _copy_results(arguments, groups, state)
        final = groups.ungroup_parameters(arguments["final_parameters"], state.parameters)
        if n_epochs <= arguments["first_stored_epoch"]:
            # A run has diverged.
            state.outputs[:] = self.evaluate(network, final, problem.X, problem.Y).outputs
        losses = arguments["losses"][:n_epochs, :n_runs]
        statuses = statuses_after_forward_pass(state, problem.Y, losses[-1])
        return Progress(losses, statuses, mark_nonfinite_parameters(state, statuses, final))

    def _call(
        self, kind: KernelKind, arguments: Mapping[str, Any], products: int, n_threads: int
    ) -> int:
        """Call the kernel of this kind.

        Args:
            kind: The kind.
            arguments: Arguments by name, without those that tell threads apart and ``cancelled``.
            products: Number of multiplications, to estimate the time.
            n_threads: Number of threads that call it together.

        Returns:
            The result of the kernel.

        Raises:
            Cancelled: Another thread called ``cancel``.
        """
        function, signature = _load_kernel(kind, lambda: bool(self._cancelled[0]))
        shared = {
            **arguments, "cancelled": self._cancelled, "team": np.zeros(TEAM_SIZE, np.int64),
        }  # fmt: skip
        values = {
            name: value if name in signature.sizes else np.ascontiguousarray(value)
            for name, value in shared.items()
        }

        def call(thread: int, n_threads: int) -> int:
            # Refers to the values, and so keeps contiguous copies alive during the call.
            of_thread = {**values, "thread": thread, "n_threads": n_threads}
            ordered = [of_thread[name] for name in signature.names]
            result: int = function(
                *(
                    value.ctypes.data if isinstance(value, np.ndarray) else value
                    for value in ordered
                )
            )
            return result

        is_long = products > MAX_UNINTERRUPTIBLE and current_thread() is main_thread()
        is_here = n_threads == 1 and not is_long
        results = [call(0, 1)] if is_here else self._call_in_threads(call, n_threads)
        if CANCELLED in results:
            raise Cancelled
        return results[0]

    def _call_in_threads(self, call: Callable[[int, int], int], n_threads: int) -> list[int]:
        """Call a function in other threads, and cancel them on Ctrl-C.

        Python handles signals in the main thread, but not before a compiled function returns.

        Args:
            call: The function, of the index of a thread and their number.
            n_threads: How many threads to start.

        Returns:
            The results of the threads.
        """
        n_started: Future[int] = Future()

        def share(thread: int) -> int:
            n_threads = n_started.result()
            wall, processor = time.monotonic(), time.thread_time()
            result = call(thread, n_threads)
            seconds = time.monotonic() - wall
            if n_threads > 1 and time.thread_time() - processor < MIN_PROCESSOR_SHARE * seconds:
                self._alone_until = time.monotonic() + PAUSE * seconds
            return result

        try:
            started: list[Future[int]] = []
            # Where the system allows no more threads, those that were started share the work.
            with suppress(RuntimeError):
                for k in range(n_threads):
                    started.append(in_daemon_thread(partial(share, k)))
            n_started.set_result(len(started))
            return [result_of(one) for one in started] or [call(0, 1)]
        except BaseException:
            # Not joined: Ctrl-C may have prevented the start of a thread.
            self.cancel()
            n_started.cancel()
            raise


def _has_lr_divisor(problem: Problem) -> bool:
    return bool((problem.lr_divisor != 1.0).any())


def _first_stored_epoch(problem: Problem, state: BatchState, n_epochs: int) -> int:
    """The first epoch whose outputs the kernel stores.

    With full batches the outputs of the last epoch can be computed again if a run diverges before.
    With mini-batches they are those of many parameters.
    """
    is_full = problem.batch_size >= len(problem.X)
    return n_epochs - 1 if is_full and not state.has_stopping_criterion else 0


def _training_arguments(
    problem: Problem,
    state: BatchState,
    lr_factors: Array,
    sample_orders: Integers | None,
    groups: RunGroups,
) -> dict[str, Any]:
    """The arguments of ``kernel.training_module`` by name, except those for the threads."""
    parameters = groups.group_parameters(state.parameters)
    n_groups = len(parameters)
    n_lanes = n_groups * groups.group_size
    lr_divisor: Array = np.empty(0)
    if _has_lr_divisor(problem):
        lr_divisor = groups.group_parameters(groups.repeat(problem.lr_divisor))
    return {
        "n_epochs": len(lr_factors),
        "first_stored_epoch": _first_stored_epoch(problem, state, len(lr_factors)),
        "n_groups": n_groups,
        "n_samples": len(problem.X),
        "batch_size": problem.batch_size,
        "sample_orders": _padded_orders(sample_orders, n_lanes),
        "lr_factors": lr_factors,
        "X": problem.X,
        "Y": groups.pad_outputs(problem.Y),
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
    optimizer = kind.training and kind.training.optimizer
    formulas = formulas_key(kind.network.activation_names, optimizer)
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


def _workspace(layout: Layout, n_threads: int) -> Array:
    workspace: Array = aligned_empty((layout.size_for(n_threads),))
    workspace[:] = 0.0
    workspace[layout.ones : layout.ones + layout.block] = 1.0
    return workspace


def _types(signature: Signature) -> list[Any]:
    arrays = signature.integer_arrays + signature.number_arrays
    sizes: list[Any] = [ctypes.c_int64] * len(signature.sizes)
    return sizes + [ctypes.c_void_p] * len(arrays)
