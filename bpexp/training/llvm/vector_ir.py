"""Symbols that record the arithmetic done on them as LLVM instructions ("tracing").

The formulas in ``bpexp.nn`` are ordinary Python functions that work on NumPy arrays. When such a
function is called with a ``Symbol``, each operator appends an instruction to the program that is
being generated, and returns a symbol for its result. So the formula is written once, and the
compiled code computes the same operations in the same order as NumPy, on vectors of ``LANES``
numbers. LLVM's fast-math flags are off, so each lane has the bits that NumPy computes.

>>> module = ir.Module()
>>> function = ir.Function(module, ir.FunctionType(FLOATS, [FLOATS]), "sigmoid_derivative")
>>> builder = ir.IRBuilder(function.append_basic_block())
>>> a = Symbol(builder, function.args[0])
>>> result = a * (1.0 - a)
>>> _ = builder.ret(result.value)
>>> for instruction in function.blocks[0].instructions:
...     print(instruction.opname)
fsub
fmul
ret
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from bpexp.nn import ieee
from bpexp.training.llvm.lane_layout import LANES

FLOATS, INTEGERS, BOOLEANS = (
    ir.VectorType(element, LANES) for element in (ir.DoubleType(), ir.IntType(64), ir.IntType(1))
)
"""The vector types: float64, int64, and the results of comparisons."""


class Symbol:
    """A vector of ``LANES`` numbers whose values are known only when the generated code runs.

    Attributes:
        builder: Appends instructions to the program.
        value: The LLVM value.
    """

    def __init__(self, builder: ir.IRBuilder, value: Any) -> None:
        self.builder, self.value = builder, value

    def __bool__(self) -> bool:
        """Raise TypeError: Python cannot branch on a value that is not known yet."""
        raise TypeError("a Symbol has no truth value; use bpexp.nn.ieee.where instead of if.")

    def __neg__(self) -> "Symbol":
        """Return -x."""
        return self._apply(ir.IRBuilder.fneg, self)

    def __abs__(self) -> "Symbol":
        """Return |x|."""
        return self._call_intrinsic("llvm.fabs")

    def sqrt(self) -> "Symbol":
        """Return the square root; ``np.sqrt`` calls this method for objects."""
        return self._call_intrinsic("llvm.sqrt")

    def _call_intrinsic(self, name: str) -> "Symbol":
        module, full_name = self.builder.module, f"{name}.v{LANES}f64"
        function = module.globals.get(full_name) or ir.Function(
            module, ir.FunctionType(FLOATS, [FLOATS]), full_name
        )
        return Symbol(self.builder, self.builder.call(function, [self.value]))

    def _apply(self, instruction: Callable[..., Any], *operands: Any) -> "Symbol":
        types = [operand.value.type for operand in operands if isinstance(operand, Symbol)]
        values = [_llvm_value(operand, types[0]) for operand in operands]
        return Symbol(self.builder, instruction(self.builder, *values))


def _llvm_value(operand: Any, vector_type: Any) -> Any:
    """Return the LLVM value of a symbol, or a Python number as a constant in all lanes."""
    if isinstance(operand, Symbol):
        return operand.value
    return ir.Constant(vector_type, [operand] * LANES)


def _define_operator(name: str, float_instruction: Any, integer_instruction: Any) -> None:
    """Add ``__name__`` and ``__rname__`` to ``Symbol``."""

    def instruction(symbol: Symbol) -> Any:
        return integer_instruction if symbol.value.type == INTEGERS else float_instruction

    def operator(self: Symbol, other: Any) -> Symbol:
        if self.value.type == INTEGERS and isinstance(other, float):
            self = Symbol(self.builder, self.builder.sitofp(self.value, FLOATS))
        return self._apply(instruction(self), self, other)

    def reflected_operator(self: Symbol, other: Any) -> Symbol:
        return self._apply(instruction(self), other, self)

    setattr(Symbol, f"__{name}__", operator)
    setattr(Symbol, f"__r{name}__", reflected_operator)


def _define_comparison(name: str, sign: str) -> None:
    """Add the comparison ``__name__`` to ``Symbol``."""

    def comparison(self: Symbol, other: Any) -> Symbol:
        compare = "icmp_signed" if self.value.type == INTEGERS else "fcmp_ordered"
        return self._apply(lambda builder, a, b: getattr(builder, compare)(sign, a, b), self, other)

    setattr(Symbol, f"__{name}__", comparison)


for _name, _float, _integer in (
    ("add", "fadd", "add"), ("sub", "fsub", "sub"), ("mul", "fmul", "mul"),
    ("truediv", "fdiv", "sdiv"), ("lshift", "shl", "shl"), ("rshift", "ashr", "ashr"),
):  # fmt: skip
    _define_operator(_name, getattr(ir.IRBuilder, _float), getattr(ir.IRBuilder, _integer))
for _name, _sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "=="}.items():
    _define_comparison(_name, _sign)


@ieee.where.register
def _where(condition: Symbol, yes: Any, no: Any) -> Symbol:
    builder = condition.builder
    types = [choice.value.type for choice in (yes, no) if isinstance(choice, Symbol)]
    vector_type = types[0] if types else (FLOATS if isinstance(yes, float) else INTEGERS)
    yes, no = _llvm_value(yes, vector_type), _llvm_value(no, vector_type)
    return Symbol(builder, builder.select(condition.value, yes, no))


@ieee.to_bits.register
def _to_bits(x: Symbol) -> Symbol:
    return Symbol(x.builder, x.builder.bitcast(x.value, INTEGERS))


@ieee.from_bits.register
def _from_bits(bits: Symbol) -> Symbol:
    return Symbol(bits.builder, bits.builder.bitcast(bits.value, FLOATS))


def broadcast(builder: ir.IRBuilder, number: Any) -> Symbol:
    """Copy an LLVM number, which is known only when the code runs, to all lanes."""
    vector_type, index_type = ir.VectorType(number.type, LANES), ir.IntType(32)
    undefined = ir.Constant(vector_type, ir.Undefined)
    first_lane = builder.insert_element(undefined, number, ir.Constant(index_type, 0))
    lanes = ir.Constant(ir.VectorType(index_type, LANES), [0] * LANES)
    return Symbol(builder, builder.shuffle_vector(first_lane, undefined, lanes))
