"""What code for LLVM is put together from: loops, variables, rows of numbers, products."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from llvmlite import ir

from bpexp.training.llvm.vector_ir import LANES, REAL, Symbol, spread

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


def vector(b: ir.IRBuilder, known: float) -> Any:
    """The same number, known now, in every lane."""
    return Symbol(b, ir.Constant(REAL, [known] * LANES))


def any_of(truths: Symbol) -> Any:
    """Whether one of them holds."""
    b, bits = truths.builder, ir.IntType(LANES)
    return b.icmp_unsigned("!=", b.bitcast(truths.value, bits), bits(0))


class Variable:
    """A vector that changes; LLVM keeps it in a register."""

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
    """Rows of units in memory: where the first is, how many numbers lie between two rows, and how
    many runs' numbers a unit has: LANES side by side, or 1.
    """

    first: Any
    stride: Any
    together: int = 1

    def at(self, b: ir.IRBuilder, row: Any, column: Any = 0) -> Any:
        """The address of a number."""
        return b.gep(self.first, [b.add(b.mul(_whole(row), _whole(self.stride)), _whole(column))])

    def each(self, b: ir.IRBuilder, row: Any, unit: Any) -> Any:
        """What each lane's run has of one unit, a Symbol."""
        place = b.mul(_whole(unit), INDEX(self.together))
        if self.together == LANES:
            return self.vector(b, row, place)
        return spread(b, b.load(self.at(b, row, place)))

    def put_each(self, b: ir.IRBuilder, value: Symbol, row: Any, unit: Any) -> None:
        """Write it."""
        place = b.mul(_whole(unit), INDEX(self.together))
        if self.together == LANES:
            self.put(b, value, row, place)
        else:
            b.store(b.extract_element(value.value, INDEX(0)), self.at(b, row, place))

    def vector(self, b: ir.IRBuilder, row: Any, column: Any) -> Any:
        """The LANES numbers from there on, a Symbol."""
        place = b.bitcast(self.at(b, row, column), REAL.as_pointer())
        return Symbol(b, b.load(place, align=8))

    def put(self, b: ir.IRBuilder, value: Symbol, row: Any, column: Any) -> None:
        """Write them."""
        place = b.bitcast(self.at(b, row, column), REAL.as_pointer())
        b.store(value.value, place, align=8)


def products(module: ir.Module, tile: tuple[int, int], together: int) -> ir.Function:
    """Writes a function (rows, columns, count, left, down, along, right, stride, sums) that adds
    left[r down + t along] right[t stride + c] to sums[r stride + c], for t = 0, 1, ... below
    ``count`` in this order, for each row r and column c; columns come in whole vectors.

    ``together``: what is at the left is a number for all lanes (1), or a vector (LANES). ``tile``
    = (rows, vectors) of sums are in registers at once: what is loaded serves several.
    """
    numbers, names = NUMBER.as_pointer(), ("left", "down", "along", "right", "stride", "sums")
    kinds = [INDEX] * 3 + [numbers, INDEX, INDEX, numbers, INDEX, numbers]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), f"products_{together}")
    function.linkage = "internal"
    function.attributes.add("noinline")
    rows, columns, count, *others = function.args
    given = dict(zip(names, others, strict=True))
    given["sums"].add_attribute("noalias")
    b = ir.IRBuilder(function.append_basic_block())
    right, sums = Rows(given["right"], given["stride"]), Rows(given["sums"], given["stride"])

    def add(row: Any, height: int, column: Any, width: int) -> None:
        lines = [b.add(row, INDEX(u)) for u in range(height)]
        places = [b.add(column, INDEX(v * LANES)) for v in range(width)]
        lefts = [
            Rows(b.gep(given["left"], [b.mul(r, given["down"])]), given["along"], together)
            for r in lines
        ]
        cells = [(r, c) for r in range(height) for c in range(width)]
        totals = {(r, c): Variable(b, sums.vector(b, lines[r], places[c])) for r, c in cells}
        with loop(b, 0, count) as t:
            vectors = [right.vector(b, t, place) for place in places]
            ones = [left.each(b, t, 0) for left in lefts]
            for r, c in cells:
                totals[r, c].become(totals[r, c].now + ones[r] * vectors[c])
        for r, c in cells:
            sums.put(b, totals[r, c].now, lines[r], places[c])

    height, width = tile
    for row, high in _tiled(b, rows, [height, 1], 1):
        with row as r:
            for column, wide in _tiled(b, columns, _halves(width), LANES):
                with column as c:
                    add(r, high, c, wide)
    b.ret_void()
    return function


def _halves(width: int) -> list[int]:
    return [] if not width else [width, *_halves(width // 2)]


def _tiled(b: ir.IRBuilder, stop: Any, counts: Sequence[int], unit: int) -> Iterator[Any]:
    """Loops to ``stop``, each with how many units a step has: as far as the most go, then fewer."""
    start: Any = INDEX(0)
    for count in counts:
        step = INDEX(count * unit)
        end = b.add(start, b.mul(b.sdiv(b.sub(stop, start), step), step))
        yield loop(b, start, end, count * unit), count
        start = end
