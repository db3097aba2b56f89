"""The compiled event loop of several cores on one memory port.

The rules are those of :mod:`compiler_core.units.vta.simulate.timing_kernel`, whose helpers it
calls; what is new is the arbitration between cores
(:mod:`compiler_core.units.vta.simulate.multicore`). Cores meet nowhere but at the port, so a core
is visited only in cycles in which one of its own events is due.

A compiled kernel on disk is renewed when its own file changes: whoever changes a helper over there
has to touch this file as well.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from compiler_core.kernels import njit
from compiler_core.units.vta.simulate.timing_kernel import (
    _ADDRESS,
    _ALONE,
    _CHUNK,
    _CHUNK_BEATS,
    _KIND,
    _NEVER,
    _OP_FINISH,
    _OP_LOAD,
    _OP_STORE,
    _OPCODE,
    _OUT,
    _PAD_CYCLE,
    _PAD_LEFT,
    _RAISED,
    _TAIL,
    _UOP,
    _X_SIZE,
    _Y_SIZE,
    BATCH,
    BYTES,
    CYCLE_LIMIT,
    CYCLES,
    DEADLOCK,
    END,
    FETCH_END,
    FETCH_PORT_WAIT,
    FETCH_QUEUE_WAIT,
    FETCH_TRAFFIC,
    FINISH_COST,
    FINISHED,
    HANDED_OUT,
    LATENCY,
    LIMIT,
    NO_OPERATION,
    OUTSTANDING,
    PIPELINED,
    PORT_BYTES,
    PORT_WAIT,
    QUEUE_DEPTH,
    START,
    STEP_LIMIT,
    STEPS,
    Ints,
    _advance,
    _compute_cost,
    _count_burst,
    _count_data,
    _move_tokens,
    _next_reader,
    _open_fetch,
    _open_load,
    _open_store,
    _pipelined_store,
    _tokens_ready,
)

# Cycles in which a channel was taken; rtl2020 has one for both directions.
READ_CHANNEL, WRITE_CHANNEL = range(2)
CHANNELS: Final = 2

_STORE_SLOT = 3


@njit(cache=True)
def _earliest(table: Ints) -> int:
    """When the first of the bursts that wait for acceptance was raised."""
    return int(min(table[0, _RAISED], table[1, _RAISED], table[2, _RAISED]))


@njit(cache=True)
def simulate_cores(
    program: Ints,
    first: Ints,
    launch: Ints,
    modules: npt.NDArray[np.int8],
    p: Ints,
    costs: Ints,
    element_bytes: Ints,
    record: Ints,
    traffic: Ints,
    work: Ints,
    heads: Ints,
    summary: Ints,
    channels: Ints,
    last_cycle: Ints,
) -> int:
    """Runs one program per core until each has reached FINISH.

    Args:
        program: Decoded instructions of all cores, ``int64[n, len(COLUMN)]``, core after core.
        first: ``int64[cores + 1]``, where each core's instructions begin, and their number.
        launch: ``int64[cores]``, cycles in which the cores are launched.
        modules: Module of each instruction, ``int8[n]``.
        p: ``int64[PARAMETERS]``.
        costs: ``int64[WORK_ROWS, 2]``, cycles per micro-op and fixed.
        element_bytes: ``int64[cores, 5]`` by memory type.
        record: Out: ``int64[RECORD_ROWS, n]``, prefilled with -1, port waits with 0.
        traffic: Out: ``int64[cores, TRAFFIC_ROWS, TRAFFIC_COLUMNS]``.
        work: Out: ``int64[cores, WORK_ROWS]``, micro-op executions.
        heads: Out: ``int64[cores, 4]``, where load, compute, store and fetch stand at the end of a
            core (index of its own instruction), or -1.
        summary: Out: ``int64[cores, SUMMARY]``; cycles are 0 for a core that did not finish.
        channels: Out: ``int64[CHANNELS]``, cycles in which each channel was taken before the last
            FINISH.
        last_cycle: Out: ``int64[1]``, last cycle in which something happened.

    Returns:
        FINISHED, DEADLOCK or LIMIT.
    """
    cores = len(first) - 1
    pipelined = p[PIPELINED] != 0
    port_bytes = p[PORT_BYTES]
    latency = p[LATENCY]
    outstanding_limit = p[OUTSTANDING]

    # Program order per module is fixed, so a queue is a range of that order.
    order = np.empty((3, len(program)), np.int64)
    for c in range(cores):
        length = np.zeros(3, np.int64)
        for i in range(first[c], first[c + 1]):
            module = modules[i]
            order[module, first[c] + length[module]] = i
            length[module] += 1
    handed_out = np.zeros((cores, 3), np.int64)
    started = np.zeros((cores, 3), np.int64)
    completed = np.zeros((cores, 3), np.int64)
    idle_at = np.full((cores, 3), _NEVER, np.int64)
    tokens = np.zeros((cores, 4), np.int64)
    table = np.zeros((cores, 4, 16), np.int64)
    table[:, :, _RAISED] = _NEVER
    next_out = np.zeros(cores, np.int64)
    batch_end = np.zeros(cores, np.int64)
    handout_at = np.full(cores, _NEVER, np.int64)
    alive = np.ones(cores, np.bool_)
    stopped = np.zeros(cores, np.int64)
    wake = np.full(cores, _NEVER, np.int64)
    raised = np.full(cores, _NEVER, np.int64)
    remaining = cores
    for c in range(cores):
        next_out[c] = first[c]
        batch_end[c] = min(first[c + 1], first[c] + p[BATCH])
        if batch_end[c] > first[c]:
            _open_fetch(table[c], launch[c], batch_end[c] - first[c], p)
            raised[c] = launch[c]

    # rtl2020: each core's granted reader, and the core and slot whose transfer holds the port.
    granted = np.full(cores, -1, np.int64)
    ask_at = np.full(cores, _NEVER, np.int64)
    owner = -1
    owner_slot = -1
    port_end = _NEVER
    # rtl-pipelined: bursts accepted and not yet in service, and the core that writes.
    waiting_core = np.zeros(outstanding_limit, np.int64)
    waiting_slot = np.zeros(outstanding_limit, np.int64)
    waiting_beats = np.zeros(outstanding_limit, np.int64)
    waiting_last = np.zeros(outstanding_limit, np.bool_)
    waiting_first = 0
    waiting = 0
    ready_at = 0
    server_free = 0
    writer = -1
    write_end = _NEVER
    # The cores whose turn it is.
    read_turn = 0
    write_turn = 0

    t = 0
    steps = 0
    status = FINISHED
    while True:
        steps += 1
        if steps > p[STEP_LIMIT] or t > CYCLE_LIMIT:
            status = LIMIT
            break

        if owner >= 0 and port_end == t:
            c = owner
            if alive[c]:
                own = table[c]
                gap = _advance(own, owner_slot, port_bytes)
                if gap >= 0:
                    own[owner_slot, _RAISED] = t + gap
                    own[owner_slot, _ALONE] = t + gap + 1
                    raised[c] = _earliest(own)
                elif owner_slot == 0:
                    handout_at[c] = t
                    wake[c] = t
                else:
                    idle_at[c, owner_slot - 1] = t + own[owner_slot, _TAIL]
                    wake[c] = min(wake[c], idle_at[c, owner_slot - 1])
                if owner_slot != _STORE_SLOT:
                    granted[c] = -1
            owner = -1
        if writer >= 0 and write_end == t:
            c = writer
            if alive[c]:
                if _advance(table[c], _STORE_SLOT, port_bytes) >= 0:
                    table[c, _STORE_SLOT, _RAISED] = t
                else:
                    idle_at[c, 2] = t
                    wake[c] = t
            writer = -1

        for c in range(cores):
            if wake[c] > t:
                continue
            own = table[c]
            for module in range(3):
                if idle_at[c, module] == t:
                    i = order[module, first[c] + completed[c, module]]
                    completed[c, module] += 1
                    idle_at[c, module] = _NEVER
                    record[END, i] = t
                    _move_tokens(program[i], module, tokens[c], True)

            while handout_at[c] <= t:
                i = next_out[c]
                module = modules[i]
                if handed_out[c, module] - completed[c, module] >= p[QUEUE_DEPTH]:
                    break
                summary[c, FETCH_QUEUE_WAIT] += t - handout_at[c]
                record[HANDED_OUT, i] = t
                handed_out[c, module] += 1
                next_out[c] += 1
                summary[c, FETCH_END] = t + 1
                if next_out[c] < batch_end[c]:
                    handout_at[c] = t + 1
                else:
                    handout_at[c] = _NEVER
                    if next_out[c] < first[c + 1]:
                        batch_end[c] = min(first[c + 1], next_out[c] + p[BATCH])
                        _open_fetch(own, t + 2, batch_end[c] - next_out[c], p)

            finished = False
            for module in range(3):
                if (
                    started[c, module] != completed[c, module]
                    or started[c, module] == handed_out[c, module]
                ):
                    continue
                i = order[module, first[c] + started[c, module]]
                row = program[i]
                if record[HANDED_OUT, i] >= t or not _tokens_ready(row, module, tokens[c]):
                    continue
                _move_tokens(row, module, tokens[c], False)
                started[c, module] += 1
                record[START, i] = t
                opcode = row[_OPCODE]
                if opcode == _OP_FINISH:
                    record[END, i] = t + p[FINISH_COST]
                    finished = True
                elif opcode != _OP_LOAD and opcode != _OP_STORE:
                    idle_at[c, module] = t + _compute_cost(row, costs, work[c])
                elif row[_X_SIZE] == 0 or row[_Y_SIZE] == 0:
                    idle_at[c, module] = t + max(1, p[NO_OPERATION])
                else:
                    _count_data(row, element_bytes[c], traffic[c])
                    if opcode == _OP_LOAD:
                        _open_load(own, module + 1, row, t, p, element_bytes[c])
                    else:
                        if pipelined:
                            _pipelined_store(row, p, element_bytes[c], traffic[c])
                            steps += row[_Y_SIZE]
                        _open_store(own, row, t, p, element_bytes[c])
            raised[c] = _earliest(own)
            wake[c] = _NEVER
            if finished:
                # What the core has not handed to the port yet is never asked for.
                summary[c, CYCLES] = t + p[FINISH_COST]
                stopped[c] = t
                alive[c] = False
                own[:, _RAISED] = _NEVER
                raised[c] = _NEVER
                granted[c] = -1
                remaining -= 1
                continue
            for module in range(3):
                if started[c, module] != completed[c, module]:
                    wake[c] = min(wake[c], idle_at[c, module])
                elif started[c, module] < handed_out[c, module]:
                    i = order[module, first[c] + started[c, module]]
                    if record[HANDED_OUT, i] + 1 > t:
                        wake[c] = min(wake[c], record[HANDED_OUT, i] + 1)
            if handout_at[c] > t:
                wake[c] = min(wake[c], handout_at[c])
        if remaining == 0:
            break

        if pipelined:
            if waiting and t >= ready_at and t >= server_free:
                c = waiting_core[waiting_first]
                slot = waiting_slot[waiting_first]
                beats = waiting_beats[waiting_first]
                last = waiting_last[waiting_first]
                waiting_first = (waiting_first + 1) % outstanding_limit
                waiting -= 1
                server_free = t + beats + 1
                channels[READ_CHANNEL] += beats + 1
                if alive[c]:
                    own = table[c]
                    wait = max(0, t - own[slot, _ALONE])
                    own[slot, _ALONE] = server_free
                    if slot == 0:
                        summary[c, FETCH_PORT_WAIT] += wait
                        if last:
                            handout_at[c] = t + beats + 2
                            wake[c] = min(wake[c], handout_at[c])
                    else:
                        i = order[slot - 1, first[c] + completed[c, slot - 1]]
                        record[PORT_WAIT, i] += wait
                        # Beats are written in t + 3 .. t + beats + 2; padding fills the rest.
                        free = max(0, t + 3 - own[slot, _PAD_CYCLE])
                        own[slot, _PAD_LEFT] = max(0, own[slot, _PAD_LEFT] - free)
                        own[slot, _PAD_CYCLE] = t + beats + 3
                        if last:
                            end = t + beats + (3 if own[slot, _KIND] == _UOP else 4)
                            if own[slot, _PAD_LEFT]:
                                end = max(end, own[slot, _PAD_CYCLE] + own[slot, _PAD_LEFT] + 1)
                            idle_at[c, slot - 1] = end
                            wake[c] = min(wake[c], end)
            outstanding = waiting + (1 if t < server_free else 0)
            if outstanding < outstanding_limit and t + 1 != server_free:
                for k in range(cores):
                    c = (read_turn + k) % cores
                    if raised[c] >= t:
                        continue
                    own = table[c]
                    slot = _next_reader(own, t - 1)
                    if waiting == 0:
                        ready_at = t + 1 + latency
                    place = (waiting_first + waiting) % outstanding_limit
                    _count_burst(own, slot, own[slot, _CHUNK_BEATS], traffic[c])
                    waiting_core[place] = c
                    waiting_slot[place] = slot
                    waiting_beats[place] = own[slot, _CHUNK_BEATS]
                    more = _advance(own, slot, port_bytes) >= 0
                    waiting_last[place] = not more
                    own[slot, _RAISED] = t + 1 if more else _NEVER
                    raised[c] = _earliest(own)
                    waiting += 1
                    read_turn = (c + 1) % cores
                    break
            if writer < 0:
                for k in range(cores):
                    c = (write_turn + k) % cores
                    if table[c, _STORE_SLOT, _RAISED] > t:
                        continue
                    own = table[c]
                    i = order[2, first[c] + completed[c, 2]]
                    record[PORT_WAIT, i] += t - own[_STORE_SLOT, _RAISED]
                    own[_STORE_SLOT, _RAISED] = _NEVER
                    end = own[_STORE_SLOT, _ADDRESS]
                    width = element_bytes[c, _OUT]
                    out_beats = (width + port_bytes - 1) // port_bytes
                    elements = end // width
                    elements -= (end - own[_STORE_SLOT, _CHUNK]) // width
                    writer = c
                    write_end = t + 3 + elements * (out_beats + 1)
                    channels[WRITE_CHANNEL] += write_end - t
                    write_turn = (c + 1) % cores
                    break
        else:
            for c in range(cores):
                if granted[c] < 0 and raised[c] <= t:
                    granted[c] = _next_reader(table[c], t)
                    table[c, granted[c], _RAISED] = _NEVER
                    raised[c] = _earliest(table[c])
                    ask_at[c] = t + 1
            if owner < 0:
                for k in range(cores):
                    c = (read_turn + k) % cores
                    own = table[c]
                    if granted[c] >= 0 and ask_at[c] <= t:
                        owner_slot = granted[c]
                        beats = own[owner_slot, _CHUNK_BEATS]
                        port_end = t + 3 + beats + latency
                        channels[READ_CHANNEL] += port_end - t
                    elif own[_STORE_SLOT, _RAISED] < t:
                        owner_slot = _STORE_SLOT
                        own[_STORE_SLOT, _RAISED] = _NEVER
                        width = element_bytes[c, _OUT]
                        elements = own[_STORE_SLOT, _CHUNK] // width
                        beats = elements * ((width + port_bytes - 1) // port_bytes)
                        port_end = t + 2 + elements + beats
                        channels[WRITE_CHANNEL] += port_end - t
                    else:
                        continue
                    owner = c
                    read_turn = (c + 1) % cores
                    _count_burst(own, owner_slot, beats, traffic[c])
                    wait = t - own[owner_slot, _ALONE]
                    if owner_slot == 0:
                        summary[c, FETCH_PORT_WAIT] += wait
                    else:
                        i = order[owner_slot - 1, first[c] + completed[c, owner_slot - 1]]
                        record[PORT_WAIT, i] += wait
                    break

        following = _NEVER
        for c in range(cores):
            following = min(following, wake[c])
        if pipelined:
            if waiting:
                following = min(following, max(ready_at, server_free))
            if waiting + (1 if t < server_free else 0) < outstanding_limit:
                for c in range(cores):
                    if raised[c] != _NEVER:
                        following = min(following, max(t, raised[c]) + 1)
            elif t < server_free:
                following = min(following, server_free)
            if writer >= 0:
                following = min(following, write_end)
            else:
                for c in range(cores):
                    following = min(following, table[c, _STORE_SLOT, _RAISED])
        else:
            if owner >= 0:
                following = min(following, port_end)
            for c in range(cores):
                if granted[c] < 0:
                    following = min(following, raised[c])
                elif owner < 0:
                    following = min(following, ask_at[c])
                if owner < 0 and table[c, _STORE_SLOT, _RAISED] != _NEVER:
                    following = min(following, table[c, _STORE_SLOT, _RAISED] + 1)
        if following == _NEVER:
            status = DEADLOCK
            break
        t = following

    last_cycle[0] = t
    over = t + p[FINISH_COST]
    channels[READ_CHANNEL] -= max(0, server_free - over)
    if writer >= 0:
        channels[WRITE_CHANNEL] -= max(0, write_end - over)
    if owner >= 0:
        direction = WRITE_CHANNEL if owner_slot == _STORE_SLOT else READ_CHANNEL
        channels[direction] -= max(0, port_end - over)
    for c in range(cores):
        if alive[c]:
            stopped[c] = t
        end = stopped[c] if alive[c] else summary[c, CYCLES]
        if next_out[c] < first[c + 1]:
            summary[c, FETCH_END] = end
        if handout_at[c] <= stopped[c]:
            summary[c, FETCH_QUEUE_WAIT] += stopped[c] - handout_at[c]
        traffic[c, FETCH_TRAFFIC, BYTES] = 16 * (batch_end[c] - first[c])
        for module in range(3):
            heads[c, module] = (
                order[module, first[c] + completed[c, module]] - first[c]
                if completed[c, module] < handed_out[c, module]
                else -1
            )
        heads[c, 3] = next_out[c] - first[c] if next_out[c] < first[c + 1] else -1
        summary[c, STEPS] = steps
    return status
