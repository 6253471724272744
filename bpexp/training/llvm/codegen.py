"""Building blocks of generated code: loops, variables, and matrices in memory.

The functions and methods here do not compute; they append instructions to a program. "Returns"
means the LLVM value or the ``Symbol`` that stands for the result when the program runs.

>>> module = ir.Module()
>>> function = ir.Function(module, ir.FunctionType(INDEX, [INDEX]), "square_by_adding")
>>> b = ir.IRBuilder(function.append_basic_block("entry"))
>>> total = Variable(b, INDEX(0))
>>> with for_range(b, 0, function.args[0]) as i:
...     total.set(b.add(total.get(), function.args[0]))
>>> _ = b.ret(total.get())
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from llvmlite import ir

from bpexp.training.llvm.lane_layout import LANES
from bpexp.training.llvm.vector_ir import FLOATS, Symbol, broadcast

INDEX, NUMBER, BOOLEAN = ir.IntType(64), ir.DoubleType(), ir.IntType(1)
"""The scalar types: integers for indices and sizes, float64, and booleans."""
ZERO_SUM = -0.0
"""Initial value of sums: unlike +0, adding any x to -0 gives exactly the bits of x."""


@contextmanager
def for_range(b: ir.IRBuilder, start: Any, stop: Any, step: Any = 1) -> Iterator[Any]:
    """Append a loop. The code appended inside the ``with`` block is the body of the loop.

    Args:
        b: Appends instructions.
        start: First index, an int or an LLVM integer.
        stop: End of the indices, exclusive.
        step: Distance of the indices, an int or an LLVM integer.

    Yields:
        The loop index, an LLVM integer.
    """
    head, body, end = (b.append_basic_block() for _ in range(3))
    before = b.block
    b.branch(head)
    b.position_at_end(head)
    index = b.phi(INDEX)
    index.add_incoming(to_index(start), before)
    b.cbranch(b.icmp_signed("<", index, to_index(stop)), body, end)
    b.position_at_end(body)
    yield index
    next_index = b.add(index, to_index(step))
    index.add_incoming(next_index, b.block)
    b.branch(head)
    b.position_at_end(end)


def to_index(number: Any) -> Any:
    """Convert a Python int to an LLVM constant; return an LLVM integer unchanged."""
    return INDEX(number) if isinstance(number, int) else number


def minimum(b: ir.IRBuilder, x: Any, y: Any) -> Any:
    """Return the smaller of two LLVM integers."""
    return b.select(b.icmp_signed("<", x, y), x, y)


def maximum(b: ir.IRBuilder, x: Any, y: Any) -> Any:
    """Return the larger of two LLVM integers."""
    return b.select(b.icmp_signed(">", x, y), x, y)


def constant(b: ir.IRBuilder, value: float) -> Any:
    """Return a vector with the same known number in every lane, a Symbol."""
    return Symbol(b, ir.Constant(FLOATS, [value] * LANES))


def any_lane(condition: Symbol) -> Any:
    """Return whether a comparison holds in at least one lane, an LLVM boolean."""
    b, bits = condition.builder, ir.IntType(LANES)
    return b.icmp_unsigned("!=", b.bitcast(condition.value, bits), bits(0))


def prefetch(b: ir.IRBuilder, address: Any) -> None:
    """Load a cache line that is going to be changed; the address may be invalid."""
    byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    name = "llvm.prefetch.p0"
    function = b.module.globals.get(name) or ir.Function(
        b.module, ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag]), name
    )
    for_writing, keep_in_all_caches, is_data = flag(1), flag(3), flag(1)
    b.call(function, [b.bitcast(address, byte), for_writing, keep_in_all_caches, is_data])


class Variable:
    """A variable of the generated code. LLVM keeps it in a register.

    LLVM values cannot be reassigned, so a value that changes in a loop needs a variable.

    Args:
        b: Appends instructions.
        initial: Initial value, a Symbol or an LLVM value.
    """

    def __init__(self, b: ir.IRBuilder, initial: Any) -> None:
        self._b, self._is_vector = b, isinstance(initial, Symbol)
        with b.goto_entry_block():
            self._address = b.alloca((initial.value if self._is_vector else initial).type)
        self.set(initial)

    def get(self) -> Any:
        """Return the current value."""
        value = self._b.load(self._address)
        return Symbol(self._b, value) if self._is_vector else value

    def set(self, value: Any) -> None:
        """Assign a new value."""
        self._b.store(value.value if self._is_vector else value, self._address)


class VolatileLoad(ir.LoadInstr):  # type: ignore[misc]
    """A load that LLVM does not replace by the result of an earlier one."""

    def descr(self, buf: list[str]) -> None:
        """Append the text of the instruction."""
        text: list[str] = []
        super().descr(text)
        buf.append(text[0].replace("load", "load volatile", 1))


class Matrix(NamedTuple):
    """A matrix in the memory of the generated code. Each row holds the units of a layer.

    Attributes:
        b: Appends instructions.
        data: Address of the first number.
        stride: Distance of two rows, in numbers.
        group_size: Numbers per unit: those of ``LANES`` runs side by side, or of 1 run.
    """

    b: ir.IRBuilder
    data: Any
    stride: Any
    group_size: int = 1

    def address(self, row: Any, column: Any = 0) -> Any:
        """Return the address of a number; columns count numbers, not units."""
        offset = self.b.mul(to_index(row), to_index(self.stride))
        return self.b.gep(self.data, [self.b.add(offset, to_index(column))])

    def starting_at(self, row: Any) -> "Matrix":
        """Return the part of the matrix from a row on."""
        return self._replace(data=self.address(row))

    def load(self, row: Any, column: Any) -> Any:
        """Load the ``LANES`` consecutive numbers from a column on, as a Symbol."""
        address = self.b.bitcast(self.address(row, column), FLOATS.as_pointer())
        return Symbol(self.b, self.b.load(address, align=8))

    def load_again(self, row: Any, column: Any) -> Any:
        """Load like ``load``, though the numbers were loaded before: no register holds them."""
        b, address = self.b, self.b.bitcast(self.address(row, column), FLOATS.as_pointer())
        instruction = VolatileLoad(b.block, address)
        instruction.align = 8
        b.block.instructions.append(instruction)
        b.position_at_end(b.block)
        return Symbol(b, instruction)

    def store(self, value: Symbol, row: Any, column: Any) -> None:
        """Store ``LANES`` consecutive numbers from a column on."""
        address = self.b.bitcast(self.address(row, column), FLOATS.as_pointer())
        self.b.store(value.value, address, align=8)

    def load_column(self, row: Any, column: Any) -> Any:
        """Load one number of each of the ``LANES`` rows from ``row`` on, as a Symbol."""
        vector = ir.Constant(FLOATS, ir.Undefined)
        for lane in range(LANES):
            number = self.b.load(self.address(self.b.add(to_index(row), INDEX(lane)), column))
            vector = self.b.insert_element(vector, number, INDEX(lane))
        return Symbol(self.b, vector)

    def load_unit(self, row: Any, unit: Any) -> Any:
        """Load one unit of each lane's run, as a Symbol; of a single run, copy it to all lanes."""
        column = self.b.mul(to_index(unit), INDEX(self.group_size))
        if self.group_size == LANES:
            return self.load(row, column)
        return broadcast(self.b, self.b.load(self.address(row, column)))

    def store_unit(self, value: Symbol, row: Any, unit: Any) -> None:
        """Store one unit of each lane's run; of a single run, its first lane."""
        column = self.b.mul(to_index(unit), INDEX(self.group_size))
        if self.group_size == LANES:
            self.store(value, row, column)
        else:
            first_lane = self.b.extract_element(value.value, INDEX(0))
            self.b.store(first_lane, self.address(row, column))


def tiled_loops(
    b: ir.IRBuilder, stop: Any, tile_sizes: Sequence[int], unit: int, start: Any = 0
) -> Iterator[tuple[Any, int]]:
    """Cover start, ..., stop - 1 with loops of decreasing step: large tiles first, then the rest.

    Args:
        b: Appends instructions.
        stop: End of the indices, exclusive, an LLVM integer.
        tile_sizes: Sizes of the tiles in units, decreasing; the last one is 1.
        unit: Indices in a unit; the number of indices is a multiple of it.
        start: First index, an int or an LLVM integer.

    Yields:
        A loop to enter with ``with``, and the tile size of its steps, in units.
    """
    start = to_index(start)
    for tile_size in tile_sizes:
        step = INDEX(tile_size * unit)
        end = b.add(start, b.mul(b.sdiv(b.sub(stop, start), step), step))
        yield for_range(b, start, end, tile_size * unit), tile_size
        start = end
