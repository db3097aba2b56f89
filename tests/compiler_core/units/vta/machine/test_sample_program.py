"""The built-in program, against the loops of a convolution written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler_core.targets.load import bundled_targets, load_target
from compiler_core.units.vta.machine.program_file import read_program_file
from compiler_core.units.vta.machine.sample_program import (
    KERNEL,
    LANES,
    SHIFT,
    SIZE,
    convolution,
    sample_program,
)
from compiler_core.units.vta.tool.simulate import simulate


def test_convolution_equals_its_loops() -> None:
    random = np.random.default_rng(1)
    image = random.integers(-128, 128, (SIZE, SIZE, LANES)).astype(np.int8)
    weights = random.integers(-128, 128, (KERNEL, KERNEL, LANES, LANES)).astype(np.int8)
    result = convolution(image, weights)
    for row, column, lane in ((0, 0, 0), (13, 13, 15), (0, 7, 3), (6, 5, 9), (7, 0, 1)):
        total = 0
        for y in range(KERNEL):
            for x in range(KERNEL):
                if 0 <= row + y - 1 < SIZE and 0 <= column + x - 1 < SIZE:
                    for channel in range(LANES):
                        pixel = int(image[row + y - 1, column + x - 1, channel])
                        total += pixel * int(weights[y, x, lane, channel])
        expected = min(max((total + 2 ** (SHIFT - 1)) // 2**SHIFT, -127), 127)
        assert result[row, column, lane] == expected


def takes_it(name: str) -> bool:
    """Whether a target has the core that the program is written for."""
    npu = load_target(name).npu
    return npu.kind == "vta" and npu.geometry.block_out == LANES


@pytest.mark.parametrize("target", list(filter(takes_it, bundled_targets())))
def test_program_is_right_on_every_target(target: str, tmp_path: Path) -> None:
    path = tmp_path / "sample.npz"
    np.savez(path, allow_pickle=False, **sample_program(seed=3))
    program = read_program_file(path)
    result = simulate(program, load_target(target).npu)
    assert result.error is None
    assert result.warnings == ()
    assert result.dram is not None
    assert np.array_equal(result.dram, program.expected_dram())


def test_example_file_holds_the_program(repository: Path) -> None:
    with np.load(repository / "examples" / "conv.npz") as file:
        arrays = dict(file)
    expected = sample_program()
    assert arrays.keys() == expected.keys()
    assert all(np.array_equal(arrays[name], expected[name]) for name in expected)
