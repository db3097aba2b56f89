"""Parts of models on VTA cores: the facet
:class:`~compiler_core.units.facets.programs.Programs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler_core.quantize.ir import QuantizedTensor
from compiler_core.units.facets.programs import CoreCost, LaunchCost, LinkedSegments, LinkRequest
from compiler_core.units.vta.link.launch import VtaLaunch
from compiler_core.units.vta.link.launch_timing import time_launch
from compiler_core.units.vta.link.model import link_model, verify_model
from compiler_core.units.vta.link.npu_segment import NpuSegment
from compiler_core.units.vta.link.session import VtaSession
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.merge.run import MEMORIES, MergedRun, timed_run
from compiler_core.units.vta.simulate.timing_result import TimingResult

MODULES = ("load", "compute", "store", "fetch")


class VtaPrograms:
    """See :class:`~compiler_core.units.facets.programs.Programs`."""

    joins_layers = True

    def link(self, request: LinkRequest) -> LinkedSegments:
        return link_model(request)

    def verify(self, linked: LinkedSegments, request: LinkRequest) -> None:
        verify_model(linked, request)

    def prepare(
        self,
        segments: Sequence[NpuSegment],
        tensors: Mapping[str, QuantizedTensor],
        memory_bytes: int,
        machine: VtaCore,
    ) -> VtaSession:
        del tensors  # the layout says where they lie
        return VtaSession(segments, memory_bytes, machine)

    def time(self, launch: VtaLaunch, machine: VtaCore) -> LaunchCost:
        if launch.run is not None:
            return _share(launch.run, launch.part, machine)
        timing = time_launch(launch, machine)
        cores = tuple(
            CoreCost(
                run.cycles,
                run.energy_pj or 0.0,
                len(program.instructions),
                {name: getattr(run.traffic, name).data_bytes for name in MEMORIES},
                _stalls(run),
            )
            for program, run in zip(launch.programs, timing.cores, strict=True)
        )
        return LaunchCost(timing.cycles, cores, timing.read_cycles, timing.write_cycles)


PROGRAMS = VtaPrograms()


def _share(run: MergedRun, part: int, machine: VtaCore) -> LaunchCost:
    """The cost of one layer of several in one program."""
    own = timed_run(run, machine)[1][part]
    core = CoreCost(own.cycles, own.energy_pj, own.instructions, own.moved_bytes, own.stall_cycles)
    return LaunchCost(own.cycles, (core,), own.read_beats, own.write_beats)


def _stalls(timing: TimingResult) -> dict[str, int]:
    found = {}
    for module in MODULES:
        for name, cycles in vars(getattr(timing, module)).items():
            if name.endswith("_stall_cycles") and cycles:
                found[f"{module}_{name.removesuffix('_stall_cycles')}"] = cycles
    return found
