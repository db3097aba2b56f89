"""Bundles: a folder of generated sources that builds, runs and checks itself.

==================  ==========================================================
file                what
==================  ==========================================================
``model.h``         the one function, sizes of arena, inputs and outputs
``model.c``         kernels and their calls
``weights.h/.c``    constants, all ``const``
``main.c``          an example with an arena of its own
``selftest.c``      inputs and expected outputs; compares every bit
``count.c``         one run whose operators report to a counter
``Makefile``        ``all``, ``check``, ``clean``; ``model.mk`` for other projects
``CMakeLists.txt``  the same; ``model.cmake`` for other projects
``model.qdq.onnx``  the network for runtimes that take ONNX, where it has that form
``bundle.json``     sizes, kinds of operators, where values lie in the arena
==================  ==========================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from compiler_core.errors import InputError
from compiler_core.files.whole_file import write_atomically
from compiler_core.graph.ir import Graph
from compiler_core.units.cpu.c.convert.qdq import to_onnx
from compiler_core.units.cpu.c.emit import extras
from compiler_core.units.cpu.c.emit.sources import Sources, write_sources
from compiler_core.units.cpu.c.network import Array, Network, Operator
from compiler_core.units.cpu.c.plan.memory import MemoryPlan, plan_memory
from compiler_core.units.cpu.c.schedules.library import library_scratch
from compiler_core.units.cpu.c.schedules.schedule import PORTABLE, KernelSchedule, choices_in
from compiler_core.units.cpu.c.schedules.scratch import scratch_bytes

SCHEMA = "nest-tune/bundle/1"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model as C.

    Attributes:
        name: C name.
        network: The operators, and the definition of the bits.
        plan: Its memory.
        sources: Text of the sources.
        schedules: Of operators, by the value that they write.
    """

    name: str
    network: Network
    plan: MemoryPlan
    sources: Sources
    schedules: Mapping[str, KernelSchedule] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """Sizes and the plan, as plain values."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "arena_bytes": self.plan.arena_bytes,
            "arena_bound_bytes": self.plan.packing.bound,
            "constant_bytes": self.sources.constant_bytes,
            "operators": [{"name": name, "kind": kind} for name, kind in self.sources.steps],
            "buffers": [
                {
                    "name": item.name,
                    "offset": self.plan.packing.offsets[item.name],
                    "size_bytes": item.size,
                    "first": item.first,
                    "last": item.last,
                }
                for item in self.plan.live
            ],
        }


def scheduled_bundle(
    network: Network, name: str, schedules: Mapping[str, KernelSchedule]
) -> Bundle:
    """A network as C with given kernels.

    Args:
        network: The network.
        name: C name of the model.
        schedules: Legal ones, by the value that the operator writes; the others are portable.
    """

    def scratch(operator: Operator) -> int:
        schedule = schedules.get(operator.output, PORTABLE)
        source = network.values[operator.inputs[0]]
        if schedule.unit.is_library:
            return library_scratch(operator, source, schedule.unit)
        return scratch_bytes(operator, source, schedule)

    plan = plan_memory(network, scratch)
    sources = write_sources(network, plan, name, schedules)
    return Bundle(name, network, plan, sources, dict(schedules))


def default_scratch(core: str) -> Callable[[Network, Operator], int]:
    """What operators of a network need while they run with the usual kernels of a core."""

    def needed(network: Network, operator: Operator) -> int:
        schedule = choices_in(network, operator, core)[0]
        return scratch_bytes(operator, network.values[operator.inputs[0]], schedule)

    return needed


def expected(network: Network, sample: Mapping[str, Array]) -> tuple[list[Array], list[Array]]:
    """Inputs and outputs of one sample as the generated function takes and gives them.

    Args:
        network: The network.
        sample: Array per graph input, in the order of the model's axes.
    """
    inputs = {
        name: network.quantized(name, sample[tensor])
        for name, tensor in zip(network.inputs, network.tensors, strict=False)
    }
    found = network.run(inputs)
    return [inputs[name] for name in network.inputs], [found[name] for name in network.outputs]


def write_bundle(
    bundle: Bundle,
    folder: Path,
    samples: Sequence[Mapping[str, Array]],
    more: Mapping[str, bytes] | None = None,
) -> dict[str, bytes]:
    """Writes a bundle's files; what was written, by name.

    Args:
        bundle: What to write.
        folder: Made where it is absent.
        samples: Of the self test, at least one: array per graph input.
        more: Further files by name.

    Raises:
        InputError: The folder cannot be written.
    """
    network, name = bundle.network, bundle.name
    tests = [expected(network, sample) for sample in samples]
    files: dict[str, str | bytes] = {
        **bundle.sources.files,
        "main.c": extras.example(network, name),
        "selftest.c": extras.self_test(network, name, tests),
        "count.c": extras.counter(network, name, len(bundle.sources.steps)),
        "Makefile": extras.makefile(),
        "model.mk": extras.make_fragment(library=bundle.sources.library),
        "model.cmake": extras.cmake_fragment(name, library=bundle.sources.library),
        "CMakeLists.txt": extras.cmake_lists(name),
        "bundle.json": json.dumps(bundle.document, indent=1) + "\n",
        **(more or {}),
    }
    with suppress(InputError):  # of float32 operators without such a form
        files["model.qdq.onnx"] = to_onnx(network).SerializeToString(deterministic=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"folder {folder}: {error.strerror}") from error
    written = {
        name: text if isinstance(text, bytes) else text.encode() for name, text in files.items()
    }
    for file, content in written.items():
        write_atomically(folder / file, partial(_write, content=content))
    return written


def write_document(bundle: Bundle, folder: Path, more: Mapping[str, Any]) -> None:
    """Writes ``bundle.json`` again, with more keys.

    Raises:
        InputError: The folder cannot be written.
    """
    text = json.dumps({**bundle.document, **more}, indent=1) + "\n"
    write_atomically(folder / "bundle.json", partial(_write, content=text.encode()))


def write_sources_of(bundle: Bundle, folder: Path) -> None:
    """Writes the sources and the counter alone, into a folder that is there.

    Raises:
        InputError: The folder cannot be written.
    """
    network, name = bundle.network, bundle.name
    counter = extras.counter(network, name, len(bundle.sources.steps))
    for file, text in {**bundle.sources.files, "count.c": counter}.items():
        write_atomically(folder / file, partial(_write, content=text.encode()))


def _write(stream: IO[bytes], *, content: bytes) -> None:
    stream.write(content)


def zeros(graph: Graph) -> dict[str, Array]:
    """A sample of zeros, for models without data."""
    return {
        name: np.zeros([n or 1 for n in known.shape or ()], known.dtype)
        for name, known in ((name, graph.types[name]) for name in graph.inputs)
    }
