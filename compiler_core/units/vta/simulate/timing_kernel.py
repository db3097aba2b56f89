"""The compiled event loop of the timing simulator.

:mod:`compiler_core.units.vta.simulate.timing` is its interface. Four actors (fetch, load, compute,
store) meet in three instruction queues, four token counters and the memory port. The loop visits
only cycles in which something happens, each once, in this order: a burst ends, modules become idle,
fetch hands out, instructions start, the port serves and arbitrates. That order realises "visible in
the same cycle" of the timing rules; whatever acts one cycle later carries its ``+ 1`` explicitly.

Slots 0 to 3 of the burst table belong to fetch, load, compute and store. A slot generates the
bursts of one instruction: rows, cut where the rules cut them. All of it stays in one file, because
a compiled kernel on disk is renewed when its own file changes, not when another does.

The loop is one long function on purpose: cut into a function per phase, with the state handed
around as arrays, it took five to ten times as long (each call counts references of each array).
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from compiler_core.kernels import njit
from compiler_core.units.vta.machine.isa import COLUMN, MemoryType, Opcode

Ints: TypeAlias = npt.NDArray[np.int64]

FINISHED: Final = 0
DEADLOCK: Final = 1
LIMIT: Final = 2

LOAD: Final = 0
COMPUTE: Final = 1
STORE: Final = 2

# Parameters, in the order in which the interface packs them.
(
    PIPELINED,
    PORT_BYTES,
    BURST_BEATS,
    BOUNDARY_BYTES,
    LATENCY,
    OUTSTANDING,
    QUEUE_DEPTH,
    BATCH,
    NO_OPERATION,
    FINISH_COST,
    STEP_LIMIT,
) = range(11)

# Rows of the per-instruction record.
START, END, HANDED_OUT, PORT_WAIT = range(4)
RECORD_ROWS: Final = 4

# Rows of the traffic table; micro-operations of the work table.
FETCH_TRAFFIC: Final = 5
TRAFFIC_ROWS: Final = 6
BYTES, BURSTS, BEATS, SRAM_ELEMENTS = range(4)
TRAFFIC_COLUMNS: Final = 4
GEMM_OPS, RESET_OPS, ALU_IMMEDIATE_OPS, ALU_TENSOR_OPS = range(4)
WORK_ROWS: Final = 4

# Summary of one run.
CYCLES, FETCH_END, FETCH_PORT_WAIT, FETCH_QUEUE_WAIT, STEPS = range(5)
SUMMARY: Final = 5

CYCLE_LIMIT: Final = 1 << 60
_NEVER: Final = 1 << 62
_TOKEN_LIMIT: Final = 255

# Columns of the burst table.
(
    _KIND,
    _RAISED,
    _ALONE,
    _ADDRESS,
    _LEFT,
    _ROWS,
    _ROW_ADDRESS,
    _ROW_BYTES,
    _STRIDE,
    _CUT,
    _GAP,
    _TAIL,
    _CHUNK,
    _CHUNK_BEATS,
    _PAD_CYCLE,
    _PAD_LEFT,
) = range(16)

_OPCODE = COLUMN["opcode"]
_POP_PREV = COLUMN["pop_prev"]
_POP_NEXT = COLUMN["pop_next"]
_PUSH_PREV = COLUMN["push_prev"]
_PUSH_NEXT = COLUMN["push_next"]
_MEMORY_TYPE = COLUMN["memory_type"]
_SRAM_BASE = COLUMN["sram_base"]
_DRAM_BASE = COLUMN["dram_base"]
_Y_SIZE = COLUMN["y_size"]
_X_SIZE = COLUMN["x_size"]
_X_STRIDE = COLUMN["x_stride"]
_Y_PAD_0 = COLUMN["y_pad_0"]
_Y_PAD_1 = COLUMN["y_pad_1"]
_X_PAD_0 = COLUMN["x_pad_0"]
_X_PAD_1 = COLUMN["x_pad_1"]
_RESET = COLUMN["reset"]
_UOP_BEGIN = COLUMN["uop_begin"]
_UOP_END = COLUMN["uop_end"]
_ITER_OUT = COLUMN["iter_out"]
_ITER_IN = COLUMN["iter_in"]
_USE_IMM = COLUMN["use_imm"]

_OP_LOAD = int(Opcode.LOAD)
_OP_STORE = int(Opcode.STORE)
_OP_GEMM = int(Opcode.GEMM)
_OP_FINISH = int(Opcode.FINISH)
_UOP = int(MemoryType.UOP)
_WGT = int(MemoryType.WGT)
_INP = int(MemoryType.INP)
_OUT = int(MemoryType.OUT)

_PRIORITY = (1, 3, 2, 4, 5, 0)
"""Arbitration rank per traffic row (uop, wgt, inp, acc, out, fetch)."""


@njit(cache=True)
def _cut(table: Ints, slot: int, port_bytes: int) -> None:
    """Takes the next burst off the slot's row: up to the next address cut."""
    address = table[slot, _ADDRESS]
    cut = table[slot, _CUT]
    chunk = min(table[slot, _LEFT], cut - address % cut)
    table[slot, _CHUNK] = chunk
    table[slot, _CHUNK_BEATS] = (address + chunk - 1) // port_bytes - address // port_bytes + 1
    table[slot, _ADDRESS] = address + chunk
    table[slot, _LEFT] -= chunk


@njit(cache=True)
def _advance(table: Ints, slot: int, port_bytes: int) -> int:
    """Prepares the burst after the current one.

    Returns:
        Cycles of padding in between (rtl2020), or -1 when the current burst was the last.
    """
    gap = 0
    if table[slot, _LEFT] == 0:
        if table[slot, _ROWS] == 0:
            return -1
        gap = table[slot, _GAP]
        table[slot, _ROWS] -= 1
        table[slot, _ROW_ADDRESS] += table[slot, _STRIDE]
        table[slot, _ADDRESS] = table[slot, _ROW_ADDRESS]
        table[slot, _LEFT] = table[slot, _ROW_BYTES]
    _cut(table, slot, port_bytes)
    return gap


@njit(cache=True)
def _open_rows(
    table: Ints,
    slot: int,
    kind: int,
    address: int,
    row_bytes: int,
    rows: int,
    stride: int,
    cut: int,
) -> None:
    table[slot, :] = 0
    table[slot, _KIND] = kind
    table[slot, _ADDRESS] = address
    table[slot, _ROW_ADDRESS] = address
    table[slot, _LEFT] = row_bytes
    table[slot, _ROW_BYTES] = row_bytes
    table[slot, _ROWS] = rows - 1
    table[slot, _STRIDE] = stride
    table[slot, _CUT] = cut


@njit(cache=True)
def _open_load(table: Ints, slot: int, row: Ints, cycle: int, p: Ints, element_bytes: Ints) -> None:
    """Sets the slot up for a LOAD that starts in ``cycle``."""
    port_bytes = p[PORT_BYTES]
    burst_bytes = p[BURST_BEATS] * port_bytes
    kind = row[_MEMORY_TYPE]
    element = element_bytes[kind]
    x, y = row[_X_SIZE], row[_Y_SIZE]
    address = row[_DRAM_BASE] * element
    raised = cycle + 1
    if kind == _UOP and p[PIPELINED] == 0:
        # Counted in beats from the SRAM side and cut without regard to the address.
        per_beat = max(1, port_bytes // element)
        beats = (x + per_beat - 1) // per_beat * max(1, element // port_bytes)
        beats += 1 if row[_SRAM_BASE] % per_beat else 0
        _open_rows(table, slot, kind, 0, beats * port_bytes, y, 0, burst_bytes)
    else:
        stride = row[_X_STRIDE] * element
        cut = min(p[BOUNDARY_BYTES], burst_bytes)
        _open_rows(table, slot, kind, address, x * element, y, stride, cut)
        if kind != _UOP:
            x_pad = row[_X_PAD_0] + row[_X_PAD_1]
            width = x_pad + x
            if p[PIPELINED] == 0:
                beats = (element + port_bytes - 1) // port_bytes
                raised += (row[_Y_PAD_0] * width + row[_X_PAD_0]) * beats
                table[slot, _GAP] = x_pad * beats
                table[slot, _TAIL] = (row[_X_PAD_1] + row[_Y_PAD_1] * width) * beats
            else:
                raised += row[_Y_PAD_0]
                steps = (row[_Y_PAD_0] + row[_Y_PAD_1]) * width + y * x_pad
                if row[_Y_PAD_1] > 0 and x_pad == 0:
                    steps += y
                table[slot, _PAD_LEFT] = steps
    table[slot, _PAD_CYCLE] = cycle + 2
    table[slot, _RAISED] = raised
    table[slot, _ALONE] = raised + (2 + p[LATENCY] if p[PIPELINED] else 1)
    _cut(table, slot, port_bytes)


@njit(cache=True)
def _open_store(table: Ints, row: Ints, cycle: int, p: Ints, element_bytes: Ints) -> None:
    """rtl2020: sets slot 3 up for a STORE that starts in ``cycle``."""
    element = element_bytes[_OUT]
    address, size = row[_DRAM_BASE] * element, row[_X_SIZE] * element
    cut = min(p[BOUNDARY_BYTES], p[BURST_BEATS] * p[PORT_BYTES])
    _open_rows(table, 3, _OUT, address, size, row[_Y_SIZE], row[_X_STRIDE] * element, cut)
    table[3, _RAISED] = cycle + 1
    table[3, _ALONE] = cycle + 2
    _cut(table, 3, p[PORT_BYTES])


@njit(cache=True)
def _open_fetch(table: Ints, cycle: int, instructions: int, p: Ints) -> None:
    port_bytes = p[PORT_BYTES]
    burst_bytes = p[BURST_BEATS] * port_bytes
    row_bytes = (instructions * 16 + port_bytes - 1) // port_bytes * port_bytes
    _open_rows(table, 0, FETCH_TRAFFIC, 0, row_bytes, 1, 0, burst_bytes)
    table[0, _RAISED] = cycle
    table[0, _ALONE] = cycle + (2 + p[LATENCY] if p[PIPELINED] else 1)
    _cut(table, 0, port_bytes)


@njit(cache=True)
def _count_burst(table: Ints, slot: int, beats: int, traffic: Ints) -> None:
    kind = table[slot, _KIND]
    traffic[kind, BURSTS] += 1
    traffic[kind, BEATS] += beats


@njit(cache=True)
def _count_data(row: Ints, element_bytes: Ints, traffic: Ints) -> None:
    kind = row[_MEMORY_TYPE]
    x, y = row[_X_SIZE], row[_Y_SIZE]
    traffic[kind, BYTES] += x * y * element_bytes[kind]
    if kind in (_UOP, _OUT):
        traffic[kind, SRAM_ELEMENTS] += x * y
    else:
        width = x + row[_X_PAD_0] + row[_X_PAD_1]
        traffic[kind, SRAM_ELEMENTS] += width * (y + row[_Y_PAD_0] + row[_Y_PAD_1])


@njit(cache=True)
def _next_reader(table: Ints, cycle: int) -> int:
    """The reader of highest priority that raised its burst in ``cycle`` or before, or -1."""
    best = -1
    rank = 99
    for slot in range(3):
        if table[slot, _RAISED] <= cycle:
            own = _PRIORITY[table[slot, _KIND]]
            if own < rank:
                best, rank = slot, own
    return best


@njit(cache=True)
def _tokens_ready(row: Ints, module: int, tokens: Ints) -> bool:
    """Token counters: 0 load->compute, 1 compute->load, 2 compute->store, 3 store->compute."""
    if module == LOAD:
        return not (row[_POP_NEXT] and tokens[1] == 0)
    if module == STORE:
        return not (row[_POP_PREV] and tokens[2] == 0)
    return not ((row[_POP_PREV] and tokens[0] == 0) or (row[_POP_NEXT] and tokens[3] == 0))


@njit(cache=True)
def _move_tokens(row: Ints, module: int, tokens: Ints, push: bool) -> None:
    if module == COMPUTE:
        previous, following = (1, 2) if push else (0, 3)
    elif module == LOAD:
        previous, following = -1, 0 if push else 1
    else:
        previous, following = 3 if push else 2, -1
    change = 1 if push else -1
    if previous >= 0 and row[_PUSH_PREV if push else _POP_PREV]:
        tokens[previous] = min(tokens[previous] + change, _TOKEN_LIMIT)
    if following >= 0 and row[_PUSH_NEXT if push else _POP_NEXT]:
        tokens[following] = min(tokens[following] + change, _TOKEN_LIMIT)


@njit(cache=True)
def module_of(row: Ints) -> int:
    """The module that executes a decoded instruction, or -1 if no queue takes it."""
    opcode = row[_OPCODE]
    if opcode == _OP_STORE:
        return STORE if row[_MEMORY_TYPE] == _OUT else -1
    if opcode == _OP_LOAD:
        kind = row[_MEMORY_TYPE]
        if kind in (_INP, _WGT):
            return LOAD
        return COMPUTE if kind < _OUT else -1
    return COMPUTE if opcode <= 4 else -1


@njit(cache=True)
def route(program: Ints, modules: npt.NDArray[np.int8]) -> int:
    """Fills ``modules[n]``; returns the first instruction that no queue takes, or -1."""
    for i in range(len(program)):
        module = module_of(program[i])
        if module < 0:
            return i
        modules[i] = module
    return -1


@njit(cache=True)
def _compute_cost(row: Ints, costs: Ints, work: Ints) -> int:
    loops = max(0, row[_UOP_END] - row[_UOP_BEGIN])
    executions = row[_ITER_OUT] * row[_ITER_IN] * loops
    if row[_OPCODE] == _OP_GEMM:
        which = RESET_OPS if row[_RESET] else GEMM_OPS
    else:
        which = ALU_IMMEDIATE_OPS if row[_USE_IMM] else ALU_TENSOR_OPS
    work[which] += executions
    return int(max(1, executions * costs[which, 0] + costs[which, 1]))


@njit(cache=True)
def _pipelined_store(row: Ints, p: Ints, element_bytes: Ints, traffic: Ints) -> int:
    """Cycles of a STORE whose write channel never waits."""
    element = element_bytes[_OUT]
    beats = (element + p[PORT_BYTES] - 1) // p[PORT_BYTES]
    x, y = row[_X_SIZE], row[_Y_SIZE]
    cut = min(p[BOUNDARY_BYTES], p[BURST_BEATS] * p[PORT_BYTES])
    address = row[_DRAM_BASE] * element
    bursts = 0
    for _ in range(y):
        bursts += (address % cut + x * element - 1) // cut + 1
        address += row[_X_STRIDE] * element
    traffic[_OUT, BURSTS] += bursts
    traffic[_OUT, BEATS] += x * y * beats
    return int(1 + 3 * bursts + x * y * (beats + 1))


@njit(cache=True)
def simulate(
    program: Ints,
    modules: npt.NDArray[np.int8],
    p: Ints,
    costs: Ints,
    element_bytes: Ints,
    record: Ints,
    traffic: Ints,
    work: Ints,
    heads: Ints,
    summary: Ints,
) -> int:
    """Runs a program from launch to FINISH.

    Args:
        program: Decoded instructions, ``int64[n, len(COLUMN)]``.
        modules: Module of each instruction, ``int8[n]``.
        p: ``int64[PARAMETERS]``.
        costs: ``int64[WORK_ROWS, 2]``, cycles per micro-op and fixed.
        element_bytes: ``int64[5]`` by memory type.
        record: Out: ``int64[RECORD_ROWS, n]``, prefilled with -1, port waits with 0.
        traffic: Out: ``int64[TRAFFIC_ROWS, TRAFFIC_COLUMNS]``.
        work: Out: ``int64[WORK_ROWS]``, micro-op executions.
        heads: Out: ``int64[4]``, where load, compute, store and fetch stand at the end, or -1.
        summary: Out: ``int64[SUMMARY]``.

    Returns:
        FINISHED, DEADLOCK or LIMIT.
    """
    n = len(program)
    pipelined = p[PIPELINED] != 0
    port_bytes = p[PORT_BYTES]
    latency = p[LATENCY]
    outstanding_limit = p[OUTSTANDING]
    out_beats = (element_bytes[_OUT] + port_bytes - 1) // port_bytes

    # Program order per module is fixed, so a queue is a range of that order.
    order = np.empty((3, n), np.int64)
    length = np.zeros(3, np.int64)
    for i in range(n):
        module = modules[i]
        order[module, length[module]] = i
        length[module] += 1
    handed_out = np.zeros(3, np.int64)
    started = np.zeros(3, np.int64)
    completed = np.zeros(3, np.int64)
    idle_at = np.full(3, _NEVER, np.int64)
    tokens = np.zeros(4, np.int64)

    table = np.zeros((4, 16), np.int64)
    table[:, _RAISED] = _NEVER
    next_out = 0
    batch_end = min(n, p[BATCH])
    handout_at = _NEVER
    if n:
        _open_fetch(table, 0, batch_end, p)

    # rtl2020: the granted reader and the transfer that holds the port.
    granted = -1
    ask_at = _NEVER
    owner = -1
    port_end = _NEVER
    # rtl-pipelined: bursts accepted and not yet in service.
    waiting_slot = np.zeros(outstanding_limit, np.int64)
    waiting_beats = np.zeros(outstanding_limit, np.int64)
    waiting_last = np.zeros(outstanding_limit, np.bool_)
    waiting_first = 0
    waiting = 0
    ready_at = 0
    server_free = 0

    t = 0
    steps = 0
    status = FINISHED
    while True:
        steps += 1
        if steps > p[STEP_LIMIT] or t > CYCLE_LIMIT:
            status = LIMIT
            break

        if owner >= 0 and port_end == t:
            gap = _advance(table, owner, port_bytes)
            if gap >= 0:
                table[owner, _RAISED] = t + gap
                table[owner, _ALONE] = t + gap + 1
            elif owner == 0:
                handout_at = t
            else:
                idle_at[owner - 1] = t + table[owner, _TAIL]
            if owner != 3:
                granted = -1
            owner = -1

        for module in range(3):
            if idle_at[module] == t:
                i = order[module, completed[module]]
                completed[module] += 1
                idle_at[module] = _NEVER
                record[END, i] = t
                _move_tokens(program[i], module, tokens, True)

        while handout_at <= t:
            module = modules[next_out]
            if handed_out[module] - completed[module] >= p[QUEUE_DEPTH]:
                break
            summary[FETCH_QUEUE_WAIT] += t - handout_at
            record[HANDED_OUT, next_out] = t
            handed_out[module] += 1
            next_out += 1
            summary[FETCH_END] = t + 1
            if next_out < batch_end:
                handout_at = t + 1
            else:
                handout_at = _NEVER
                if next_out < n:
                    batch_end = min(n, next_out + p[BATCH])
                    _open_fetch(table, t + 2, batch_end - next_out, p)

        finished = False
        for module in range(3):
            if started[module] != completed[module] or started[module] == handed_out[module]:
                continue
            i = order[module, started[module]]
            row = program[i]
            if record[HANDED_OUT, i] >= t or not _tokens_ready(row, module, tokens):
                continue
            _move_tokens(row, module, tokens, False)
            started[module] += 1
            record[START, i] = t
            opcode = row[_OPCODE]
            if opcode == _OP_FINISH:
                record[END, i] = t + p[FINISH_COST]
                finished = True
            elif opcode != _OP_LOAD and opcode != _OP_STORE:
                idle_at[module] = t + _compute_cost(row, costs, work)
            elif row[_X_SIZE] == 0 or row[_Y_SIZE] == 0:
                idle_at[module] = t + max(1, p[NO_OPERATION])
            else:
                _count_data(row, element_bytes, traffic)
                if opcode == _OP_LOAD:
                    _open_load(table, module + 1, row, t, p, element_bytes)
                elif pipelined:
                    idle_at[module] = t + _pipelined_store(row, p, element_bytes, traffic)
                    steps += row[_Y_SIZE]
                else:
                    _open_store(table, row, t, p, element_bytes)
        if finished:
            summary[CYCLES] = t + p[FINISH_COST]
            break

        if pipelined:
            if waiting and t >= ready_at and t >= server_free:
                slot = waiting_slot[waiting_first]
                beats = waiting_beats[waiting_first]
                last = waiting_last[waiting_first]
                waiting_first = (waiting_first + 1) % outstanding_limit
                waiting -= 1
                server_free = t + beats + 1
                wait = max(0, t - table[slot, _ALONE])
                table[slot, _ALONE] = server_free
                if slot == 0:
                    summary[FETCH_PORT_WAIT] += wait
                    if last:
                        handout_at = t + beats + 2
                else:
                    i = order[slot - 1, completed[slot - 1]]
                    record[PORT_WAIT, i] += wait
                    # Beats are written in t + 3 .. t + beats + 2; padding fills the rest.
                    free = max(0, t + 3 - table[slot, _PAD_CYCLE])
                    table[slot, _PAD_LEFT] = max(0, table[slot, _PAD_LEFT] - free)
                    table[slot, _PAD_CYCLE] = t + beats + 3
                    if last:
                        data_end = t + beats + (3 if table[slot, _KIND] == _UOP else 4)
                        pad_end = table[slot, _PAD_CYCLE] + table[slot, _PAD_LEFT] + 1
                        idle_at[slot - 1] = (
                            max(data_end, pad_end) if table[slot, _PAD_LEFT] else data_end
                        )
            in_service = t < server_free
            outstanding = waiting + (1 if in_service else 0)
            if outstanding < outstanding_limit and t + 1 != server_free:
                slot = _next_reader(table, t - 1)
                if slot >= 0:
                    if waiting == 0:
                        ready_at = t + 1 + latency
                    place = (waiting_first + waiting) % outstanding_limit
                    _count_burst(table, slot, table[slot, _CHUNK_BEATS], traffic)
                    waiting_slot[place] = slot
                    waiting_beats[place] = table[slot, _CHUNK_BEATS]
                    more = _advance(table, slot, port_bytes) >= 0
                    waiting_last[place] = not more
                    table[slot, _RAISED] = t + 1 if more else _NEVER
                    waiting += 1
        else:
            if granted < 0:
                granted = _next_reader(table, t)
                if granted >= 0:
                    table[granted, _RAISED] = _NEVER
                    ask_at = t + 1
            if owner < 0:
                if granted >= 0 and ask_at <= t:
                    owner = granted
                    beats = table[owner, _CHUNK_BEATS]
                    port_end = t + 3 + beats + latency
                elif table[3, _RAISED] < t:
                    owner = 3
                    table[3, _RAISED] = _NEVER
                    elements = table[3, _CHUNK] // element_bytes[_OUT]
                    beats = elements * out_beats
                    port_end = t + 2 + elements + beats
                if owner >= 0:
                    _count_burst(table, owner, beats, traffic)
                    wait = t - table[owner, _ALONE]
                    if owner == 0:
                        summary[FETCH_PORT_WAIT] += wait
                    else:
                        record[PORT_WAIT, order[owner - 1, completed[owner - 1]]] += wait

        following = _NEVER
        for module in range(3):
            if started[module] != completed[module]:
                following = min(following, idle_at[module])
            elif started[module] < handed_out[module]:
                visible = record[HANDED_OUT, order[module, started[module]]] + 1
                if visible > t:
                    following = min(following, visible)
        if handout_at > t:
            following = min(following, handout_at)
        if pipelined:
            if waiting:
                following = min(following, max(ready_at, server_free))
            if waiting + (1 if t < server_free else 0) < outstanding_limit:
                for slot in range(3):
                    if table[slot, _RAISED] != _NEVER:
                        following = min(following, max(t, table[slot, _RAISED]) + 1)
            elif t < server_free:
                following = min(following, server_free)
        else:
            if owner >= 0:
                following = min(following, port_end)
            elif granted >= 0:
                following = min(following, ask_at)
            if granted < 0:
                for slot in range(3):
                    following = min(following, table[slot, _RAISED])
            if owner < 0 and table[3, _RAISED] != _NEVER:
                following = min(following, table[3, _RAISED] + 1)
        if following == _NEVER:
            status = DEADLOCK
            break
        t = following

    if status != FINISHED:
        summary[CYCLES] = t
    if next_out < n:
        summary[FETCH_END] = summary[CYCLES]
    if handout_at <= t:
        summary[FETCH_QUEUE_WAIT] += t - handout_at
    traffic[FETCH_TRAFFIC, BYTES] = 16 * batch_end
    for module in range(3):
        heads[module] = (
            order[module, completed[module]] if completed[module] < handed_out[module] else -1
        )
    heads[3] = next_out if next_out < n else -1
    summary[STEPS] = steps
    return status
