"""The untuned schedule is the first legal one of a grid that is searched point by point here."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.legality.default_schedule import (
    _SLOTS,
    _TRIED,
    _ascending,
    _block_tiles,
    _default_conv,
    estimate_cycles,
    even_tiles,
)
from compiler_core.units.vta.legality.legality import (
    ConvScheduleBatch,
    conv_buffer_demand,
    fits,
    violations,
)
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import (
    BiasVariant,
    ConvSchedule,
    EpilogueGranularity,
    LoopOrder,
)
from compiler_core.units.vta.structure.conv_structure import conv_structure
from compiler_core.units.vta.structure.kernel_tiles import kernel_parts
from tests.tiling_workloads import EPILOGUE, WORKLOADS

CONVOLUTIONS = {n: w for n, w in WORKLOADS.items() if isinstance(w, ConvWorkload)}


def plainly(w: ConvWorkload, core: VtaCore, bias: BiasVariant) -> tuple[float, ConvSchedule] | None:
    """The best of the grid, all of whose points are written out, estimated and sorted."""
    structure = conv_structure(w)
    reduction = 1 if structure.diagonal else structure.reduction
    blocks = even_tiles(reduction) if len(kernel_parts(w)) == 1 else [1]
    rows, columns = even_tiles(w.out_height), even_tiles(w.out_width)
    points = list(
        product(
            rows, columns, _block_tiles(structure, w.interleave), blocks, _SLOTS[:5], _SLOTS, (1, 2)
        )
    )
    batch = ConvScheduleBatch(*map(np.array, zip(*points, strict=True)), bias)  # type: ignore[call-arg, arg-type]
    demand = conv_buffer_demand(w, batch)
    fitting = fits(demand, core.geometry)
    best: tuple[float, ConvSchedule] | None = None
    for order in LoopOrder:
        cycles = estimate_cycles(w, batch, demand, order, core).tolist()
        legal = [number for number, fit in enumerate(fitting) if fit]
        for number in sorted(legal, key=lambda number: (cycles[number], number))[:_TRIED]:
            *tiles, inputs, weights, outputs = points[number]
            schedule = ConvSchedule(
                *tiles, order, inputs, weights, outputs, bias, EpilogueGranularity.TAIL
            )
            if not violations(w, schedule, core.geometry):
                if best is None or cycles[number] < best[0]:
                    best = cycles[number], schedule
                break
    return best


@pytest.mark.parametrize("bias", BiasVariant)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_untuned_schedule_is_that_of_a_search_point_by_point(
    name: str, bias: BiasVariant
) -> None:
    core = load_target("vta").npu
    assert isinstance(core, VtaCore)
    found = _default_conv(CONVOLUTIONS[name], core, bias)
    assert found == plainly(CONVOLUTIONS[name], core, bias)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_it_is_for_any_convolution(data: st.DataObject) -> None:
    def number(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    kernel, stride, pad = number(1, 4), number(1, 2), number(0, 1)
    window = Window((kernel, kernel), (stride, stride), (pad, pad, pad, pad))
    epilogue = data.draw(st.sampled_from([EPILOGUE, Epilogue(17, True, True, True, 6)]))
    channels, size = 16 * number(1, 6), (number(4, 12), number(4, 12))
    groups = data.draw(st.sampled_from([1, channels]))
    outputs = channels if groups > 1 else 16 * number(1, 6)
    w = ConvWorkload(number(1, 2), channels, *size, outputs, window, groups, epilogue)
    core = load_target(data.draw(st.sampled_from(["vta", "vta-int4"]))).npu
    assert isinstance(core, VtaCore)
    bias = data.draw(st.sampled_from(list(BiasVariant)))
    assert _default_conv(w, core, bias) == plainly(w, core, bias)


@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, np.inf]), min_size=1, max_size=20),
    st.integers(1, 8),
)
def test_the_least_come_in_order(values: list[float], count: int) -> None:
    finite = [number for number, value in enumerate(values) if value < np.inf]
    expected = sorted(finite, key=lambda number: (values[number], number))[:count]
    assert list(_ascending(np.array(values), count)) == expected
