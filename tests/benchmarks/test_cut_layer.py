"""Layers cut by output channels over an int8 core and one of 4 bits: one tensor, no races."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.cut_layer import (
    ChannelCut,
    bound_cycles,
    channel_cuts,
    measured_cut,
)
from compiler_core.quantize.ir import IntegerConv
from compiler_core.targets.load import load_target
from compiler_core.tensor.from_integer import conv_terms
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.link.multicore_conflicts import dram_ranges, unordered_conflict
from compiler_core.units.vta.lower.layer import align, put
from compiler_core.units.vta.lower.lower_conv import lower_conv
from compiler_core.units.vta.lower.pack import (
    bias_vector,
    pack_activation,
    pack_rows,
    pack_weights,
    unpack_activation,
)
from compiler_core.units.vta.lower.pack_vectors import vector_weights
from compiler_core.units.vta.lower.placement import ConvPlacement, Image
from compiler_core.units.vta.schedule.schedule import ConvSchedule, has_gemm_bias
from compiler_core.units.vta.simulate.functional import execute
from compiler_core.units.vta.verify import first_error, verify
from tests.compiler_core.units.vta import reference_operators as reference

A, B = (unit.machine for unit in load_target("vta-duo").units)
MACHINES = (A, B)


def layer(channels: int, outputs: int, *, first: int, seed: int = 0) -> IntegerConv:
    """A 3x3 convolution whose channels from ``first`` on have weights of 4 bits."""
    numbers = np.random.default_rng(seed)
    weight = numbers.integers(-127, 128, (outputs, channels, 3, 3))
    weight[first:] >>= 4
    bias = numbers.integers(-5000, 5000, outputs).astype(np.int32)
    shifts = np.full(outputs, 11, np.int32)
    shifts[first:] = 7
    return IntegerConv(
        "c",
        "x",
        "y",
        weight.astype(np.int8),
        bias,
        (1, 1),
        (1, 1, 1, 1),
        (1, 1),
        1,
        11,
        0,
        127,
        channel_shifts=shifts,
    )


@pytest.mark.parametrize(
    ("channels", "outputs", "first"),
    [(32, 96, 32), (32, 96, 64), (48, 64, 32), (16, 100, 96), (64, 48, 0), (64, 48, 48)],
)
def test_both_write_one_tensor_whatever_their_order(
    channels: int, outputs: int, first: int
) -> None:
    operator, size = layer(channels, outputs, first=first), (6, 8)
    inputs = np.random.default_rng(1).integers(-128, 128, (1, channels, *size)).astype(np.int8)
    expected = reference.conv(operator, inputs)
    terms = conv_terms(operator, inputs.shape)
    cut = ChannelCut(terms.workload, first)
    dram, position = np.zeros(1 << 21, np.uint8), 0x1000

    def place(array: np.ndarray) -> int:
        nonlocal position
        address, position = position, position + align(array.nbytes)
        put(dram, address, array)
        return address

    source = place(pack_activation(inputs, 32))
    result = place(np.zeros((1, -(-outputs // 32), *size, 32), np.int8))
    programs, done = [], 0
    for part, machine in zip(cut.parts(MACHINES), MACHINES, strict=True):
        if part is None:
            continue
        count = first if machine is A else outputs - first
        own, geometry = slice(done, done + count), machine.geometry
        schedule = default_schedule(part, machine)
        assert isinstance(schedule, ConvSchedule)
        constants, weight = terms.constants[own], operator.weight[own]
        gemm_bias = has_gemm_bias(schedule)
        packed = (
            pack_weights(part, weight, constants, 0, gemm_bias=gemm_bias)
            if part.vectors is None
            else vector_weights(part, weight, 0, geometry)
        )
        placement = ConvPlacement(
            Image(source, 0, pitch=geometry.pitch),
            Image(result + done * size[0] * size[1], 0, pitch=geometry.pitch),
            None,
            weights=place(packed),
            bias=place(pack_rows(constants, geometry.block_out)),
            constant=place(bias_vector()),
            shifts=place(pack_rows(operator.channel_shifts[own], geometry.block_out)),
            micro_ops=position,
        )
        lowered = lower_conv(part, schedule, terms.requantization, placement, geometry)
        place(lowered.micro_ops)
        programs.append((lowered.instructions, machine))
        done += count
    for stream, machine in programs:
        assert first_error(verify(stream, machine.geometry, dram)) is None
    accesses = [dram_ranges(stream, machine.geometry) for stream, machine in programs]
    nothing = [0 for _ in programs]
    assert unordered_conflict(accesses, nothing, list(range(len(programs)))) is None
    for order in (programs, programs[::-1]):
        image = dram.copy()
        for stream, machine in order:
            execute(stream, machine.geometry, image)
        data = image[result : result + -(-outputs // 32) * size[0] * size[1] * 32].view(np.int8)
        packed_result = data.reshape(1, -1, *size, 32)
        np.testing.assert_array_equal(unpack_activation(packed_result, outputs), expected)


def test_borders_are_what_blocks_allow() -> None:
    workload = conv_terms(layer(32, 96, first=0), (1, 32, 6, 8)).workload
    assert channel_cuts(workload, MACHINES) == (0, 32, 64, 96)
    narrow = replace(workload, out_channels=24)
    assert channel_cuts(narrow, MACHINES) == (0, 24)
    grouped = replace(workload, groups=2)
    assert channel_cuts(grouped, MACHINES) == (0, 96)


def test_gains_over_all_on_the_second_core_begin_at_96_channels() -> None:
    workload = conv_terms(layer(128, 96, first=0), (1, 128, 16, 16)).workload

    def best(outputs: int) -> tuple[int, int]:
        whole = replace(workload, out_channels=outputs)
        cuts = channel_cuts(whole, MACHINES)
        return min((bound_cycles(ChannelCut(whole, first), MACHINES), first) for first in cuts)

    assert best(32)[1] == best(64)[1] == 0
    assert best(96)[1] == best(128)[1] == 32


@pytest.mark.parametrize("first", [0, 32, 64, 96])
def test_cuts_are_measured_on_one_port_and_never_beat_their_bound(first: int) -> None:
    workload = conv_terms(layer(64, 96, first=0), (1, 64, 12, 12)).workload
    cut = ChannelCut(workload, first)
    run = measured_cut(cut, MACHINES)
    assert run.cycles >= bound_cycles(cut, MACHINES)
    assert len(run.cores) == (1 if first in (0, 96) else 2)
    if len(run.cores) == 2:
        alone = [
            measured_cut(ChannelCut(replace(workload, out_channels=count), at), MACHINES).cycles
            for count, at in ((first, first), (96 - first, 0))
        ]
        assert run.cycles >= max(alone)
