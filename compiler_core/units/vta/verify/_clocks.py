"""Vector clocks over the token matching (Numba).

| name | meaning |
|---|---|
| module | 0 load, 1 compute, 2 store |
| position | 1-based place of an instruction among those of its module |
| counter | 0 load->compute, 1 compute->load, 2 compute->store, 3 store->compute |
| clock ``[3]`` | for each module, how many of its instructions are surely complete when this one
starts |

Counters are FIFOs: the n-th pop takes the n-th push. Program order is a schedule of the machine
(the caller reports a program whose order is not), so one pass in program order sees every push
before its pop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.kernels import njit

COUNTERS = 4
PRODUCER = (0, 1, 1, 2)
CONSUMER = (1, 0, 2, 1)

Array = npt.NDArray[Any]


@njit(cache=True)
def match_tokens(
    module: Array, pops: Array, pushes: Array, max_outstanding: int
) -> tuple[Array, Array, Array, Array, Array]:
    """Runs the token counters in program order.

    Args:
        module: ``int8[n]``.
        pops: ``bool[n, 4]``, counters that an instruction pops when it starts.
        pushes: ``bool[n, 4]``, counters that an instruction pushes when it is complete.
        max_outstanding: Tokens that a counter holds.

    Returns:
        clocks: ``int32[n, 3]``.
        position: ``int32[n]``.
        balance: ``int64[4]``, tokens left at the end of the part that could be executed.
        blocked: ``int64[2]``, the first instruction that finds a counter empty, and the counter; or
            -1.
        overflow: ``int64[4, 2]``, per counter the first push that may exceed ``max_outstanding`` in
            some schedule, and the number of tokens then; or -1.
    """
    n = len(module)
    clocks = np.zeros((n, 3), np.int32)
    position = np.zeros(n, np.int32)
    balance = np.zeros(COUNTERS, np.int64)
    blocked = np.full(2, -1, np.int64)
    overflow = np.full((COUNTERS, 2), -1, np.int64)
    pusher = np.zeros((COUNTERS, n), np.int32)
    pushed = np.zeros(COUNTERS, np.int64)
    popped = np.zeros(COUNTERS, np.int64)
    pops_until = np.zeros((COUNTERS, n + 1), np.int32)
    length = np.zeros(3, np.int32)
    running = np.zeros((3, 3), np.int32)
    for i in range(n):
        m = module[i]
        clock = running[m]
        clock[m] = length[m]
        for counter in range(COUNTERS):
            if not pops[i, counter]:
                continue
            if popped[counter] == pushed[counter]:
                blocked[0] = i
                blocked[1] = counter
                return clocks, position, balance, blocked, overflow
            source = pusher[counter, popped[counter]]
            popped[counter] += 1
            for k in range(3):
                clock[k] = max(clock[k], clocks[source, k])
            producer = module[source]
            clock[producer] = max(clock[producer], position[source])
        length[m] += 1
        position[i] = length[m]
        clocks[i] = clock
        for counter in range(COUNTERS):
            if m == CONSUMER[counter]:
                pops_until[counter, length[m]] = popped[counter]
            if pushes[i, counter]:
                pusher[counter, pushed[counter]] = i
                pushed[counter] += 1
                sure = pops_until[counter, clock[CONSUMER[counter]]]
                outstanding = pushed[counter] - sure
                if outstanding > max_outstanding and overflow[counter, 0] < 0:
                    overflow[counter, 0] = i
                    overflow[counter, 1] = outstanding
    balance[:] = pushed - popped
    return clocks, position, balance, blocked, overflow
