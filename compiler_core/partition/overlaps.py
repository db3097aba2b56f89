"""What each layer of a plan takes where layers are joined to programs: by compiling the plan.

How far layers overlap follows from the whole program that they are in, so the plan is linked with a
stand-in for its numbers, as cost tables have it: cycles depend on shapes and passes alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import FloatModel, QuantizedModel
from compiler_core.compile.unit_layers import model_layers, model_tasks
from compiler_core.configuration.configuration import Configuration
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.partition.group_graph import GroupGraph
from compiler_core.partition.layer_shares import LayerShare, Overlaps
from compiler_core.partition.programs import Schedules
from compiler_core.partition.resolve import assignment_of
from compiler_core.partition.unit_costs import ASSUMED_EXPONENT
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.exponents import Granularity, RangeChoice
from compiler_core.quantize.ir import IntegerConv, IntegerSegment, QuantizedGraph
from compiler_core.quantize.quantize import with_exponents
from compiler_core.system.jobs import JobKind
from compiler_core.targets.places import Placement
from compiler_core.targets.target import Target
from compiler_core.units.facets.programs import continues


def overlaps_of(
    groups: GroupGraph,
    target: Target,
    schedules: Schedules | None = None,
    quantized: QuantizedGraph | None = None,
) -> Overlaps:
    """Shares of the layers of any placement.

    Args:
        groups: The model.
        target: The machine.
        schedules: By task id.
        quantized: The model with everything on the unit that can run there; else a stand-in.
    """
    known: dict[Placement, Mapping[str, LayerShare]] = {}

    def shares(placement: Placement) -> Mapping[str, LayerShare]:
        if placement not in known:
            known[placement] = _shares(placement, groups, target, schedules or {}, quantized)
        return known[placement]

    return shares


def _shares(
    placement: Placement,
    groups: GroupGraph,
    target: Target,
    schedules: Schedules,
    quantized: QuantizedGraph | None,
) -> Mapping[str, LayerShare]:
    compiled = compiled_plan(placement, groups, target, schedules, quantized)
    launches = (x for part in compiled.executable.npu_segments for x in part.launches)
    found = {}
    for layer, job in zip(compiled.report.layers, compiled.timeline.jobs, strict=True):
        if job.kind is JobKind.PROGRAM:
            found[layer.name] = LayerShare(
                layer.cycles,
                job.run_ps,
                job.overhead_ps,
                layer.energy_mj * 1e9,
                continues(next(launches)),
            )
    return found


def compiled_plan(
    placement: Placement,
    groups: GroupGraph,
    target: Target,
    schedules: Schedules,
    quantized: QuantizedGraph | None = None,
) -> CompiledModel:
    """A placement compiled with a stand-in for its numbers, layers joined to programs.

    Args:
        placement: Of the groups.
        groups: The model.
        target: The machine.
        schedules: By task id.
        quantized: As of :func:`overlaps_of`.
    """
    assignment = assignment_of(placement, groups, target.places)
    skeleton = assemble(groups.graph, assignment, groups.arithmetic)
    tensors = {} if quantized is None else quantized.tensors
    wanted = {
        name: tensors[name].exponent if name in tensors else ASSUMED_EXPONENT
        for name in skeleton.calibrated
    }
    numbers = with_exponents(skeleton, wanted, RangeChoice.MAX, _granularity(quantized))
    tasks = model_tasks(model_layers(numbers, target), target)
    given = {name: schedule for name, schedule in schedules.items() if name in tasks}
    configuration = Configuration(
        plan=assignment, schedules=given, launches=LaunchSettings(merge=True)
    )
    source = QuantizedModel(FloatModel("", "", groups.graph), numbers, configuration, {})
    return compile_model(source, target, verifies=False)


def _granularity(quantized: QuantizedGraph | None) -> Granularity:
    """Of the weights: shifts of their own for each channel are a pass of their own."""
    parts = () if quantized is None else quantized.segments
    own = any(
        isinstance(operator, IntegerConv) and operator.channel_shifts is not None
        for part in parts
        if isinstance(part, IntegerSegment)
        for operator in part.operators
    )
    return Granularity.CHANNEL if own else Granularity.TENSOR
