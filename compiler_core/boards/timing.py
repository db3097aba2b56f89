"""Models timed on boards, as on this machine: in rounds, one measurement at a time per board."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy.typing as npt

from compiler_core.boards.address import Address, parse_addresses
from compiler_core.boards.shipping import request, sent
from compiler_core.boards.ssh import CONNECT_S, call
from compiler_core.clock.choices import CPU_PROVIDER, OPTIMIZATIONS, RuntimeChoices
from compiler_core.clock.conditions import Conditions
from compiler_core.clock.kernels import Kernel
from compiler_core.clock.machine import ClockMachine
from compiler_core.clock.models import Timed, TimedPart
from compiler_core.clock.serving import MARK
from compiler_core.clock.together import Together
from compiler_core.clock.turns import first_free
from compiler_core.errors import InputError, MissingDependencyError
from compiler_core.files.plain import from_plain

_START_S = 60.0
"""For the login, the transfer, imports, and opening sessions."""
_SLOW = 6.0
"""Warm-up, rounds and profile take so many times the budget of rounds at most."""


@dataclass(frozen=True)
class BoardTimes:
    """Models that were timed on a board, and kernels of each part of one of them."""

    timed: Timed
    kernels: tuple[tuple[Kernel, ...], ...]


def time_on_boards(
    boards: str,
    candidates: Mapping[str, Sequence[TimedPart]],
    feeds: Mapping[str, npt.NDArray[Any]],
    *,
    profiled: str,
    threads: int,
    repeats: int,
    budget_s: float,
    options: Mapping[str, Any] | None = None,
) -> BoardTimes:
    """Times models on the first board that is free.

    Args:
        boards: Addresses, with commas between.
        candidates, feeds, threads, repeats, budget_s: As of
            :func:`~compiler_core.clock.models.time_models`.
        profiled: Candidate whose kernels are timed.
        options: How its sessions are opened; as usual without.

    Raises:
        InputError: The board cannot run a model, or an address is wrong.
        MissingDependencyError: The board cannot be reached or lacks something.
    """
    timeout_s = _START_S + _SLOW * budget_s
    payload = request(
        candidates,
        feeds,
        profiled=profiled,
        threads=threads,
        repeats=repeats,
        budget_s=budget_s,
        timeout_s=timeout_s,
        options=options,
    )
    with free_board(parse_addresses(boards)) as address:
        answer = _answer(address, payload, timeout_s + CONNECT_S)
    return _read_times(answer, address, list(candidates), len(candidates[profiled]))


def machine_of_boards(boards: str, threads: int = 1) -> ClockMachine:
    """The machine that boards are.

    Raises:
        InputError: They are not all alike, or an address is wrong.
        MissingDependencyError: One cannot be reached or lacks something.
    """
    found = [(address, _machine_of(address, threads)) for address in parse_addresses(boards)]
    first, known = found[0]
    for address, machine in found[1:]:
        if machine.digest != known.digest:
            raise InputError(
                f"boards {first.text} and {address.text} are not alike: {known.text}; "
                f"{machine.text}: their times cannot be compared",
                hint="one study for each kind of board",
            )
    return known


def choices_of_boards(boards: str) -> RuntimeChoices:
    """What the runtimes of all of several boards leave to choose.

    Raises:
        InputError: An address is wrong.
        MissingDependencyError: A board cannot be reached or lacks something.
    """
    first, *others = parse_addresses(boards)
    found = _read_choices(_asked(first), first)
    for address in others:
        found = found.shared(_read_choices(_asked(address), address))
    return found


def _machine_of(address: Address, threads: int) -> ClockMachine:
    return _read_machine(_asked(address, threads), address)


def _asked(address: Address, threads: int = 1) -> Mapping[str, Any]:
    """What a board says of itself."""
    asked = {"profiled": "", "threads": threads, "repeats": 0, "budget_s": 0.0}
    payload = request({}, {}, timeout_s=_START_S, **asked)  # type: ignore[arg-type]
    return _answer(address, payload, _START_S)


def _answer(address: Address, payload: bytes, timeout_s: float) -> dict[str, Any]:
    text = call(address, sent(payload), timeout_s).decode(errors="replace")
    lines = [line for line in text.splitlines() if line.startswith(MARK)]
    try:
        answer = json.loads(lines[-1][len(MARK) :])
        if not isinstance(answer, dict):
            raise TypeError
    except (IndexError, ValueError, TypeError, RecursionError) as error:
        raise MissingDependencyError(
            f"board {address.text}: its answer is none of a board that times models",
            hint="does its shell print something, or another Python answer? name the interpreter: "
            "ssh://USER@HOST/usr/bin/python3",
        ) from error
    if "lacks" in answer:
        lacks, has = _word(answer["lacks"]), _word(answer.get("has"))
        raise MissingDependencyError(
            f"board {address.text}: {address.python or 'python3'} there lacks {lacks}: {has}",
            hint="on the board: python3 -m pip install numpy onnxruntime; the interpreter of an "
            "environment can be named: ssh://USER@HOST/home/pi/venv/bin/python3",
        )
    if "failed" in answer:
        raise InputError(
            f"board {address.text}: cannot run the model: {_word(answer['failed'])}",
            hint="is its onnxruntime as new as this machine's?",
        )
    return answer


def _word(value: Any) -> str:
    return "".join(c for c in str(value)[:500] if c.isprintable())


def _wrong(address: Address, what: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"board {address.text}: its answer has no usable {what}",
        hint="another program may answer in its place",
    )


def _read_machine(answer: Mapping[str, Any], address: Address) -> ClockMachine:
    try:
        return from_plain(ClockMachine, answer.get("machine"), "machine")
    except InputError as error:
        raise _wrong(address, "machine") from error


def _read_choices(answer: Mapping[str, Any], address: Address) -> RuntimeChoices:
    try:
        found: RuntimeChoices = from_plain(RuntimeChoices, answer.get("choices"), "choices")
    except InputError as error:
        raise _wrong(address, "choices of its runtime") from error
    rises = all(a < b for a, b in pairwise(found.threads))
    if (
        found.threads[:1] != (1,)
        or not rises
        or found.optimizations[:1] != OPTIMIZATIONS[:1]
        or not set(found.optimizations) <= set(OPTIMIZATIONS)
        or found.providers[:1] != (CPU_PROVIDER,)
        or len(set(found.providers)) < len(found.providers)
        or not all(name.isidentifier() for name in found.providers)
    ):
        raise _wrong(address, "choices of its runtime")
    return found


def _read_times(
    answer: Mapping[str, Any], address: Address, names: list[str], parts: int
) -> BoardTimes:
    machine = _read_machine(answer, address)
    samples = answer.get("samples_us")
    if not isinstance(samples, dict) or sorted(samples) != sorted(names):
        raise _wrong(address, "times")
    rows = {name: tuple(_times(samples[name], address)) for name in names}
    if len({len(row) for row in rows.values()}) != 1 or not rows[names[0]]:
        raise _wrong(address, "times")
    try:
        found = from_plain(Conditions, answer.get("conditions"), "conditions")
        restless = from_plain(tuple[str, ...], answer.get("restless"), "restless")
        kernels = from_plain(tuple[tuple[Kernel, ...], ...], answer.get("kernels"), "kernels")
    except InputError as error:
        raise _wrong(address, "account of itself") from error
    if len(kernels) != parts:
        raise _wrong(address, "kernels")
    known = tuple(name for name in restless if name in names)
    return BoardTimes(Timed(Together(rows, found, known), machine), kernels)


def _times(values: Any, address: Address) -> Iterator[float]:
    if not isinstance(values, list):
        raise _wrong(address, "times")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(address, "times")
        if not (math.isfinite(value) and value > 0):
            raise _wrong(address, "times")
        yield float(value)


@contextmanager
def free_board(boards: Sequence[Address]) -> Iterator[Address]:
    """One of several boards, for this process alone on this machine until the end of the block."""
    with first_free([f"{address.host}:{address.port}" for address in boards]) as index:
        yield boards[index]
