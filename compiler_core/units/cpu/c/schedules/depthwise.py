"""Sources of depthwise convolutions that compute four channels at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule
from compiler_core.units.cpu.c.schedules.shapes import (
    WEIGHTS,
    KernelShape,
    KernelText,
    is_deep,
    kernel_text,
)

_DSP_NEEDS = ("load32", "widen", "widen_add", "single", "scaled", "narrow")
_MVE_NEEDS = ("lane_bytes", "lane_plus", "lane_narrow")
_DEEP_NEEDS = ("deep",)
_WIDE_DSP_NEEDS = ("load32", "widen", "single", "crossed", "scaled16", "narrow16")
_WIDE_MVE_NEEDS = ("lane_bytes", "lane_halves", "lane_narrow16")


def depthwise_kernel(shape: KernelShape, schedule: KernelSchedule) -> KernelText:
    """The function of a depthwise convolution."""
    if is_deep(shape, schedule):
        pointers = ("const int8_t *x", "int8_t *y")
        return kernel_text(shape, _DEEP_NEEDS, (*WEIGHTS, *pointers), _deep_lines(shape))
    mve = schedule.unit == "mve"
    samples, height, width, channels = shape.sizes
    rows, columns = shape.output
    item = "int16_t" if shape.wide else "int8_t"
    first = []
    if not (mve or shape.wide):
        zero = shape.text("zero")
        first.append(f"  const uint32_t ahead = ((uint32_t)-{zero} & 0xFFFFu) * 0x10001u;")
    lines = [
        *first,
        f"  for (int32_t n = 0; n < {samples}; n++, x += {height * width * channels})",
        f"    for (int32_t row = 0; row < {rows}; row++)",
        f"      for (int32_t column = 0; column < {columns}; column++) {{",
        f"        int32_t top = row * {shape.stride[0]} - {shape.pad[0]};",
        f"        int32_t left = column * {shape.stride[1]} - {shape.pad[1]};",
        f"        int32_t corner = (top * {width} + left) * {channels};",
    ]
    inner = _taps_written_out(shape, mve=mve)
    if shape.inside:
        lines += [f"        {line}" for line in inner]
    else:
        reach = [(k - 1) * d + 1 for k, d in zip(shape.kernel, shape.dilation, strict=True)]
        lines += [
            f"        if (top >= 0 && left >= 0 && top + {reach[0]} <= {height} && "
            f"left + {reach[1]} <= {width}) {{",
            *(f"          {line}" for line in inner),
            "          continue;",
            "        }",
            *(f"        {line}" for line in _taps_that_exist(shape, mve=mve)),
        ]
    lines.append("      }")
    needs = _MVE_NEEDS if mve else _DSP_NEEDS
    if shape.wide:
        needs = _WIDE_MVE_NEEDS if mve else _WIDE_DSP_NEEDS
    return kernel_text(shape, needs, (*WEIGHTS, f"const {item} *x", f"{item} *y"), lines)


DEEP_ORDER = (0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15)
"""Channels of a group of sixteen in the order of their sums."""


def _deep_lines(shape: KernelShape) -> list[str]:
    """Lines that compute sixteen channels at a time; what is outside is the zero point."""
    samples, height, width, channels = shape.sizes
    rows, columns = shape.output
    places = [
        (i * shape.dilation[0] * width + j * shape.dilation[1]) * channels
        for i in range(shape.kernel[0])
        for j in range(shape.kernel[1])
    ]
    pairs = [
        f"sum = nt_sums_two(sum, nt_v16_load(at + {places[k]}), nt_v16_load(w + {16 * k}), "
        f"nt_v16_load(at + {places[k + 1]}), nt_v16_load(w + {16 * k + 16}));"
        for k in range(0, len(places) - 1, 2)
    ]
    if len(places) % 2:
        k = len(places) - 1
        pairs.append(
            f"sum = nt_sums_one(sum, nt_v16_load(at + {places[k]}), nt_v16_load(w + {16 * k}));"
        )
    ends = ", ".join(map(shape.text, ("offset", "low", "high")))
    store = f"nt_sums_store(y, sum, s + 16, {ends});"
    begin = [
        "const int8_t *w = weights;",
        "const int32_t *s = scales;",
        f"for (int32_t c = 0; c < {channels}; c += 16) {{",
        "  nt_sums sum = nt_sums_load(s);",
    ]
    end = [f"  {store}", "  y += 16;", "  s += 48;", f"  w += {16 * len(places)};", "}"]
    inner = [*begin, "  const int8_t *at = x + (corner + c);", *(f"  {p}" for p in pairs), *end]
    border = [
        *begin,
        f"  for (int32_t i = 0; i < {shape.kernel[0]}; i++)",
        f"    for (int32_t j = 0; j < {shape.kernel[1]}; j++) {{",
        f"      int32_t r = top + i * {shape.dilation[0]}, q = left + j * {shape.dilation[1]};",
        f"      int outside = r < 0 || r >= {height} || q < 0 || q >= {width};",
        f"      nt_v16 v = outside ? nt_v16_same({shape.text('zero')})",
        f"                         : nt_v16_load(x + ((r * {width} + q) * {channels} + c));",
        f"      sum = nt_sums_one(sum, v, nt_v16_load(w + (i * {shape.kernel[1]} + j) * 16));",
        "    }",
        *end,
    ]
    reach = [(k - 1) * d + 1 for k, d in zip(shape.kernel, shape.dilation, strict=True)]
    lines = [
        f"  for (int32_t n = 0; n < {samples}; n++, x += {height * width * channels})",
        f"    for (int32_t row = 0; row < {rows}; row++)",
        f"      for (int32_t column = 0; column < {columns}; column++) {{",
        f"        int32_t top = row * {shape.stride[0]} - {shape.pad[0]};",
        f"        int32_t left = column * {shape.stride[1]} - {shape.pad[1]};",
        f"        int32_t corner = (top * {width} + left) * {channels};",
    ]
    if shape.inside:
        lines += [f"        {line}" for line in inner]
    else:
        lines += [
            f"        if (top >= 0 && left >= 0 && top + {reach[0]} <= {height} && "
            f"left + {reach[1]} <= {width}) {{",
            *(f"          {line}" for line in inner),
            "          continue;",
            "        }",
            *(f"        {line}" for line in border),
        ]
    return [*lines, "      }"]


def deep_scales(scales: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Per group: sixteen biases, multipliers and negated shifts, in the order of the sums.

    Args:
        scales: ``[C, 4]``: bias, multiplier, half, shift to the right.
    """
    columns = np.stack([scales[:, 0], scales[:, 1], -scales[:, 3]], axis=1)
    grouped = columns.reshape(-1, 16, 3)[:, list(DEEP_ORDER)]
    return np.ascontiguousarray(grouped.transpose(0, 2, 1))


def _channels(shape: KernelShape, body: list[str], *, mve: bool) -> list[str]:
    """A loop over channels around the taps."""
    channels, ends = shape.sizes[3], f"{shape.text('low')}, {shape.text('high')}"
    if mve and shape.wide:
        begin = ["nt_v4 sum = nt_v4_load(s);"]
        end = [f"nt_v4_narrow16(y, sum, nt_v4_load(s + 4), {ends});", "y += 4;", "s += 8;"]
    elif shape.wide:
        begin = ["int32_t a0 = s[0], a1 = s[2], a2 = s[4], a3 = s[6];"]
        sums = [f"nt_scaled16(a{k}, s[{2 * k + 1}])" for k in range(4)]
        end = [*(f"*y++ = {shape.narrowed(found)};" for found in sums), "s += 8;"]
    elif mve:
        begin = ["nt_v4 sum = nt_v4_load(s);"]
        end = [
            f"nt_v4_narrow(y, sum, nt_v4_load(s + 4), nt_v4_load(s + 8), "
            f"{shape.text('offset')}, {ends});",
            "y += 4;",
            "s += 12;",
        ]
    else:
        begin = ["int32_t a0 = s[0], a1 = s[4], a2 = s[8], a3 = s[12];"]
        sums = [
            f"nt_scaled(a{k}, s[{4 * k + 1}], s[{4 * k + 2}], s[{4 * k + 3}]) + "
            f"{shape.text('offset')}"
            for k in range(4)
        ]
        end = [*(f"*y++ = {shape.narrowed(found)};" for found in sums), "s += 16;"]
    return [
        "const int32_t *s = scales;",
        f"for (int32_t c = 0; c < {channels}; c += 4) {{",
        *(f"  {line}" for line in (*begin, *body, *end)),
        "}",
    ]


def _tap(at: str, weight: str, shape: KernelShape, *, mve: bool) -> list[str]:
    if mve and shape.wide:
        return [f"sum = nt_v4_sum(sum, nt_v4_halves({at}), nt_v4_bytes({weight}));"]
    if shape.wide:
        return [
            "{",
            f"  uint32_t v = nt_load32({at}), u = nt_load32({at} + 2), w = nt_load32({weight});",
            "  uint32_t f = nt_even(w), g = nt_odd(w);",
            "  a0 = nt_lows(v, f, a0);",
            "  a1 = nt_up_low(v, g, a1);",
            "  a2 = nt_low_up(u, f, a2);",
            "  a3 = nt_ups(u, g, a3);",
            "}",
        ]
    if mve:
        seen = f"nt_v4_plus(nt_v4_bytes({at}), -{shape.text('zero')})"
        return [f"sum = nt_v4_sum(sum, {seen}, nt_v4_bytes({weight}));"]
    return [
        "{",
        f"  uint32_t v = nt_load32({at}), w = nt_load32({weight});",
        "  uint32_t e = nt_even_add(ahead, v), d = nt_odd_add(ahead, v);",
        "  uint32_t f = nt_even(w), g = nt_odd(w);",
        "  a0 = nt_lows(e, f, a0);",
        "  a1 = nt_lows(d, g, a1);",
        "  a2 = nt_ups(e, f, a2);",
        "  a3 = nt_ups(d, g, a3);",
        "}",
    ]


def _taps_written_out(shape: KernelShape, *, mve: bool) -> list[str]:
    _, _, width, channels = shape.sizes
    body: list[str] = []
    for i in range(shape.kernel[0]):
        for j in range(shape.kernel[1]):
            place = (i * shape.dilation[0] * width + j * shape.dilation[1]) * channels
            weight = (i * shape.kernel[1] + j) * channels
            body += _tap(f"near + {place} + c", f"weights + {weight} + c", shape, mve=mve)
    item = "int16_t" if shape.wide else "int8_t"
    return [f"const {item} *near = x + corner;", *_channels(shape, body, mve=mve)]


def _taps_that_exist(shape: KernelShape, *, mve: bool) -> list[str]:
    _, height, width, channels = shape.sizes
    steps = f"(i * {shape.dilation[0] * width} + j * {shape.dilation[1]})"
    place = f"x + (corner + {steps} * {channels} + c)"
    weight = f"weights + (i * {shape.kernel[1]} + j) * {channels} + c"
    body = [
        f"for (int32_t i = 0; i < {shape.kernel[0]}; i++) {{",
        f"  int32_t seen = top + i * {shape.dilation[0]};",
        f"  if (seen < 0 || seen >= {height}) continue;",
        f"  for (int32_t j = 0; j < {shape.kernel[1]}; j++) {{",
        f"    int32_t at = left + j * {shape.dilation[1]};",
        f"    if (at < 0 || at >= {width}) continue;",
        *(f"    {line}" for line in _tap(place, weight, shape, mve=mve)),
        "  }",
        "}",
    ]
    return _channels(shape, body, mve=mve)
