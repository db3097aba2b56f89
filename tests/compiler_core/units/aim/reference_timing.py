"""The cycle rules once more, written plainly: every channel steps in every cycle, and readiness is
looked up in the tables of ``timing.json``, against the time of the last command of each kind."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.compiler_core.units.aim.reference_verifier import MASKED, OPS, WITH_N, channels
from tests.compiler_core.units.aim.vectors import FOLDER

TABLE = json.loads((FOLDER / "timing.json").read_text())
RULES: dict[str, list[tuple[str, str, int]]] = {}
for _rule in TABLE["rules"]:
    for _before in _rule["before"]:
        for _after in _rule["after"]:
            RULES.setdefault(_after, []).append((_rule["scope"], _before, _rule["cycles"]))
BANKED = set(TABLE["bank_commands"])
REGISTER = {"WRGB", "WRMAC16", "RDMAC16", "RDAF16"}
ALL_BANKS = {"MAC16", "AF16", "EWMUL16", "WRA16"}
FINAL = {
    "W_MEM": "WR", "R_MEM": "RD", "WR_SBK": "WR", "RD_SBK": "RD", "WR_ABK": "WRA16",
    "WR_GB": "WRGB", "WR_BIAS": "WRMAC16", "MAC_ABK": "MAC16", "MAC_SBK": "MAC", "AF": "AF16",
    "RD_MAC": "RDMAC16", "RD_AF": "RDAF16", "EWMUL": "EWMUL16", "COPY_BKGB": "RDCP",
    "COPY_GBBK": "WRCP", "SYNC": "barrier", "EOC": "barrier",
}  # fmt: skip
FULL = TABLE["queue_capacity"]


@dataclass(eq=False)
class Request:
    final: str
    bank: int | None
    row: int
    arrival: int
    blocking: bool
    read: bool = False
    conventional: bool = False


@dataclass(eq=False)
class Channel:
    aim: list[Request] = field(default_factory=list)
    reads: list[Request] = field(default_factory=list)
    writes: list[Request] = field(default_factory=list)
    started: list[Request] = field(default_factory=list)
    returning: list[tuple[int, Request]] = field(default_factory=list)
    finishing: list[int] = field(default_factory=list)
    register_mode: bool = False
    writing: bool = False
    rows: dict[int, int] = field(default_factory=dict)
    last: dict[tuple[Any, ...], int] = field(default_factory=dict)
    word: set[int] = field(default_factory=set)
    issued: Counter[str] = field(default_factory=Counter)
    active: int = 0
    idle: int = 0

    def offer(self, request: Request, now: int) -> bool:
        if not request.conventional:
            if self.reads or self.writes or len(self.aim) >= FULL:
                return False
            self.aim.append(request)
            return True
        if self.aim:
            return False
        if request.read and self.writes:
            self.returning.append((now + 1, request))
            return True
        queue = self.reads if request.read else self.writes
        if len(queue) >= FULL:
            return False
        queue.append(request)
        return True

    def needed(self, r: Request) -> str:
        if r.final in REGISTER:
            return r.final
        if r.final in ALL_BANKS:
            if any(row != r.row for row in self.rows.values()):
                return "PREA"
            return "ACT16" if len(self.rows) < 16 else r.final
        if r.bank not in self.rows:
            return "ACT"
        return r.final if self.rows[r.bank] == r.row else "PRE"

    def ready(self, command: str, bank: int | None, t: int) -> bool:
        for scope, before, cycles in RULES.get(command, ()):
            if scope == "channel":
                key: tuple[Any, ...] = (before,)
            elif bank is None or command not in BANKED:
                continue
            else:
                key = (
                    ("group", bank // 4, before)
                    if scope == "bank_group"
                    else ("bank", bank, before)
                )
            if key in self.last and t < self.last[key] + cycles:
                return False
        return True

    def best(self, queue: list[Request], t: int) -> Request | None:
        def rank(place: int) -> tuple[bool, int, int]:
            r = queue[place]
            return not self.ready(self.needed(r), r.bank, t), r.arrival, place

        return queue[min(range(len(queue)), key=rank)] if queue else None

    def select(self, t: int) -> tuple[Request | None, list[Request]]:
        best = self.best(self.started, t)
        if best is not None and self.ready(self.needed(best), best.bank, t):
            return best, self.started
        if self.aim:
            head = self.aim[0]
            good = head.final == "barrier" or self.ready(self.needed(head), head.bank, t)
            return (head if good else None), self.aim
        if not self.writing:
            self.writing = len(self.writes) > TABLE["write_mode_enter_above"] or not self.reads
        else:
            few = len(self.writes) < TABLE["write_mode_leave_below"]
            self.writing = not (few and self.reads)
        queue = self.writes if self.writing else self.reads
        best = self.best(queue, t)
        good = best is not None and self.ready(self.needed(best), best.bank, t)
        return (best if good else None), queue

    def step(self, t: int) -> Request | None:
        """One step; a blocking request that came back."""
        returned = None
        if self.returning and self.returning[0][0] <= t:
            head = self.returning[0][1]
            if not (head.final == "barrier" and self.finishing):
                self.returning.pop(0)
                returned = head if head.blocking else None
        self.finishing = [due for due in self.finishing if due > t]
        chosen, queue = self.select(t)
        if chosen is not None and chosen.final != "barrier":
            closing = self.needed(chosen) in ("PRE", "PREA", "WRA16")
            if (
                closing
                and chosen.bank is not None
                and any(r.bank == chosen.bank for r in self.started)
            ):
                chosen = None
        if chosen is not None:
            self.execute(chosen, queue, t)
        self.active += bool(self.word)
        waiting = self.aim or self.reads or self.writes or self.returning or self.finishing
        self.idle += chosen is None and not waiting
        return returned

    def execute(self, r: Request, queue: list[Request], t: int) -> None:
        if r.final == "barrier":
            queue.remove(r)
            self.returning.append((t, r))
            return
        command = self.needed(r)
        if self.register_mode != (r.final in REGISTER):
            self.register_mode = not self.register_mode
            command = "TMOD"
        self.issued[command] += 1
        self.last[(command,)] = t
        if command in BANKED and r.bank is not None:
            self.last["group", r.bank // 4, command] = t
            self.last["bank", r.bank, command] = t
        if command == "ACT16":
            self.rows, self.word = dict.fromkeys(range(16), r.row), set(range(16))
        elif command in ("PREA", "WRA16"):
            self.rows, self.word = {}, set()
        elif command == "ACT":
            assert r.bank is not None
            self.rows[r.bank] = r.row
            self.word.add(r.bank % 4)
        elif command == "PRE":
            assert r.bank is not None
            del self.rows[r.bank]
            self.word.discard(r.bank % 4)
        if command == r.final:
            queue.remove(r)
            due = t + TABLE["completion"][command]
            if command in ("RD", "RDMAC16", "RDAF16"):
                self.returning.append((due, r))
            else:
                self.finishing.append(due)
        elif command == "ACT" and r.conventional:
            queue.remove(r)
            self.started.append(r)


@dataclass(frozen=True)
class Outcome:
    cycles: int
    commands: dict[str, int]
    active: int
    idle: int


def run(records: Any, most: int = 200_000) -> Outcome | None:
    """Runs a legal program; ``None`` where it does not end."""
    device = [Channel() for _ in range(32)]
    left: list[list[Request]] = [[] for _ in range(32)]
    at, outstanding, afm = 0, 0, 0
    for now in range(most):
        was = any(left)
        for channel, waiting in zip(device, left, strict=True):
            while waiting and channel.offer(waiting[0], now):
                waiting.pop(0)
        if outstanding == 0 and was:
            at += not any(left)
        elif outstanding == 0 and at <= now:
            r = {name: int(records[at][name]) for name in records.dtype.names}
            name = OPS[r["op"]]
            if name == "W_CFR" and r["gpr"] == 2:
                afm = r["value"]
            if name not in FINAL:
                at += 1
            else:
                blocking = name in ("RD_MAC", "RD_AF", "SYNC", "EOC")
                for request, number in requests(name, r, afm, now, blocking):
                    outstanding += blocking
                    if left[number] or not device[number].offer(request, now):
                        left[number].append(request)
                if not blocking and not any(left):
                    at += 1
        for channel in device:
            if channel.step(now + 1) is not None:
                outstanding -= 1
                at += outstanding == 0
        if at == len(records):
            commands = sum((channel.issued for channel in device), Counter())
            active, idle = (sum(getattr(c, n) for c in device) for n in ("active", "idle"))
            return Outcome(now + 1, dict(commands), active, idle)
    return None


def requests(
    name: str, r: dict[str, int], afm: int, now: int, blocking: bool
) -> list[tuple[Request, int]]:
    final = FINAL[name]
    count = r["n"] if name in WITH_N else 1
    numbers = channels(r["mask"]) if name in MASKED else [r["mask"]]
    numbers = list(range(32)) if final == "barrier" else numbers
    row = 2**29 + afm if name == "AF" else r["row"]
    bank = r["bank"] if final in ("RD", "WR", "MAC", "RDCP", "WRCP") else None
    conventional = name in ("W_MEM", "R_MEM", "WR_SBK", "RD_SBK")
    read = name in ("R_MEM", "RD_SBK")
    return [
        (Request(final, bank, row, now, blocking, read, conventional), number)
        for _ in range(count)
        for number in numbers
    ]
