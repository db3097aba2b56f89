"""The compiled programs held to the integer reference, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.executable.backends import Reference, Simulator
from compiler_core.executable.executable import Executable
from compiler_core.executable.runner import Arrays, PackageRunner, join_outputs


@dataclass(frozen=True)
class BitDifference:
    """The first place where two runs differ, in order of execution.

    Attributes:
        tensor: Its name.
        kind: ``integer`` for an output of an integer segment, ``number`` for one of a segment in
            numbers of its unit's own, ``output`` for one of the model.
        sample: Number of the sample.
        index: Position in it.
        compiled, reference: The two values.
        count: Elements of the tensor that differ, in the block of samples that was compared.
    """

    tensor: str
    kind: str
    sample: int
    index: tuple[int, ...]
    compiled: float
    reference: float
    count: int

    def __str__(self) -> str:
        place = ", ".join(map(str, self.index))
        return (
            f"{self.kind} tensor {self.tensor!r}, sample {self.sample}, element [{place}]: "
            f"compiled {self.compiled:g}, reference {self.reference:g} "
            f"({self.count} elements differ)"
        )


def run_checked(
    executable: Executable, simulator: Simulator, inputs: Mapping[str, npt.NDArray[Any]]
) -> tuple[Arrays, BitDifference | None]:
    """Runs on the simulator and on the reference.

    Every output of every segment of a unit and every output of the model is compared.

    Returns:
        The simulator's outputs, and the first difference or ``None``.

    Raises:
        InputError: The inputs do not fit the model.
    """
    compiled = PackageRunner(executable, simulator).blocks(inputs)
    reference = PackageRunner(executable, Reference(executable)).blocks(inputs)
    parts, found = [], None
    for ours, theirs in zip(compiled, reference, strict=True):
        parts.append(ours)
        if found is None:
            found = _first("integer", ours.integers, theirs.integers, ours.first)
        if found is None:
            found = _first("number", ours.numbers, theirs.numbers, ours.first)
        if found is None:
            found = _first("output", ours.outputs, theirs.outputs, ours.first)
    return join_outputs(executable, parts), found


def _same(ours: Any, theirs: Any) -> bool:
    """Whether sequences, optionals and texts are equal, arrays in them bit for bit."""
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
        if ours.dtype == object:
            return _same(ours.tolist(), theirs.tolist())
        return ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()
    return bool(ours == theirs)


def _first(
    kind: str,
    compiled: Mapping[str, npt.NDArray[Any]],
    reference: Mapping[str, npt.NDArray[Any]],
    sample: int,
) -> BitDifference | None:
    for name, ours in compiled.items():
        theirs = reference[name]
        if ours.dtype == object:
            if _same(ours.tolist(), theirs.tolist()):
                continue
            return BitDifference(name, kind, sample, (), math.nan, math.nan, 1)
        if ours.tobytes() == theirs.tobytes():
            continue
        raw = np.uint8
        wrong = ours.view(raw).reshape(*ours.shape, -1) != theirs.view(raw).reshape(*ours.shape, -1)
        places = np.argwhere(wrong.any(axis=-1))
        first = tuple(int(axis) for axis in places[0])
        return BitDifference(
            name,
            kind,
            sample + (first[0] if first else 0),
            first[1:],
            float(ours[first]),
            float(theirs[first]),
            len(places),
        )
    return None
