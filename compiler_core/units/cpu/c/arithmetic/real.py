"""Functions of float32 in IEEE operations of a fixed order: the same bits in NumPy and in C.

Nothing here calls a mathematical library. The generated C holds the same steps, compiled without
contraction of products and sums.

Source: the polynomials are those of S. Moshier's Cephes library; erf's is Abramowitz and Stegun,
7.1.26.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float32]

_F = np.float32
_MAGIC = _F(12582912.0)
"""1.5 * 2^23: adding and subtracting it rounds half to even."""

MOST_WHOLE = 65536.0
"""Magnitude at which :func:`whole` saturates."""

EXP_TERMS = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    0.5,
)
TANH_TERMS = (
    -5.70498872745e-3,
    2.06390887954e-2,
    -5.37397155531e-2,
    1.33314422036e-1,
    -3.33332819422e-1,
)
ATAN_TERMS = (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)
SIN_TERMS = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COS_TERMS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
QUARTERS = (1.5703125, 4.837512969970703125e-4, 7.54978995489188e-8)
"""A quarter of a turn in three parts, so that whole multiples of the first ones are exact."""
ERF_TERMS = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
ERF_SERIES = (-1.0 / 1320, 1.0 / 216, -1.0 / 42, 0.1, -1.0 / 3)
LOG_TERMS = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)


def horner(x: Reals, terms: Sequence[float]) -> Reals:
    """A polynomial, the highest power first."""
    found = np.full_like(x, _F(terms[0]))
    for term in terms[1:]:
        found = found * x + _F(term)
    return found


def rounded(x: Reals) -> Reals:
    """To the nearest integer, half to even, for magnitudes below 2^22."""
    return np.asarray((x + _MAGIC) - _MAGIC)


def whole(x: Reals) -> npt.NDArray[np.int64]:
    """Integers of float32, half to even, saturated at :data:`MOST_WHOLE`; NaN is the lowest."""
    limit = _F(MOST_WHOLE)
    low = np.where(x > -limit, x, -limit).astype(np.float32)
    return rounded(np.where(low < limit, low, limit).astype(np.float32)).astype(np.int64)


def exp(x: Reals) -> Reals:
    """e to the power of x; 0 below −87, infinite above 88.7."""
    inside = np.where((x > _F(-87.0)) & (x < _F(88.7)), x, _F(0))
    n = rounded(inside * _F(1.44269504088896341))
    r = (inside - n * _F(0.693359375)) - n * _F(-2.12194440e-4)
    y = (horner(r, EXP_TERMS) * (r * r) + r) + _F(1)
    half = n.astype(np.int32) >> 1
    y = (y * _power(half)) * _power(n.astype(np.int32) - half)
    y = np.where(x > _F(-87.0), y, _F(0))
    y = np.where(x < _F(88.7), y, _F(np.inf))
    return np.where(np.isnan(x), x, y).astype(np.float32)


def _power(n: npt.NDArray[np.int32]) -> Reals:
    return ((n + 127) << 23).astype(np.int32).view(np.float32)


def log(x: Reals) -> Reals:
    """The natural logarithm; of 0 and below −infinity."""
    normal = (x >= _F(1.17549435e-38)) & (x < _F(np.inf))
    bits = np.where(normal, x, _F(1)).astype(np.float32).view(np.int32)
    n = (bits >> 23) - 126
    m = ((bits & 0x007FFFFF) | 0x3F000000).astype(np.int32).view(np.float32)
    small = m < _F(0.707106781)
    n = (n - small).astype(np.float32)
    m = np.where(small, (m + m) - _F(1), m - _F(1)).astype(np.float32)
    z = m * m
    y = (horner(m, LOG_TERMS) * m) * z
    y = y + n * _F(-2.12194440e-4)
    y = y - _F(0.5) * z
    y = (m + y) + n * _F(0.693359375)
    y = np.where(x < _F(1.17549435e-38), _F(-np.inf), y)
    return np.where(normal | (x < _F(1.17549435e-38)), y, x).astype(np.float32)


def tanh(x: Reals) -> Reals:
    """The hyperbolic tangent."""
    size = np.abs(x)
    z = x * x
    near = (horner(z, TANH_TERMS) * z) * x + x
    far = _F(1) - _F(2) / (exp(size + size) + _F(1))
    far = np.where(x < 0, -far, far)
    return np.where(size < _F(0.625), near, far).astype(np.float32)


def erf(x: Reals) -> Reals:
    """The error function, to 2e-7."""
    size = np.abs(x)
    z = x * x
    near = ((horner(z, ERF_SERIES) * z) * x + x) * _F(1.12837916709551)
    t = _F(1) / (_F(1) + _F(0.3275911) * size)
    far = _F(1) - (horner(t, ERF_TERMS) * t) * exp(-z)
    far = np.where(x < 0, -far, far)
    return np.where(size < _F(0.5), near, far).astype(np.float32)


def sigmoid(x: Reals) -> Reals:
    """1 / (1 + exp(-x))."""
    return np.asarray(_F(1) / (_F(1) + exp(-x)))


def atan(x: Reals) -> Reals:
    """The arctangent."""
    size = np.where(x < 0, -x, x).astype(np.float32)
    far, middle = size > _F(2.414213562373095), size > _F(0.4142135623730950)
    y = np.where(far, _F(1.5707963267948966), np.where(middle, _F(0.7853981633974483), _F(0)))
    part = np.where(middle, (size - _F(1)) / (size + _F(1)), size)
    part = np.where(far, -(_F(1) / np.where(far, size, _F(1))), part).astype(np.float32)
    z = part * part
    found: Reals = y.astype(np.float32) + ((horner(z, ATAN_TERMS) * z) * part + part)
    return np.asarray(np.where(x < 0, -found, found), np.float32)


def sin(x: Reals, ahead: int = 0) -> Reals:
    """The sine of x and so many quarters of a turn; less exact from about 8,000 on, and of 0 from
    where :func:`nearest` has no fraction left."""
    turns = x * _F(0.6366197723675814)
    inside = (turns > _F(-4194304)) & (turns < _F(4194304))
    x, turns = np.where(inside, x, _F(0)), np.where(inside, turns, _F(0)).astype(np.float32)
    n = rounded(turns)
    r = ((x - n * _F(QUARTERS[0])) - n * _F(QUARTERS[1])) - n * _F(QUARTERS[2])
    quarter = (n.astype(np.int32) + ahead) & 3
    z = r * r
    odd = (horner(z, SIN_TERMS) * z) * r + r
    even = (horner(z, COS_TERMS) * z) * z - _F(0.5) * z + _F(1)
    found = np.where((quarter & 1) != 0, even, odd)
    return np.asarray(np.where((quarter & 2) != 0, -found, found), np.float32)


def shrunk(x: Reals, bias: float, bound: float) -> Reals:
    """Nearer to 0 by ``bias`` where beyond ``bound``, else 0."""
    low = np.where(x < -_F(bound), x + _F(bias), _F(0))
    return np.where(x > _F(bound), x - _F(bias), low).astype(np.float32)


def softplus(x: Reals) -> Reals:
    """The logarithm of 1 + exp(x)."""
    size = np.where(x < 0, -x, x).astype(np.float32)
    return np.asarray(clamped(x, 0.0, np.inf) + log(_F(1) + exp(-size)), np.float32)


def gelu_tanh(x: Reals) -> Reals:
    """The Gaussian error unit with its hyperbolic tangent."""
    inner = (x + ((_F(0.044715) * x) * x) * x) * _F(0.7978845608028654)
    return np.asarray((_F(0.5) * x) * (_F(1) + tanh(inner)), np.float32)


def power(x: Reals, exponent: int) -> Reals:
    """A whole power from 1 on, by repeated multiplication."""
    found = x
    for _ in range(exponent - 1):
        found = found * x
    return found


def clamped(x: Reals, low: float, high: float) -> Reals:
    """Between limits; NaN stays."""
    above = np.where(x < _F(low), _F(low), x)
    return np.where(above > _F(high), _F(high), above).astype(np.float32)


MAPS: dict[str, Callable[[Reals, float, float], Any]] = {
    "abs": lambda x, _a, _b: np.where(x < 0, -x, x),
    "atan": lambda x, _a, _b: atan(x),
    "affine": lambda x, a, b: x * _F(a) + _F(b),
    "ceil": lambda x, _a, _b: -floor(-x),
    "clamp": clamped,
    "elu": lambda x, a, _b: np.where(x < 0, _F(a) * (exp(x) - _F(1)), x),
    "cos": lambda x, _a, _b: sin(x, 1),
    "erf": lambda x, _a, _b: erf(x),
    "exp": lambda x, _a, _b: exp(x),
    "floor": lambda x, _a, _b: floor(x),
    "round": lambda x, _a, _b: nearest(x),
    "gelu": lambda x, _a, _b: (_F(0.5) * x) * (_F(1) + erf(x * _F(0.70710678118654752))),
    "gelu_tanh": lambda x, _a, _b: gelu_tanh(x),
    "leaky": lambda x, a, _b: np.where(x < 0, _F(a) * x, x),
    "log": lambda x, _a, _b: log(x),
    "mish": lambda x, _a, _b: x * tanh(softplus(x)),
    "power": lambda x, a, _b: power(x, int(a)),
    "reciprocal": lambda x, _a, _b: _F(1) / x,
    "shrink": shrunk,
    "sigmoid": lambda x, _a, _b: sigmoid(x),
    "sign": lambda x, _a, _b: np.where(x > 0, _F(1), np.where(x < 0, _F(-1), _F(0))),
    "sin": lambda x, _a, _b: sin(x),
    "softsign": lambda x, _a, _b: x / (_F(1) + np.where(x < 0, -x, x)),
    "softplus": lambda x, _a, _b: softplus(x),
    "sqrt": lambda x, _a, _b: np.sqrt(x),
    "swish": lambda x, a, _b: x * sigmoid(x * _F(a)),
    "hard_sigmoid": lambda x, a, b: clamped(x * _F(a) + _F(b), 0.0, 1.0),
    "hard_swish": lambda x, a, b: x * clamped(x * _F(a) + _F(b), 0.0, 1.0),
    "tanh": lambda x, _a, _b: tanh(x),
    "thresholded": lambda x, a, _b: np.where(x > _F(a), x, _F(0)),
}
"""Functions of one element with two parameters, by name."""


def nearest(x: Reals) -> Reals:
    """The nearest integer, half to even, of any number."""
    return np.asarray(np.where(np.abs(x) < np.float32(1 << 22), rounded(x), x), np.float32)


def floor(x: Reals) -> Reals:
    """The largest integer from below; magnitudes of 2^22 and more stay."""
    small = np.where((x > _F(-4194304)) & (x < _F(4194304)), x, _F(0)).astype(np.float32)
    near = rounded(small)
    down = near - np.where(near > small, _F(1), _F(0)).astype(np.float32)
    return np.where((x > _F(-4194304)) & (x < _F(4194304)), down, x).astype(np.float32)


_NAN = np.uint32(0x7FC00000).view(np.float32)


def _raised(a: Reals, b: Reals) -> Reals:
    """Powers: below zero by whole exponents alone; anything to the power of 0 is 1."""
    a, b = np.broadcast_arrays(a, b)
    size = exp(b * log(np.where(a < 0, -a, a).astype(np.float32)))
    half = b * _F(0.5)
    below = np.where(floor(half) != half, -size, size)
    below = np.where(floor(b) != b, _NAN, below)
    return np.where(b == 0, _F(1), np.where(a < 0, below, size)).astype(np.float32)


def _rest(a: Reals, b: Reals) -> Reals:
    """What is left of a division without fraction, exactly: with the sign of ``a``."""
    none = ~(np.isfinite(a) & (b != 0) & ~np.isnan(b))
    return np.where(none, _NAN, np.fmod(a, np.where(none, _F(1), b))).astype(np.float32)


def _rest_of_divisor(a: Reals, b: Reals) -> Reals:
    """The same with the sign of ``b``."""
    rest = _rest(a, b)
    other = np.where((rest < 0) != (b < 0), rest + b, rest)
    none = np.where(b < 0, _F(-0.0), _F(0))
    return np.where(np.isnan(rest), _NAN, np.where(rest == 0, none, other)).astype(np.float32)


PAIRS: dict[str, Callable[[Reals, Reals], Any]] = {
    "add": lambda a, b: a + b,
    "fmod": _rest,
    "mod": _rest_of_divisor,
    "div": lambda a, b: a / b,
    "max": lambda a, b: np.where(a > b, a, b),
    "min": lambda a, b: np.where(a < b, a, b),
    "mul": lambda a, b: a * b,
    "pow": _raised,
    "sub": lambda a, b: a - b,
}
"""Functions of two elements by name."""
