"""What surrounds the sources of a network: an example, a self test, build files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler_core.units.cpu.c.emit.text import C_TYPES, rows
from compiler_core.units.cpu.c.library.place import FLOAT_ENDINGS, FOLDERS
from compiler_core.units.cpu.c.network import Array, Network

FLAGS = "-std=c99 -ffp-contract=off"
"""What the bits depend on: no contraction of products and sums."""


_MOST_SHOWN = 16
"""Numbers of an output that the example prints."""


@dataclass(frozen=True)
class _Ports:
    """Buffers of a program's own for the inputs and outputs of a network.

    Attributes:
        buffers: Their declarations.
        inputs, outputs: Their names.
    """

    buffers: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def arguments(self) -> str:
        """Of the call that runs the network."""
        return ", ".join(("arena", *self.inputs, *self.outputs))


def _ports(network: Network, name: str) -> _Ports:
    buffers, names = [], {}
    for kind, values in (("input", network.inputs), ("output", network.outputs)):
        names[kind] = tuple(f"{kind}{position}" for position in range(len(values)))
        for port, value in zip(names[kind], values, strict=True):
            dtype = C_TYPES[network.values[value].type.dtype]
            buffers.append(f"static {dtype} {port}[{name.upper()}_{port.upper()}_SIZE];")
    return _Ports(tuple(buffers), names["input"], names["output"])


def example(network: Network, name: str) -> str:
    """A ``main.c`` with an arena of its own."""
    upper = name.upper()
    ports = _ports(network, name)
    zeros = []
    for port, value in zip(ports.inputs, network.inputs, strict=True):
        of = f"{upper}_{port.upper()}"
        if network.values[value].type.zero_point:
            zeros.append(f"  for (i = 0; i < {of}_SIZE; i++) {port}[i] = {of}_ZERO;")
    shown = []
    for port, value in zip(ports.outputs, network.outputs, strict=True):
        of = f"{upper}_{port.upper()}"
        number = f"(double){port}[i]"
        if not network.values[value].type.is_float:
            number = f"(double){of}_SCALE * ({port}[i] - {of}_ZERO)"
        shown += [
            f"  for (i = 0; i < {of}_SIZE && i < {_MOST_SHOWN}; i++)",
            f'    printf("{port}[%d] = %g\\n", i, {number});',
        ]
    return "\n".join(
        [
            f"/* Example of {name}: one run on an input of zeros, as real numbers. */",
            "#include <stdio.h>",
            "",
            '#include "model.h"',
            "",
            "/* Any memory does that is aligned; a union of what needs most is portable C99. */",
            "static union {",
            f"  unsigned char bytes[{upper}_ARENA_BYTES + {upper}_ARENA_ALIGNMENT];",
            "  double aligned;",
            "} memory;",
            *ports.buffers,
            "",
            "int main(void) {",
            "  unsigned char *arena = memory.bytes;",
            "  int i, status;",
            f"  arena += (0u - (uintptr_t)arena) & ({upper}_ARENA_ALIGNMENT - 1u);",
            *zeros,
            f"  status = {name}_run({ports.arguments});",
            '  printf("status %d\\n", status);',
            "  if (status != 0) return status;",
            *shown,
            "  return 0;",
            "}",
            "",
        ]
    )


def self_test(
    network: Network, name: str, samples: Sequence[tuple[Sequence[Array], Sequence[Array]]]
) -> str:
    """A ``selftest.c`` that compares every bit, from two arenas of different contents.

    Args:
        network: The network.
        name: C name of the model.
        samples: Inputs and expected outputs, in the order of the network's.

    Raises:
        InputError: A number is NaN.
    """
    upper = name.upper()
    data: list[str] = []
    calls: list[str] = []
    for kind, names in (("input", network.inputs), ("output", network.outputs)):
        for position, value in enumerate(names):
            dtype = network.values[value].type.dtype
            size = f"{upper}_{kind.upper()}{position}_SIZE"
            what = "input" if kind == "input" else "expected"
            side = 0 if kind == "input" else 1
            data.append(
                f"static const {C_TYPES[dtype]} {what}{position}[{len(samples)}][{size}] = {{"
            )
            for sample in samples:
                data.append(f"  {{{rows(sample[side][position], dtype)}}},")
            data.append("};")
            if kind == "output":
                data.append(f"static {C_TYPES[dtype]} output{position}[{size}];")
            calls.append(f"input{position}[sample]" if kind == "input" else f"output{position}")
    checks = [
        f"      if (differ(output{i}, expected{i}[sample], sizeof output{i})) wrong = 1;"
        for i in range(len(network.outputs))
    ]
    # Here no kernel is called that makes one: data are constants.
    data = [line.replace("nt_infinity()", "INFINITY") for line in data]
    infinite = ["#include <math.h>"] if any("INFINITY" in line for line in data) else []
    return "\n".join(
        [
            f"/* Self test of {name}: every bit of {len(samples)} samples. */",
            *infinite,
            "#include <stdint.h>",
            "#ifndef SELFTEST_QUIET",
            "#include <stdio.h>",
            "#endif",
            "",
            '#include "model.h"',
            "",
            "static int differ(const void *a, const void *b, unsigned long count) {",
            "  const unsigned char *x = (const unsigned char *)a, *y = (const unsigned char *)b;",
            "  while (count-- != 0u)",
            "    if (*x++ != *y++) return 1;",
            "  return 0;",
            "}",
            "",
            "static union {",
            f"  unsigned char bytes[{upper}_ARENA_BYTES + {upper}_ARENA_ALIGNMENT];",
            "  double aligned;",
            "} memory;",
            *data,
            "",
            "int main(void) {",
            "  unsigned char *arena = memory.bytes;",
            "  int equal = 0, sample;",
            f"  arena += (0u - (uintptr_t)arena) & ({upper}_ARENA_ALIGNMENT - 1u);",
            f"  for (sample = 0; sample < {len(samples)}; sample++) {{",
            "    int wrong = 0, pass, k;",
            "    for (pass = 0; pass < 2; pass++) {",
            f"      for (k = 0; k < {upper}_ARENA_BYTES; k++) arena[k] = pass ? 0xA5 : 0;",
            f"      if ({name}_run(arena, {', '.join(calls)}) != 0) wrong = 1;",
            *checks,
            "    }",
            "    equal += !wrong;",
            "  }",
            "#ifndef SELFTEST_QUIET",
            f'  printf("{name}: %d of {len(samples)} samples equal\\n", equal);',
            "#endif",
            f"  return equal == {len(samples)} ? 0 : 1;",
            "}",
            "",
        ]
    )


def counter(network: Network, name: str, steps: int) -> str:
    """A ``count.c`` that runs while a board wants it, and has every operator reported."""
    upper = name.upper()
    ports = _ports(network, name)
    return "\n".join(
        [
            '#include "model.h"',
            "",
            "void nt_begin(void);",
            "int nt_again(void);",
            "void nt_report(int count);",
            "static union {",
            f"  unsigned char bytes[{upper}_ARENA_BYTES + {upper}_ARENA_ALIGNMENT];",
            "  double aligned;",
            "} memory;",
            *ports.buffers,
            "",
            "int main(void) {",
            "  unsigned char *arena = memory.bytes;",
            f"  arena += (0u - (uintptr_t)arena) & ({upper}_ARENA_ALIGNMENT - 1u);",
            "  do {",
            "    nt_begin();",
            f"    if ({name}_run({ports.arguments}) != 0) return 1;",
            "  } while (nt_again());",
            f"  nt_report({steps});",
            "  return 0;",
            "}",
            "",
        ]
    )


def batch(network: Network, name: str) -> str:
    """A ``main`` that runs samples until there are no more; a board reads and writes them."""
    upper = name.upper()
    ports = _ports(network, name)
    reads = " || ".join(f"nt_read({port}, sizeof {port})" for port in ports.inputs)
    writes = " || ".join(f"nt_write({port}, sizeof {port})" for port in ports.outputs)
    return "\n".join(
        [
            "#include <stdint.h>",
            '#include "model.h"',
            "",
            "int nt_read(void *to, unsigned long count);",
            "int nt_write(const void *from, unsigned long count);",
            "static union {",
            f"  unsigned char bytes[{upper}_ARENA_BYTES + {upper}_ARENA_ALIGNMENT];",
            "  double aligned;",
            "} memory;",
            *ports.buffers,
            "",
            "int main(void) {",
            "  unsigned char *arena = memory.bytes;",
            f"  arena += (0u - (uintptr_t)arena) & ({upper}_ARENA_ALIGNMENT - 1u);",
            f"  while (!({reads})) {{",
            f"    if ({name}_run({ports.arguments}) != 0) return 2;",
            f"    if ({writes}) return 3;",
            "  }",
            "  return 0;",
            "}",
            "",
        ]
    )


def makefile(flags: str = "") -> str:
    """A Makefile with ``all``, ``check`` and ``clean``; ``CC`` and ``CFLAGS`` are honoured."""
    return (
        f"""# Builds the model, its example and its self test for this machine.
CC ?= cc
CFLAGS ?= -O2
include model.mk

all: main selftest

main: main.c $(MODEL_SOURCES) model.h weights.h
	$(CC) $(MODEL_FLAGS) $(CFLAGS) -o $@ main.c $(MODEL_SOURCES)

selftest: selftest.c $(MODEL_SOURCES) model.h weights.h
	$(CC) $(MODEL_FLAGS) $(CFLAGS) -o $@ selftest.c $(MODEL_SOURCES)

check: selftest
	./selftest

clean:
	rm -f main selftest

.PHONY: all check clean
{flags}""".rstrip()
        + "\n"
    )


MAKE_FRAGMENT = f"""# For other projects: include this and compile MODEL_SOURCES with MODEL_FLAGS.
MODEL_SOURCES = model.c weights.c
MODEL_FLAGS = {FLAGS}
"""

_LIBRARY_FOLDERS = " ".join(FOLDERS)


def make_fragment(*, library: bool = False) -> str:
    """``model.mk``; with ``library`` it compiles CMSIS-NN along, from the folder ``CMSIS_NN``."""
    if not library:
        return MAKE_FRAGMENT
    return f"""{MAKE_FRAGMENT}
# The model calls CMSIS-NN: CMSIS_NN is the folder of its sources, of the version in bundle.json.
ifndef CMSIS_NN
$(error CMSIS_NN is not set: make CMSIS_NN=DIR)
endif
CMSIS_NN_FOLDERS = {_LIBRARY_FOLDERS}
CMSIS_NN_FILES = $(foreach folder,$(CMSIS_NN_FOLDERS),$(wildcard $(CMSIS_NN)/Source/$(folder)/*.c))
CMSIS_NN_SOURCES = $(filter-out {" ".join("%" + end for end in FLOAT_ENDINGS)},$(CMSIS_NN_FILES))
MODEL_SOURCES += $(CMSIS_NN_SOURCES)
MODEL_FLAGS += -isystem $(CMSIS_NN)/Include
"""


def cmake_fragment(name: str, *, library: bool = False) -> str:
    """``model.cmake``: a library target for other projects; with ``library`` CMSIS-NN is a part of
    it, from the folder ``CMSIS_NN``."""
    flags = FLAGS.split()[1]
    called = _cmake_library(name) if library else ""
    return f"""# For other projects: include(model.cmake), then link {name}.
add_library({name} STATIC ${{CMAKE_CURRENT_LIST_DIR}}/model.c ${{CMAKE_CURRENT_LIST_DIR}}/weights.c)
target_include_directories({name} PUBLIC ${{CMAKE_CURRENT_LIST_DIR}})
set_target_properties({name} PROPERTIES C_STANDARD 99 C_EXTENSIONS OFF)
target_compile_options({name} PRIVATE {flags})
{called}"""


def _cmake_library(name: str) -> str:
    globs = " ".join(f"${{CMSIS_NN}}/Source/{folder}/*.c" for folder in FOLDERS)
    floats = "|".join(end.removesuffix(".c") for end in FLOAT_ENDINGS)
    return f"""# The model calls CMSIS-NN: CMSIS_NN is the folder of its sources.
if(NOT CMSIS_NN)
  message(FATAL_ERROR "CMSIS_NN is not set: cmake -DCMSIS_NN=DIR")
endif()
file(GLOB {name}_library {globs})
list(FILTER {name}_library EXCLUDE REGEX "({floats})\\.c$")
target_sources({name} PRIVATE ${{{name}_library}})
target_include_directories({name} SYSTEM PRIVATE ${{CMSIS_NN}}/Include)
"""


def cmake_lists(name: str) -> str:
    """``CMakeLists.txt``: the example and the self test."""
    return f"""cmake_minimum_required(VERSION 3.13)
project({name} C)
include(model.cmake)
add_executable(example main.c)
target_link_libraries(example {name})
add_executable(selftest selftest.c)
target_link_libraries(selftest {name})
enable_testing()
add_test(NAME selftest COMMAND selftest)
"""
