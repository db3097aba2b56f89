"""Times ONNX models against one another: what runs them is opened and kept on cores of its own.

It needs Python 3.9, NumPy and what opens the models, so that it also runs where nothing else of
this project is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from compiler_core.clock.conditions import Clock
from compiler_core.clock.machine import ClockMachine, this_machine
from compiler_core.clock.pinning import pinned
from compiler_core.clock.together import Together, measure_together

Arrays = Mapping[str, npt.NDArray[Any]]


class TimedPart(Protocol):
    """A part of a model: ONNX bytes, and the tensors that it reads and gives."""

    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> Sequence[str]: ...
    @property
    def outputs(self) -> Sequence[str]: ...
    @property
    def model(self) -> bytes: ...


class Opened(Protocol):
    """A part, ready to run."""

    def run(self, feeds: Arrays) -> Mapping[str, npt.NDArray[Any]]:
        """Its outputs by name."""
        ...


@dataclass(frozen=True)
class Timed:
    """Models that were timed together, and where."""

    together: Together
    machine: ClockMachine


def time_models(
    candidates: Mapping[str, Sequence[TimedPart]],
    feeds: Arrays,
    opened: Callable[[TimedPart], Opened],
    *,
    threads: int = 1,
    repeats: int = 30,
    budget_s: float = 10.0,
    clock: Clock | None = None,
) -> Timed:
    """Times models in interleaved rounds, on cores of their own.

    Args:
        candidates: Parts of each model in order of execution, by name.
        feeds: Inputs of all models.
        opened: Makes a part ready, on ``threads`` threads.
        threads: Of the runtime.
        repeats, budget_s, clock: As of
            :func:`~compiler_core.clock.together.measure_together`.

    Raises:
        InputError: A model cannot be run.
    """
    with pinned(threads):
        runs = {
            name: _run([(part, opened(part)) for part in parts], feeds)
            for name, parts in candidates.items()
        }
        found = measure_together(
            runs, repeats=repeats, budget_s=budget_s, threads=threads, clock=clock
        )
    return Timed(found, this_machine(threads))


def _run(parts: Sequence[tuple[TimedPart, Opened]], feeds: Arrays) -> Callable[[], object]:
    def run() -> object:
        known = dict(feeds)
        for part, session in parts:
            known.update(session.run({name: known[name] for name in part.inputs}))
        return known

    return run
