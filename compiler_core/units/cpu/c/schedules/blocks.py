"""Sources of kernels that gather patches of the input and multiply them with blocks of weights."""

from __future__ import annotations

from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule
from compiler_core.units.cpu.c.schedules.shapes import (
    WEIGHTS,
    KernelShape,
    KernelText,
    in_lanes,
    kernel_text,
    lane_count,
    padded_depth,
    patch_dtype,
)

DSP_NEEDS = ("hidden", "load32", "widen", "dual", "scaled", "narrow")
MVE_NEEDS = ("hidden", "vector_dot", "scaled", "narrow")
LANES_NEEDS = ("hidden", "vector_dot", "lane_of", "lane_narrow")
WIDE_DSP_NEEDS = ("hidden", "load32", "widen", "dual", "scaled16", "narrow16")
WIDE_MVE_NEEDS = ("hidden", "vector16", "scaled16", "narrow16")
WIDE_LANES_NEEDS = ("hidden", "vector16", "lane_of", "lane_narrow16")

_PEELED, _FEW_SUMS = 16, 4
"""Turns of a loop that gcc writes out, of few sums or half as many of more: what all pixels read
would be kept then."""

_NEEDS = {
    ("dsp", False, False): DSP_NEEDS,
    ("dsp", False, True): WIDE_DSP_NEEDS,
    ("mve", False, False): MVE_NEEDS,
    ("mve", False, True): WIDE_MVE_NEEDS,
    ("mve", True, False): LANES_NEEDS,
    ("mve", True, True): WIDE_LANES_NEEDS,
}
"""By unit, whether four sums are scaled at a time, and whether activations have 16 bits."""


def block_kernel(shape: KernelShape, schedule: KernelSchedule) -> KernelText:
    """The function of a convolution or dense layer."""
    mve = schedule.unit == "mve"
    kind = f"{patch_dtype(shape, schedule)}_t"
    item = "int16_t" if shape.wide else "int8_t"
    gather_needs, gather = _gather(shape, mve=mve)
    depth, padded = shape.depth, padded_depth(shape, schedule)
    samples, height, width, channels = shape.sizes
    rows, columns = shape.output
    pointers = (f"const {item} *x", f"{item} *y", f"{kind} *patch")
    lines = ["  int32_t held = 0;"]
    if padded != depth:
        lines += [
            f"  for (int32_t p = 0; p < {schedule.pixels}; p++)",
            f"    for (int32_t k = {depth}; k < {padded}; k++) patch[p * {padded} + k] = 0;",
        ]
    lines += [
        f"  for (int32_t n = 0; n < {samples}; n++, x += {height * width * channels})",
        f"    for (int32_t row = 0; row < {rows}; row++)",
        f"      for (int32_t column = 0; column < {columns}; column++) {{",
        f"        {kind} *to = patch + held * {padded};",
        *(f"        {line}" for line in gather),
        "        held++;",
    ]
    if schedule.pixels > 1:
        last = f"n == {samples - 1} && row == {rows - 1} && column == {columns - 1}"
        lines.append(f"        if (held < {schedule.pixels} && !({last})) continue;")
    lines += [
        "        const int8_t *w = weights;",
        "        const int32_t *s = scales;",
        f"        for (int32_t o = 0; o < {shape.outputs}; o += {schedule.outputs}) {{",
        *(f"          {line}" for line in _block(shape, schedule, padded)),
        "        }",
        f"        y += held * {shape.outputs};",
        "        held = 0;",
        "      }",
    ]
    needs = (*_NEEDS[schedule.unit, in_lanes(schedule), shape.wide], *gather_needs)
    return kernel_text(shape, needs, (*WEIGHTS, *pointers), lines)


def _gather(shape: KernelShape, *, mve: bool) -> tuple[tuple[str, ...], list[str]]:
    """Lines that write the patch of an output pixel."""
    _, height, width, channels = shape.sizes
    taps_h, taps_w = shape.kernel
    if shape.wide:
        copy, fill = "nt_copy16", "nt_same16"
        needs = ["copy16"]
    elif mve:
        copy, fill = "nt_copy8", "nt_same8"
        needs = ["vector_copy"]
    else:
        copy, fill = ("nt_stretch", "nt_same16") if channels % 4 else ("nt_spread", "nt_same16")
        needs = ["stretch" if channels % 4 else "spread"]
    left = f"column * {shape.stride[1]} - {shape.pad[1]}"
    top = f"row * {shape.stride[0]} - {shape.pad[0]}"
    if shape.kernel == (1, 1) and shape.inside:
        at = f"x + (row * {shape.stride[0] * width} + column * {shape.stride[1]}) * {channels}"
        return tuple(needs), [f"{copy}(to, {at}, {channels});"]
    run, zero = taps_w * channels, shape.text("zero")
    lines = [
        f"int32_t left = {left};",
        f"for (int32_t i = 0; i < {taps_h}; i++) {{",
        f"  int32_t seen = {top} + i * {shape.dilation[0]};",
    ]
    whole = shape.dilation[1] == 1
    if shape.inside and whole:
        lines += [f"  to = {copy}(to, x + (seen * {width} + left) * {channels}, {run});", "}"]
        return tuple(needs), lines
    needs.append(fill.removeprefix("nt_"))
    lines += [
        f"  if (seen < 0 || seen >= {height}) {{",
        f"    to = {fill}(to, {zero}, {run});",
        "    continue;",
        "  }",
    ]
    if whole:
        lines += [
            f"  if (left >= 0 && left + {taps_w} <= {width}) {{",
            f"    to = {copy}(to, x + (seen * {width} + left) * {channels}, {run});",
            "    continue;",
            "  }",
        ]
    lines += [
        f"  for (int32_t j = 0; j < {taps_w}; j++) {{",
        f"    int32_t at = left + j * {shape.dilation[1]};",
        f"    if (at < 0 || at >= {width})",
        f"      to = {fill}(to, {zero}, {channels});",
        "    else",
        f"      to = {copy}(to, x + (seen * {width} + at) * {channels}, {channels});",
        "  }",
        "}",
    ]
    return tuple(needs), lines


def _block(shape: KernelShape, schedule: KernelSchedule, padded: int) -> list[str]:
    """Lines that sum and store a block of outputs of some pixels."""
    outputs, pixels = range(schedule.outputs), range(schedule.pixels)
    mve = schedule.unit == "mve"
    kind, step = f"{patch_dtype(shape, schedule)}_t", lane_count(shape, schedule)
    vector, bytes_of = ("nt_v8", "nt_v8_bytes") if shape.wide else ("nt_v16", "nt_v16_load")
    lanes = in_lanes(schedule)
    numbers = 2 if shape.wide else 3 if lanes else 4
    begins = [o // 4 * 4 * numbers + o % 4 if lanes else numbers * o for o in outputs]
    turns = padded // (step * schedule.unroll)
    lines = [
        "int32_t " + ", ".join(f"a{p}{o} = s[{begins[o]}]" for p in pixels for o in outputs) + ";",
        f"const {kind} " + ", ".join(f"*x{p} = patch + {p * padded}" for p in pixels) + ";",
        f"for (int32_t k = 0; k < {turns}; k++) {{",
    ]
    few = schedule.outputs * schedule.pixels <= _FEW_SUMS
    hides = padded > step if mve else 1 < turns <= (_PEELED if few else _PEELED // 2)
    for turn in range(schedule.unroll):
        at = turn * step
        if hides:
            lines.append("  NT_HIDE(w);")
        if mve:
            lines += [f"  {vector} v{p}{turn} = {vector}_load(x{p} + {at});" for p in pixels]
        else:
            lines += [
                f"  uint32_t v{p}{turn} = nt_load32(x{p} + {at}), "
                f"u{p}{turn} = nt_load32(x{p} + {at + 2});"
                for p in pixels
            ]
        for o in outputs:
            where = (turn * schedule.outputs + o) * step
            if mve:
                lines.append(f"  {vector} w{o}{turn} = {bytes_of}(w + {where});")
                lines += [
                    f"  a{p}{o} = {vector}_dot(a{p}{o}, v{p}{turn}, w{o}{turn});" for p in pixels
                ]
                continue
            lines.append(
                f"  uint32_t w{o}{turn} = nt_load32(w + {where}), "
                f"e{o}{turn} = nt_even(w{o}{turn}), d{o}{turn} = nt_odd(w{o}{turn});"
            )
            lines += [
                f"  a{p}{o} = nt_dual(u{p}{turn}, d{o}{turn}, "
                f"nt_dual(v{p}{turn}, e{o}{turn}, a{p}{o}));"
                for p in pixels
            ]
    total = step * schedule.unroll
    lines += [
        *(f"  x{p} += {total};" for p in pixels),
        f"  w += {total * schedule.outputs};",
        "}",
    ]
    for p in pixels:
        if lanes:
            stores = [_store_lanes(shape, p, o) for o in outputs[::4]]
        else:
            stores = [_store(shape, p, o) for o in outputs]
        lines += [f"if (held > {p}) {{", *(f"  {line}" for line in stores), "}"] if p else stores
    return [*lines, f"s += {schedule.outputs * numbers};"]


def _store_lanes(shape: KernelShape, pixel: int, output: int) -> str:
    sums = ", ".join(f"a{pixel}{output + k}" for k in range(4))
    to = f"y + o + {pixel * shape.outputs + output}"
    ends = f"{shape.text('low')}, {shape.text('high')}"
    if shape.wide:
        factors = f"nt_v4_load(s + {output * 2 + 4})"
        return f"nt_v4_narrow16({to}, nt_v4_of({sums}), {factors}, {ends});"
    at = output // 4 * 12
    return (
        f"nt_v4_narrow({to}, nt_v4_of({sums}), "
        f"nt_v4_load(s + {at + 4}), nt_v4_load(s + {at + 8}), "
        f"{shape.text('offset')}, {ends});"
    )


def _store(shape: KernelShape, pixel: int, output: int) -> str:
    if shape.wide:
        found = f"nt_scaled16(a{pixel}{output}, s[{2 * output + 1}])"
    else:
        scale = f"s[{4 * output + 1}], s[{4 * output + 2}], s[{4 * output + 3}]"
        found = f"nt_scaled(a{pixel}{output}, {scale}) + {shape.text('offset')}"
    return f"y[o + {pixel * shape.outputs + output}] = {shape.narrowed(found)};"
