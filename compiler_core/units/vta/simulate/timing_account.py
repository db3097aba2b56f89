"""The compiled account of a timing simulation: where each actor's cycles went."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from compiler_core.kernels import njit

Ints: TypeAlias = npt.NDArray[np.int64]

# Columns of the accounts, one row per module and fetch last: they add up to the cycles of the run.
BUSY, TOKEN_STALL, PORT_STALL, FETCH_STALL, QUEUE_STALL, IDLE = range(6)
ACCOUNT_COLUMNS: Final = 6


@njit(cache=True)
def account_modules(
    modules: npt.NDArray[np.int8],
    start: Ints,
    end: Ints,
    handed_out: Ints,
    port_wait: Ints,
    cycles: int,
    waits: Ints,
    accounts: Ints,
) -> None:
    """Splits each module's cycles into work, stalls by cause and idleness.

    Args:
        modules: Module of each instruction, ``int8[n]``.
        start: Start cycles, ``int64[n]``; -1 where FINISH came first. So with the next two.
        end: First idle cycles, ``int64[n]``.
        handed_out: Cycles in which fetch handed them out, ``int64[n]``.
        port_wait: Cycles in which their bursts waited for the port, ``int64[n]``.
        cycles: Cycles of the run.
        waits: Out: ``int64[2, n]``, cycles that the idle module waited for the instruction to
            arrive in its queue, and then for its tokens; prefilled with 0.
        accounts: Out: ``int64[3, ACCOUNT_COLUMNS]``, prefilled with 0.
    """
    free_from = np.zeros(3, np.int64)
    closed = np.zeros(3, np.bool_)
    for i in range(len(modules)):
        module = modules[i]
        if closed[module]:
            continue
        visible = handed_out[i] + 1 if handed_out[i] >= 0 else cycles
        visible = min(max(visible, free_from[module]), cycles)
        started = start[i] if start[i] >= 0 else cycles
        ended = end[i] if end[i] >= 0 else cycles
        waits[0, i] = visible - free_from[module]
        waits[1, i] = started - visible
        accounts[module, FETCH_STALL] += waits[0, i]
        accounts[module, TOKEN_STALL] += waits[1, i]
        accounts[module, PORT_STALL] += port_wait[i]
        accounts[module, BUSY] += ended - started - port_wait[i]
        free_from[module] = ended
        closed[module] = end[i] < 0
    for module in range(3):
        accounts[module, IDLE] = cycles - free_from[module]
