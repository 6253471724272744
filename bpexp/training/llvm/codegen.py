"""Building blocks of generated code: loops, variables, matrices in memory, matrix products.

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

INDEX, NUMBER = ir.IntType(64), ir.DoubleType()
"""The scalar types: integers for indices and sizes, and float64."""


@contextmanager
def for_range(b: ir.IRBuilder, start: Any, stop: Any, step: int = 1) -> Iterator[Any]:
    """Append a loop. The code appended inside the ``with`` block is the body of the loop.

    Args:
        b: Appends instructions.
        start: First index, an int or an LLVM integer.
        stop: End of the indices, exclusive.
        step: Distance of the indices.

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
    next_index = b.add(index, INDEX(step))
    index.add_incoming(next_index, b.block)
    b.branch(head)
    b.position_at_end(end)


def to_index(number: Any) -> Any:
    """Convert a Python int to an LLVM constant; return an LLVM integer unchanged."""
    return INDEX(number) if isinstance(number, int) else number


def minimum(b: ir.IRBuilder, x: Any, y: Any) -> Any:
    """Return the smaller of two LLVM integers."""
    return b.select(b.icmp_signed("<", x, y), x, y)


def constant(b: ir.IRBuilder, value: float) -> Any:
    """Return a vector with the same known number in every lane, a Symbol."""
    return Symbol(b, ir.Constant(FLOATS, [value] * LANES))


def any_lane(condition: Symbol) -> Any:
    """Return whether a comparison holds in at least one lane, an LLVM boolean."""
    b, bits = condition.builder, ir.IntType(LANES)
    return b.icmp_unsigned("!=", b.bitcast(condition.value, bits), bits(0))


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

    def store(self, value: Symbol, row: Any, column: Any) -> None:
        """Store ``LANES`` consecutive numbers from a column on."""
        address = self.b.bitcast(self.address(row, column), FLOATS.as_pointer())
        self.b.store(value.value, address, align=8)

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


class ProductArguments(NamedTuple):
    """Arguments of the function that ``define_product`` writes.

    It adds ``left @ right`` to ``sums``, where ``left`` is (rows, terms), ``right`` is
    (terms, columns) and ``sums`` is (rows, columns). The strides of ``left`` are free, so that it
    can be read transposed.

    Attributes:
        rows: Number of rows.
        columns: Number of numbers in a row; a multiple of ``LANES``.
        terms: Number of products in a sum.
        left: Address of ``left``.
        left_row_stride: Distance of two rows of ``left``, in numbers.
        left_term_stride: Distance of two numbers in a row of ``left``.
        right: Address of ``right``.
        stride: Distance of two rows of ``right``, and of ``sums``.
        sums: Address of ``sums``.
    """

    rows: Any
    columns: Any
    terms: Any
    left: Any
    left_row_stride: Any
    left_term_stride: Any
    right: Any
    stride: Any
    sums: Any


class Tile(NamedTuple):
    """A block of sums that is kept in registers: so many rows, and vectors in each row."""

    rows: int
    vectors: int


def product_name(left_group_size: int) -> str:
    """Name of the function that ``define_product`` defines."""
    return f"add_product_{left_group_size}"


def define_product(module: ir.Module, tile: Tile, left_group_size: int) -> ir.Function:
    """Define a function that adds a matrix product to a matrix.

    Each sum adds its products one by one in index order, so its bits do not depend on the tile.
    A number that is loaded serves a whole row or column of the tile.

    Args:
        module: The program.
        tile: Sums to compute at once.
        left_group_size: ``LANES`` if each number of ``left`` is a vector, or 1 if it is a scalar
            that is copied to all lanes.

    Returns:
        The LLVM function; its arguments are those of ``ProductArguments``.
    """
    numbers = NUMBER.as_pointer()
    types = [INDEX, INDEX, INDEX, numbers, INDEX, INDEX, numbers, INDEX, numbers]
    function_type = ir.FunctionType(ir.VoidType(), types)
    function = ir.Function(module, function_type, product_name(left_group_size))
    function.linkage = "internal"
    function.attributes.add("noinline")
    arguments = ProductArguments(*function.args)
    arguments.sums.add_attribute("noalias")
    b = ir.IRBuilder(function.append_basic_block())
    for first_row, n_rows in _tiled_loops(b, arguments.rows, [tile.rows, 1], 1):
        with first_row as row:
            for first_column, n_vectors in _tiled_loops(
                b, arguments.columns, _halvings(tile.vectors), LANES
            ):
                with first_column as column:
                    rows = [b.add(row, INDEX(k)) for k in range(n_rows)]
                    columns = [b.add(column, INDEX(k * LANES)) for k in range(n_vectors)]
                    _add_tile(b, arguments, (rows, columns), left_group_size)
    b.ret_void()
    return function


def _add_tile(
    b: ir.IRBuilder, arguments: ProductArguments, tile: tuple[list[Any], list[Any]], group_size: int
) -> None:
    """Append code that adds the products of one tile, given by its rows and columns."""
    rows, columns = tile
    right = Matrix(b, arguments.right, arguments.stride)
    sums = Matrix(b, arguments.sums, arguments.stride)
    left_rows = [
        Matrix(
            b,
            b.gep(arguments.left, [b.mul(row, arguments.left_row_stride)]),
            arguments.left_term_stride,
            group_size,
        )
        for row in rows
    ]
    cells = [(r, c) for r in range(len(rows)) for c in range(len(columns))]
    totals = {(r, c): Variable(b, sums.load(rows[r], columns[c])) for r, c in cells}
    with for_range(b, 0, arguments.terms) as term:
        right_vectors = [right.load(term, column) for column in columns]
        left_numbers = [row.load_unit(term, 0) for row in left_rows]
        for r, c in cells:
            totals[r, c].set(totals[r, c].get() + left_numbers[r] * right_vectors[c])
    for r, c in cells:
        sums.store(totals[r, c].get(), rows[r], columns[c])


def _halvings(number: int) -> list[int]:
    """Return number, number // 2, ..., 1."""
    return [number, *_halvings(number // 2)] if number else []


def _tiled_loops(
    b: ir.IRBuilder, stop: Any, tile_sizes: Sequence[int], unit: int
) -> Iterator[tuple[Any, int]]:
    """Cover 0, ..., stop - 1 with loops of decreasing step: large tiles first, then the rest.

    Yields:
        A loop to enter with ``with``, and the tile size of its steps, in units.
    """
    start: Any = INDEX(0)
    for tile_size in tile_sizes:
        step = INDEX(tile_size * unit)
        end = b.add(start, b.mul(b.sdiv(b.sub(stop, start), step), step))
        yield for_range(b, start, end, tile_size * unit), tile_size
        start = end
