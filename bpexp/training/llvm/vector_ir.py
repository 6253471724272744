"""Symbols that write down, as LLVM's code, the operations that formulas do on them.

The formulas of ``bpexp.nn`` run on them as on numbers. Each operation is one on a vector of
LANES numbers, without fast-math: each has the bits that it would have alone.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from bpexp.nn import ieee

LANES = 8
"""Numbers in a vector: a register of the widest processor's."""
REAL, WHOLE, TRUTH = (
    ir.VectorType(kind, LANES) for kind in (ir.DoubleType(), ir.IntType(64), ir.IntType(1))
)


class Symbol:
    """LANES numbers that are known when the code runs.

    Raises TypeError where it is asked whether it is true: Python cannot choose for all lanes.
    """

    def __init__(self, builder: ir.IRBuilder, value: Any) -> None:
        self.builder, self.value = builder, value

    def __bool__(self) -> bool:
        """Raises TypeError."""
        raise TypeError("what a symbol stands for is not known yet.")

    def __neg__(self) -> "Symbol":
        """-x."""
        return self._by(ir.IRBuilder.fneg, self)

    def __abs__(self) -> "Symbol":
        """|x|."""
        return self._called("llvm.fabs")

    def sqrt(self) -> "Symbol":
        """What ``np.sqrt`` asks an array's elements for."""
        return self._called("llvm.sqrt")

    def _called(self, name: str) -> "Symbol":
        module, full = self.builder.module, f"{name}.v{LANES}f64"
        known = module.globals.get(full)
        function = known or ir.Function(module, ir.FunctionType(REAL, [REAL]), full)
        return Symbol(self.builder, self.builder.call(function, [self.value]))

    def _by(self, operation: Callable[..., Any], *operands: Any) -> "Symbol":
        kinds = [one.value.type for one in operands if isinstance(one, Symbol)]
        values = [_value(one, kinds[0]) for one in operands]
        return Symbol(self.builder, operation(self.builder, *values))


def _value(operand: Any, kind: Any) -> Any:
    """Of a symbol, or of a number, which counts for all lanes."""
    if isinstance(operand, Symbol):
        return operand.value
    return ir.Constant(kind, [operand] * LANES)


def _define(name: str, real: Any, whole: Any) -> None:
    def normal(self: Symbol, other: Any) -> Symbol:
        if self.value.type == WHOLE and isinstance(other, float):
            self = Symbol(self.builder, self.builder.sitofp(self.value, REAL))
        return self._by(whole if self.value.type == WHOLE else real, self, other)

    def reflected(self: Symbol, other: Any) -> Symbol:
        return self._by(whole if self.value.type == WHOLE else real, other, self)

    setattr(Symbol, f"__{name}__", normal)
    setattr(Symbol, f"__r{name}__", reflected)


def _compare(name: str, sign: str) -> None:
    def compared(self: Symbol, other: Any) -> Symbol:
        compare = "icmp_signed" if self.value.type == WHOLE else "fcmp_ordered"
        return self._by(lambda builder, a, b: getattr(builder, compare)(sign, a, b), self, other)

    setattr(Symbol, f"__{name}__", compared)


for _name, _real, _whole in (
    ("add", "fadd", "add"), ("sub", "fsub", "sub"), ("mul", "fmul", "mul"),
    ("truediv", "fdiv", "sdiv"), ("lshift", "shl", "shl"), ("rshift", "ashr", "ashr"),
):  # fmt: skip
    _define(_name, getattr(ir.IRBuilder, _real), getattr(ir.IRBuilder, _whole))
for _name, _sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "=="}.items():
    _compare(_name, _sign)


@ieee.where.register
def _where(condition: Symbol, yes: Any, no: Any) -> Symbol:
    builder = condition.builder
    kinds = [one.value.type for one in (yes, no) if isinstance(one, Symbol)]
    kind = kinds[0] if kinds else (REAL if isinstance(yes, float) else WHOLE)
    chosen = builder.select(condition.value, _value(yes, kind), _value(no, kind))
    return Symbol(builder, chosen)


@ieee.to_bits.register
def _to_bits(x: Symbol) -> Symbol:
    return Symbol(x.builder, x.builder.bitcast(x.value, WHOLE))


@ieee.from_bits.register
def _from_bits(bits: Symbol) -> Symbol:
    return Symbol(bits.builder, bits.builder.bitcast(bits.value, REAL))


def spread(builder: ir.IRBuilder, number: Any) -> Symbol:
    """One number, known when the code runs, in all lanes."""
    kind, narrow = ir.VectorType(number.type, LANES), ir.IntType(32)
    nothing = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(nothing, number, ir.Constant(narrow, 0))
    places = ir.Constant(ir.VectorType(narrow, LANES), [0] * LANES)
    return Symbol(builder, builder.shuffle_vector(one, nothing, places))
