"""Segments to launches: copies, slices, value ranges, cycles equal to those of a task alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from compiler_core.errors import InfeasibleError, InternalError
from compiler_core.memory.plan import ALIGNMENT, align
from compiler_core.quantize.ir import (
    IntegerConcat,
    IntegerConv,
    IntegerMaxPool,
    IntegerOperator,
    IntegerSegment,
    QuantizedTensor,
)
from compiler_core.targets.load import load_target
from compiler_core.tensor.value_ranges import value_ranges
from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.link import lower_part
from compiler_core.units.vta.link.activations import place_activations, plan_activations
from compiler_core.units.vta.link.constant_pool import ConstantPool
from compiler_core.units.vta.link.launch import CoreProgram, VtaLaunch
from compiler_core.units.vta.link.linker import link_segment, verify_launches
from compiler_core.units.vta.link.segment import SegmentLayers, segment_layers
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.lower.pack import pack_activation, unpack_activation
from compiler_core.units.vta.schedule.schedule import ConvSchedule, FoldVariant, Schedule
from compiler_core.units.vta.simulate.functional import execute
from compiler_core.units.vta.simulate.timing import time_program

TARGET = load_target("vta")
Shape = tuple[int, int, int, int]


def conv(
    name: str,
    source: str,
    output: str,
    shape: tuple[int, int],
    *,
    relu: bool = False,
    **changes: int,
) -> IntegerConv:
    random = np.random.default_rng(len(name) * 7 + shape[0])
    return IntegerConv(
        name=name,
        input=source,
        output=output,
        weight=random.integers(-9, 10, (*shape, 1, 1), dtype=np.int8),
        bias=random.integers(-99, 100, shape[0], dtype=np.int32),
        strides=(1, 1),
        pads=(0, 0, 0, 0),
        dilations=(1, 1),
        groups=1,
        shift=changes.get("shift", 5),
        clip_min=0 if relu else -128,
        clip_max=127,
    )


def tensors(**shapes: Shape) -> dict[str, QuantizedTensor]:
    return {name: QuantizedTensor(name, shape, 4) for name, shape in shapes.items()}


def layers_of(
    operators: Sequence[IntegerOperator], outputs: Sequence[str], **shapes: Shape
) -> SegmentLayers:
    segment = IntegerSegment("00-vta", "vta", tuple(operators), ("x",), tuple(outputs))
    return segment_layers(segment, tensors(**shapes), {"x"}, TARGET.npu.geometry)


def schedules_of(layers: SegmentLayers) -> dict[str, Schedule]:
    return {layer.task.id: default_schedule(layer.workload, TARGET.npu) for layer in layers.layers}


class Linked:
    """A segment in its own DRAM."""

    def __init__(self, layers: SegmentLayers) -> None:
        geometry = TARGET.npu.geometry
        self.schedules = schedules_of(layers)
        self.plan = plan_activations(layers, self.schedules, geometry)
        self.layout = place_activations(layers, self.plan, self.schedules, geometry)
        self.pool = ConstantPool(ALIGNMENT + align(self.plan.size))
        self.launches = link_segment(layers, self.schedules, self.layout, self.pool, geometry)
        self.dram = np.zeros(self.pool.end, np.uint8)
        self.pool.write(self.dram)
        verify_launches(self.launches, self.dram, geometry)

    def write(self, name: str, values: np.ndarray) -> None:
        placed = self.layout[name]
        for sample, image in enumerate(pack_activation(values)):
            start = placed.address + sample * placed.sample_bytes
            self.dram[start : start + image.size] = image.reshape(-1).view(np.uint8)

    def read(self, name: str) -> np.ndarray:
        placed = self.layout[name]
        batch, channels, height, width = placed.shape
        starts = [placed.address + n * placed.sample_bytes for n in range(batch)]
        rows = [self.dram[s : s + placed.size_bytes].view(np.int8) for s in starts]
        return unpack_activation(np.stack(rows).reshape(batch, -1, height, width, 16), channels)

    def run(self) -> None:
        for launch in self.launches:
            execute(launch.instructions, TARGET.npu.geometry, self.dram)


def plain_conv(operator: IntegerConv, x: np.ndarray) -> np.ndarray:
    acc = np.einsum("nchw,oc->nohw", x.astype(np.int64), operator.weight[:, :, 0, 0].astype(int))
    acc = acc + operator.bias[None, :, None, None]
    rounded = (acc + (1 << (operator.shift - 1))) >> operator.shift
    return np.clip(rounded, operator.clip_min, operator.clip_max).astype(np.int8)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_tensor_in_two_concatenations_is_copied_once(batch: int) -> None:
    a, b = conv("a", "x", "a", (16, 20)), conv("bb", "x", "b", (10, 20))
    first = IntegerConcat("first", ("a", "b"), "ab")
    second = IntegerConcat("second", ("a", "x"), "ax")
    shape = (batch, 1, 3, 5)
    layers = layers_of(
        [a, b, first, second],
        ["ab", "ax"],
        x=(batch, 20, 3, 5),
        a=(batch, 16, 3, 5),
        b=(batch, 10, 3, 5),
        ab=(batch, 26, 3, 5),
        ax=(batch, 36, 3, 5),
    )
    assert [layer.operator.name for layer in layers.layers] == ["a", "bb", "ax/concat-copy0"]
    assert layers.layers[-1].workload.operator == "copy"
    linked = Linked(layers)
    x = np.random.default_rng(0).integers(-128, 128, (batch, 20, *shape[2:]), dtype=np.int8)
    linked.write("x", x)
    linked.run()
    expected_a = plain_conv(a, x)
    assert np.array_equal(linked.read("a"), expected_a)
    assert np.array_equal(linked.read("ab"), np.concatenate([expected_a, plain_conv(b, x)], 1))
    assert np.array_equal(linked.read("ax"), np.concatenate([expected_a, x], 1))


def test_a_concatenation_of_a_concatenation_is_one_buffer() -> None:
    operators = [
        conv("a", "x", "a", (16, 16)),
        conv("bb", "x", "b", (16, 16)),
        IntegerConcat("inner", ("a", "b"), "i"),
        conv("ccc", "x", "c", (32, 16)),
        IntegerConcat("outer", ("c", "i"), "o"),
    ]
    layers = layers_of(
        operators,
        ["o"],
        x=(1, 16, 4, 4),
        a=(1, 16, 4, 4),
        b=(1, 16, 4, 4),
        i=(1, 32, 4, 4),
        c=(1, 32, 4, 4),
        o=(1, 64, 4, 4),
    )
    assert {name: (s.root, s.block) for name, s in layers.slices.items()} == {
        "x": ("x", 0),
        "o": ("o", 0),
        "c": ("o", 0),
        "i": ("o", 2),
        "a": ("o", 2),
        "b": ("o", 3),
    }
    assert len(Linked(layers).plan.offsets) == 2


def chain(length: int) -> tuple[list[IntegerOperator], dict[str, Shape]]:
    names = ["x", *(f"t{i}" for i in range(length))]
    operators: list[IntegerOperator] = [
        conv("c" * (i + 1), names[i], names[i + 1], (16, 16), relu=True) for i in range(length)
    ]
    return operators, dict.fromkeys(names, (1, 16, 8, 8))


def test_launches_take_the_cycles_of_their_task_alone() -> None:
    operators, shapes = chain(4)
    layers = layers_of(operators, ["t3"], **shapes)
    linked = Linked(layers)
    core = TARGET.npu
    for layer, launch in zip(layers.layers, linked.launches, strict=True):
        alone = measure_layer(layer.workload, linked.schedules[layer.task.id], core).cycles
        inside = time_program(launch.instructions, core.timing, core.geometry).cycles
        assert inside == alone


def test_equal_constants_lie_at_one_address() -> None:
    operators, shapes = chain(3)
    first = operators[0]
    assert isinstance(first, IntegerConv)
    same = [
        replace(first, name=f"s{i}", input=operator.input, output=operator.output)
        for i, operator in enumerate(operators)
        if isinstance(operator, IntegerConv)
    ]
    assert len(Linked(layers_of(same, ["t2"], **shapes)).pool._addresses) < len(
        Linked(layers_of(operators, ["t2"], **shapes)).pool._addresses
    )


def test_ranges_drop_the_passes_that_they_prove_needless() -> None:
    """A clip at 0 of what cannot be negative costs nothing, and the bits stay."""
    relu = conv("a", "x", "t", (16, 16), relu=True)
    sums = replace(
        conv("b", "t", "y", (16, 16), relu=True),
        weight=np.abs(relu.weight),
        bias=np.zeros(16, np.int32),
        shift=8,
    )
    shapes: dict[str, Shape] = dict.fromkeys(("x", "t", "y"), (1, 16, 4, 4))
    layers = layers_of([relu, sums], ["y"], **shapes)
    work = layers.layers[1].workload
    assert isinstance(work, ConvWorkload)
    assert not work.epilogue.clip_low
    first = layers.layers[0].workload
    assert isinstance(first, ConvWorkload)
    assert first.epilogue.clip_low
    linked = Linked(layers)
    x = np.random.default_rng(1).integers(-128, 128, (1, 16, 4, 4), dtype=np.int8)
    linked.write("x", x)
    linked.run()
    assert np.array_equal(linked.read("y"), plain_conv(sums, plain_conv(relu, x)))


def test_value_ranges_hold_what_random_inputs_give() -> None:
    operators, _ = chain(3)
    pool = IntegerMaxPool("p", "t2", "m", (2, 2), (1, 1), (0, 0, 0, 0), clip_max=90)
    ranges = value_ranges([*operators, pool, IntegerConcat("k", ("m", "x"), "z")])
    x = np.random.default_rng(2).integers(-128, 128, (20, 16, 8, 8), dtype=np.int8)
    assert ranges["x"] == (-128, 127)
    for operator in operators:
        assert isinstance(operator, IntegerConv)
        x = plain_conv(operator, x)
        low, high = ranges[operator.output]
        assert low <= x.min() <= x.max() <= high
    assert ranges["m"][0] >= 0
    assert ranges["m"][1] <= 90
    assert ranges["z"] == (-128, 127)


def test_a_program_that_breaks_a_rule_is_an_internal_error() -> None:
    operators, shapes = chain(1)
    linked = Linked(layers_of(operators, ["t0"], **shapes))
    (launch,) = linked.launches
    broken = launch.instructions[:-1]
    wrong = VtaLaunch(launch.name, launch.layer, (), launch.task, (CoreProgram(0, broken),))
    with pytest.raises(InternalError, match=r"layer 'c' \(launch-000\).*missing_finish"):
        verify_launches((wrong,), linked.dram, TARGET.npu.geometry)


def test_a_fold_needs_an_input_of_its_own() -> None:
    operators, shapes = chain(2)
    layers = layers_of(operators, ["t1"], **shapes)
    schedules = schedules_of(layers)
    task = layers.layers[1].task.id
    schedule = schedules[task]
    assert isinstance(schedule, ConvSchedule)
    schedules[task] = replace(schedule, fold=FoldVariant.COLUMNS)
    with pytest.raises(InfeasibleError, match="fold 'columns' needs an input"):
        plan_activations(layers, schedules, TARGET.npu.geometry)


def test_only_an_input_read_by_one_convolution_is_an_entry() -> None:
    operators, shapes = chain(2)
    shared = conv("shared", "x", "y", (16, 16))
    shapes["y"] = shapes["x"]

    def entries(extra: list[IntegerOperator]) -> list[bool]:
        found = layers_of([*operators, *extra], ["t1"], **shapes).layers
        works = [layer.workload for layer in found]
        return [isinstance(work, ConvWorkload) and work.entry for work in works]

    assert entries([]) == [True, False]
    assert entries([shared]) == [False, False, False]


@pytest.mark.parametrize("bits", [12, 18, 19, 24, 29])
def test_a_bias_of_any_size_has_a_default_schedule(bits: int) -> None:
    operator = replace(
        conv("a", "x", "y", (40, 16), shift=22),
        bias=np.linspace(-(2**bits), 2**bits, 40).astype(np.int32),
    )
    linked = Linked(layers_of([operator], ["y"], x=(1, 16, 4, 4), y=(1, 40, 4, 4)))
    x = np.random.default_rng(1).integers(-128, 128, (1, 16, 4, 4), dtype=np.int8)
    linked.write("x", x)
    linked.run()
    assert np.array_equal(linked.read("y"), plain_conv(operator, x))


def test_equal_layers_are_lowered_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their programs differ by addresses in DRAM alone."""
    shapes = dict.fromkeys(("x", "a", "b", "c"), (1, 16, 4, 4))
    names = [("l1", "x", "a"), ("l2", "a", "b"), ("l3", "b", "c")]
    layers = layers_of([conv(*item, (16, 16)) for item in names], ["c"], **shapes)
    lowered: list[str] = []
    lower = lower_part.lower_conv

    def counted(*arguments: Any) -> Any:
        lowered.append("")
        return lower(*arguments)

    monkeypatch.setattr(lower_part, "lower_conv", counted)
    linked = Linked(layers)
    # That of the entry is a task of its own.
    assert len(lowered) == 2
    assert len(linked.launches) == 3
