"""Programs of the builder: tokens between two modules stay within what the machine counts."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.units.vta.lower.emit import LoweredProgram, ProgramBuilder
from compiler_core.units.vta.machine.isa import MemoryType, decode
from compiler_core.units.vta.verify.tokens import MAX_OUTSTANDING_TOKENS, check_tokens


def _copies(count: int, lag: int) -> LoweredProgram:
    """Each row into accumulators of its own and out again, ``lag`` rows later."""
    builder = ProgramBuilder(0, 64, preload=True)
    loaded = []
    for row in range(count + lag):
        if row < count:
            loaded.append(builder.load_accumulators(row, row, 1))
        if row >= lag:
            at = row - lag
            builder.store(at, at, 1, 1, 1, after_compute=loaded[at])
    return builder.build()


def _waits(program: LoweredProgram) -> int:
    """Compute instructions, FINISH aside, that wait for the store module."""
    decoded = decode(program.instructions)[:-1]
    loads = decoded[decoded["memory_type"] == MemoryType.ACC]
    return int(np.sum(loads["pop_next"] != 0))


@pytest.mark.parametrize("count", [255, 256, 700, 5000])
@pytest.mark.parametrize("lag", [0, 1, 100])
def test_a_store_that_lags_behind_is_waited_for(count: int, lag: int) -> None:
    program = _copies(count, lag)
    matching, findings = check_tokens(decode(program.instructions))
    assert matching is not None
    assert findings == []


def test_nobody_waits_for_tokens_that_the_machine_counts() -> None:
    assert _waits(_copies(MAX_OUTSTANDING_TOKENS, 0)) == 0
    assert _waits(_copies(MAX_OUTSTANDING_TOKENS + 1, 0)) == 1
    assert _waits(_copies(5000, 0)) <= 5000 // 100


def test_loads_that_run_ahead_wait_too() -> None:
    builder = ProgramBuilder(0, 64, preload=True)
    for row in range(700):
        number = builder.load(MemoryType.INP, row, row, 1)
        builder._needs[builder.load_accumulators(row, row, 1)] = (number, -1)
    _, findings = check_tokens(decode(builder.build().instructions))
    assert findings == []
