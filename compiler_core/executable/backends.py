"""Who computes an integer segment: the compiled programs on the simulator, or the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

from compiler_core.errors import InputError
from compiler_core.executable.executable import Executable
from compiler_core.graph.runtime import RUNTIME_ERRORS
from compiler_core.quantize.exact_segment import ExactSegment
from compiler_core.quantize.shared_sessions import SharedSessions
from compiler_core.units.facets.programs import (
    Integers,
    Observer,
    UnitSegment,
    UnitSession,
    programs_of,
)
from compiler_core.units.numbers import NumberRun, numbers_of

Arrays = Mapping[str, npt.NDArray[Any]]
"""Of one run of the model, by name."""

__all__ = ["Backend", "Observer", "Reference", "Simulator"]


class Backend(Protocol):
    """Computes the outputs of an integer segment."""

    def run(self, segment: UnitSegment, inputs: Mapping[str, Integers]) -> dict[str, Integers]:
        """Outputs ``int8[runs * N, C, H, W]`` by name, of inputs of the same kind."""

    def run_numbers(self, segment: UnitSegment, feeds: Sequence[Arrays]) -> list[Arrays]:
        """Outputs by name of a segment in numbers of its unit's own, for each run of the model."""


class Simulator:
    """Executes the compiled programs, one run of the model after another.

    Args:
        executable: What to execute.
        threads: Runs that are executed at the same time.
        observer: Told of every program of the first run.

    Raises:
        ProgramError: A program asks for what the machine does not have.
    """

    def __init__(
        self, executable: Executable, *, threads: int = 1, observer: Observer | None = None
    ) -> None:
        self._executable, self._threads, self._observer = executable, threads, observer
        self._observed: set[str] = set()
        self._sessions: dict[str, UnitSession] = {}
        for name, own in executable.unit_segments.items():
            unit, size = executable.target.unit(name), executable.memory_bytes[name]
            self._sessions[name] = programs_of(unit.kind).prepare(
                own, executable.tensors, size, unit.machine
            )

    def run(self, segment: UnitSegment, inputs: Mapping[str, Integers]) -> dict[str, Integers]:
        """See :class:`Backend`."""
        session = self._sessions[self._executable.placed[segment.name]]
        # Each by its own leading axis: sequences of different lengths have different ones.
        rows = {name: self._executable.tensors[name].shape[0] for name in inputs}
        count = len(next(iter(inputs.values()))) // rows[next(iter(inputs))]
        feeds = [
            {name: array[run * rows[name] :][: rows[name]] for name, array in inputs.items()}
            for run in range(count)
        ]
        first = []
        if self._observer is not None and segment.name not in self._observed:
            self._observed.add(segment.name)
            first = [session.run(segment, feeds[0], self._observer)]
            feeds = feeds[1:]
        if self._threads > 1 and len(feeds) > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                rest = list(pool.map(lambda feed: session.run(segment, feed), feeds))
        else:
            rest = [session.run(segment, feed) for feed in feeds]
        runs = first + rest
        return {name: np.concatenate([run[name] for run in runs]) for name in segment.outputs}

    def run_numbers(self, segment: UnitSegment, feeds: Sequence[Arrays]) -> list[Arrays]:
        """See :class:`Backend`."""
        session, rest = self._sessions[self._executable.placed[segment.name]], list(feeds)
        first = []
        if self._observer is not None and segment.name not in self._observed:
            self._observed.add(segment.name)
            first, rest = [session.run(segment, rest[0], self._observer)], rest[1:]
        if self._threads > 1 and len(rest) > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                return [*first, *pool.map(lambda feed: session.run(segment, feed), rest)]
        return [*first, *(session.run(segment, feed) for feed in rest)]


class Reference:
    """Computes the integer operators themselves, exactly, without programs.

    Args:
        executable: What to execute.
        threads: Threads of onnxruntime; they never change the bits.
    """

    def __init__(self, executable: Executable, *, threads: int = 1) -> None:
        self._executable = executable
        self._shared = SharedSessions(threads)
        self._sessions: dict[str, ExactSegment] = {}
        self._numbers: dict[str, NumberRun] = {}

    def run(self, segment: UnitSegment, inputs: Mapping[str, Integers]) -> dict[str, Integers]:
        """See :class:`Backend`."""
        session = self._sessions.get(segment.name)
        if session is None:
            try:
                session = ExactSegment(
                    segment.operators,
                    self._executable.tensors,
                    segment.outputs,
                    sessions=self._shared,
                )
            except EncodeError as error:
                raise InputError(
                    f"segment {segment.name}: the reference takes more than the 2 GiB of a model"
                ) from error
            except RUNTIME_ERRORS as error:
                text = " ".join(str(error).split())
                raise InputError(f"segment {segment.name}: wrong operators: {text}") from error
            self._sessions[segment.name] = session
        feeds = {name: inputs[name].astype(np.float32) for name in segment.inputs}
        try:
            results = session.run(feeds)
        except RUNTIME_ERRORS as error:
            text = " ".join(str(error).split())
            raise InputError(f"segment {segment.name}: wrong operators: {text}") from error
        return {n: array.astype(np.int8) for n, array in results.items()}

    def run_numbers(self, segment: UnitSegment, feeds: Sequence[Arrays]) -> list[Arrays]:
        """See :class:`Backend`."""
        found = self._numbers.get(segment.name)
        if found is None:
            machine = self._executable.unit_of(segment).machine
            found = numbers_of(segment.kind).reference(segment, machine)
            self._numbers[segment.name] = found
        return [found.run(feed) for feed in feeds]
