"""What code for LLVM is put together from: loops, variables, rows of numbers, products."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from llvmlite import ir

from bpexp.engines.symbols import LANES, REAL, Symbol, spread

INDEX, NUMBER = ir.IntType(64), ir.DoubleType()


@contextmanager
def loop(b: ir.IRBuilder, start: Any, stop: Any, step: int = 1) -> Iterator[Any]:
    """What is written inside runs for start, start + step, ... below ``stop``."""
    head, body, end = (b.append_basic_block() for _ in range(3))
    before = b.block
    b.branch(head)
    b.position_at_end(head)
    at = b.phi(INDEX)
    at.add_incoming(_whole(start), before)
    b.cbranch(b.icmp_signed("<", at, _whole(stop)), body, end)
    b.position_at_end(body)
    yield at
    following = b.add(at, INDEX(step))
    at.add_incoming(following, b.block)
    b.branch(head)
    b.position_at_end(end)


def _whole(number: Any) -> Any:
    """A whole number that is known now, or when the code runs, as the latter."""
    return INDEX(number) if isinstance(number, int) else number


def number(b: ir.IRBuilder, known: float) -> Any:
    """A number that is known now, as a Symbol."""
    return Symbol(b, NUMBER(known))


def vector(b: ir.IRBuilder, known: float) -> Any:
    """The same in every lane."""
    return Symbol(b, ir.Constant(REAL, [known] * LANES))


def nothing(b: ir.IRBuilder) -> Any:
    """What the sums of a vector begin with: -0 + x is x, bit by bit, for every x."""
    return vector(b, -0.0)


class Variable:
    """A number or a vector that changes; LLVM keeps it in a register."""

    def __init__(self, b: ir.IRBuilder, first: Symbol) -> None:
        self._b = b
        with b.goto_entry_block():
            self._place = b.alloca(first.value.type)
        self.become(first)

    @property
    def now(self) -> Any:
        """Its value, a Symbol."""
        return Symbol(self._b, self._b.load(self._place))

    def become(self, value: Symbol) -> None:
        """Change it."""
        self._b.store(value.value, self._place)


class Rows(NamedTuple):
    """Rows of numbers in memory: where the first is, and how many numbers lie between two."""

    first: Any
    stride: Any

    def at(self, b: ir.IRBuilder, row: Any, column: Any = 0) -> Any:
        """The address of a number."""
        return b.gep(self.first, [b.add(b.mul(_whole(row), _whole(self.stride)), _whole(column))])

    def number(self, b: ir.IRBuilder, row: Any, column: Any = 0) -> Any:
        """One number, as a Symbol."""
        return Symbol(b, b.load(self.at(b, row, column)))

    def everywhere(self, b: ir.IRBuilder, row: Any, column: Any = 0) -> Any:
        """One number in every lane of a vector."""
        return spread(b, b.load(self.at(b, row, column)))

    def vector(self, b: ir.IRBuilder, row: Any, column: Any = 0) -> Any:
        """The LANES numbers from there on."""
        place = b.bitcast(self.at(b, row, column), REAL.as_pointer())
        return Symbol(b, b.load(place, align=8))

    def put(self, b: ir.IRBuilder, value: Symbol, row: Any, column: Any = 0) -> None:
        """Write a number, or a vector."""
        place = self.at(b, row, column)
        if value.value.type == REAL:
            place = b.bitcast(place, REAL.as_pointer())
        b.store(value.value, place, align=8)


def products(
    b: ir.IRBuilder,
    tile: tuple[int, int],
    shape: tuple[Any, int],
    count: Any,
    left: Callable[[Any, Any], Any],
    right: Rows,
    begin: Callable[[Any, Any], Any],
    finish: Callable[[Any, Any, Any], None],
) -> None:
    """finish(r, c, begin(r, c) + left(r, 0) right[0, c] + left(r, 1) right[1, c] + ...), ``count``
    terms added in this order, for each row r and each vector of columns c.

    Of ``shape`` = (rows, columns), the columns a multiple of LANES. ``tile`` = (rows, vectors) of
    sums are in registers at once: what is loaded serves several.
    """
    rows, columns = shape
    height, width = tile

    def across(row: Any, height: int) -> None:
        wide = columns // (width * LANES) * width * LANES
        if wide:
            with loop(b, 0, wide, width * LANES) as column:
                sums(row, height, column, width)
        if columns > wide:
            sums(row, height, INDEX(wide), (columns - wide) // LANES)

    def sums(row: Any, height: int, column: Any, width: int) -> None:
        lines = [b.add(row, INDEX(u)) for u in range(height)]
        places = [b.add(column, INDEX(v * LANES)) for v in range(width)]
        totals = [[Variable(b, begin(line, place)) for place in places] for line in lines]
        with loop(b, 0, count) as t:
            vectors = [right.vector(b, t, place) for place in places]
            for line, across_line in zip(lines, totals, strict=True):
                one = left(line, t)
                for total, many in zip(across_line, vectors, strict=True):
                    total.become(total.now + one * many)
        for line, across_line in zip(lines, totals, strict=True):
            for place, total in zip(places, across_line, strict=True):
                finish(line, place, total.now)

    tiled = b.mul(b.sdiv(_whole(rows), INDEX(height)), INDEX(height))
    with loop(b, 0, tiled, height) as row:
        across(row, height)
    with loop(b, tiled, rows) as row:
        across(row, 1)
