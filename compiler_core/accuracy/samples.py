"""Samples and labels out of files and arrays: found by name, converted, and refused where wrong.

Every command reads its data here, so that what one of them refuses the others refuse in the same
words.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.exam import Exam
from compiler_core.errors import InputError
from compiler_core.files.npz import NpzLimits, read_npz
from compiler_core.graph.containers import (
    element_type,
    holds_sequence,
    is_container,
    is_optional,
    objects,
)
from compiler_core.graph.dtypes import STRING
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, spread

Arrays = dict[str, npt.NDArray[Any]]

LABELS = "y"
"""Array of labels in evaluation data, unless the model has an input of that name."""
OTHER_LABELS = "labels"
"""Their name where it has."""

_BLOCK = 1 << 20

_DATA_BYTES = 1 << 29
"""What every file of data may take in memory, read and in the types that a model reads."""
_FILE_BYTES = 1 << 30
_GROWTH = 4
"""What larger files may take, up to :data:`_FILE_BYTES`, for each byte of theirs."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class EvaluationData:
    """What a model is measured on.

    Attributes:
        where: Begins the message of an error.
        inputs: By name, samples first.
        labels: As given, where there are some.
        samples: How many.
    """

    where: str
    inputs: Arrays
    labels: npt.NDArray[Any] | None
    samples: int

    def first(self, limit: int | None) -> EvaluationData:
        """The first ``limit`` samples; all for ``None``."""
        if limit is None or limit >= self.samples:
            return self
        inputs = {
            name: array[: len(array) * limit // self.samples] for name, array in self.inputs.items()
        }
        labels = self.labels[:limit] if self.labels is not None and self.labels.ndim else None
        return EvaluationData(self.where, inputs, labels, limit)

    def check(self, exam: Exam) -> None:
        """Refuses data that an exam cannot be held on, before anything runs.

        Raises:
            InputError: Labels that are asked for are missing or do not fit.
        """
        try:
            exam.check_labels(self.labels, self.samples)
        except InputError as error:
            raise InputError(f"{self.where}: {error.message}", hint=error.hint) from error


def first_row(
    array: npt.NDArray[Any], wrong: Callable[[npt.NDArray[Any]], npt.NDArray[np.bool_]]
) -> int | None:
    """The first place along the leading axis with a float that is ``wrong``; by blocks, so that
    nothing of the array's size is made.

    Args:
        array: Any shape but a scalar's, any type.
        wrong: Such as :func:`numpy.isnan`.
    """
    if array.dtype.kind != "f" or not array.size:
        return None
    flat = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        found = wrong(flat[start : start + _BLOCK])
        if found.any():
            return (start + int(np.argmax(found))) // (flat.size // len(array))
    return None


def read_evaluation(path: Path, graph: Graph) -> EvaluationData:
    """Inputs and labels from an ``.npz`` file.

    Raises:
        InputError: The file is damaged, or its inputs do not fit the model.
    """
    limit = _bytes_max(path)
    return evaluation_data(_read(path, limit), graph, str(path), bytes_max=limit)


def evaluation_data(
    arrays: Mapping[str, npt.NDArray[Any]],
    graph: Graph,
    where: str,
    *,
    bytes_max: int | None = None,
) -> EvaluationData:
    """Inputs and labels out of ``arrays``.

    Args:
        arrays: By name.
        graph: The model.
        where: Begins the message of an error.
        bytes_max: As of :func:`named_samples`.

    Raises:
        InputError: An input is missing, or its shape, type or number is wrong.
    """
    inputs = named_samples(arrays, graph, where, bytes_max=bytes_max)
    try:
        count = check_samples(graph, inputs)
    except InputError as error:
        raise InputError(f"{where}: {error.message}", hint=error.hint) from error
    return EvaluationData(where, inputs, _labels(arrays, graph), count)


def read_samples(path: Path, graph: Graph) -> Arrays:
    """The inputs of ``graph`` from an ``.npz`` file: ``x`` for the only one, else by name.

    Raises:
        InputError: The file is damaged, an input is missing, or its values do not fit its type.
    """
    limit = _bytes_max(path)
    return named_samples(_read(path, limit), graph, str(path), bytes_max=limit)


def _bytes_max(path: Path) -> int:
    """What data may take in memory: little files of much that is equal, and of narrow numbers that
    a model wants wide, would take many times what they take on disk."""
    try:
        size = path.stat().st_size
    except OSError:  # is refused where it is opened
        size = 0
    return max(_DATA_BYTES, min(_FILE_BYTES, _GROWTH * size))


def _read(path: Path, bytes_max: int) -> Arrays:
    limits = NpzLimits(
        total_bytes=bytes_max,
        total_hint="write it without compression (numpy.savez): what a file takes on disk counts "
        f"{_GROWTH} times, up to {_FILE_BYTES} bytes; or give fewer samples",
    )
    return read_npz(path, text=True, limits=limits)


def named_samples(
    arrays: Mapping[str, npt.NDArray[Any]],
    graph: Graph,
    where: str,
    *,
    bytes_max: int | None = None,
) -> Arrays:
    """The inputs of ``graph`` out of ``arrays``, in its types; a conversion is logged.

    Args:
        arrays: Samples along the first axis; ``x`` stands for the only input.
        graph: The model.
        where: Begins the message of an error.
        bytes_max: What they may take in those types; unbounded by default.

    Returns:
        As :func:`~compiler_core.graph.sampling.spread` gives them.

    Raises:
        InputError: An input is missing, or its values do not fit its type.
    """
    found = {}
    sources = {name: _source(arrays, graph, name) for name in graph.inputs}
    if bytes_max is not None:
        _check_size(arrays, graph, sources, where, bytes_max)
    for name in graph.inputs:
        if is_container(graph.types[name].dtype):
            found[name] = _container(arrays, graph, name, where)
            continue
        source = sources[name]
        if source is None:
            only = " (or 'x')" if len(graph.inputs) == 1 and graph.inputs[0] != "x" else ""
            raise InputError(
                f"{where}: input {name!r}{only} is missing; it holds "
                f"{', '.join(map(repr, arrays)) or 'no arrays'}",
                hint=_missing_hint(graph, name, [n for n in graph.inputs if sources[n] is None]),
            )
        found[name] = converted(np.asarray(arrays[source]), graph, name, where)
    return spread(graph, found)


def _missing_hint(graph: Graph, name: str, missing: Sequence[str]) -> str:
    """What helps where an input has no samples."""
    into = f"add an array {name!r}, the samples along its first axis"
    states = _likely_states(graph, missing)
    if name in states:
        flags = " ".join(f"--state {output}={given}" for given, output in states.items())
        return f"{into}; or, where outputs are the states of the next step: {flags}"
    if any(size != 1 for size in graph.types[name].shape or ()):
        return into
    return f"{into}, or hold it at one value: --fix-input {name}=VALUE, nest_tune.fix_inputs"


def _likely_states(graph: Graph, missing: Sequence[str]) -> dict[str, str]:
    """Outputs that may feed the inputs without samples in the next step, by input: those of the
    same type, by a name that holds the input's, or the only one there is; none where no input
    has samples."""
    found: dict[str, str] = {}
    if len(missing) == len(graph.inputs):
        return found
    for name in missing:
        alike = [
            output
            for output in graph.outputs
            if graph.types[output] == graph.types[name] and output not in found.values()
        ]
        named = [output for output in alike if name in output or output in name]
        rivals = [other for other in missing if graph.types[other] == graph.types[name]]
        if len(named) == 1:
            found[name] = named[0]
        elif len(alike) == len(rivals) == 1:
            found[name] = alike[0]
    return found


def _check_size(
    arrays: Mapping[str, npt.NDArray[Any]],
    graph: Graph,
    sources: Mapping[str, str | None],
    where: str,
    bytes_max: int,
) -> None:
    """Refuses what would grow too large by its conversion, before any of it is made."""
    total = 0
    for name, source in sources.items():
        if source is None or arrays[source].dtype.kind not in "biuf":
            continue
        wanted = graph.types[name].dtype
        array = arrays[source]
        if array.dtype.name != wanted and _may_fit(array.shape, graph.types[name].shape):
            total += array.size * max(_width(wanted), array.itemsize)
        if total > bytes_max:
            raise InputError(
                f"{where}: input {name!r} is {array.dtype}; as {wanted}, which the model reads, "
                f"the inputs take {total} bytes, and at most {bytes_max} are made of this file",
                hint=f"write {name!r} as {wanted}, or give fewer samples",
            )


def _width(dtype: str) -> int:
    """Bytes of a number; those that NumPy lacks are narrow, and made of wider ones."""
    try:
        return np.dtype(dtype).itemsize
    except TypeError:
        return 4


def converted(array: npt.NDArray[Any], graph: Graph, name: str, where: str) -> npt.NDArray[Any]:
    """An array in the type of an input, its values as they are: nothing is scaled or rounded but
    to the nearest number of a narrower float.

    Raises:
        InputError: The type cannot hold the values.
    """
    wanted = graph.types[name].dtype
    if is_container(wanted):
        wanted = element_type(wanted)
    if array.dtype.name == wanted:
        return array
    if (wanted == STRING) != (array.dtype.kind in "UO"):
        kind = "text" if array.dtype.kind in "UO" else str(array.dtype)
        raise InputError(f"{where}: input {name!r} is {kind}; the model's type is {wanted}")
    if array.dtype.kind not in "biuf":
        return array
    if not _may_fit(array.shape, graph.types[name].shape):
        return array  # refused for its shape, without another copy that may be much larger
    with np.errstate(over="ignore", invalid="ignore"):
        new = array.astype(wanted)
    if not _holds(new, array):
        raise InputError(
            f"{where}: input {name!r} is {array.dtype} and has values that {wanted}, the model's "
            "type, cannot hold",
            hint=f"write {name!r} as {wanted}",
        )
    _say(f"{where}: input {name!r} is {array.dtype}; converted to {wanted}, values as they are")
    return new


def _may_fit(shape: tuple[int, ...], wanted: tuple[int | None, ...] | None) -> bool:
    """Whether samples of one shape may be those of an input: all but the first axis agree."""
    if not wanted or None in wanted or not shape:
        return True
    return shape[1:] in (wanted[1:], wanted)


def _holds(new: npt.NDArray[Any], old: npt.NDArray[Any]) -> bool:
    """Whether values are what they were, or where the new type is a float as finite; by blocks."""
    left, right = new.reshape(-1), old.reshape(-1)
    for start in range(0, left.size, _BLOCK):
        narrow = left[start : start + _BLOCK]
        exact = right[start : start + _BLOCK].astype(np.float64)
        if new.dtype.kind == "f":
            kept = np.isfinite(narrow) | ~np.isfinite(exact)
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                kept = narrow.astype(np.float64) == exact
        if not kept.all():
            return False
    return True


def _container(
    arrays: Mapping[str, npt.NDArray[Any]], graph: Graph, name: str, where: str
) -> npt.NDArray[Any]:
    """A sequence from ``name/0``, ``name/1`` …, or an optional, for one run of the model; ready
    object arrays, one element per run, as they are."""
    dtype = graph.types[name].dtype
    whole = arrays.get(name)
    if whole is not None and whole.dtype == object and element_type(dtype) != STRING:
        return whole
    if whole is not None and not holds_sequence(dtype):
        return objects([converted(np.asarray(whole), graph, name, where)])
    if whole is not None:
        raise InputError(
            f"{where}: input {name!r} is a sequence; its elements are arrays {name}/0, {name}/1 …"
        )
    items: list[npt.NDArray[Any]] = []
    while f"{name}/{len(items)}" in arrays:
        item = np.asarray(arrays[f"{name}/{len(items)}"])
        items.append(converted(item, graph, name, where))
    if holds_sequence(dtype) and (items or not is_optional(dtype)):
        return objects([items])
    return objects([None])


@cache
def _say(line: str) -> None:
    """Once for each file and process, however often it is read."""
    _LOG.warning("%s", line)


def _source(arrays: Mapping[str, npt.NDArray[Any]], graph: Graph, name: str) -> str | None:
    """The array that holds an input."""
    if name == LABELS and _x_stands_for_y(arrays, graph):
        return "x"
    if name in arrays:
        return name
    return "x" if len(graph.inputs) == 1 and "x" in arrays else None


def _x_stands_for_y(arrays: Mapping[str, npt.NDArray[Any]], graph: Graph) -> bool:
    """Whether in a file with ``x`` and ``y`` for a model whose only input is called ``y`` the
    labels are what does not fit the input."""
    if graph.inputs != (LABELS,) or not {"x", LABELS} <= set(arrays):
        return False
    shape = graph.types[LABELS].shape or ()
    x, y = (arrays[name].shape for name in ("x", LABELS))
    return x[1:] == shape[1:] and y[1:] != shape[1:]


def _labels(arrays: Mapping[str, npt.NDArray[Any]], graph: Graph) -> npt.NDArray[Any] | None:
    if LABELS not in graph.inputs or _x_stands_for_y(arrays, graph):
        name = LABELS
    elif OTHER_LABELS not in graph.inputs:
        name = OTHER_LABELS
    else:
        return None
    return np.asarray(arrays[name]) if name in arrays else None
