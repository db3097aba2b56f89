"""From layers and schedules to programs in one DRAM: buffers, constants, launches.

All segments of a model share one DRAM: their activations take turns in one region from
:data:`~compiler_core.memory.plan.ALIGNMENT` on, the constants of each segment follow.
Constants are never written and are shared within a segment where their bytes are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InfeasibleError, InputError, InternalError
from compiler_core.memory.plan import (
    ADDRESS_LIMIT,
    ALIGNMENT,
    DramPlan,
    Lifetime,
    plan_buffers,
)
from compiler_core.quantize.ir import (
    IntegerConv,
    IntegerOperator,
    IntegerProduct,
    IntegerTranspose,
    tensors_of,
)
from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.link.constant_pool import ConstantPool
from compiler_core.units.vta.link.multicore_conflicts import require_independent
from compiler_core.units.vta.link.placed_tensor import InputFold, PlacedTensor
from compiler_core.units.vta.link.product_layer import lower_product
from compiler_core.units.vta.link.segment import Layer, SegmentLayers
from compiler_core.units.vta.link.slice_part import SlicePart, whole
from compiler_core.units.vta.lower.emit import LoweredProgram
from compiler_core.units.vta.lower.layer import image_bytes
from compiler_core.units.vta.lower.lower_conv import lower_conv
from compiler_core.units.vta.lower.lower_max_pool import lower_max_pool
from compiler_core.units.vta.lower.lower_resident import lower_resident
from compiler_core.units.vta.lower.pack import (
    bias_vector,
    pack_rows,
    pack_weights,
)
from compiler_core.units.vta.lower.pack_vectors import identities, packed_weights, vector_weights
from compiler_core.units.vta.lower.placement import ConvPlacement, MaxPoolPlacement
from compiler_core.units.vta.machine.hardware import VtaCore, VtaGeometry
from compiler_core.units.vta.merge.run import MergedRun
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule
from compiler_core.units.vta.schedule.schedule import (
    ConvSchedule,
    FoldVariant,
    MaxPoolSchedule,
    Schedule,
    fold_of,
    has_gemm_bias,
)
from compiler_core.units.vta.structure.fold import fold_weight, fold_workload, foldable
from compiler_core.units.vta.verify import first_error, verify

Schedules = Mapping[str, Schedule]


@dataclass(frozen=True, eq=False)
class CoreProgram:
    """What one core executes in a launch.

    Attributes:
        core: Number of the core.
        instructions: ``uint8[n, 16]``.
    """

    core: int
    instructions: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Launch:
    """One operator: a program, or several that start together on a core each.

    A launch that continues the one before has no instructions of its own: those of its layer are in
    the program of the first one of its run.

    Attributes:
        name: ``launch-000`` and so on within the segment.
        layer: Name of the operator.
        sources: Names of the graph nodes that it stands for.
        task: Id of its task.
        programs: By core, ascending.
        run: The program that it is a part of, where it holds several layers.
        part: Which of them it is.
    """

    name: str
    layer: str
    sources: tuple[str, ...]
    task: str
    programs: tuple[CoreProgram, ...]
    run: MergedRun | None = None
    part: int = 0

    @property
    def cores(self) -> tuple[int, ...]:
        """Numbers of the cores that take part, ascending."""
        return tuple(program.core for program in self.programs)

    @property
    def code(self) -> bytes:
        """Bytes of all programs, one after another."""
        return self.instructions.tobytes()

    @property
    def own_code(self) -> bytes:
        """Bytes of its layer's instructions, in the program of a run, too."""
        if self.run is not None:
            return bytes(self.run.instructions[self.run.layers == self.part])
        return self.code

    @property
    def instruction_count(self) -> int:
        """Of its layer, in all programs."""
        if self.run is not None:
            return self.run.instruction_count(self.part)
        return sum(len(program.instructions) for program in self.programs)

    def on_core(self, core: int) -> Launch:
        """The same on another core."""
        (program,) = self.programs
        return replace(self, programs=(replace(program, core=core),))

    @property
    def instructions(self) -> npt.NDArray[np.uint8]:
        """``uint8[n, 16]``: the programs of all cores, one after another."""
        if len(self.programs) == 1:
            return self.programs[0].instructions
        return np.concatenate([program.instructions for program in self.programs])


@dataclass(frozen=True, eq=False)
class NpuSegment:
    """A segment as programs.

    Attributes:
        name: For people and file names.
        operators: The integer operators, which define the bits.
        inputs, outputs: Tensors that enter and leave.
        layout: Every activation.
        image_address: Where ``image`` lies in DRAM.
        image: ``uint8[bytes]``: DRAM before the first launch.
        launches: In order.
    """

    name: str
    operators: tuple[IntegerOperator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layout: Mapping[str, PlacedTensor]
    image_address: int
    image: npt.NDArray[np.uint8]
    launches: tuple[Launch, ...]
    kind: ClassVar[str] = VtaCore.kind

    @property
    def constants(self) -> bytes:
        """The image."""
        return self.image.tobytes()

    def tensor_bytes(self, name: str) -> int:
        """Bytes of all samples of a tensor as it is laid out."""
        placed = self.layout[name]
        return placed.shape[0] * placed.size_bytes

    def with_launches(self, launches: Sequence[Launch]) -> NpuSegment:
        """The same with other launches."""
        return replace(self, launches=tuple(launches))


def plan_activations(segment: SegmentLayers, schedules: Schedules, g: VtaGeometry) -> DramPlan:
    """Places the buffers of a segment's activations by their lifetimes.

    Args:
        segment: Layers and slices.
        schedules: One per task id; a fold changes the size of its input.
        g: Element widths.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}

    def touch(name: str, time: int) -> None:
        root = segment.slices[name].root
        first[root] = min(first.get(root, time), time)
        last[root] = max(last.get(root, time), time)

    for name in segment.segment.inputs:
        touch(name, -1)
    for time, layer in enumerate(segment.layers):
        for tensor in tensors_of(layer.operator):
            touch(tensor, time)
    for name in segment.segment.outputs:
        touch(name, len(segment.layers))
    sizes = buffer_bytes(segment, first, schedules, g)
    return plan_buffers(
        Lifetime(root, size, first[root], last[root]) for root, size in sizes.items()
    )


def buffer_bytes(
    segment: SegmentLayers, roots: Iterable[str], schedules: Schedules, g: VtaGeometry
) -> dict[str, int]:
    """Sizes of buffers: all samples of the tensor that fills each."""
    folds = _folds(segment, schedules)
    return {
        root: _sample_bytes(segment, root, folds, g) * segment.tensors[root].shape[0]
        for root in roots
    }


def _folds(segment: SegmentLayers, schedules: Schedules) -> dict[str, InputFold]:
    folds = {}
    for layer in segment.layers:
        schedule = schedules.get(layer.task.id)  # none for what is sliced, which folds nothing
        if isinstance(schedule, ConvSchedule) and schedule.fold is not FoldVariant.NONE:
            assert isinstance(layer.workload, ConvWorkload)
            if not foldable(layer.workload):
                raise InfeasibleError(
                    f"schedule of task {layer.task.id}: fold {schedule.fold.value!r} needs an "
                    f"input of few channels that the CPU lays out for it alone; "
                    f"{layer.operator.input!r} is not one",
                    hint='use fold = "none"',
                )
            folds[layer.operator.input] = InputFold(schedule.fold, layer.workload)
    return folds


def _sample_bytes(
    segment: SegmentLayers, name: str, folds: Mapping[str, InputFold], g: VtaGeometry
) -> int:
    _, channels, height, width = segment.tensors[name].shape
    if name in folds:
        folded = fold_workload(folds[name].workload, folds[name].variant)
        channels, height, width = folded.in_channels, folded.in_height, folded.in_width
        return image_bytes(channels, height, width, g.block_out)
    return image_bytes(channels, height, width, g.lanes)


def place_activations(
    segment: SegmentLayers, plan: DramPlan, schedules: Schedules, g: VtaGeometry
) -> dict[str, PlacedTensor]:
    """Addresses of every tensor of a segment, slices included."""
    folds = _folds(segment, schedules)
    placed = {}
    for name, where in segment.slices.items():
        if where.root not in plan.offsets:
            continue
        shape = segment.tensors[name].shape
        block_bytes = shape[2] * shape[3] * g.lanes
        placed[name] = PlacedTensor(
            shape,
            ALIGNMENT + plan.offsets[where.root] + where.block * block_bytes,
            _sample_bytes(segment, where.root, folds, g),
            _sample_bytes(segment, name, folds, g),
            folds.get(name),
            g.block_out if name in folds else g.lanes,
        )
    return placed


def link_segment(
    segment: SegmentLayers,
    schedules: Schedules,
    layout: Mapping[str, PlacedTensor],
    pool: ConstantPool,
    g: VtaGeometry,
    sliced: Mapping[str, tuple[SlicePart, ...]] | None = None,
) -> tuple[Launch, ...]:
    """Lowers every layer; its constants and micro-ops go into ``pool``.

    Args:
        segment: Layers and places of tensors.
        schedules: Per task id, for layers that are not sliced.
        layout: Every tensor.
        pool: Takes constants.
        g: The machine.
        sliced: Slices with their schedules by name of the layer; slice ``k`` is for core ``k``.

    Raises:
        InfeasibleError: A schedule does not fit its layer.
        InputError: A schedule is for another kind of operator, or DRAM ends.
    """
    launches = []
    for number, layer in enumerate(segment.layers):
        parts = (sliced or {}).get(layer.operator.name)
        if parts is None:
            parts = (SlicePart(whole(layer.workload), schedules[layer.task.id]),)
        programs = []
        for core, part in enumerate(parts):
            lower = lower_part(layer, part, layout, pool, g)
            alike = (part.piece.workload, part.schedule, layer.requantization)
            programs.append(CoreProgram(core, _placed(lower, pool, alike).instructions))
        require_addresses(segment, pool)
        launches.append(launch_of(number, layer, tuple(programs)))
    return tuple(launches)


def launch_of(number: int, layer: Layer, programs: tuple[CoreProgram, ...]) -> Launch:
    """The launch of a layer of a segment, ``number`` of them before it."""
    operator = layer.operator
    return Launch(f"launch-{number:03d}", operator.name, operator.sources, layer.task.id, programs)


def require_addresses(segment: SegmentLayers, pool: ConstantPool) -> None:
    """Refuses constants that lie where no address leads.

    Raises:
        InputError: They do.
    """
    if pool.end > ADDRESS_LIMIT:
        raise InputError(
            f"segment {segment.segment.name!r} needs DRAM up to byte {pool.end}; "
            f"addresses end at {ADDRESS_LIMIT}"
        )


def lower_part(
    layer: Layer,
    part: SlicePart,
    layout: Mapping[str, PlacedTensor],
    pool: ConstantPool,
    g: VtaGeometry,
) -> Callable[[int], LoweredProgram]:
    """Places the constants of a layer, or of a slice of one.

    Args:
        layer: The whole layer.
        part: What is lowered.
        layout: Every tensor.
        pool: Takes constants.
        g: The machine.

    Returns:
        Lowers it, given the address of its micro-ops in bytes.

    Raises:
        InputError: The schedule is for another kind of operator.
    """
    operator, workload, schedule = layer.operator, part.piece.workload, part.schedule
    if isinstance(operator, IntegerProduct | IntegerTranspose):
        return lower_product(layer, operator, part, layout, pool, g)
    source = part.input_image(layout[operator.input], layer.workload, g)
    result = part.output_image(layout[operator.output], layer.workload, g)
    lower = None
    if isinstance(workload, ConvWorkload) and isinstance(schedule, ConvSchedule | ResidentSchedule):
        assert isinstance(operator, IntegerConv)
        assert layer.constants is not None
        fold, gemm_bias = fold_of(schedule), has_gemm_bias(schedule)
        folded = fold_workload(workload, fold)
        # What counts in vectors is never cut.
        own = part.piece.channels if workload.vectors is None else slice(None)
        constants = layer.constants[own]
        kept = fold_weight(operator.weight[own], fold)
        weights: npt.NDArray[np.generic]
        if folded.vectors is None:
            weights = pack_weights(
                folded, kept, constants, operator.residual_shift, gemm_bias=gemm_bias
            )
        else:
            weights = vector_weights(folded, kept, operator.residual_shift, g)
        biased = workload.epilogue.bias_bits > 0
        residual = None
        if operator.residual is not None:
            residual = part.output_image(layout[operator.residual], layer.workload, g)
        shifts = operator.channel_shifts
        placement = ConvPlacement(
            source,
            result,
            residual,
            weights=pool.place(weights),
            bias=pool.place(pack_rows(constants, g.block_out)) if biased and not gemm_bias else 0,
            constant=pool.place(bias_vector()) if biased and gemm_bias else 0,
            micro_ops=0,
            shifts=0 if shifts is None else pool.place(pack_rows(shifts[own], g.block_out)),
        )

        def lower(address: int) -> LoweredProgram:
            placed = ConvPlacement(**{**vars(placement), "micro_ops": address})
            if isinstance(schedule, ConvSchedule):
                return lower_conv(workload, schedule, layer.requantization, placed, g)
            return lower_resident(workload, schedule, layer.requantization, placed, g)

    elif not isinstance(workload, ConvWorkload) and isinstance(schedule, MaxPoolSchedule):
        identity = pool.place(packed_weights(identities(g.block_out), g))

        def lower(address: int) -> LoweredProgram:
            where = MaxPoolPlacement(source, result, identity, address)
            return lower_max_pool(workload, schedule, layer.requantization, where, g)

    if lower is None:
        raise InputError(
            f"task {layer.task.id}: a {type(schedule).__name__} does not schedule "
            f"{workload.operator}"
        )
    return lower


def _placed(
    lower: Callable[[int], LoweredProgram], pool: ConstantPool, alike: Hashable
) -> LoweredProgram:
    """Lowers a part with its micro-ops in the pool, where they probably lie if an equal part was
    lowered before: programs of the same key have the same ones."""
    assumed = pool.micro_ops.get(alike, pool.end)
    program = lower(assumed)
    address = pool.place(program.micro_ops)
    pool.micro_ops[alike] = address
    return program if address == assumed else lower(address)


def verify_launches(
    launches: tuple[Launch, ...], dram: npt.NDArray[np.uint8], g: VtaGeometry
) -> None:
    """Holds every program to the rules of the machine.

    Args:
        launches: The programs.
        dram: ``uint8[bytes]``, the whole memory before the first launch.
        g: The machine.

    Raises:
        InternalError: A program breaks a rule; names layer and finding.
    """
    for launch in launches:
        for program in launch.programs if launch.code else ():
            error = first_error(verify(program.instructions, g, dram))
            if error is not None:
                core = f", core {program.core}" if len(launch.programs) > 1 else ""
                raise InternalError(
                    f"the program of layer {launch.layer!r} ({launch.name}{core}) breaks a rule of "
                    f"the machine: {error}",
                    hint="report it with the model and the configuration",
                )
        if len(launch.programs) > 1:
            require_independent([program.instructions for program in launch.programs], g)
