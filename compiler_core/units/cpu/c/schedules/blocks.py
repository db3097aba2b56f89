"""Sources of kernels that gather patches of the input and multiply them with blocks of weights."""

from __future__ import annotations

from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule
from compiler_core.units.cpu.c.schedules.shapes import KernelShape, in_lanes, padded_depth

DSP_NEEDS = ("load32", "widen", "dual", "scaled", "narrow")
MVE_NEEDS = ("vector_dot", "scaled", "narrow")
LANES_NEEDS = ("vector_dot", "lanes")


def block_kernel(shape: KernelShape, schedule: KernelSchedule) -> tuple[tuple[str, ...], str]:
    """The kernels that a function needs, and its text with ``@`` for its name."""
    mve = schedule.unit == "mve"
    kind = "int8_t" if mve else "int16_t"
    gather_needs, gather = _gather(shape, mve=mve)
    depth, padded = shape.depth, padded_depth(shape, schedule)
    samples, height, width, channels = shape.sizes
    rows, columns = shape.output
    lines = [
        "static void @(const int8_t *weights, const int32_t *scales, const int8_t *x, int8_t *y,",
        f"              {kind} *patch) {{",
        "  int32_t held = 0;",
    ]
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
        "}",
        "",
    ]
    needs = (LANES_NEEDS if in_lanes(schedule) else MVE_NEEDS) if mve else DSP_NEEDS
    return (*needs, *gather_needs), "\n".join(lines)


def _gather(shape: KernelShape, *, mve: bool) -> tuple[tuple[str, ...], list[str]]:
    """Lines that write the patch of an output pixel."""
    _, height, width, channels = shape.sizes
    taps_h, taps_w = shape.kernel
    if mve:
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
    run = taps_w * channels
    lines = [
        f"int32_t left = {left};",
        f"for (int32_t i = 0; i < {taps_h}; i++) {{",
        f"  int32_t seen = {top} + i * {shape.dilation[0]};",
    ]
    whole = shape.dilation[1] == 1
    if shape.inside and whole:
        lines += [f"  to = {copy}(to, x + (seen * {width} + left) * {channels}, {run});", "}"]
        return tuple(needs), lines
    needs.append("same8" if mve else "same16")
    lines += [
        f"  if (seen < 0 || seen >= {height}) {{",
        f"    to = {fill}(to, {shape.zero}, {run});",
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
        f"      to = {fill}(to, {shape.zero}, {channels});",
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
    kind, step = ("int8_t", 16) if mve else ("int16_t", 4)
    lanes = in_lanes(schedule)
    begins = [o // 4 * 12 + o % 4 if lanes else 4 * o for o in outputs]
    lines = [
        "int32_t " + ", ".join(f"a{p}{o} = s[{begins[o]}]" for p in pixels for o in outputs) + ";",
        f"const {kind} " + ", ".join(f"*x{p} = patch + {p * padded}" for p in pixels) + ";",
        f"for (int32_t k = 0; k < {padded // (step * schedule.unroll)}; k++) {{",
    ]
    for turn in range(schedule.unroll):
        at = turn * step
        if mve:
            lines += [f"  nt_v16 v{p}{turn} = nt_v16_load(x{p} + {at});" for p in pixels]
        else:
            lines += [
                f"  uint32_t v{p}{turn} = nt_load32(x{p} + {at}), "
                f"u{p}{turn} = nt_load32(x{p} + {at + 2});"
                for p in pixels
            ]
        for o in outputs:
            where = (turn * schedule.outputs + o) * step
            if mve:
                lines.append(f"  nt_v16 w{o}{turn} = nt_v16_load(w + {where});")
                lines += [
                    f"  a{p}{o} = nt_v16_dot(a{p}{o}, v{p}{turn}, w{o}{turn});" for p in pixels
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
    return [*lines, f"s += {schedule.outputs * (3 if lanes else 4)};"]


def _store_lanes(shape: KernelShape, pixel: int, output: int) -> str:
    sums = ", ".join(f"a{pixel}{output + k}" for k in range(4))
    at = output // 4 * 12
    return (
        f"nt_v4_narrow(y + o + {pixel * shape.outputs + output}, nt_v4_of({sums}), "
        f"nt_v4_load(s + {at + 4}), nt_v4_load(s + {at + 8}), "
        f"{shape.offset}, {shape.low}, {shape.high});"
    )


def _store(shape: KernelShape, pixel: int, output: int) -> str:
    scale = f"s[{4 * output + 1}], s[{4 * output + 2}], s[{4 * output + 3}]"
    found = f"nt_scaled(a{pixel}{output}, {scale}) + {shape.offset}"
    return (
        f"y[o + {pixel * shape.outputs + output}] = nt_narrow({found}, {shape.low}, {shape.high});"
    )
