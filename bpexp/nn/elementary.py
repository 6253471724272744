"""Elementary functions that use only IEEE-754 + - * / and operations on the bits.

The last bits of NumPy's functions differ between processors and versions; these are
bit-identical everywhere. All functions are elementwise on float64. Errors over the whole range are
at most 1 unit in the last place for exp and log and 3 for the others. Range reductions follow
Cody and Waite 1980 and Muller, "Elementary Functions", 2016, chapter 11. The polynomials are
Taylor polynomials, except for the minimax polynomial of the exponential.

>>> float(exp(0.0)), round(float(tanh(0.5)), 12)
(1.0, 0.46211715726)
"""

import math
from typing import Any

from bpexp.nn.ieee import from_bits, to_bits, where

LOG2_E = 1.4426950408889634
# ln 2 as a sum: the product of LN2_HIGH and an integer below 2^11 is exact.
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
# Adding 1.5 * 2^52 rounds to an integer and places it in the low bits.
ROUND = 6755399441055744.0
TINY = 2.0**-1022
INFINITY, NAN = math.inf, math.nan
# e^r = 1 + r + r^2/2 + C3 r^3 + ... + C12 r^12 for |r| <= ln(2)/2 with relative error 7e-19:
# the minimax polynomial (Remez 1934), with coefficients rounded to float64.
C3, C4, C5, C6, C7, C8, C9, C10, C11, C12 = map(float.fromhex, (
    "0x1.555555555555dp-3", "0x1.555555555556fp-5", "0x1.111111110e335p-7",
    "0x1.6c16c16c07eb9p-10", "0x1.a01a01b6f4bacp-13", "0x1.a01a01fc80ec0p-16",
    "0x1.71dde7b1ba377p-19", "0x1.27e40bf330d54p-22", "0x1.af7a37519fdf6p-26",
    "0x1.20d163ff16b78p-29",
))  # fmt: skip
# ln((1 + s) / (1 - s)) = 2 s (1 + s^2/3 + s^4/5 + ...), where Lk = 2 / (2k + 1) belongs to s^2k.
L1, L2, L3, L4, L5, L6, L7, L8, L9, L10 = (2.0 / (2 * k + 1) for k in range(1, 11))
# The bits of the square root of 1/2.
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
TWO_100, TWO_M100, TWO_54 = 2.0**100, 2.0**-100, 2.0**54
# For |z| up to this limit e^-z neither overflows nor is subnormal.
MODERATE = 700.0


def _even(square: Any) -> Any:
    """The terms of even degree of the series: 1/2 + C4 r^2 + ..., as a function of r^2."""
    p = C12 * square + C10
    p = p * square + C8
    p = p * square + C6
    p = p * square + C4
    return p * square + 0.5


def _odd(square: Any) -> Any:
    """The terms of odd degree divided by r: C3 + C5 r^2 + ..., as a function of r^2.

    Two polynomials have shorter dependency chains than one.
    """
    p = C11 * square + C9
    p = p * square + C7
    p = p * square + C5
    return p * square + C3


def _expm1_reduced(x: Any, n: Any) -> Any:
    """exp(x - n ln 2) - 1 for |x - n ln 2| <= ln(2)/2."""
    high = x - n * LN2_HIGH
    low = n * LN2_LOW
    r = high - low
    rounding = (high - r) - low
    square = r * r
    return r + (rounding + square * (_even(square) + r * _odd(square)))


def exp(x: Any) -> Any:
    """e^x; 0 below about -745.13, infinity above about 709.78."""
    bounded = where(x < -746.0, -746.0, where(x > 710.0, 710.0, x))
    moved = bounded * LOG2_E + ROUND
    y = 1.0 + _expm1_reduced(bounded, moved - ROUND)
    # The exponent is set to n +- 100 first and corrected by a multiplication, so that only the
    # last multiplication can overflow or round to a subnormal number.
    up = where(x < 0.0, 100, -100)
    back = where(x < 0.0, TWO_M100, TWO_100)
    return where(x == x, from_bits(to_bits(y) + ((to_bits(moved) + up) << 52)) * back, x)


def exp_of_negative(x: Any) -> Any:
    """e^x for x <= 0, bit-identical to ``exp``."""
    bounded = where(x < -746.0, -746.0, x)
    moved = bounded * LOG2_E + ROUND
    y = 1.0 + _expm1_reduced(bounded, moved - ROUND)
    return where(x == x, from_bits(to_bits(y) + ((to_bits(moved) + 100) << 52)) * TWO_M100, x)


def exp_of_difference(z: Any, top: Any) -> Any:
    """e^(z - top) for z <= top, corrected for the rounding error of the difference."""
    d = z - top
    error = difference_error(z, top, d)
    power = exp_of_negative(d)
    # The error is not finite if the difference is not finite.
    return power + power * where(abs(error) < 1.0, error, 0.0)


def difference_error(a: Any, b: Any, d: Any) -> Any:
    """a - b - d, exactly, for the rounded difference d of finite numbers (Knuth 1969)."""
    other = d - a
    return (a - (d - other)) - (b + other)


def sum_error(a: Any, b: Any, s: Any) -> Any:
    """a + b - s, exactly, for the rounded sum s of finite numbers (Knuth 1969)."""
    other = s - a
    return (a - (s - other)) + (b - other)


def log(x: Any) -> Any:
    """ln x; -infinity at 0, NaN below.

    x = 2^k m with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh((m-1)/(m+1)). The parts are added as
    in e_log.c of fdlibm (Sun Microsystems 1993).
    """
    scaled = where(x < TINY, x * TWO_54, x)
    bits = to_bits(scaled)
    k = (bits - SQRT_HALF_BITS) >> 52
    f = from_bits(bits - (k << 52)) - 1.0
    n = k * 1.0 - where(x < TINY, 54.0, 0.0)
    s = f / (2.0 + f)
    z = s * s
    p = L10 * z + L9
    p = p * z + L8
    p = p * z + L7
    p = p * z + L6
    p = p * z + L5
    p = p * z + L4
    p = p * z + L3
    p = p * z + L2
    p = p * z + L1
    half = 0.5 * f * f
    y = n * LN2_HIGH - ((half - (s * (half + z * p) + n * LN2_LOW)) - f)
    y = where(x > 0.0, where(x == INFINITY, x, y), NAN)
    return where(x == 0.0, -INFINITY, y)


def log1p(e: Any) -> Any:
    """ln(1 + e) for 0 <= e <= 1, corrected for the rounding error of 1 + e (Kahan)."""
    u = 1.0 + e
    return log(u) + (e - (u - 1.0)) / u


def sigmoid(z: Any) -> Any:
    """1 / (1 + e^-z); e^z where e^-z might overflow."""
    low = exp_of_negative(where(z < -MODERATE, z, -MODERATE))
    near = sigmoid_of_moderate(where(abs(z) <= MODERATE, z, MODERATE))
    return where(z == z, where(z < -MODERATE, low, near), z)


def sigmoid_of_moderate(z: Any) -> Any:
    """1 / (1 + e^-z) for |z| <= MODERATE, bit-identical to ``sigmoid``.

    Uses e^-z = 2^n e^-r with r = z + n ln 2.
    """
    moved = z * -LOG2_E + ROUND
    n = moved - ROUND
    r = (z + n * LN2_HIGH) + n * LN2_LOW
    square = r * r
    y = 1.0 + (square * (_even(square) - r * _odd(square)) - r)
    return 1.0 / (1.0 + from_bits(to_bits(y) + (to_bits(moved) << 52)))


def tanh(z: Any) -> Any:
    """(1 - e^-2z) / (1 + e^-2z), computed from e^-2|z| - 1 to be accurate for small z."""
    y = -2.0 * abs(z)
    # At e^-60 the result has long been 1 after rounding; for smaller y, 2^n might be subnormal.
    bounded = where(y < -60.0, -60.0, y)
    moved = bounded * LOG2_E + ROUND
    power = from_bits((to_bits(moved) + 1023) << 52)
    less = power * _expm1_reduced(bounded, moved - ROUND) + (power - 1.0)
    t = (0.0 - less) / (less + 2.0)
    return where(z == z, where(z < 0.0, -t, t), z)


def cos_of_turns(f: Any) -> Any:
    """cos(2 pi f) = 1 - 2 sin(pi f)^2, f in turns; |f| below 2^50."""
    s = sin_of_turns(0.5 * f)
    return 1.0 - 2.0 * s * s


def sin_of_turns(f: Any) -> Any:
    """sin(2 pi f), f in turns; |f| below 2^50. A Taylor polynomial of degree 21."""
    halves = f * 2.0
    n = (halves + ROUND) - ROUND
    odd = n - 2.0 * ((0.5 * n + ROUND) - ROUND)
    a = (halves - n) * math.pi
    square = a * a
    term, total = a, a
    for k in range(1, 11):
        term = -term * square / (2.0 * k * (2.0 * k + 1.0))
        total = total + term
    return where(odd == 0.0, total, -total)
