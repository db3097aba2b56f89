"""From layers and schedules to programs in one DRAM: buffers, constants, launches.

All segments of a model share one DRAM: their activations take turns in one region from
:data:`~compiler_core.targets.vta.dram_plan.ALIGNMENT` on, the constants of each segment follow.
Constants are never written and are shared within a segment where their bytes are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InfeasibleError, InputError, InternalError
from compiler_core.quantize.ir import IntegerConv, IntegerOperator
from compiler_core.targets.vta.conv_structure import BLOCK
from compiler_core.targets.vta.dram_plan import (
    ADDRESS_LIMIT,
    ALIGNMENT,
    DramPlan,
    Lifetime,
    align,
    plan_buffers,
)
from compiler_core.targets.vta.emit import LoweredProgram
from compiler_core.targets.vta.fold import fold_weight, fold_workload, foldable, unfold
from compiler_core.targets.vta.hardware import VtaGeometry
from compiler_core.targets.vta.layer import image_bytes
from compiler_core.targets.vta.lower_conv import lower_conv
from compiler_core.targets.vta.lower_max_pool import lower_max_pool
from compiler_core.targets.vta.pack import bias_vector, pack_rows, pack_weights
from compiler_core.targets.vta.placement import ConvPlacement, Image, MaxPoolPlacement
from compiler_core.targets.vta.schedule import (
    BiasVariant,
    ConvSchedule,
    FoldVariant,
    MaxPoolSchedule,
    Schedule,
)
from compiler_core.targets.vta.segment import Layer, SegmentLayers
from compiler_core.targets.vta.verifier import first_error, verify
from compiler_core.tensor.workload import ConvWorkload

Schedules = Mapping[str, Schedule]


@dataclass(frozen=True)
class InputFold:
    """How the CPU lays out an input whose kernel taps became channels."""

    variant: FoldVariant
    workload: ConvWorkload


@dataclass(frozen=True)
class PlacedTensor:
    """An activation ``int8[N][C/16][H][W][16]`` in DRAM.

    Attributes:
        shape: ``(N, C, H, W)``, before any fold.
        address: Of the first byte.
        sample_bytes: From one sample to the next; more than its own size in a slice of a
            concatenation.
        size_bytes: Of one sample.
        fold: Layout variant of an input.
    """

    shape: tuple[int, int, int, int]
    address: int
    sample_bytes: int
    size_bytes: int
    fold: InputFold | None = None


@dataclass(frozen=True, eq=False)
class Launch:
    """One program.

    Attributes:
        name: ``launch-000`` and so on within the segment.
        layer: Name of the operator.
        sources: Names of the graph nodes that it stands for.
        task: Id of its task.
        instructions: ``uint8[n, 16]``.
    """

    name: str
    layer: str
    sources: tuple[str, ...]
    task: str
    instructions: npt.NDArray[np.uint8]


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
        operator = layer.operator
        residual = operator.residual if isinstance(operator, IntegerConv) else None
        for tensor in (operator.input, residual, operator.output):
            if tensor is not None:
                touch(tensor, time)
    for name in segment.segment.outputs:
        touch(name, len(segment.layers))
    folds = _folds(segment, schedules)
    return plan_buffers(
        Lifetime(
            root,
            _sample_bytes(segment, root, folds, g) * segment.tensors[root].shape[0],
            first[root],
            last[root],
        )
        for root in first
    )


def _folds(segment: SegmentLayers, schedules: Schedules) -> dict[str, InputFold]:
    folds = {}
    for layer in segment.layers:
        schedule = schedules[layer.task.id]
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
    return image_bytes(channels, height, width, g)


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
        block_bytes = shape[2] * shape[3] * g.element_bytes.inp
        placed[name] = PlacedTensor(
            shape,
            ALIGNMENT + plan.offsets[where.root] + where.block * block_bytes,
            _sample_bytes(segment, where.root, folds, g),
            _sample_bytes(segment, name, folds, g),
            folds.get(name),
        )
    return placed


class ConstantPool:
    """Read-only bytes in DRAM; equal ones lie at one address.

    Args:
        address: Of the first array.
    """

    def __init__(self, address: int) -> None:
        self.start = self.end = address
        self._addresses: dict[bytes, int] = {}

    def find(self, array: npt.NDArray[np.generic]) -> int | None:
        """Address of the same bytes, if they are here."""
        return self._addresses.get(array.tobytes())

    def place(self, array: npt.NDArray[np.generic]) -> int:
        """Address of the bytes of ``array``."""
        raw = array.tobytes()
        if raw not in self._addresses:
            self._addresses[raw] = self.end
            self.end += align(len(raw))
        return self._addresses[raw]

    def write(self, dram: npt.NDArray[np.uint8]) -> None:
        """Writes every array; ``dram`` begins at physical address 0."""
        for raw, address in self._addresses.items():
            dram[address : address + len(raw)] = np.frombuffer(raw, np.uint8)


def link_segment(
    segment: SegmentLayers,
    schedules: Schedules,
    layout: Mapping[str, PlacedTensor],
    pool: ConstantPool,
    g: VtaGeometry,
) -> tuple[Launch, ...]:
    """Lowers every layer; its constants and micro-ops go into ``pool``.

    Raises:
        InfeasibleError: A schedule does not fit its layer.
        InputError: A schedule is for another kind of operator, or DRAM ends.
    """
    launches = []
    for number, layer in enumerate(segment.layers):
        lowered = _lower(layer, schedules[layer.task.id], layout, pool, g)
        if pool.end > ADDRESS_LIMIT:
            raise InputError(
                f"segment {segment.segment.name!r} needs DRAM up to byte {pool.end}; "
                f"addresses end at {ADDRESS_LIMIT}"
            )
        operator = layer.operator
        launches.append(
            Launch(
                f"launch-{number:03d}",
                operator.name,
                operator.sources,
                layer.task.id,
                lowered.instructions,
            )
        )
    return tuple(launches)


def _lower(
    layer: Layer,
    schedule: Schedule,
    layout: Mapping[str, PlacedTensor],
    pool: ConstantPool,
    g: VtaGeometry,
) -> LoweredProgram:
    operator, workload = layer.operator, layer.workload
    source, result = _image(layout[operator.input]), _image(layout[operator.output])
    lower = None
    if isinstance(workload, ConvWorkload) and isinstance(schedule, ConvSchedule):
        assert isinstance(operator, IntegerConv)
        assert layer.constants is not None
        fold = schedule.fold
        folded, inner = unfold(workload, schedule)
        gemm_bias = schedule.bias is BiasVariant.GEMM
        weights = pack_weights(
            folded,
            fold_weight(operator.weight, fold),
            layer.constants,
            operator.residual_shift,
            gemm_bias=gemm_bias,
        )
        biased = workload.epilogue.bias_bits > 0
        placement = ConvPlacement(
            source,
            result,
            None if operator.residual is None else _image(layout[operator.residual]),
            weights=pool.place(weights),
            bias=pool.place(pack_rows(layer.constants)) if biased and not gemm_bias else 0,
            constant=pool.place(bias_vector()) if biased and gemm_bias else 0,
            micro_ops=0,
            shifts=0
            if operator.channel_shifts is None
            else pool.place(pack_rows(operator.channel_shifts)),
        )

        def lower(address: int) -> LoweredProgram:
            placed = ConvPlacement(**{**vars(placement), "micro_ops": address})
            return lower_conv(folded, inner, layer.requantization, placed, g)

    elif not isinstance(workload, ConvWorkload) and isinstance(schedule, MaxPoolSchedule):
        identity = pool.place(np.eye(BLOCK, dtype=np.int8))

        def lower(address: int) -> LoweredProgram:
            where = MaxPoolPlacement(source, result, identity, address)
            return lower_max_pool(workload, schedule, layer.requantization, where, g)

    if lower is None:
        raise InputError(
            f"task {layer.task.id}: a {type(schedule).__name__} does not schedule "
            f"{workload.operator}"
        )
    program = lower(pool.end)
    known = pool.find(program.micro_ops)
    if known is None:
        pool.place(program.micro_ops)
        return program
    return lower(known)


def _image(tensor: PlacedTensor) -> Image:
    return Image(tensor.address, tensor.sample_bytes)


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
        error = first_error(verify(launch.instructions, g, dram))
        if error is not None:
            raise InternalError(
                f"the program of layer {launch.layer!r} ({launch.name}) breaks a rule of the "
                f"machine: {error}",
                hint="report it with the model and the configuration",
            )
