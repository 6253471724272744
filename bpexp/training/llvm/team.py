"""Threads that call one kernel together: the share of each, and how they wait for each other.

Each thread calls the same function with the same arrays and its own index. It computes its share of
the rows of a step, and waits before a step that reads what other threads have written. Every number
is computed by one thread, in the order of operations of a single thread, so that the number of
threads changes no result.

>>> module = ir.Module()
>>> arguments = [INDEX, INDEX, INDEX.as_pointer(), INDEX.as_pointer()]
>>> function = ir.Function(module, ir.FunctionType(INDEX, arguments), "wait")
>>> b = ir.IRBuilder(function.append_basic_block("entry"))
>>> names = ("thread", "n_threads", "team", "cancelled")
>>> team = Team(b, dict(zip(names, function.args, strict=True)))
>>> team.barrier()
>>> _ = b.ret(INDEX(0))
"""

from collections.abc import Mapping
from typing import Any

from llvmlite import ir

from bpexp.training.llvm.codegen import BOOLEAN, INDEX, Variable, minimum
from bpexp.training.llvm.lane_layout import LANES

CANCELLED = -1
"""What a kernel returns if it was cancelled."""
TEAM_SIZE = 2
"""Integers in the array ``team``, 0 at first: arrivals at barriers, and the decision."""
SPINS = 4096
"""How often a thread looks whether the others have arrived, some microseconds, before it offers its
processor to other threads each time."""


class Team:
    """Appends the code by which threads share the work of a kernel.

    Args:
        b: Appends instructions.
        arguments: LLVM values of the kernel's arguments ``thread``, ``n_threads``, ``team`` and
            ``cancelled``.

    Attributes:
        thread: Index of this thread, an LLVM integer.
        is_first: Whether it is the first one, an LLVM boolean.
    """

    def __init__(self, b: ir.IRBuilder, arguments: Mapping[str, Any]) -> None:
        self._b, self.thread, self._n_threads = b, arguments["thread"], arguments["n_threads"]
        self.is_first = b.icmp_signed("==", self.thread, INDEX(0))
        self._has_others = b.icmp_signed(">", self._n_threads, INDEX(1))
        self._arrivals = arguments["team"]
        self._decision = b.gep(arguments["team"], [INDEX(1)])
        self._cancelled = arguments["cancelled"]
        self._expected = Variable(b, INDEX(0))

    def share(self, count: Any) -> tuple[Any, Any]:
        """The indices from 0 to ``count`` that are for this thread: their first, and their end.

        All shares but the last one are multiples of ``LANES``.
        """
        b, bounds = self._b, (Variable(self._b, INDEX(0)), Variable(self._b, count))
        # A division takes as long as many multiplications.
        with b.if_then(self._has_others, likely=False):
            units = b.sdiv(b.add(count, INDEX(LANES - 1)), INDEX(LANES))
            threads = (self.thread, b.add(self.thread, INDEX(1)))
            for bound, thread in zip(bounds, threads, strict=True):
                unit = b.sdiv(b.mul(units, thread), self._n_threads)
                bound.set(minimum(b, b.mul(unit, INDEX(LANES)), count))
        return bounds[0].get(), bounds[1].get()

    def barrier(self) -> None:
        """Wait until all threads are here; return from the kernel if it is cancelled."""
        b = self._b
        with b.if_then(self._has_others, likely=False):
            self._expected.set(b.add(self._expected.get(), self._n_threads))
            b.atomic_rmw("add", self._arrivals, INDEX(1), "acq_rel")
            spins = Variable(b, INDEX(0))
            head, body, end = (b.append_basic_block() for _ in range(3))
            b.branch(head)
            b.position_at_end(head)
            arrivals = b.load_atomic(self._arrivals, "acquire", 8)
            b.cbranch(b.icmp_signed("<", arrivals, self._expected.get()), body, end)
            b.position_at_end(body)
            self.return_if_cancelled()
            spins.set(b.add(spins.get(), INDEX(1)))
            with b.if_then(b.icmp_signed(">", spins.get(), INDEX(SPINS)), likely=False):
                self._yield_processor()
            b.branch(head)
            b.position_at_end(end)

    def decision(self, condition: Any) -> Any:
        """What a condition is in the first thread, an LLVM boolean; waits for all threads."""
        b = self._b
        with b.if_then(self.is_first):
            b.store(b.zext(condition, INDEX), self._decision)
        self.barrier()
        return b.trunc(b.load(self._decision), BOOLEAN)

    def return_if_cancelled(self) -> None:
        """Return from the kernel if another thread has set the number at ``cancelled``."""
        # An atomic load is not moved out of loops.
        flag = self._b.load_atomic(self._cancelled, "monotonic", 8)
        with self._b.if_then(self._b.icmp_signed("!=", flag, INDEX(0)), likely=False):
            self._b.ret(INDEX(CANCELLED))

    def _yield_processor(self) -> None:
        """Call ``sched_yield`` of the C library."""
        b, name = self._b, "sched_yield"
        function = b.module.globals.get(name) or ir.Function(
            b.module, ir.FunctionType(ir.IntType(32), []), name
        )
        b.call(function, [])
