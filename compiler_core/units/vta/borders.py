"""How layers of VTA programs begin: the facet
:class:`~compiler_core.units.facets.borders.Borders`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compiler_core.units.vta.link.launch import VtaLaunch
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.merge.choose import ALL
from compiler_core.units.vta.merge.merge import Entry
from compiler_core.units.vta.merge.run import timed_run
from compiler_core.units.vta.simulate.timing_result import Actor

_MODULES = (Actor.LOAD, Actor.COMPUTE, Actor.STORE)


class VtaBorders:
    """See :class:`~compiler_core.units.facets.borders.Borders`."""

    choices: Mapping[str, Mapping[str, int]] = {
        text: {name: int(value) for name, value in entry._asdict().items()}
        for text, entry in {
            "nothing ahead": Entry(0, 0),
            "1 ahead": Entry(1, 0),
            "2 ahead": Entry(2, 0),
            "all ahead": Entry(ALL, 0),
            "1 early": Entry(1, 1),
            "2 early": Entry(2, 2),
            "2 early, micro-ops": Entry(2, 2, True),
            "all early": Entry(ALL, ALL),
            "all early, micro-ops": Entry(ALL, ALL, True),
        }.items()
    }

    def room_cycles(self, launch: VtaLaunch, machine: VtaCore) -> int:
        run, part = launch.run, launch.part
        if run is None or not part:
            return 0
        timing, shares = timed_run(run, machine)
        trace = timing.trace
        assert trace is not None
        busy = np.where(trace.end_cycle >= 0, trace.end_cycle - trace.start_cycle, 0)
        busy = busy - np.maximum(trace.port_stall_cycles, 0)
        modules = [busy * (trace.actor == module) for module in _MODULES]
        pair = (run.layers == part) | (run.layers == part - 1)
        span = shares[part].cycles + shares[part - 1].cycles
        least = max(int(module[pair].sum()) for module in modules)
        whole = max(int(module.sum()) for module in modules)
        return max(0, min(span - least, timing.cycles - whole))


BORDERS = VtaBorders()
