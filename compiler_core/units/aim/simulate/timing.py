"""Cycles, commands and activity of a program: the interface of the timing simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from compiler_core.errors import NestTuneError
from compiler_core.units.aim.machine.machine import AimMachine, Command
from compiler_core.units.aim.machine.timing_rules import timing_rules
from compiler_core.units.aim.program.instructions import Records
from compiler_core.units.aim.simulate import timing_kernel
from compiler_core.units.aim.simulate.requests import Requests, requests_of

Ints = npt.NDArray[np.int64]

MOST_REQUESTS = 1 << 25
"""Requests of all classes of channels: a program with more is refused, not waited for."""


class WorkLimitError(NestTuneError):
    """A program takes more work than a simulator spends on one.

    Attributes:
        demand, bound: What it takes and what is allowed.
    """

    def __init__(self, what: str, demand: int, bound: int) -> None:
        super().__init__(f"{demand} {what}; at most {bound} are simulated")
        self.demand, self.bound = demand, bound


class StuckError(NestTuneError):
    """No channel can go on: a request of the device's controller waits for itself.

    Attributes:
        instruction: That the host waits for.
    """

    def __init__(self, instruction: int) -> None:
        super().__init__(
            "the controller never gets on: a started access waits for a row that it may not close"
        )
        self.instruction = instruction


@dataclass(frozen=True, eq=False)
class TimingResult:
    """What a program takes.

    Attributes:
        cycles: From launch to end.
        class_commands: ``int64[classes, 18]``, issued by each channel of a class.
        class_counters: ``int64[classes, 2]``, active and idle steps of each channel of a class.
        requests: What was asked of the channels, with the classes.
        log: ``int64[commands, 5]``: class, time, command, bank, instruction; empty unless asked
            for.
    """

    cycles: int
    class_commands: Ints
    class_counters: Ints
    requests: Requests
    log: Ints

    @cached_property
    def commands(self) -> Mapping[str, int]:
        """Commands of all channels by name, those that were issued."""
        total = (self.class_commands * self.requests.sizes[:, None]).sum(axis=0)
        return {command.name: int(total[command]) for command in Command if total[command]}

    @property
    def active_cycles(self) -> int:
        """Steps of all channels with a row open, counted as the published simulator does."""
        return int((self.class_counters[:, 0] * self.requests.sizes).sum())

    @property
    def precharged_cycles(self) -> int:
        """All other steps."""
        return self.cycles * int(self.requests.sizes.sum()) - self.active_cycles

    @property
    def idle_cycles(self) -> int:
        """Steps of all channels with nothing to do."""
        return int((self.class_counters[:, 1] * self.requests.sizes).sum())


def time_program(records: Records, machine: AimMachine, *, log: bool = False) -> TimingResult:
    """Times a program that the verifier accepts.

    Args:
        records: The program.
        machine: What runs it.
        log: Whether every command is kept.

    Raises:
        WorkLimitError: It asks for more requests than are simulated.
        StuckError: The controller never gets on.
    """
    requests = requests_of(records, machine.channels)
    classes = len(requests.sizes)
    work = int(requests.count[requests.kind != 0].sum()) * classes
    if work > MOST_REQUESTS:
        raise WorkLimitError("requests", work, MOST_REQUESTS)
    rules, timing = timing_rules(machine.timing), machine.timing
    ended, cycles, position, commands, counters, logged = timing_kernel.run(
        requests.kind, requests.final, requests.bank, requests.row, requests.count,
        requests.blocking, requests.members, classes,
        rules.channel, rules.group, rules.bank, rules.completion,
        timing.queue_capacity, timing.write_enter_above, timing.write_leave_below, log,
    )  # fmt: skip
    if ended != timing_kernel.FINISHED:
        raise StuckError(int(position))
    return TimingResult(int(cycles), commands, counters, requests, logged)
