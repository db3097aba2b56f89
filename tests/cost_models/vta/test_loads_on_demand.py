"""The coarse walk where micro-ops are loaded as they are needed, which waits for the port."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.schedule.schedule import MicroOpLoading
from compiler_core.units.vta.schedule.schedule_rows import ConvColumn
from cost_models.vta.pipeline import predict
from search_spaces.vta.tiling import TilingSpace

CORE = load_target("vta").npu
DEMAND = list(MicroOpLoading).index(MicroOpLoading.DEMAND)


def depthwise(channels: int, size: int, kernel: int) -> ConvWorkload:
    window = Window((kernel, kernel), (2, 2), (kernel // 2,) * 4)
    epilogue = Epilogue(17, True, True, True)
    return ConvWorkload(1, channels, size, size, channels, window, channels, epilogue)


@pytest.mark.parametrize("layer", [(384, 10, 3), (1152, 7, 3), (96, 10, 7), (240, 7, 7)], ids=str)
def test_the_walk_knows_what_loads_on_demand_take(layer: tuple[int, int, int]) -> None:
    workload = depthwise(*layer)
    space = TilingSpace(workload, CORE.geometry)
    points = space.sample(np.random.default_rng(0), 400)
    rows = space.rows(points)
    on_demand = np.flatnonzero(rows[:, ConvColumn.MICRO_OPS] == DEMAND)
    expected = predict(workload, rows[on_demand], CORE).cycles
    fastest = np.argsort(expected)[:20]
    measured = [
        measure_layer(workload, space.decode(tuple(points[n].tolist())), CORE).cycles
        for n in on_demand[fastest]
    ]
    ratios = np.array(measured) / expected[fastest]
    assert 0.9 < np.median(ratios) < 1.2
