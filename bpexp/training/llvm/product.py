"""Generates the functions that compute matrix products, blocked for registers and caches.

Each sum adds its products one by one in index order, so its bits do not depend on tiles and blocks.
``docs/compiler.md`` explains both.

>>> module = ir.Module()
>>> define_product(module, Tile(n_rows=2, n_vectors=2, n_held=2), left_group_size=1).name
'add_product_1'
"""

import itertools
from functools import reduce
from typing import Any, NamedTuple

from llvmlite import ir

from bpexp.training.llvm.codegen import (
    BOOLEAN,
    INDEX,
    NUMBER,
    ZERO_SUM,
    Matrix,
    Variable,
    constant,
    for_range,
    minimum,
    prefetch,
    tiled_loops,
)
from bpexp.training.llvm.lane_layout import LANES
from bpexp.training.llvm.layout import (
    MIN_BLOCKED_ROWS,
    MIN_BLOCKED_TERMS,
    MIN_RIGHT_PANELS,
    PANEL_COLUMNS,
    PANEL_ROWS,
    PANEL_TERMS,
)
from bpexp.training.llvm.vector_ir import Symbol

BLOCKED_PRODUCT = "bpexp_add_blocked_product"
"""Name of the function that ``blocked_product_module`` defines."""


class ProductArguments(NamedTuple):
    """Arguments of the functions for matrix products.

    It adds ``left @ right`` to ``sums``, or stores it there if ``is_new``, where ``left`` is
    (rows, terms), ``right`` is (terms, columns) and ``sums`` is (rows, columns). The strides of
    ``left`` are free, so that it can be read transposed.

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
        is_new: Whether to replace the previous ``sums``, an LLVM boolean.
        packed_right: Memory for ``PANEL_TERMS`` times ``PANEL_COLUMNS`` numbers.
        packed_left: Memory for ``PANEL_TERMS`` times ``PANEL_ROWS`` numbers.
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
    is_new: Any
    packed_right: Any
    packed_left: Any


class Tile(NamedTuple):
    """The size of a block of sums that is kept in registers.

    Attributes:
        n_rows: Rows of the block.
        n_vectors: Vectors in each row.
        n_held: How many vectors of the right matrix are held in registers while all rows use them.
            Multiplications read the others from memory.
    """

    n_rows: int
    n_vectors: int
    n_held: int


def product_name(left_group_size: int) -> str:
    """Name of the function that ``define_product`` defines."""
    return f"add_product_{left_group_size}"


def define_product(module: ir.Module, tile: Tile, left_group_size: int) -> ir.Function:
    """Define a function that computes a matrix product or adds it to a matrix.

    The sums are computed tile by tile: each number that is loaded is used for a whole row or column
    of a tile. Large products are computed by the function of ``blocked_product_module``.

    Args:
        module: The program.
        tile: Sums to compute at once.
        left_group_size: ``LANES`` if each number of ``left`` is a vector, or 1 if it is a scalar
            that is copied to all lanes.

    Returns:
        The LLVM function; its arguments are those of ``ProductArguments``.
    """
    # It reads single numbers of ``left``: wide layers, for which it is faster, have group size 1.
    blocked = _declare_product(module, BLOCKED_PRODUCT) if left_group_size == 1 else None
    function = _declare_product(module, product_name(left_group_size))
    function.linkage = "internal"
    b, arguments = _begin_product(function)
    if blocked is not None:
        is_large = [
            b.icmp_signed(">=", arguments.rows, INDEX(MIN_BLOCKED_ROWS)),
            b.icmp_signed(">=", arguments.terms, INDEX(MIN_BLOCKED_TERMS)),
            b.icmp_signed(">", arguments.columns, INDEX(tile.n_vectors * LANES)),
        ]
        with b.if_then(reduce(b.and_, is_large)):
            b.call(blocked, arguments)
            b.ret_void()
    right = Matrix(b, arguments.right, arguments.stride)
    for first_row, n_rows in tiled_loops(b, arguments.rows, [tile.n_rows, 1], 1):
        with first_row as row:
            for first_column, n_vectors in tiled_loops(
                b, arguments.columns, _halvings(tile.n_vectors), LANES
            ):
                with first_column as column:
                    panel = right._replace(data=right.address(0, column))
                    part = _starting_at(b, arguments, row, column)
                    _add_tile(b, part, panel, Tile(n_rows, n_vectors, tile.n_held), left_group_size)
    b.ret_void()
    return function


def _declare_product(module: ir.Module, name: str) -> ir.Function:
    """Declare a function whose arguments are those of ``ProductArguments``."""
    numbers = NUMBER.as_pointer()
    types = [INDEX, INDEX, INDEX, numbers, INDEX, INDEX, numbers, INDEX, numbers, BOOLEAN]
    function_type = ir.FunctionType(ir.VoidType(), [*types, numbers, numbers])
    function = ir.Function(module, function_type, name)
    # A kernel calls it several times for each layer: inlined, its code would become large.
    for attribute in ("noinline", "nounwind", "argmemonly"):
        function.attributes.add(attribute)
    arguments = ProductArguments(*function.args)
    for written in (arguments.sums, arguments.packed_right, arguments.packed_left):
        written.add_attribute("noalias")
    return function


def _begin_product(function: ir.Function) -> tuple[ir.IRBuilder, ProductArguments]:
    """Begin the body of a declared function."""
    return ir.IRBuilder(function.append_basic_block()), ProductArguments(*function.args)


def blocked_product_module(tile: Tile) -> str:
    """Generate a function for products that exceed the caches.

    The loops are those of Goto and van de Geijn (2008), "Anatomy of high-performance matrix
    multiplication": blocks of terms, columns and rows whose numbers are copied in the order in
    which the tiles read them. The arguments are those of ``ProductArguments``.

    Args:
        tile: Sums to compute at once.

    Returns:
        The program as LLVM assembly.
    """
    module = ir.Module()
    b, arguments = _begin_product(_declare_product(module, BLOCKED_PRODUCT))
    with (
        for_range(b, 0, arguments.terms, PANEL_TERMS) as first_term,
        for_range(b, 0, arguments.columns, PANEL_COLUMNS) as first_column,
    ):
        n_terms = minimum(b, b.sub(arguments.terms, first_term), INDEX(PANEL_TERMS))
        n_columns = minimum(b, b.sub(arguments.columns, first_column), INDEX(PANEL_COLUMNS))
        left_offset = b.mul(first_term, arguments.left_term_stride)
        right = Matrix(b, arguments.right, arguments.stride)
        part = arguments._replace(
            columns=n_columns,
            terms=n_terms,
            left=b.gep(arguments.left, [left_offset]),
            right=right.address(first_term, first_column),
            sums=b.gep(arguments.sums, [first_column]),
            is_new=b.and_(arguments.is_new, b.icmp_signed("==", first_term, INDEX(0))),
        )
        _pack_right(b, part, tile)
        with for_range(b, 0, part.rows, PANEL_ROWS) as first_row:
            rows = minimum(b, b.sub(part.rows, first_row), INDEX(PANEL_ROWS))
            block = _starting_at(b, part._replace(rows=rows), first_row, 0)
            _add_block(b, block, tile)
    b.ret_void()
    return str(module)


def _add_block(b: ir.IRBuilder, block: ProductArguments, tile: Tile) -> None:
    """Append code that adds the products of a block whose ``right`` has been packed."""
    is_transposed = b.icmp_signed(">", block.left_term_stride, INDEX(1))
    is_used_often = b.icmp_signed(">=", b.mul(block.terms, block.columns), INDEX(MIN_RIGHT_PANELS))
    is_left_packed = b.and_(is_transposed, is_used_often)
    with b.if_then(is_left_packed):
        _pack_left(b, block, tile)
    for first_column, n_vectors in tiled_loops(b, block.columns, _halvings(tile.n_vectors), LANES):
        with first_column as column:
            # The panels lie one after the other.
            data = b.gep(block.packed_right, [b.mul(column, block.terms)])
            panel = Matrix(b, data, INDEX(n_vectors * LANES))
            for first_row, n_rows in tiled_loops(b, block.rows, [tile.n_rows, 1], 1):
                with first_row as row:
                    place = _starting_at(b, block, row, column)
                    place = place._replace(
                        left=b.select(is_left_packed, _left_panel(b, block, row), place.left),
                        left_row_stride=b.select(is_left_packed, INDEX(1), block.left_row_stride),
                        left_term_stride=b.select(
                            is_left_packed, INDEX(n_rows), block.left_term_stride
                        ),
                    )
                    size = Tile(n_rows, n_vectors, tile.n_held)
                    _prefetch_next_tile(b, place, size)
                    _add_tile(b, place, panel, size, left_group_size=1)


def _starting_at(
    b: ir.IRBuilder, arguments: ProductArguments, row: Any, column: Any
) -> ProductArguments:
    """Return the arguments with the addresses of a row, and of its sums from a column on."""
    sums = Matrix(b, arguments.sums, arguments.stride)
    return arguments._replace(
        left=b.gep(arguments.left, [b.mul(row, arguments.left_row_stride)]),
        sums=sums.address(row, column),
    )


def _prefetch_next_tile(b: ir.IRBuilder, place: ProductArguments, tile: Tile) -> None:
    """Append code that loads the sums below a tile into the cache."""
    sums = Matrix(b, place.sums, place.stride)
    for row, vector in itertools.product(range(tile.n_rows), range(tile.n_vectors)):
        prefetch(b, sums.address(tile.n_rows + row, vector * LANES))


def _pack_right(b: ir.IRBuilder, part: ProductArguments, tile: Tile) -> None:
    """Append code that copies ``right`` to ``packed_right``, one panel after the other."""
    right = Matrix(b, part.right, part.stride)
    with for_range(b, 0, part.terms) as term:
        for first_column, n_vectors in tiled_loops(
            b, part.columns, _halvings(tile.n_vectors), LANES
        ):
            with first_column as column:
                data = b.gep(part.packed_right, [b.mul(column, part.terms)])
                panel = Matrix(b, data, INDEX(n_vectors * LANES))
                for k in range(n_vectors):
                    numbers = right.load(term, b.add(column, INDEX(k * LANES)))
                    panel.store(numbers, term, k * LANES)


def _pack_left(b: ir.IRBuilder, block: ProductArguments, tile: Tile) -> None:
    """Append code that copies ``left``, read transposed, to ``packed_left``, one panel per tile."""
    left = Matrix(b, block.left, block.left_term_stride)
    with for_range(b, 0, block.terms) as term:
        for first_row, n_rows in tiled_loops(b, block.rows, [tile.n_rows, 1], 1):
            with first_row as row:
                panel = Matrix(b, _left_panel(b, block, row), INDEX(n_rows))
                numbers = ir.VectorType(NUMBER, n_rows).as_pointer()
                source = b.bitcast(left.address(term, row), numbers)
                target = b.bitcast(panel.address(term), numbers)
                b.store(b.load(source, align=8), target, align=8)


def _left_panel(b: ir.IRBuilder, block: ProductArguments, row: Any) -> Any:
    """Return the address of the packed left numbers of the tile that begins at a row."""
    return b.gep(block.packed_left, [b.mul(row, block.terms)])


def _add_tile(
    b: ir.IRBuilder,
    arguments: ProductArguments,
    panel: Matrix,
    tile: Tile,
    left_group_size: int,
) -> None:
    """Append code that adds the products of one tile.

    Args:
        b: Appends instructions.
        arguments: Arguments of the product that begin with the tile, and the terms of the panel.
        panel: The columns of the tile in ``right``.
        tile: Size of the tile.
        left_group_size: Group size of ``left``.
    """
    rows, columns = range(tile.n_rows), range(tile.n_vectors)
    sums = Matrix(b, arguments.sums, arguments.stride)
    left = Matrix(b, arguments.left, arguments.left_row_stride)
    left_rows = [
        Matrix(b, left.address(row), arguments.left_term_stride, left_group_size) for row in rows
    ]
    cells = list(itertools.product(rows, columns))
    totals = {}
    for r, c in cells:
        before = sums.load(r, c * LANES).value
        before = b.select(arguments.is_new, constant(b, ZERO_SUM).value, before)
        totals[r, c] = Variable(b, Symbol(b, before))
    n_held = tile.n_vectors if tile.n_rows == 1 else min(tile.n_held, tile.n_vectors)
    # Of loads that LLVM may move, it would move so many up that sums leave the registers.
    load = panel.load if n_held == tile.n_vectors else panel.load_again
    with for_range(b, 0, arguments.terms) as term:
        held = [load(term, c * LANES) for c in range(n_held)]
        for r in rows:
            left_number = left_rows[r].load_unit(term, 0)
            for c in columns:
                right = held[c] if c < n_held else load(term, c * LANES)
                totals[r, c].set(totals[r, c].get() + left_number * right)
    for r, c in cells:
        sums.store(totals[r, c].get(), r, c * LANES)


def _halvings(number: int) -> list[int]:
    """Return number, number // 2, ..., 1.

    >>> _halvings(4)
    [4, 2, 1]
    """
    return [number, *_halvings(number // 2)] if number else []
