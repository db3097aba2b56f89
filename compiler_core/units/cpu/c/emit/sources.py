"""The sources of a network: ``model.h``, ``model.c``, ``weights.h``, ``weights.c``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler_core.units.cpu.c.emit.calls import walk
from compiler_core.units.cpu.c.emit.context import Constant, Context
from compiler_core.units.cpu.c.emit.fixed import kernel_call
from compiler_core.units.cpu.c.emit.kernels import COMPILED_ALIKE, compiled_alike, kernel_texts
from compiler_core.units.cpu.c.emit.scheduled import scheduled_call
from compiler_core.units.cpu.c.emit.text import (
    C_TYPES,
    SUFFIX,
    check_identifier,
    comment,
    number,
    real,
    rows,
)
from compiler_core.units.cpu.c.library.archive import INCLUDE as LIBRARY_INCLUDE
from compiler_core.units.cpu.c.network import Network, Value
from compiler_core.units.cpu.c.plan.memory import MemoryPlan
from compiler_core.units.cpu.c.plan.packing import ALIGNMENT
from compiler_core.units.cpu.c.schedules.schedule import PORTABLE, KernelSchedule

_AXES = {(0, 2, 3, 1): "N H W C", (0, 2, 1): "N W C"}


@dataclass(frozen=True)
class Sources:
    """Generated files.

    Attributes:
        name: C name of the model; its function is ``<name>_run``.
        files: Text by file name.
        constants: What lies in flash as data.
        steps: Per operator that runs, its name in the model and its kind.
        library: Whether kernels of CMSIS-NN are called.
    """

    name: str
    files: dict[str, str]
    constants: tuple[Constant, ...]
    steps: tuple[tuple[str, str], ...]
    library: bool = False

    @property
    def constant_bytes(self) -> int:
        """Bytes of all constants."""
        return sum(item.size_bytes for item in self.constants)


def write_sources(
    network: Network,
    plan: MemoryPlan,
    name: str,
    schedules: Mapping[str, KernelSchedule] | None = None,
) -> Sources:
    """Writes a network as C.

    Args:
        network: What to write.
        plan: Its memory, with scratch for the schedules.
        name: C name of the model.
        schedules: Of operators, by the value that they write; the others are portable.

    Raises:
        InputError: The name is none, or a size does not fit 32 bits.
    """
    context = Context(check_identifier(name), network, plan)
    body: list[str] = []
    steps: list[tuple[str, str]] = []
    for position, operator in enumerate(plan.order):
        context.step = position
        schedule = (schedules or {}).get(operator.output, PORTABLE)
        lines = scheduled_call(operator, schedule, context)
        if lines:
            kind = type(operator).__name__
            body += [f"/* {comment(operator.name)}: {kind} */", *lines, f"NT_STEP({len(steps)})"]
            steps.append((operator.name, kind))
    body += _copies(context)
    constants = tuple(context.constants.values())
    files = {
        "model.h": _header(context),
        "model.c": _model(context, body),
        "weights.h": _declarations(name, constants),
        "weights.c": _weights(name, constants),
    }
    return Sources(name, files, constants, tuple(steps), context.library)


def prototype(context: Context) -> str:
    """The function that runs the network."""
    network = context.network
    parts = ["void *arena"]
    for position, name in enumerate(network.inputs):
        parts.append(f"const {C_TYPES[context.dtype(name)]} *input{position}")
    for position, name in enumerate(network.outputs):
        parts.append(f"{C_TYPES[context.dtype(name)]} *output{position}")
    return f"int {context.name}_run({', '.join(parts)})"


def _copies(context: Context) -> list[str]:
    """Outputs that lie elsewhere when all operators have run."""
    lines: list[str] = []
    for position, name in enumerate(context.network.outputs):
        if name in context.plan.copied:
            over = walk((context.size(name),), (1,), (1,))
            kernel = f"copy_{SUFFIX[context.dtype(name)]}"
            lines += kernel_call(context, kernel, over, context.pointer(name), f"output{position}")
    return lines


def port_lines(context: Context, kind: str, position: int, value: Value, tensor: str) -> list[str]:
    """What a header says of an input or output."""
    axes = context.network.axes[value.name]
    order = _AXES.get(axes, "order of the model" if axes == tuple(range(len(axes))) else str(axes))
    upper = f"{context.name.upper()}_{kind.upper()}{position}"
    sizes = "".join(f"[{size}]" for size in value.shape)
    lines = [
        f"/* {kind}{position}: {comment(tensor)} {sizes}, {order} */",
        f"#define {upper}_SIZE {value.size}",
    ]
    if not value.type.is_float:
        lines += [
            f"#define {upper}_SCALE {real(value.type.scale)} /* real = scale * (q - zero) */",
            f"#define {upper}_ZERO ({value.type.zero_point})",
        ]
    return lines


def _header(context: Context) -> str:
    network, upper = context.network, context.name.upper()
    ports: list[str] = []
    tensors = iter(network.tensors)
    for kind, names in (("input", network.inputs), ("output", network.outputs)):
        for position, name in enumerate(names):
            ports += port_lines(context, kind, position, network.values[name], next(tensors))
    return "\n".join(
        [
            f"/* Model {comment(network.name)}, C99, generated by nest-tune. */",
            f"#ifndef {upper}_MODEL_H",
            f"#define {upper}_MODEL_H",
            "",
            "#include <stdint.h>",
            "",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "",
            f"#define {upper}_ARENA_BYTES {context.plan.arena_bytes}",
            f"#define {upper}_ARENA_ALIGNMENT {ALIGNMENT}",
            *ports,
            "",
            "/*",
            " * Runs the model. It may run at the same time on other arenas; nothing is kept from",
            " * one run to the next. Inputs, outputs and the arena do not overlap.",
            " * Returns 0, 1 where a pointer is null, 2 where the arena is not aligned.",
            " */",
            f"{prototype(context)};",
            "",
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "",
            "#endif",
            "",
        ]
    )


def _model(context: Context, body: list[str]) -> str:
    network = context.network
    ports = [f"input{i}" for i in range(len(network.inputs))]
    ports += [f"output{i}" for i in range(len(network.outputs))]
    absent = " || ".join(f"!{port}" for port in ("arena", *ports))
    kernels = kernel_texts(context.kernels)
    generated = [
        compiled_alike(text).replace("@", symbol) for text, symbol in context.generated.items()
    ]
    structures = [
        f"static const {kind} {symbol} = {fields};"
        for (kind, fields), symbol in context.structures.items()
    ]
    structures += [
        f"static const int32_t {symbol}[] = {{{', '.join(map(_whole, values))}}};"
        for values, symbol in context.numbers.items()
    ]
    uses_memory = any("memory" in line for line in body)
    return "\n".join(
        [
            f"/* Model {comment(network.name)}, C99, generated by nest-tune. */",
            '#include "model.h"',
            "",
            "#include <stdint.h>",
            "",
            *((LIBRARY_INCLUDE,) if context.library else ()),
            '#include "weights.h"',
            "",
            "#if defined(__clang__)",
            "#pragma STDC FP_CONTRACT OFF",
            "#endif",
            "",
            "/* Called after each operator where it is defined: to count and to trace. */",
            "#ifndef NT_STEP",
            "#define NT_STEP(number)",
            "#endif",
            "",
            *(COMPILED_ALIKE if kernels or generated else ()),
            *kernels,
            *generated,
            *structures,
            "",
            f"{prototype(context)} {{",
            *(["  unsigned char *memory = (unsigned char *)arena;"] if uses_memory else []),
            f"  if ({absent}) return 1;",
            f"  if (((uintptr_t)arena & {ALIGNMENT - 1}u) != 0u) return 2;",
            *(f"  {line}" for line in body),
            "  return 0;",
            "}",
            "",
        ]
    )


def _whole(value: int) -> str:
    return number(value, "int32")


def _declarations(name: str, constants: tuple[Constant, ...]) -> str:
    guard = f"{name.upper()}_WEIGHTS_H"
    lines = [
        f"extern const {C_TYPES[item.dtype]} {item.name}[{item.array.size}];" for item in constants
    ]
    head = [f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", ""]
    return "\n".join([*head, *lines, "", "#endif", ""])


def _weights(name: str, constants: tuple[Constant, ...]) -> str:
    lines = [f"/* Constants of {name}: {sum(item.size_bytes for item in constants)} bytes. */"]
    lines += ['#include "weights.h"', ""]
    for item in constants:
        kind = C_TYPES[item.dtype]
        lines += [
            f"const {kind} {item.name}[{item.array.size}] = {{",
            f"  {rows(item.array, item.dtype)}}};",
            "",
        ]
    if not constants:
        lines += [f"typedef int {name}_has_no_constants;", ""]
    return "\n".join(lines)
