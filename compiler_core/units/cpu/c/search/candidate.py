"""A network of chosen precisions: its operators as tasks, what it costs, what it computes."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from compiler_core.errors import CheckError
from compiler_core.files.plain import from_plain, to_plain
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import runs
from compiler_core.tensor.digest import digest
from compiler_core.tensor.task import Task
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import Bundle, scheduled_bundle, write_sources_of
from compiler_core.units.cpu.c.bundles.by_clock import time_programs
from compiler_core.units.cpu.c.bundles.classes import WholeCount, count_whole
from compiler_core.units.cpu.c.bundles.package import Decisions
from compiler_core.units.cpu.c.bundles.targets import Board, check_fit
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.network import Array, Network, Operator
from compiler_core.units.cpu.c.operators.moves import View
from compiler_core.units.cpu.c.operators.weighted import weight_bits
from compiler_core.units.cpu.c.schedules.legality import legal_kernels
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule
from compiler_core.units.cpu.c.schedules.workload import workload_of
from compiler_core.units.cpu.c.search.alone import Alone, alone
from compiler_core.units.cpu.c.tasks.facet import measured_alone
from compiler_core.units.cpu.c.tasks.machine import KIND
from compiler_core.units.facets.candidates import CandidateCosts, KernelTask

PACKED = "int4-packed"
"""Weights of 4 bits that stay packed: they need no RAM and take many more instructions."""

WIDE = "int16"
"""Activations of 16 bits, weights of 8."""

Kernels = Mapping[str, Mapping[str, Any]]

_WHOLE = "model"


@dataclass(frozen=True)
class _Known:
    """An operator of the network.

    Attributes:
        operator: As it is there.
        alone: By itself.
        task: What is told of it.
    """

    operator: Operator
    alone: Alone
    task: KernelTask


class CCandidate:
    """See :class:`compiler_core.units.facets.candidates.Candidate`.

    Args:
        graph: The model.
        decisions: About it, without kernels.
        packed: Nodes whose weights of 4 bits are never unpacked.

    Raises:
        InputError: It cannot be written as C.
    """

    def __init__(self, graph: Graph, decisions: Decisions, packed: Collection[str] = ()) -> None:
        self._graph, self._decisions, self._packed = graph, decisions, frozenset(packed)
        self.network: Network = to_network(graph, decisions.statistics(), decisions.options())

    @property
    def _board(self) -> Board:
        return self._decisions.target

    @cached_property
    def digest(self) -> str:
        """See :class:`compiler_core.units.facets.candidates.Candidate`."""
        network = self.network
        told = [network.operators, dict(network.values), dict(network.constants)]
        return digest([*told, sorted(self._packed)], 32)

    @cached_property
    def _known(self) -> dict[str, _Known]:
        """Operators that do something, by the value that they write."""
        found = {}
        for operator in self.network.operators:
            if isinstance(operator, View):
                continue
            single = alone(self.network, operator)
            kind = type(operator).__name__.lower()
            bits = weight_bits(operator)
            name = f"{kind}-{single.digest[:16]}"
            legal = self._legal(self.network, operator)
            if operator.name in self._packed:
                legal = tuple(kernel for kernel in legal if not kernel.unpacked)
            shape = ", ".join(map(self._sizes, operator.inputs))
            shape += f" -> {self._sizes(operator.output)}"
            shape += f", {bits}-bit weights" if bits != 8 else ""
            wide = self.network.values[operator.output].type.dtype == "int16"
            shape += ", 16-bit activations" if wide else ""
            kernels = tuple(to_plain(kernel) for kernel in legal)
            searched = self._task(operator)
            if searched is not None:
                name = searched.id
            elif len(legal) < len(self._legal(single.network, single.network.operators[0])):
                name += f"-{digest(kernels, 4)}"  # its own factors do not go with every kernel
            task = KernelTask(name, operator.output, operator.name, shape, kernels, searched)
            found[operator.output] = _Known(operator, single, task)
        return found

    def _sizes(self, name: str) -> str:
        return "x".join(map(str, self.network.values[name].shape))

    def _legal(self, network: Network, operator: Operator) -> tuple[KernelSchedule, ...]:
        library = bool(self._board.library)
        return legal_kernels(network, operator, self._board.core, library=library)

    def _task(self, operator: Operator) -> Task | None:
        """An operator as a task of the core."""
        if operator.name in self._packed or not cores.core_of(self._board.core).tick:
            return None
        workload = workload_of(self.network, operator)
        return None if workload is None else Task(KIND, workload)

    @property
    def tasks(self) -> Sequence[KernelTask]:
        """See :class:`compiler_core.units.facets.candidates.Candidate`."""
        return [known.task for known in self._known.values()]

    def measure(self, value: str, kernels: Sequence[Mapping[str, Any]]) -> list[float]:
        """See :class:`compiler_core.units.facets.candidates.Candidate`."""
        single = self._known[value].alone
        schedules = [_kernel(kernel) for kernel in kernels]
        return measured_alone(single.network, schedules, cores.core_of(self._board.core))

    def costs(self, kernels: Kernels, measured: Mapping[str, float]) -> CandidateCosts:
        """See :class:`compiler_core.units.facets.candidates.Candidate`."""
        board, core = self._board, cores.core_of(self._board.core)
        bundle = self._bundle(kernels)
        ports = (*self.network.inputs, *self.network.outputs)
        ram = bundle.plan.arena_bytes + sum(self.network.values[n].size_bytes for n in ports)
        with tempfile.TemporaryDirectory(prefix="nest-tune-") as scratch:
            folder = Path(scratch)
            write_sources_of(bundle, folder)
            objects = cores.compiled(core, folder, folder)
            flash = cores.objects_bytes(core, objects)
            check_fit(board, flash, ram)
            whole = _counted(core, bundle, folder) if measured and core.tick else None
            timed = time_programs({_WHOLE: folder}) if measured and not core.tick else None
        found = {"flash_bytes": float(flash), "ram_peak_bytes": float(ram)}
        found["constant_bytes"] = float(bundle.sources.constant_bytes)
        if timed is not None:
            took = timed.latency_us(_WHOLE)
            found["latency_ms"] = took.value / 1e3
            ends = {"latency_ms": (took.low / 1e3, took.high / 1e3)}
            return CandidateCosts(found, ends, timed.warnings)
        if measured:
            alone = sum(measured[task.name] for task in self.tasks)
            each = core.cycles_per_instruction
            found["instructions"] = alone if whole is None else whole.instructions
            if whole is not None and whole.mix is not None:
                each = whole.mix.cycles_per_instruction
            found["cycles"] = round(found["instructions"] * each)
            if board.clock_hz is not None:
                found["latency_ms"] = 1e3 * found["cycles"] / board.clock_hz
        return CandidateCosts(found)

    def outputs(self, samples: Mapping[str, Array]) -> dict[str, Array]:
        """See :class:`compiler_core.units.facets.candidates.Candidate`."""
        network, graph = self.network, self._graph
        rows: dict[str, list[Array]] = {name: [] for name in graph.outputs}
        for sample in runs(graph, samples):
            pairs = zip(network.inputs, network.tensors, strict=False)
            found = network.run({v: network.quantized(v, sample[tensor]) for v, tensor in pairs})
            for tensor, value in zip(graph.outputs, network.outputs, strict=True):
                rows[tensor].append(network.real(value, found[value]))
        return {name: np.concatenate(parts) for name, parts in rows.items()}

    def configuration(self, kernels: Kernels) -> str:
        """See :class:`compiler_core.units.facets.candidates.Candidate`."""
        return self._decisions.with_kernels(self._schedules(kernels)).text()

    def _schedules(self, kernels: Kernels) -> dict[str, KernelSchedule]:
        return {
            value: _kernel(kernels.get(known.task.name, known.task.kernels[0]))
            for value, known in self._known.items()
        }

    def _bundle(self, kernels: Kernels) -> Bundle:
        return scheduled_bundle(self.network, self._decisions.name, self._schedules(kernels))


def _counted(core: cores.Core, bundle: Bundle, folder: Path) -> WholeCount | None:
    """What all operators execute beside one another; ``None`` where the emulated board does not
    hold them."""
    try:
        return count_whole(core, folder, folder / "program", len(bundle.sources.steps))
    except CheckError:
        return None


def _kernel(plain: Mapping[str, Any]) -> KernelSchedule:
    return from_plain(KernelSchedule, dict(plain), "kernel")
