"""From a model and a target to its cost table."""

from __future__ import annotations

from collections.abc import Callable

from compiler_core.partition.costs import CostTable, GroupCost
from compiler_core.partition.cpu_costs import cpu_cost, view_costs, view_names, with_host_integers
from compiler_core.partition.group_graph import GroupGraph
from compiler_core.partition.programs import ProgramCosts, Schedules
from compiler_core.partition.tensor_costs import tensor_costs
from compiler_core.partition.unit_costs import UnitCostBuilder
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.system.jobs import PICOSECONDS, Machinery
from compiler_core.system.positions import Positions
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import of_unit
from compiler_core.units.facets.host import NodeCosts


def build_costs(
    groups: GroupGraph,
    target: Target,
    node_costs: NodeCosts,
    *,
    schedules: Schedules | None = None,
    quantized: QuantizedGraph | None = None,
    progress: Callable[[str], None] = lambda _: None,
    programs: ProgramCosts | None = None,
) -> CostTable:
    """Costs of every group at every place where it can run.

    Args:
        groups: The model.
        target: The machine.
        node_costs: Of one operator on the CPU.
        schedules: By task id; a task without one gets the untuned default.
        quantized: The model with everything on a unit that can run there, for targets of one unit.
        progress: Told of each program that is measured.
        programs: What measures those of the first unit instead; then schedules are its own.
    """
    positions = Positions(groups.graph)
    found = [
        GroupCost(cpu_cost(groups, index, node_costs, positions))
        for index in range(len(groups.groups))
    ]
    for unit in target.places.units:
        own = of_unit(schedules or {}, target, target.units[unit].name)
        measured = ProgramCosts(target.units[unit], own, progress)
        if programs is not None and unit == target.places.units[0]:
            measured = programs
        builder = UnitCostBuilder(groups, target, unit, measured, positions)
        found = list(builder.added(found, quantized))
    found = list(with_host_integers(found, groups, target, positions))
    forms, form_of, tensors = tensor_costs(groups, target)
    view_ps, view_energy_pj = view_costs(groups, node_costs)
    return CostTable(
        tuple(found),
        tensors,
        target.places,
        Machinery.of(target),
        forms,
        form_of,
        round(target.launch_overhead_s * PICOSECONDS),
        target.cpu.copy_bytes_per_cycle * target.cpu.clock_hz,
        view_ps,
        {name: positions.of_node(name) for name in view_names(groups)},
        tuple(positions.of_values(tensor.name) for tensor in groups.tensors),
        view_energy_pj,
    )
