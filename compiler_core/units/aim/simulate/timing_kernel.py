"""The compiled event loop of the timing simulator.

:mod:`compiler_core.units.aim.simulate.timing` is its interface. In each cycle T the host acts
first, then every channel takes one step at time t = T + 1. Only cycles in which something can
happen are visited: a class of channels whose step changed nothing sleeps until a command becomes
ready, an entry of its lists falls due, or the host hands it a request; where all sleep, time jumps.

``run`` is one long function on purpose: its phases share the whole state, and handing that around
as arguments costs more than it says.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from compiler_core.kernels import njit
from compiler_core.units.aim.machine.machine import BANKS, BANKS_PER_GROUP, Command
from compiler_core.units.aim.simulate.requests import AIM, BARRIER, NO_REQUEST, READ

Ints: TypeAlias = npt.NDArray[np.int64]

FINISHED: Final = 0
STUCK: Final = 1

NEVER: Final = 1 << 62
COMMANDS: Final = 18
_WORD: Final = 0xFFFF

ACT: Final = int(Command.ACT)
ACT16: Final = int(Command.ACT16)
PRE: Final = int(Command.PRE)
PREA: Final = int(Command.PREA)
RD: Final = int(Command.RD)
WRGB: Final = int(Command.WRGB)
RDMAC16: Final = int(Command.RDMAC16)
RDAF16: Final = int(Command.RDAF16)
WRMAC16: Final = int(Command.WRMAC16)
WRA16: Final = int(Command.WRA16)
TMOD: Final = int(Command.TMOD)

# Queues of a class.
AIM_QUEUE, READ_QUEUE, WRITE_QUEUE = range(3)

# State of a class, a row of ``state``.
(
    MODE, WRITING, WORD, FINISH_DUE, RETURN_HEAD, RETURN_LENGTH, STARTED, LEFT, WAKE, SEEN,
    ACTIVE, IDLE,
) = range(12)  # fmt: skip
STATES: Final = 12


@njit(cache=True)
def _needed(final: int, bank: int, row: int, opened: Ints) -> int:
    """The command that a request needs next, given the open row of each bank."""
    if final in (WRGB, WRMAC16, RDMAC16, RDAF16):
        return final
    if bank >= 0:
        if opened[bank] < 0:
            return ACT
        return final if opened[bank] == row else PRE
    closed = False
    for each in range(BANKS):
        if opened[each] < 0:
            closed = True
        elif opened[each] != row:
            return PREA
    return ACT16 if closed else final


@njit(cache=True)
def _ready(command: int, bank: int, channel: Ints, groups: Ints, banks: Ints) -> int:
    """The earliest time of a command."""
    earliest = channel[command]
    if bank >= 0:
        earliest = max(earliest, groups[bank // BANKS_PER_GROUP, command])
        earliest = max(earliest, banks[bank, command])
    return int(earliest)


@njit(cache=True)
def _account(state: Ints, lengths: Ints, upto: int) -> None:
    """Counts the steps up to one that a class slept through."""
    steps = upto - state[SEEN]
    if steps <= 0:
        return
    if state[WORD] != 0:
        state[ACTIVE] += steps
    if lengths[0] + lengths[1] + lengths[2] + state[RETURN_LENGTH] == 0:
        first = max(state[SEEN] + 1, state[FINISH_DUE])
        state[IDLE] += max(0, upto - first + 1)
    state[SEEN] = upto


@njit(cache=True)
def _offer(
    number: int,
    wanted: int,
    kind: int,
    time: int,
    capacity: int,
    state: Ints,
    lengths: Ints,
    queues: Ints,
    returns: Ints,
) -> int:
    """Offers requests of one instruction to a class; how many it takes."""  # fmt: skip
    taken = 0
    if kind in (AIM, BARRIER):
        if lengths[READ_QUEUE] > 0 or lengths[WRITE_QUEUE] > 0:
            return 0
        taken = min(wanted, capacity - lengths[AIM_QUEUE])
        for _ in range(taken):
            queues[AIM_QUEUE, lengths[AIM_QUEUE], 0] = number
            queues[AIM_QUEUE, lengths[AIM_QUEUE], 1] = time
            lengths[AIM_QUEUE] += 1
        return int(taken)
    if lengths[AIM_QUEUE] > 0:
        return 0
    if kind == READ and lengths[WRITE_QUEUE] > 0:
        place = (state[RETURN_HEAD] + state[RETURN_LENGTH]) % len(returns)
        returns[place, 0], returns[place, 1] = number, time + 1
        state[RETURN_LENGTH] += 1
        return 1
    queue = READ_QUEUE if kind == READ else WRITE_QUEUE
    if lengths[queue] >= capacity:
        return 0
    queues[queue, lengths[queue], 0] = number
    queues[queue, lengths[queue], 1] = time
    lengths[queue] += 1
    return 1


@njit(cache=True)
def _best(
    entries: Ints,
    length: int,
    time: int,
    final: Ints,
    bank: Ints,
    row: Ints,
    opened: Ints,
    channel: Ints,
    groups: Ints,
    banks: Ints,
) -> tuple[int, bool, int]:
    """The best of a list: ready ones first, then by arrival, then by place.

    Returns:
        Its place, whether it is ready, and the next time at which another one becomes ready.
    """  # fmt: skip
    best, best_ready, best_arrival, later = -1, False, 0, NEVER
    for place in range(length):
        number = entries[place, 0]
        needed = _needed(final[number], bank[number], row[number], opened)
        earliest = _ready(needed, bank[number], channel, groups, banks)
        ready = earliest <= time
        if not ready:
            later = min(later, earliest)
        better = best < 0 or (ready and not best_ready)
        if not better and ready == best_ready:
            better = entries[place, 1] < best_arrival
        if better:
            best, best_ready, best_arrival = place, ready, entries[place, 1]
    return best, best_ready, later


@njit(cache=True)
def _raise(
    command: int,
    bank: int,
    time: int,
    rules: Ints,
    group_rules: Ints,
    bank_rules: Ints,
    channel: Ints,
    groups: Ints,
    banks: Ints,
) -> None:
    """Moves the earliest times of what may follow a command."""  # fmt: skip
    for later in range(COMMANDS):
        if rules[command, later] >= 0:
            channel[later] = max(channel[later], time + rules[command, later])
    if bank < 0:
        return
    group = bank // BANKS_PER_GROUP
    for later in range(COMMANDS):
        if group_rules[command, later] >= 0:
            groups[group, later] = max(groups[group, later], time + group_rules[command, later])
        if bank_rules[command, later] >= 0:
            banks[bank, later] = max(banks[bank, later], time + bank_rules[command, later])


@njit(cache=True)
def _change_rows(command: int, bank: int, row: int, opened: Ints, word: int) -> int:
    """Opens and closes rows as a command does; the word of active banks afterwards."""
    if command == ACT16:
        opened[:] = row
        return _WORD
    if command in (PREA, WRA16):
        opened[:] = -1
        return 0
    if command == ACT:
        opened[bank] = row
        return word | (1 << (bank % BANKS_PER_GROUP))
    if command == PRE:
        opened[bank] = -1
        return word & ~(1 << (bank % BANKS_PER_GROUP))
    return word


@njit(cache=True)
def _remove(entries: Ints, length: int, place: int) -> None:
    for each in range(place, length - 1):
        entries[each, 0] = entries[each + 1, 0]
        entries[each, 1] = entries[each + 1, 1]


@njit(cache=True)
def run(
    kind: Ints,
    final: Ints,
    bank: Ints,
    row: Ints,
    count: Ints,
    blocking: Ints,
    members: Ints,
    classes: int,
    rules: Ints,
    group_rules: Ints,
    bank_rules: Ints,
    completion: Ints,
    capacity: int,
    write_enter: int,
    write_leave: int,
    log_wanted: bool,
) -> tuple[int, int, int, Ints, Ints, Ints]:
    """Runs a legal program.

    Args:
        kind, final, bank, row, count, blocking, members: Per instruction; see
            :class:`~compiler_core.units.aim.simulate.requests.Requests`.
        classes: Classes of channels.
        rules, group_rules, bank_rules, completion: See
            :class:`~compiler_core.units.aim.machine.timing_rules.TimingRules`.
        capacity: Of each queue.
        write_enter, write_leave: Lengths of the write queue between which its turn lasts.
        log_wanted: Whether commands are logged.

    Returns:
        How it ended, cycles, the instruction that the host was at, commands
        ``int64[classes, 18]``, counters ``int64[classes, 2]`` (active and idle steps) and the log
        ``int64[commands, 5]``: class, time, command, bank, instruction.
    """  # fmt: skip
    queues = np.zeros((classes, 3, capacity, 2), np.int64)
    lengths = np.zeros((classes, 3), np.int64)
    started = np.zeros((classes, 64, 2), np.int64)
    # A list of returns holds at most two entries per cycle of the longest completion.
    depth = 2 * completion.max() + capacity + 64
    returns = np.zeros((classes, depth, 2), np.int64)
    state = np.zeros((classes, STATES), np.int64)
    opened = np.full((classes, BANKS), -1, np.int64)
    channel = np.zeros((classes, COMMANDS), np.int64)
    groups = np.zeros((classes, BANKS // BANKS_PER_GROUP, COMMANDS), np.int64)
    banks = np.zeros((classes, BANKS, COMMANDS), np.int64)
    issued = np.zeros((classes, COMMANDS), np.int64)
    log = np.zeros((1 << 12 if log_wanted else 1, 5), np.int64)
    logged = 0
    for k in range(classes):
        state[k, WAKE] = 1
    now, position, outstanding, left = 0, 0, 0, 0
    ended = STUCK
    while True:
        # The host.
        was = left > 0
        if was:
            for k in range(classes):
                wanted = state[k, LEFT]
                if wanted == 0:
                    continue
                _account(state[k], lengths[k], now)
                taken = _offer(
                    position, wanted, kind[position], now, capacity,
                    state[k], lengths[k], queues[k], returns[k],
                )  # fmt: skip
                if taken > 0:
                    state[k, LEFT] -= taken
                    left -= taken
                    state[k, WAKE] = now + 1
        if outstanding > 0:
            pass
        elif was:
            if left == 0:
                position += 1
        elif kind[position] == NO_REQUEST:
            position += 1
        else:
            for k in range(classes):
                if not members[position] >> k & 1:
                    continue
                _account(state[k], lengths[k], now)
                taken = _offer(
                    position, count[position], kind[position], now, capacity,
                    state[k], lengths[k], queues[k], returns[k],
                )  # fmt: skip
                if taken > 0:
                    state[k, WAKE] = now + 1
                state[k, LEFT] = count[position] - taken
                left += state[k, LEFT]
                if blocking[position]:
                    outstanding += count[position]
            if not blocking[position] and left == 0:
                position += 1
        # Every class of channels.
        time = now + 1
        for k in range(classes):
            if state[k, WAKE] > time:
                continue
            _account(state[k], lengths[k], time - 1)
            wake, changed, chosen = NEVER, False, -1
            if state[k, RETURN_LENGTH] > 0:
                head = state[k, RETURN_HEAD]
                number, due = returns[k, head, 0], returns[k, head, 1]
                if due > time:
                    wake = due
                elif kind[number] == BARRIER and state[k, FINISH_DUE] >= time:
                    wake = state[k, FINISH_DUE] + 1
                else:
                    state[k, RETURN_HEAD] = (head + 1) % depth
                    state[k, RETURN_LENGTH] -= 1
                    changed = True
                    if blocking[number]:
                        outstanding -= 1
                        if outstanding == 0:
                            position += 1
                            if position == len(kind):
                                ended = FINISHED
            queue, place, needed, barrier = -1, -1, -1, False
            found = False
            if state[k, STARTED] > 0:
                place, found, later = _best(
                    started[k], state[k, STARTED], time, final, bank, row,
                    opened[k], channel[k], groups[k], banks[k],
                )  # fmt: skip
                wake = min(wake, later)
                if found:
                    chosen = started[k, place, 0]
            if not found and lengths[k, AIM_QUEUE] > 0:
                queue, place = AIM_QUEUE, 0
                number = queues[k, AIM_QUEUE, 0, 0]
                if kind[number] == BARRIER:
                    found, barrier, chosen = True, True, number
                else:
                    command = _needed(final[number], bank[number], row[number], opened[k])
                    earliest = _ready(command, bank[number], channel[k], groups[k], banks[k])
                    if earliest <= time:
                        found, chosen = True, number
                    else:
                        wake = min(wake, earliest)
            elif not found:
                reads, writes = lengths[k, READ_QUEUE], lengths[k, WRITE_QUEUE]
                if not state[k, WRITING]:
                    if writes > write_enter or reads == 0:
                        state[k, WRITING] = 1
                elif writes < write_leave and reads > 0:
                    state[k, WRITING] = 0
                queue = WRITE_QUEUE if state[k, WRITING] else READ_QUEUE
                place, found, later = _best(
                    queues[k, queue], lengths[k, queue], time, final, bank, row,
                    opened[k], channel[k], groups[k], banks[k],
                )  # fmt: skip
                wake = min(wake, later)
                if found:
                    chosen = queues[k, queue, place, 0]
            if found and not barrier:
                needed = _needed(final[chosen], bank[chosen], row[chosen], opened[k])
                if (needed in (PRE, PREA, WRA16)) and bank[chosen] >= 0:
                    for each in range(state[k, STARTED]):
                        if bank[started[k, each, 0]] == bank[chosen]:
                            found = False
            if found:
                changed = True
            if found and barrier:
                lengths[k, AIM_QUEUE] -= 1
                _remove(queues[k, AIM_QUEUE], lengths[k, AIM_QUEUE] + 1, 0)
                end = (state[k, RETURN_HEAD] + state[k, RETURN_LENGTH]) % depth
                returns[k, end, 0], returns[k, end, 1] = chosen, time
                state[k, RETURN_LENGTH] += 1
            elif found:
                wanted_final = final[chosen]
                registers = (
                    wanted_final in (WRGB, WRMAC16, RDMAC16, RDAF16)
                )  # fmt: skip
                command = needed
                if state[k, MODE] != int(registers):
                    command = TMOD
                    state[k, MODE] = int(registers)
                at = bank[chosen] if command != TMOD else -1
                _raise(
                    command, at, time, rules, group_rules, bank_rules,
                    channel[k], groups[k], banks[k],
                )  # fmt: skip
                state[k, WORD] = _change_rows(command, at, row[chosen], opened[k], state[k, WORD])
                issued[k, command] += 1
                if log_wanted:
                    if logged == len(log):
                        larger = np.zeros((2 * len(log), 5), np.int64)
                        larger[:logged] = log
                        log = larger
                    log[logged, 0], log[logged, 1], log[logged, 2] = k, time, command
                    log[logged, 3], log[logged, 4] = at, chosen
                    logged += 1
                if command == wanted_final:
                    if queue < 0:
                        _remove(started[k], state[k, STARTED], place)
                        state[k, STARTED] -= 1
                    else:
                        _remove(queues[k, queue], lengths[k, queue], place)
                        lengths[k, queue] -= 1
                    due = time + completion[command]
                    if command in (RD, RDMAC16, RDAF16):
                        end = (state[k, RETURN_HEAD] + state[k, RETURN_LENGTH]) % depth
                        returns[k, end, 0], returns[k, end, 1] = chosen, due
                        state[k, RETURN_LENGTH] += 1
                    else:
                        state[k, FINISH_DUE] = max(state[k, FINISH_DUE], due)
                elif command == ACT and queue > AIM_QUEUE:
                    arrival = queues[k, queue, place, 1]
                    _remove(queues[k, queue], lengths[k, queue], place)
                    lengths[k, queue] -= 1
                    if state[k, STARTED] == started.shape[1]:
                        more = np.zeros((classes, 2 * started.shape[1], 2), np.int64)
                        more[:, : started.shape[1]] = started
                        started = more
                    started[k, state[k, STARTED], 0] = chosen
                    started[k, state[k, STARTED], 1] = arrival
                    state[k, STARTED] += 1
            # The end of the step.
            state[k, SEEN] = time
            if state[k, WORD] != 0:
                state[k, ACTIVE] += 1
            waiting = lengths[k, 0] + lengths[k, 1] + lengths[k, 2] + state[k, RETURN_LENGTH]
            if not found and waiting == 0 and state[k, FINISH_DUE] <= time:
                state[k, IDLE] += 1
            state[k, WAKE] = time + 1 if changed else wake
        if ended == FINISHED:
            break
        if outstanding == 0 and left == 0:
            now += 1
            continue
        following = NEVER
        for k in range(classes):
            following = min(following, state[k, WAKE])
        if following == NEVER:
            break
        now = max(now + 1, following - 1)
    for k in range(classes):
        _account(state[k], lengths[k], now + 1)
    counters = np.zeros((classes, 2), np.int64)
    counters[:, 0], counters[:, 1] = state[:, ACTIVE], state[:, IDLE]
    return ended, now + 1, position, issued, counters, log[:logged]
