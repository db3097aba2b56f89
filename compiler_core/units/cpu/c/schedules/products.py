"""Sources of kernels that multiply two activations: ``[B, M, K]`` by ``[B, K, N]``.

Some columns of the second operand at a time are gathered, so that their products follow each
other, and multiplied with all rows of the first one. With zero points a', b' (of elements, negated)
a sum is::

    sum((a + a') * (b + b')) = sum(a * (b + b')) + a' * sum(b + b')               dsp
                             = sum(a * b) + a' * sum(b) + b' * sum(a) + K a' b'   mve

| unit | columns are gathered as | rows |
|---|---|---|
| dsp | 16 bits with b', in the order 0, 2, 1, 3 of each four | widened as they are read |
| mve | bytes, filled up to sixteen with zeros | their sums come first, where b' is not 0 |
"""

from __future__ import annotations

from collections.abc import Iterator

from compiler_core.units.cpu.c.network import Value
from compiler_core.units.cpu.c.operators.weighted import MatrixProduct
from compiler_core.units.cpu.c.plan.packing import aligned
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule
from compiler_core.units.cpu.c.schedules.shapes import (
    KernelShape,
    KernelText,
    ProductSizes,
    kernel_text,
)

_PAIRS, _VECTOR = 4, 16
"""Elements that are loaded together."""
_LANES = 4


def product_scratch(operator: MatrixProduct, first: Value, schedule: KernelSchedule) -> int:
    """Bytes of gathered columns, and of sums of rows where they are needed."""
    if not schedule.unit.has_blocks:
        return 0
    _, rows, depth = first.shape
    if schedule.unit == "dsp":
        groups, rest = divmod(depth, _PAIRS)
        return 4 * schedule.outputs * (2 * groups + rest)
    columns = aligned(schedule.outputs * -(-depth // _VECTOR) * _VECTOR)
    return columns + (4 * rows if operator.offsets[1] else 0)


def product_kernel(
    operator: MatrixProduct, sizes: ProductSizes, schedule: KernelSchedule
) -> KernelText:
    """The function of a product of two activations.

    Args:
        operator: What is computed.
        sizes: Of it.
        schedule: Of blocks: columns as outputs, rows as pixels.
    """
    batch, rows, depth, columns = sizes
    shape = _shape(operator, sizes)
    right = -int(operator.scaling.shift)
    numbers = {
        "first": operator.offsets[0],
        "other": operator.offsets[1],
        "multiplier": int(operator.scaling.multiplier),
        "half": 1 << (right - 1),
        "right": right,
    }
    mve = schedule.unit == "mve"
    writer = (_Vectors if mve else _Pairs)(sizes, shape, schedule, operator.offsets)
    steps = f"a += {rows * depth}, b += {depth * columns}, y += {rows * columns}"
    lines = [f"  for (int32_t n = 0; n < {batch}; n++, {steps}) {{"]
    lines += writer.first_lines()
    for begin, end, block in chunks(columns, schedule.outputs):
        lines += [
            f"    for (int32_t column = {begin}; column < {end}; column += {block}) {{",
            *(f"      {line}" for line in writer.gather(block)),
        ]
        for first, last, held in chunks(rows, schedule.pixels):
            lines += [
                f"      for (int32_t row = {first}; row < {last}; row += {held}) {{",
                *(f"        {line}" for line in writer.block(block, held)),
                "      }",
            ]
        lines.append("    }")
    lines.append("  }")
    pointers = ("const int8_t *a", "const int8_t *b", "int8_t *y", f"{writer.kind} *gathered")
    return kernel_text(shape, writer.needs, pointers, lines, numbers)


def _shape(operator: MatrixProduct, sizes: ProductSizes) -> KernelShape:
    """Those of a dense layer of as many rows."""
    _, rows, depth, columns = sizes
    one, scaling = (1, 1), operator.scaling
    ends = (0, scaling.offset, scaling.low, scaling.high)
    image = (1, 1, rows, depth)
    return KernelShape(image, (1, rows), columns, one, one, one, (0, 0), *ends)


def chunks(count: int, block: int) -> Iterator[tuple[int, int, int]]:
    """Begin, end and step of whole blocks, and of the smaller one behind them."""
    whole = count - count % block
    if whole:
        yield 0, whole, block
    if count % block:
        yield whole, count, count % block


class _Pairs:
    """Lines for units that multiply two pairs of 16 bits at a time."""

    kind = "uint32_t"
    needs = ("hidden", "load32", "widen", "dual", "scaled", "narrow")

    def __init__(
        self,
        sizes: ProductSizes,
        shape: KernelShape,
        schedule: KernelSchedule,
        offsets: tuple[int, int],
    ) -> None:
        _, _, self._depth, self._columns = sizes
        self._shape, self._unroll, self._offsets = shape, schedule.unroll, offsets
        self._groups, self._rest = divmod(self._depth, _PAIRS)

    def first_lines(self) -> list[str]:
        """What comes before all columns."""
        return []

    def gather(self, block: int) -> list[str]:
        """Some columns, and what each sum begins with."""
        step, other = self._columns, " + other" if self._offsets[1] else ""
        sums = bool(self._offsets[0])
        lines = ["const int8_t *from = b + column;", "uint32_t *to = gathered;"]
        begins = ", ".join(f"s{o} = 0" for o in range(block))
        lines.append(f"int32_t {begins};")
        if self._groups:
            lines.append(f"for (int32_t k = 0; k < {self._groups}; k++) {{")
            for o in range(block):
                names = [f"u{o}{t}" for t in range(_PAIRS)]
                known = (f"{n} = from[{t * step + o}]{other}" for t, n in enumerate(names))
                lines.append(f"  int32_t {', '.join(known)};")
                lines.append(f"  to[{2 * o}] = nt_join({names[0]}, {names[2]});")
                lines.append(f"  to[{2 * o + 1}] = nt_join({names[1]}, {names[3]});")
                lines += [f"  s{o} += {' + '.join(names)};"] if sums else []
            lines += [f"  from += {_PAIRS * step};", f"  to += {2 * block};", "}"]
        for t in range(self._rest):
            for o in range(block):
                at = t * block + o
                lines.append(f"int32_t r{at} = from[{t * step + o}]{other};")
                lines.append(f"to[{at}] = (uint32_t)r{at};")
                lines += [f"s{o} += r{at};"] if sums else []
        lines += [f"s{o} *= first;" for o in range(block)] if sums else []
        return lines

    def block(self, block: int, held: int) -> list[str]:
        """Sums of some columns and rows."""
        lines = _begins(held, self._depth, "const uint32_t *w = gathered;")
        lines.append(_sums(block, held, "s{o}"))
        turns, rest = divmod(self._groups, self._unroll)
        if turns:
            inner = [line for t in range(self._unroll) for line in self._turn(block, held, t)]
            lines += [f"for (int32_t k = 0; k < {turns}; k++) {{", *(f"  {i}" for i in inner)]
            lines += [f"  x{p} += {_PAIRS * self._unroll};" for p in range(held)]
            lines += [f"  w += {2 * block * self._unroll};", "}"]
        lines += [line for t in range(rest) for line in self._turn(block, held, t)]
        for t in range(self._rest):
            at, word = rest * _PAIRS + t, rest * 2 * block + t * block
            lines += [
                f"a{p}{o} += x{p}[{at}] * (int32_t)w[{word + o}];"
                for p in range(held)
                for o in range(block)
            ]
        for p in range(held):
            for o in range(block):
                found = (
                    f"nt_scaled(a{p}{o}, multiplier, half, right) + {self._shape.text('offset')}"
                )
                to = f"y[(row + {p}) * {self._columns} + column + {o}]"
                lines.append(f"{to} = {self._shape.narrowed(found)};")
        return lines

    def _turn(self, block: int, held: int, turn: int) -> list[str]:
        at, word = turn * _PAIRS, turn * 2 * block
        lines = ["{", "  NT_HIDE(w);"]
        for p in range(held):
            lines.append(
                f"  uint32_t v{p} = nt_load32(x{p} + {at}), e{p} = nt_even(v{p}), "
                f"d{p} = nt_odd(v{p});"
            )
        for o in range(block):
            even, odd = f"w[{word + 2 * o}]", f"w[{word + 2 * o + 1}]"
            lines += [
                f"  a{p}{o} = nt_dual(d{p}, {odd}, nt_dual(e{p}, {even}, a{p}{o}));"
                for p in range(held)
            ]
        return [*lines, "}"]


class _Vectors:
    """Lines for units that multiply sixteen bytes at a time."""

    kind = "int8_t"
    needs = ("hidden", "vector_dot", "vector_sum", "vector_part", "scatter", "lane_of", "lane_all",
             "lane_narrow", "scaled", "narrow")  # fmt: skip

    def __init__(
        self,
        sizes: ProductSizes,
        shape: KernelShape,
        schedule: KernelSchedule,
        offsets: tuple[int, int],
    ) -> None:
        _, self._rows, self._depth, self._columns = sizes
        self._shape, self._unroll, self._offsets = shape, schedule.unroll, offsets
        self._groups, self._rest = divmod(self._depth, _VECTOR)
        self._whole = -(-self._depth // _VECTOR)
        self._behind = aligned(schedule.outputs * self._whole * _VECTOR)

    def first_lines(self) -> list[str]:
        """Sums of rows, where the other operand has a zero point."""
        if not self._offsets[1]:
            return []
        lines = [
            f"    int32_t *sums = (int32_t *)(void *)(gathered + {self._behind});",
            f"    for (int32_t row = 0; row < {self._rows}; row++) {{",
            f"      const int8_t *x = a + row * {self._depth};",
            "      int32_t sum = 0;",
        ]
        if self._groups:
            lines += [
                f"      for (int32_t k = 0; k < {self._groups}; k++, x += {_VECTOR})",
                "        sum = nt_v16_sum(sum, nt_v16_load(x));",
            ]
        if self._rest:
            lines.append(f"      sum = nt_v16_sum(sum, nt_v16_part(x, {self._rest}));")
        return [*lines, "      sums[row] = sum * other;", "    }"]

    def gather(self, block: int) -> list[str]:
        """Some columns, and what each sum begins with."""
        step = self._columns
        lines = ["const int8_t *from = b + column;", "int8_t *to = gathered;"]
        four = block // _LANES * _LANES
        each = [f"nt_scatter4(to + {o * _VECTOR}, from + {o});" for o in range(0, four, _LANES)]
        each += [f"to[{o * _VECTOR}] = from[{o}];" for o in range(four, block)]
        inner = [*(f"  {line}" for line in each), "}"]
        begin, end = "for (int32_t k = 0; k < ", f"; k++, from += {step}, to++) {{"
        if self._groups:
            lines += [
                f"for (int32_t g = 0; g < {self._groups}; g++) {{",
                f"  {begin}{_VECTOR}{end}",
                *(f"  {line}" for line in inner),
                f"  to += {_VECTOR * (block - 1)};",
                "}",
            ]
        if self._rest:
            lines += [f"{begin}{self._rest}{end}", *inner]
            lines += [
                f"for (int32_t k = 0; k < {_VECTOR - self._rest}; k++, to++) {{",
                *(f"  to[{o * _VECTOR}] = 0;" for o in range(block)),
                "}",
            ]
        lines.append("int32_t " + ", ".join(f"s{o} = 0" for o in range(block)) + ";")
        if self._offsets[0]:
            lines += [
                f"for (int32_t g = 0; g < {self._whole}; g++) {{",
                *(
                    f"  s{o} = nt_v16_sum(s{o}, nt_v16_load(gathered + "
                    f"(g * {block} + {o}) * {_VECTOR}));"
                    for o in range(block)
                ),
                "}",
            ]
            more = f" + {self._depth} * other" if self._offsets[1] else ""
            lines += [f"s{o} = first * (s{o}{more});" for o in range(block)]
        return lines

    def block(self, block: int, held: int) -> list[str]:
        """Sums of some columns and rows."""
        lines = _begins(held, self._depth, "const int8_t *w = gathered;")
        begin = "s{o} + sums[row + {p}]" if self._offsets[1] else "s{o}"
        lines.append(_sums(block, held, begin))
        turns, rest = divmod(self._groups, self._unroll)
        if turns:
            inner = [i for t in range(self._unroll) for i in self._turn(block, held, t)]
            lines += [f"for (int32_t k = 0; k < {turns}; k++) {{", *(f"  {i}" for i in inner)]
            lines += [f"  x{p} += {_VECTOR * self._unroll};" for p in range(held)]
            lines += [f"  w += {_VECTOR * block * self._unroll};", "}"]
        lines += [i for t in range(rest) for i in self._turn(block, held, t)]
        if self._rest:
            lines += self._turn(block, held, rest, self._rest)
        four = block // _LANES * _LANES
        offset, low, high = (self._shape.text(name) for name in ("offset", "low", "high"))
        for p in range(held):
            to = f"y + (row + {p}) * {self._columns} + column"
            for o in range(0, four, _LANES):
                sums = ", ".join(f"a{p}{o + k}" for k in range(_LANES))
                lines.append(
                    f"nt_v4_narrow({to} + {o}, nt_v4_of({sums}), nt_v4_all(multiplier), "
                    f"nt_v4_all(right), {offset}, {low}, {high});"
                )
            for o in range(four, block):
                found = f"nt_scaled(a{p}{o}, multiplier, half, right) + {offset}"
                lines.append(f"*({to} + {o}) = {self._shape.narrowed(found)};")
        return lines

    def _turn(self, block: int, held: int, turn: int, count: int = _VECTOR) -> list[str]:
        at, word = turn * _VECTOR, turn * _VECTOR * block
        part = count != _VECTOR
        lines = ["{", "  NT_HIDE(w);"]
        for p in range(held):
            load = f"nt_v16_part(x{p} + {at}, {count})" if part else f"nt_v16_load(x{p} + {at})"
            lines.append(f"  nt_v16 v{p} = {load};")
        for o in range(block):
            lines.append(f"  nt_v16 w{o} = nt_v16_load(w + {word + o * _VECTOR});")
            lines += [f"  a{p}{o} = nt_v16_dot(a{p}{o}, v{p}, w{o});" for p in range(held)]
        return [*lines, "}"]


def _begins(held: int, depth: int, weights: str) -> list[str]:
    """Pointers of rows and of gathered columns."""
    rows = ", ".join(f"*x{p} = a + (row + {p}) * {depth}" for p in range(held))
    return [f"const int8_t {rows};", weights]


def _sums(block: int, held: int, begin: str) -> str:
    known = (f"a{p}{o} = {begin.format(o=o, p=p)}" for p in range(held) for o in range(block))
    return f"int32_t {', '.join(known)};"
