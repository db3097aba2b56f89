"""Findings about tokens: deadlock, leftovers, overflow, FINISH before the end of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.isa import Opcode
from compiler_core.units.vta.verify._clocks import CONSUMER, COUNTERS, PRODUCER, match_tokens
from compiler_core.units.vta.verify.fields import (
    COMPUTE_MODULE,
    LOAD_MODULE,
    MODULE_NAMES,
    STORE_MODULE,
    Decoded,
    modules,
)
from compiler_core.units.vta.verify.findings import Finding, FindingClass, finding

QUEUE_DEPTH = 512
MAX_OUTSTANDING_TOKENS = 255
COUNTER_NAMES = tuple(
    f"{MODULE_NAMES[producer]}->{MODULE_NAMES[consumer]}"
    for producer, consumer in zip(PRODUCER, CONSUMER, strict=True)
)
_FLAGS = {
    LOAD_MODULE: ((("pop_next", 1),), (("push_next", 0),)),
    COMPUTE_MODULE: ((("pop_prev", 0), ("pop_next", 3)), (("push_prev", 1), ("push_next", 2))),
    STORE_MODULE: ((("pop_prev", 2),), (("push_prev", 3),)),
}


@dataclass(frozen=True)
class TokenMatching:
    """Who waits for whom.

    Args:
        module: ``int8[n]``, the module that runs each instruction.
        position: ``int32[n]``, 1-based place of an instruction within its module.
        clocks: ``int32[n, 3]``, instructions of each module that are complete before this one
            starts.
    """

    module: npt.NDArray[np.int8]
    position: npt.NDArray[np.int32]
    clocks: npt.NDArray[np.int32]


def check_tokens(decoded: Decoded) -> tuple[TokenMatching | None, list[Finding]]:
    """Matches pushes with pops.

    A program must be executable in program order: then it also is on the machine, whose fetch is in
    order. A pop whose token only a later instruction pushes is therefore a deadlock, even where the
    three modules side by side would get through.

    FINISH has to follow every load and store instruction, those with ``x_size`` 0 too: they still
    hold tokens. A counter must not exceed 255 tokens in any schedule that the tokens permit, not
    just in program order.

    Args:
        decoded: Decoded instructions ``[n]`` without unknown codes or illegal flags.

    Returns:
        The matching, or None for a program that deadlocks, and the findings.
    """
    n = len(decoded)
    module = modules(decoded)
    pops = np.zeros((n, COUNTERS), np.bool_)
    pushes = np.zeros((n, COUNTERS), np.bool_)
    for code, (pop_flags, push_flags) in _FLAGS.items():
        rows = module == code
        for table, flags in ((pops, pop_flags), (pushes, push_flags)):
            for name, counter in flags:
                table[:, counter] |= rows & (decoded[name] != 0)
    clocks, position, balance, blocked, overflow = match_tokens(
        module, pops, pushes, MAX_OUTSTANDING_TOKENS
    )
    findings = list(_overflow(overflow))
    if blocked[0] >= 0:
        findings += _deadlock(module, pops, pushes, int(blocked[0]), int(blocked[1]))
        balance = pushes.sum(axis=0) - pops.sum(axis=0)
    findings += _left_over(balance, pushes)
    if blocked[0] >= 0:
        return None, findings
    matching = TokenMatching(module, position, clocks)
    findings += _finish_order(decoded, matching)
    return matching, findings


def _overflow(overflow: npt.NDArray[np.int64]) -> Iterator[Finding]:
    for counter, (row, outstanding) in enumerate(overflow.tolist()):
        if row >= 0:
            yield finding(
                FindingClass.ILLEGAL_FIELD,
                row,
                f"{COUNTER_NAMES[counter]} tokens",
                f"{outstanding} outstanding",
                f"at most {MAX_OUTSTANDING_TOKENS}",
                "the consumer may lag so far behind that the token counter overflows",
            )


def _left_over(balance: npt.NDArray[np.int64], pushes: npt.NDArray[np.bool_]) -> Iterator[Finding]:
    for counter, tokens in enumerate(balance.tolist()):
        if tokens > 0:
            yield finding(
                FindingClass.TOKEN_LEFT_OVER,
                int(np.flatnonzero(pushes[:, counter])[-tokens]),
                f"{COUNTER_NAMES[counter]} tokens",
                f"{tokens} pushed and never popped",
                "0 at the end",
                "the token would leak into the next launch",
            )


def _finish_order(decoded: Decoded, matching: TokenMatching) -> Iterator[Finding]:
    finish = len(decoded) - 1
    if decoded["opcode"][finish] != Opcode.FINISH:
        return
    for module in (LOAD_MODULE, STORE_MODULE):
        late = (matching.module == module) & (matching.position > matching.clocks[finish, module])
        if late.any():
            first = int(np.argmax(late))
            name = MODULE_NAMES[module]
            yield finding(
                FindingClass.FINISH_NOT_ORDERED,
                finish,
                f"{name} module",
                f"FINISH may run before instruction {first} is complete",
                f"a token path from every {name} instruction to FINISH",
                f"{int(late.sum())} {name} instructions are not ordered before FINISH",
            )


def _deadlock(
    module: npt.NDArray[np.int8],
    pops: npt.NDArray[np.bool_],
    pushes: npt.NDArray[np.bool_],
    blocked: int,
    counter: int,
) -> Iterator[Finding]:
    heads = _stuck_heads(module, pops, pushes)
    for row, empty in heads:
        name = COUNTER_NAMES[empty]
        wanted = int(pops[: row + 1, empty].sum())
        total = int(pushes[:, empty].sum())
        why = (
            "waits for a token that is never pushed"
            if wanted > total
            else "waits for a token whose push waits in turn, or is never fetched"
        )
        yield finding(
            FindingClass.DEADLOCK,
            row,
            f"{name} tokens",
            f"pop {wanted}",
            f"{total} pushes in the program",
            f"the {MODULE_NAMES[int(module[row])]} module {why}",
        )
    if not heads:
        yield finding(
            FindingClass.DEADLOCK,
            blocked,
            f"{COUNTER_NAMES[counter]} tokens",
            f"pop {int(pops[: blocked + 1, counter].sum())}",
            f"{int(pushes[:blocked, counter].sum())} pushes before it in program order",
            "program order is not executable: a later instruction pushes the token",
        )


def _stuck_heads(
    module: npt.NDArray[np.int8], pops: npt.NDArray[np.bool_], pushes: npt.NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """Runs in-order fetch, three queues and four counters until nothing moves.

    The machine is deterministic in what it can reach, so any order of steps ends in the same state.
    Linear in the program: each instruction is fetched once and completed once.

    Returns:
        Instruction and empty counter at the head of each queue that waits; empty when all is
        executed.
    """
    of_module: list[int] = module.tolist()
    popped = [np.flatnonzero(row).tolist() for row in pops]
    pushed = [np.flatnonzero(row).tolist() for row in pushes]
    queues: tuple[deque[int], ...] = (deque(), deque(), deque())
    tokens = [0] * COUNTERS
    fetched, moved = 0, True
    while moved:
        moved = False
        while fetched < len(of_module) and len(queues[of_module[fetched]]) < QUEUE_DEPTH:
            queues[of_module[fetched]].append(fetched)
            fetched += 1
            moved = True
        for queue in queues:
            while queue and all(tokens[counter] for counter in popped[queue[0]]):
                done = queue.popleft()
                for counter in popped[done]:
                    tokens[counter] -= 1
                for counter in pushed[done]:
                    tokens[counter] += 1
                moved = True
    heads = sorted(queue[0] for queue in queues if queue)
    return [
        (head, next(counter for counter in popped[head] if not tokens[counter])) for head in heads
    ]
