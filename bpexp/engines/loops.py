"""What code for LLVM is put together from: loops, places for numbers, rows of vectors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from llvmlite import ir

from bpexp.engines.symbols import LANES, REAL, Symbol, spread

INDEX, NUMBER = ir.IntType(64), ir.DoubleType()
NOTHING = -0.0
"""What a sum begins with: -0 + x is x, bit by bit, for every x."""


@contextmanager
def loop(b: ir.IRBuilder, start: Any, stop: Any, step: int = 1) -> Iterator[Any]:
    """What is written inside runs for start, start + step, ... below ``stop``."""
    head, body, end = (b.append_basic_block() for _ in range(3))
    before = b.block
    b.branch(head)
    b.position_at_end(head)
    at = b.phi(INDEX)
    at.add_incoming(whole(start), before)
    b.cbranch(b.icmp_signed("<", at, whole(stop)), body, end)
    b.position_at_end(body)
    yield at
    following = b.add(at, INDEX(step))
    at.add_incoming(following, b.block)
    b.branch(head)
    b.position_at_end(end)


def whole(number: Any) -> Any:
    """A whole number, known now or when the code runs, as the code's."""
    return INDEX(number) if isinstance(number, int) else number


def kept(b: ir.IRBuilder, kind: Any, first: Any = None) -> Any:
    """A place for a number or a vector that changes; LLVM keeps it in a register."""
    with b.goto_entry_block():
        place = b.alloca(kind)
    if first is not None:
        b.store(first, place)
    return place


class Rows(NamedTuple):
    """Rows of numbers in memory: where the first is, and how many numbers lie between two."""

    first: Any
    stride: Any

    def at(self, b: ir.IRBuilder, row: Any, column: Any = 0) -> Any:
        """The address of a number."""
        place = b.add(b.mul(whole(row), whole(self.stride)), whole(column))
        return b.gep(self.first, [place])

    def number(self, b: ir.IRBuilder, row: Any, column: Any = 0) -> Symbol:
        """One number."""
        return Symbol(b, b.load(self.at(b, row, column)))

    def everywhere(self, b: ir.IRBuilder, row: Any, column: Any = 0) -> Symbol:
        """One number in every lane of a vector."""
        return spread(b, b.load(self.at(b, row, column)))

    def vector(self, b: ir.IRBuilder, row: Any, column: Any = 0) -> Symbol:
        """The LANES numbers from there on."""
        place = b.bitcast(self.at(b, row, column), REAL.as_pointer())
        return Symbol(b, b.load(place, align=8))

    def put(self, b: ir.IRBuilder, value: Symbol, row: Any, column: Any = 0) -> None:
        """Write a number or a vector."""
        place = self.at(b, row, column)
        if value.value.type == REAL:
            b.store(value.value, b.bitcast(place, REAL.as_pointer()), align=8)
        else:
            b.store(value.value, place)


Finish = Callable[[Any, Any, Symbol], None]
"""(row, column, sum) -> what is done with LANES finished sums."""


def products(
    b: ir.IRBuilder,
    tile: tuple[int, int],
    left: Callable[[Any, Any], Symbol],
    right: Rows,
    shape: tuple[Any, int],
    count: Any,
    begin: Callable[[Any, Any], Symbol],
    finish: Finish,
) -> None:
    """sum_t left(r, t) right[t, column], added in order of t < ``count`` to ``begin``.

    Of ``shape`` = (rows, columns), the columns a multiple of LANES; ``tile`` = (rows, vectors)
    of sums are in registers at once: what is loaded serves several.
    """
    rows, columns = shape
    height, width = tile
    n_vectors = columns // LANES
    body = n_vectors // width * width

    def across(row: Any, height: int) -> None:
        if body:
            with loop(b, 0, body * LANES, width * LANES) as column:
                sums(row, height, column, width)
        if n_vectors > body:
            sums(row, height, body * LANES, n_vectors - body)

    def sums(row: Any, height: int, column: Any, width: int) -> None:
        lines = [b.add(whole(row), INDEX(u)) for u in range(height)]
        places = [b.add(whole(column), INDEX(v * LANES)) for v in range(width)]
        cells = [(u, v) for u in range(height) for v in range(width)]
        totals = {(u, v): kept(b, REAL, begin(lines[u], places[v]).value) for u, v in cells}
        with loop(b, 0, count) as t:
            vectors = [right.vector(b, t, place) for place in places]
            for u, line in enumerate(lines):
                one = left(line, t)
                for v, vector in enumerate(vectors):
                    total = Symbol(b, b.load(totals[u, v])) + one * vector
                    b.store(total.value, totals[u, v])
        for u, v in cells:
            finish(lines[u], places[v], Symbol(b, b.load(totals[u, v])))

    tiled = b.mul(b.sdiv(whole(rows), INDEX(height)), INDEX(height))
    with loop(b, 0, tiled, height) as row:
        across(row, height)
    with loop(b, tiled, rows) as row:
        across(row, 1)
