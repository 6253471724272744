"""Several lanes as one value in compiled code.

``+ - * /``, comparisons, ``abs``, ``np.sqrt``, ``where`` and the bits of a float act on each
of LANES numbers, as LLVM's vector instructions without fast-math: each has the bits that it
would have alone. So the formulas of ``bpexp.nn``, compiled for these, hold many chains of
operations in the processor at once, and sums stay in its registers.
"""

# What numba compiles is typed by numba.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import cgutils, types
from numba.core.typeconv.castgraph import Conversion
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, lower_cast, models, overload, register_model

from bpexp.engines.layout import LANES
from bpexp.nn import ieee

intrinsic: Any = extending.intrinsic


class Vector(types.Type):
    """numba's type of LANES numbers of one kind."""

    def __init__(self, name: str, element: Any) -> None:
        super().__init__(name=f"{LANES} {name}")
        self.llvm = ir.VectorType(element, LANES)

    def can_convert_from(self, typingctx, other):
        """Single numbers, and integers to floats."""
        single = (types.Integer, types.Float) if self is FLOATS else types.Integer
        if isinstance(other, single) or (self is FLOATS and other is INTEGERS):
            return Conversion.safe
        return None


FLOATS = Vector("floats", ir.DoubleType())
INTEGERS = Vector("integers", ir.IntType(64))
TRUTHS = Vector("truths", ir.IntType(1))


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, fe_type.llvm)


def _kind(args: Any) -> Vector:
    """What vectors and single numbers are calculated as."""
    whole = all(arg is INTEGERS or isinstance(arg, types.Integer) for arg in args)
    return INTEGERS if whole else FLOATS


def _define(function: Any, kind: Vector, result: Vector, count: int, build: Any) -> None:
    """``function`` of ``count`` values of one kind; build(builder, *values) -> value."""

    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, args, kws):
            vectors = any(isinstance(arg, Vector) for arg in args)
            if vectors and len(args) == count and _kind(args) is kind:
                return signature(result, *[kind] * count)
            return None

    @lower_builtin(function, *[kind] * count)
    def _lower(context, builder, sig, args):
        return build(builder, *args)


def _by_intrinsic(name: str) -> Any:
    def build(builder, value):
        kind = ir.FunctionType(FLOATS.llvm, [FLOATS.llvm])
        called = cgutils.get_or_insert_function(builder.module, kind, f"{name}.v{LANES}f64")
        return builder.call(called, [value])

    return build


for _function, _name in {"add": "fadd", "sub": "fsub", "mul": "fmul", "truediv": "fdiv"}.items():
    _define(getattr(operator, _function), FLOATS, FLOATS, 2, getattr(ir.IRBuilder, _name))
for _function, _name in {"add": "add", "sub": "sub", "lshift": "shl", "rshift": "ashr"}.items():
    _define(getattr(operator, _function), INTEGERS, INTEGERS, 2, getattr(ir.IRBuilder, _name))
for _function, _name in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "=="}.items():
    _define(
        getattr(operator, _function), FLOATS, TRUTHS, 2,
        lambda builder, a, b, sign=_name: builder.fcmp_ordered(sign, a, b),
    )  # fmt: skip
_define(operator.ne, FLOATS, TRUTHS, 2, lambda builder, a, b: builder.fcmp_unordered("!=", a, b))
_define(operator.neg, FLOATS, FLOATS, 1, ir.IRBuilder.fneg)
_define(abs, FLOATS, FLOATS, 1, _by_intrinsic("llvm.fabs"))


def _spread(builder, number, kind):
    """A vector of the same number."""
    one = builder.insert_element(ir.Constant(kind.llvm, ir.Undefined), number, _AT_0)
    places = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(kind.llvm, ir.Undefined), places)


_AT_0 = ir.Constant(ir.IntType(32), 0)


@lower_cast(types.Number, FLOATS)
def _float_to_floats(context, builder, fromty, toty, value):
    return _spread(builder, context.cast(builder, value, fromty, types.float64), FLOATS)


@lower_cast(types.Integer, INTEGERS)
def _integer_to_integers(context, builder, fromty, toty, value):
    return _spread(builder, context.cast(builder, value, fromty, types.int64), INTEGERS)


@lower_cast(INTEGERS, FLOATS)
def _integers_to_floats(context, builder, fromty, toty, value):
    return builder.sitofp(value, FLOATS.llvm)


@intrinsic
def _square_root(typingctx, x):
    build = _by_intrinsic("llvm.sqrt")
    return FLOATS(FLOATS), lambda context, builder, sig, args: build(builder, *args)


@overload(np.sqrt)
def _sqrt(x):
    return (lambda x: _square_root(x)) if x is FLOATS else None


@intrinsic
def _select(typingctx, condition, yes, no):
    kind = _kind((yes, no))
    return kind(TRUTHS, kind, kind), lambda context, builder, sig, args: builder.select(*args)


@overload(ieee.where)
def _where(condition, yes, no):
    if condition is TRUTHS:
        return lambda condition, yes, no: _select(condition, yes, no)
    return lambda condition, yes, no: yes if condition else no


def _same_bits(result: Vector) -> Any:
    return lambda context, builder, sig, args: builder.bitcast(args[0], result.llvm)


@intrinsic
def _bits(typingctx, x):
    return INTEGERS(FLOATS), _same_bits(INTEGERS)


@intrinsic
def _floats(typingctx, bits):
    return FLOATS(INTEGERS), _same_bits(FLOATS)


@overload(ieee.to_bits)
def _to_bits(x):
    return lambda x: _bits(x)


@overload(ieee.from_bits)
def _from_bits(bits):
    return lambda bits: _floats(bits)


@intrinsic
def all_of(typingctx, truths):
    """Whether all of them are true."""

    def build(context, builder, sig, args):
        bits = ir.IntType(LANES)
        return builder.icmp_unsigned("==", builder.bitcast(args[0], bits), ir.Constant(bits, -1))

    return types.boolean(TRUTHS), build


def _address(context, builder, kind, array, row):
    """Of a row of LANES numbers, in contiguous memory."""
    data = context.make_array(kind)(context, builder, array).data
    row = builder.mul(row, ir.Constant(row.type, LANES))
    return builder.bitcast(builder.gep(data, [row]), FLOATS.llvm.as_pointer())


@intrinsic
def broadcast(typingctx, number):
    """The same number in every lane."""
    return FLOATS(types.float64), lambda context, builder, sig, args: _spread(
        builder, args[0], FLOATS
    )


@intrinsic
def load(typingctx, array, row):
    """Row ``row`` of an array (rows, LANES); of one (rows,) its number, the same for all lanes."""

    def build(context, builder, sig, args):
        kind = sig.args[0]
        if kind.ndim == 2:
            return builder.load(_address(context, builder, kind, *args), align=8)
        data = context.make_array(kind)(context, builder, args[0]).data
        return _spread(builder, builder.load(builder.gep(data, [args[1]])), FLOATS)

    return FLOATS(array, types.intp), build


@intrinsic
def store(typingctx, array, row, vector):
    """Writes the row of an array (rows, LANES)."""

    def build(context, builder, sig, args):
        array, row, vector = args
        builder.store(vector, _address(context, builder, sig.args[0], array, row), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, FLOATS), build
