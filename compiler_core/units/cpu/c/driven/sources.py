"""Sources of a model on an NPU: ``model.c`` around the driver, ``memory.c``, one file a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from compiler_core.errors import InputError
from compiler_core.units.cpu.c.driven.stages import Buffer, DrivenStage, Stages
from compiler_core.units.cpu.c.emit.extras import FLAGS
from compiler_core.units.cpu.c.emit.sources import write_sources
from compiler_core.units.cpu.c.emit.text import C_TYPES, check_identifier, comment, rows
from compiler_core.units.cpu.c.network import ITEM_BYTES, Array
from compiler_core.units.cpu.c.plan.memory import plan_memory
from compiler_core.units.cpu.c.plan.packing import ALIGNMENT, ArenaBuffer, Packing, pack
from compiler_core.units.facets.driving import DrivenModel

_PAGE = 4096
_SCRATCH = "arena"

INTERFACE = """/*
 * What the processor has an NPU do. All functions return 0 where they succeed. Addresses count from
 * the beginning of the NPU's memory.
 */
#ifndef NPU_H
#define NPU_H

#include <stdint.h>

typedef struct npu_driver {
  void *context; /* handed to every function */
  int (*allocate)(void *context, uint32_t bytes); /* the memory, once, before everything else */
  int (*copy_in)(void *context, uint32_t address, const void *from, uint32_t bytes);
  int (*launch)(void *context, uint32_t core, uint32_t address, uint32_t instructions);
  int (*wait)(void *context, uint32_t core);
  int (*copy_out)(void *context, uint32_t address, void *to, uint32_t bytes);
} npu_driver;

extern const npu_driver npu_simulator; /* npu_simulator.c: on this processor */
extern const npu_driver npu_registers; /* npu_registers.c: of the open RTL */

#endif
"""


@dataclass(frozen=True)
class DrivenSources:
    """Generated files and sizes.

    Attributes:
        files: Text by file name.
        arena_bytes: For activations, on the processor.
        memory_bytes: Of the NPU.
        constant_bytes: In flash: of the processor's stages, and what is copied to the NPU.
        stages: Labels.
    """

    files: dict[str, str]
    arena_bytes: int
    memory_bytes: int
    constant_bytes: int
    stages: tuple[str, ...]


def driven_sources(model: DrivenModel, found: Stages, name: str) -> DrivenSources:
    """Writes a model as C.

    Args:
        model: Compiled.
        found: Its stages.
        name: C name: ``<name>_load``, ``<name>_run``.

    Raises:
        InputError: The name is none, or sizes do not fit 32 bits.
    """
    check_identifier(name)
    files: dict[str, str] = {"npu.h": INTERFACE, **model.files}
    scratch: dict[int, int] = {}
    constant_bytes = 0
    units = ["model", "memory"]
    for number, stage in enumerate(found.stages):
        if stage.network is None:
            continue
        plan = plan_memory(stage.network)
        label = f"{name}_s{number}"
        sources = write_sources(stage.network, plan, label)
        constant_bytes += sources.constant_bytes
        scratch[number] = plan.arena_bytes
        for file, text in sources.files.items():
            own = text.replace('"model.h"', f'"stage{number}.h"')
            own = own.replace('"weights.h"', f'"stage{number}_weights.h"')
            stem, _, ending = file.partition(".")
            target = (
                f"stage{number}.{ending}" if stem == "model" else f"stage{number}_weights.{ending}"
            )
            files[target] = own
        units += [f"stage{number}", f"stage{number}_weights"]
    packing = _packed(model, found, scratch)
    arena = max(packing.size, ALIGNMENT)
    memory, programs, end, copied = _memory(model, name)
    files["memory.c"] = memory
    files["model.h"] = _header(model, found, name, arena, end)
    files["model.c"] = _model(model, found, name, packing, programs)
    files["Makefile"] = _makefile(units)
    stages = tuple(stage.label for stage in found.stages)
    return DrivenSources(files, arena, end, constant_bytes + copied, stages)


def _key(buffer: Buffer) -> str:
    return "\0".join(buffer)


def _ports(model: DrivenModel) -> dict[Buffer, str]:
    """Buffers that the caller holds."""
    found: dict[Buffer, str] = {}
    for position, tensor in enumerate(model.signature.inputs):
        found["float", tensor] = f"input{position}"
    for position, tensor in enumerate(model.signature.outputs):
        found.setdefault(("float", tensor), f"output{position}")
    return found


def _packed(model: DrivenModel, found: Stages, scratch: dict[int, int]) -> Packing:
    ports = _ports(model)
    live: dict[Buffer, list[int]] = {}
    for number, stage in enumerate(found.stages):
        for buffer in (*stage.reads, *stage.writes):
            if buffer not in ports:
                live.setdefault(buffer, [number, number])[1] = number
    buffers = [
        ArenaBuffer(_key(buffer), found.sizes[buffer][0] * _width(found, buffer), *ends)
        for buffer, ends in live.items()
    ]
    buffers += [ArenaBuffer(f"{_SCRATCH}{n}", size, n, n) for n, size in scratch.items()]
    return pack(buffers)


def _width(found: Stages, buffer: Buffer) -> int:
    return ITEM_BYTES[found.sizes[buffer][1]]


_Program = tuple[int, int, int]
"""Core, address, instructions."""


def _memory(model: DrivenModel, name: str) -> tuple[str, list[list[list[_Program]]], int, int]:
    """``memory.c``, the programs of every step's launches, where the memory ends, and the bytes
    that are copied there."""
    lines = [f"/* What {name}_load writes to the NPU's memory. */", '#include "model.h"', ""]
    address = -(-model.memory_bytes // _PAGE) * _PAGE
    segments, steps = [], []
    for step in model.steps:
        launches: list[list[_Program]] = []
        if step.segment is not None:
            first = address
            code = bytearray()
            for launch in step.segment.launches:
                programs = []
                for core, instructions in launch:
                    count = len(instructions) // model.instruction_bytes
                    programs.append((core, address, count))
                    code += instructions
                    address += len(instructions)
                launches.append(programs)
            segments.append((step.segment.image_address, step.segment.image))
            segments.append((first, bytes(code)))
            address = -(-address // _PAGE) * _PAGE
        steps.append(launches)
    if address >= 1 << 31:
        raise InputError(f"the NPU's memory takes {address} bytes; generated C has 31 bits")
    pieces = [piece for at, data in segments for piece in _pieces(at, data)]
    for number, (_, data) in enumerate(pieces):
        array = np.frombuffer(data, np.uint8)
        lines += [
            f"static const uint8_t m{number}[{len(data)}] = {{",
            f"  {rows(array, 'uint8')}}};",
            "",
        ]
    lines += [f"const {name}_piece {name}_pieces[{len(pieces)}] = {{"]
    lines += [f"  {{m{n}, {at}u, {len(data)}u}}," for n, (at, data) in enumerate(pieces)]
    lines += ["};", f"const uint32_t {name}_piece_count = {len(pieces)}u;", ""]
    return "\n".join(lines), steps, address, sum(len(data) for _, data in pieces)


def _pieces(address: int, data: bytes) -> list[tuple[int, bytes]]:
    """Data without long runs of zeros, which the memory holds anyway."""
    array = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(array)
    if not places.size:
        return []
    cuts = np.flatnonzero(np.diff(places) > 64)
    firsts = [int(places[0]), *(int(places[k + 1]) for k in cuts)]
    lasts = [*(int(places[k]) for k in cuts), int(places[-1])]
    return [(address + a, data[a : b + 1]) for a, b in zip(firsts, lasts, strict=True)]


def _prototype(model: DrivenModel, name: str) -> str:
    ports = ["const npu_driver *npu", "void *arena"]
    ports += [f"const float *input{i}" for i in range(len(model.signature.inputs))]
    ports += [f"float *output{i}" for i in range(len(model.signature.outputs))]
    return f"int {name}_run({', '.join(ports)})"


def _header(model: DrivenModel, found: Stages, name: str, arena: int, end: int) -> str:
    upper = name.upper()
    ports: list[str] = []
    for kind, tensors in (("input", model.signature.inputs), ("output", model.signature.outputs)):
        for position, tensor in enumerate(tensors):
            size = found.sizes["float", tensor][0]
            shape = model.signature.types[tensor].shape
            ports += [
                f"/* {kind}{position}: {comment(tensor)} {comment(str(shape))}, float */",
                f"#define {upper}_{kind.upper()}{position}_SIZE {size}",
            ]
    return "\n".join(
        [
            f"/* Model {comment(model.title)} around an NPU, C99, generated by nest-tune. */",
            f"#ifndef {upper}_MODEL_H",
            f"#define {upper}_MODEL_H",
            "",
            '#include "npu.h"',
            "",
            f"#define {upper}_ARENA_BYTES {arena}",
            f"#define {upper}_ARENA_ALIGNMENT {ALIGNMENT}",
            f"#define {upper}_NPU_BYTES {end}",
            *ports,
            "",
            f"typedef struct {name}_piece {{",
            "  const uint8_t *from;",
            "  uint32_t address, bytes;",
            f"}} {name}_piece;",
            f"extern const {name}_piece {name}_pieces[];",
            f"extern const uint32_t {name}_piece_count;",
            "",
            "/* Writes constants and instructions to the NPU, once: 0, or 3 where it fails. */",
            f"int {name}_load(const npu_driver *npu);",
            "",
            "/* One run: 0, 1 for a null pointer, 2 for an arena that is not aligned, 3 where the",
            "   driver fails. The NPU's memory is of one run at a time. */",
            f"{_prototype(model, name)};",
            "",
            "#endif",
            "",
        ]
    )


def _model(
    model: DrivenModel,
    found: Stages,
    name: str,
    packing: Packing,
    programs: list[list[list[_Program]]],
) -> str:
    ports = _ports(model)
    upper = name.upper()

    def place(buffer: Buffer, is_read: bool) -> str:
        dtype = found.sizes[buffer][1]
        constant = "const " if is_read else ""
        if buffer in ports:
            return ports[buffer]
        offset = packing.offsets[_key(buffer)]
        return f"({constant}{C_TYPES[dtype]} *)(void *)(memory + {offset})"

    launches_of = {s.name: made for s, made in zip(model.steps, programs, strict=True)}
    body: list[str] = []
    heads = []
    for number, stage in enumerate(found.stages):
        body.append(f"/* {comment(stage.label)} */")
        if stage.network is not None:
            heads.append(f'#include "stage{number}.h"')
            inputs = [place(buffer, True) for buffer in stage.reads]
            outputs = [place(buffer, False) for buffer in stage.writes]
            arena = f"memory + {packing.offsets[f'{_SCRATCH}{number}']}"
            arguments = ", ".join((arena, *inputs, *outputs))
            body.append(f"if ({name}_s{number}_run({arguments}) != 0) return 2;")
            continue
        assert stage.step is not None
        body += _npu_calls(stage, launches_of[stage.step.name], place)
    for position, tensor in enumerate(model.signature.outputs):
        port = ports["float", tensor]
        if port != f"output{position}":
            size = found.sizes["float", tensor][0]
            body.append(f"for (k = 0; k < {size}u; k++) output{position}[k] = {port}[k];")
    absent = [f"input{i}" for i in range(len(model.signature.inputs))]
    absent += [f"output{i}" for i in range(len(model.signature.outputs))]
    uses_k = any("k++" in line for line in body)
    return "\n".join(
        [
            f"/* Model {comment(model.title)} around an NPU, C99, generated by nest-tune. */",
            '#include "model.h"',
            "",
            *heads,
            "",
            f"int {name}_load(const npu_driver *npu) {{",
            "  uint32_t k;",
            "  if (!npu) return 3;",
            f"  if (npu->allocate(npu->context, {upper}_NPU_BYTES) != 0) return 3;",
            f"  for (k = 0; k < {name}_piece_count; k++) {{",
            f"    const {name}_piece *p = &{name}_pieces[k];",
            "    if (npu->copy_in(npu->context, p->address, p->from, p->bytes) != 0) return 3;",
            "  }",
            "  return 0;",
            "}",
            "",
            f"{_prototype(model, name)} {{",
            "  unsigned char *memory = (unsigned char *)arena;",
            *(["  uint32_t k;"] if uses_k else []),
            f"  if (!npu || !arena || {' || '.join(f'!{port}' for port in absent)}) return 1;",
            f"  if (((uintptr_t)arena & {ALIGNMENT - 1}u) != 0u) return 2;",
            *(f"  {line}" for line in body),
            "  return 0;",
            "}",
            "",
        ]
    )


def _npu_calls(
    stage: DrivenStage, launches: list[list[_Program]], place: Callable[[Buffer, bool], str]
) -> list[str]:
    """The calls of the driver that run a segment."""
    step = stage.step
    assert step is not None
    assert step.segment is not None
    lines = []

    def copied(function: str, buffers: Sequence[Buffer], *, is_read: bool) -> None:
        assert step is not None
        assert step.segment is not None
        for buffer in buffers:
            tensor = step.segment.tensors[buffer[1].removeprefix(f"{step.name}/")]
            at = place(buffer, is_read)
            call = f"npu->{function}(npu->context, {tensor.address}u, {at}, {tensor.places.size}u)"
            lines.append(f"if ({call} != 0) return 3;")

    copied("copy_in", stage.reads, is_read=True)
    for launch in launches:
        for core, address, count in launch:
            call = f"npu->launch(npu->context, {core}u, {address}u, {count}u)"
            lines.append(f"if ({call} != 0) return 3;")
        lines += [f"if (npu->wait(npu->context, {core}u) != 0) return 3;" for core, _, _ in launch]
    copied("copy_out", stage.writes, is_read=False)
    return lines


def self_test(
    model: DrivenModel, name: str, tests: Sequence[tuple[list[Array], list[Array]]]
) -> str:
    """A ``selftest.c`` on the simulator: inputs, expected outputs, a comparison of every bit."""
    upper = name.upper()
    lines = ["#include <stdio.h>", "#include <string.h>", "", '#include "model.h"', ""]
    for sample, (inputs, outputs) in enumerate(tests):
        for kind, arrays in (("in", inputs), ("out", outputs)):
            for position, array in enumerate(arrays):
                bits = np.ascontiguousarray(array, np.float32).view(np.int32)
                lines += [
                    f"static const int32_t {kind}{sample}_{position}[{bits.size}] = {{",
                    f"  {rows(bits, 'int32')}}};",
                ]
    count = len(model.signature.inputs), len(model.signature.outputs)
    lines += [
        "static union {",
        f"  unsigned char bytes[{upper}_ARENA_BYTES + {upper}_ARENA_ALIGNMENT];",
        "  double aligned;",
        "} memory;",
        *(f"static float input{i}[{upper}_INPUT{i}_SIZE];" for i in range(count[0])),
        *(f"static float output{i}[{upper}_OUTPUT{i}_SIZE];" for i in range(count[1])),
        "",
        "int main(void) {",
        "  unsigned char *arena = memory.bytes;",
        "  int equal = 0;",
        f"  arena += (0u - (uintptr_t)arena) & ({upper}_ARENA_ALIGNMENT - 1u);",
        f"  if ({name}_load(&npu_simulator) != 0) return 2;",
    ]
    ports = ", ".join(
        (*(f"input{i}" for i in range(count[0])), *(f"output{i}" for i in range(count[1])))
    )
    for sample in range(len(tests)):
        lines += [f"  memcpy(input{i}, in{sample}_{i}, sizeof input{i});" for i in range(count[0])]
        same = [
            f"memcmp(output{i}, out{sample}_{i}, sizeof output{i}) == 0" for i in range(count[1])
        ]
        lines += [
            f"  if ({name}_run(&npu_simulator, arena, {ports}) != 0) return 3;",
            f"  equal += {' && '.join(same)};",
        ]
    lines += [
        f'  printf("{name}: %d of {len(tests)} samples equal\\n", equal);',
        f"  return equal == {len(tests)} ? 0 : 1;",
        "}",
        "",
    ]
    return "\n".join(lines)


def _makefile(units: Sequence[str]) -> str:
    sources = " ".join(f"{unit}.c" for unit in units)
    return f"""# Builds the self test of this machine; a board compiles SOURCES and npu_registers.c.
CC ?= cc
CFLAGS ?= -O2
SOURCES = {sources}

all: selftest

selftest: selftest.c npu_simulator.c $(SOURCES)
	$(CC) {FLAGS} $(CFLAGS) -o $@ selftest.c npu_simulator.c $(SOURCES)

check: selftest
	./selftest

clean:
	rm -f selftest

.PHONY: all check clean
"""
