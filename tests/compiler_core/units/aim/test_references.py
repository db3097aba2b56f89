"""Kernels, verifier and executor against the plain references, on random programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.program.instructions import Program
from compiler_core.units.aim.program.program_file import ProgramFile
from compiler_core.units.aim.simulate.timing import StuckError, time_program
from compiler_core.units.aim.tool.simulate import simulate
from compiler_core.units.aim.verify.verify import verify
from tests.compiler_core.units.aim import reference_functional, reference_timing
from tests.compiler_core.units.aim.random_programs import FLAVOURS, changed, legal_program
from tests.compiler_core.units.aim.reference_verifier import first_error

MACHINE = AimMachine()
EDGES = [0x0000, 0x8000, 0x0001, 0x7F80, 0xFF80, 0x7FC0, 0x7F7F, 0x3F80, 0xBF80, 0x4120, 0xC1A0]


def _same_cycles(seed: int, longest: int) -> None:
    rng = np.random.default_rng(seed)
    flavour = list(FLAVOURS)[seed % len(FLAVOURS)]
    most = int(rng.choice([3, 10, 40, 64]))
    records = legal_program(rng, int(rng.integers(3, longest)), flavour, most)
    expected = reference_timing.run(records)
    try:
        found = time_program(records, MACHINE)
    except StuckError:
        assert expected is None
        return
    assert expected is not None
    assert found.cycles == expected.cycles
    assert found.commands == expected.commands
    assert found.active_cycles == expected.active
    assert found.idle_cycles == expected.idle


@pytest.mark.parametrize("seed", range(12))
def test_cycles(seed: int) -> None:
    _same_cycles(seed, 16)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 240))
def test_cycles_of_many(seed: int) -> None:
    _same_cycles(seed, 60)


@pytest.mark.parametrize("seed", range(40))
def test_legality(seed: int) -> None:
    rng = np.random.default_rng(seed)
    flavour = list(FLAVOURS)[seed % len(FLAVOURS)]
    records = legal_program(rng, 40, flavour)
    assert verify(Program(records), MACHINE) == ()
    for _ in range(20):
        wrong = changed(rng, records)
        found = verify(Program(wrong), MACHINE)
        first = (found[0].finding_class.value, found[0].instruction) if found else None
        assert first == first_error(wrong)


@pytest.mark.parametrize("seed", range(24))
def test_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    flavour = list(FLAVOURS)[seed % len(FLAVOURS)]
    records = legal_program(rng, 25, flavour, 3)
    banks = np.unique(np.stack([rng.integers(k, size=600) for k in (32, 16, 3, 6)], axis=1), axis=0)
    wild = seed % 3 == 0
    file = ProgramFile(
        Program(records), banks, _blocks(rng, len(banks), wild),
        np.arange(260), _blocks(rng, 260, wild), _blocks(rng, 8, wild),
    )  # fmt: skip
    device = _device(file)
    device.run(records)
    result = simulate(file, MACHINE)
    assert result.memory is not None
    _same_bits(result.memory, device)


def _blocks(rng: np.random.Generator, count: int, wild: bool) -> Any:
    values = rng.normal(size=(count, 16)).astype(np.float32)
    blocks = (values.view(np.uint32) >> 16).astype(np.uint16)
    if wild:
        edge = rng.random(blocks.shape) < 0.2
        blocks[edge] = rng.choice(EDGES, edge.sum())
    return blocks


def _device(file: ProgramFile) -> reference_functional.Device:
    assert file.host_blocks is not None
    device = reference_functional.Device(file.host_blocks.tolist())
    for place, block in zip(file.bank_addresses.tolist(), file.bank_blocks.tolist(), strict=True):
        device.banks[tuple(place)] = block  # type: ignore[index]
    for number, block in enumerate(file.register_blocks.tolist()):
        device.gpr[number] = block
    return device


def _same_bits(memory: Any, device: reference_functional.Device) -> None:
    for number, block in list(device.gpr.items()):
        assert memory.registers[number].tolist() == block, f"register {number}"
    for (channel, bank, row, column), block in list(device.banks.items()):
        assert memory.row(channel, row)[bank, column].tolist() == block
    for (channel, column), block in device.buffer.items():
        assert memory.buffer[channel, column].tolist() == block
    for (channel, bank), value in device.acc.items():
        found = memory.accumulators[channel, bank]
        both_nan = np.isnan(found) and np.isnan(value)
        assert both_nan or found.tobytes() == value.tobytes()
    for (channel, bank), bits in device.af.items():
        assert memory.activations[channel, bank] == bits
    assert [block.tolist() for block in memory.read] == device.read
