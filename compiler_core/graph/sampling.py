"""Samples of a model: how many arrays hold, and which part of each array belongs to a run.

A *run* executes the model once. It takes ``batch`` samples: what the model fixes where all inputs
agree on their leading axis, else one. In the form that everything else relies on (:func:`spread`
makes it) every input has a leading axis over all runs: ``runs * S[0]`` long for an input of shape
``S``, ``runs`` long for a scalar or a dynamic batch axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.containers import is_container, is_objects, objects
from compiler_core.graph.dtypes import STRING
from compiler_core.graph.ir import Graph

Arrays = dict[str, npt.NDArray[Any]]
Samples = Mapping[str, npt.NDArray[Any]]


def model_batch(graph: Graph) -> int:
    """Samples of one run: what the inputs fix, 1 where they differ or the batch is dynamic."""
    sizes = {
        _rows(graph, name)
        for name in graph.inputs
        if graph.types[name].shape and not _is_empty(graph, name)
    }
    return sizes.pop() if len(sizes) == 1 else 1


def spread(graph: Graph, samples: Samples) -> Arrays:
    """``samples`` in the form that a run's part is cut from.

    An array may hold an input's shape once per run along its leading axis or along one more; a
    scalar, or an input whose leading axis is not the batch (a state, a table), may be given once
    for all runs.

    Args:
        graph: The model, or a signature of it.
        samples: Array per input; others than the model's inputs are left out.
    """
    runs = {
        name: _runs(graph, name, samples[name])
        for name in graph.inputs
        if name in samples and not _is_empty(graph, name)
    }
    most = max((count for count in runs.values() if count), default=0)
    found: Arrays = {}
    for name in graph.inputs:
        if name not in samples:
            continue
        array, count = samples[name], runs.get(name)
        shape = graph.types[name].shape or ()
        if count and array.ndim != len(shape):
            array = array.reshape(-1, *shape[1:])
        elif not shape and not array.ndim:
            array = array.reshape(1)
        if count == 1 and most > 1 and _rows(graph, name, scalar=0) != 1:
            array = np.concatenate([array] * most)
        found[name] = array
    return found


def check_samples(graph: Graph, samples: Samples) -> int:
    """The number of samples.

    Args:
        graph: The model, or a signature of it.
        samples: As :func:`spread` gives them.

    Raises:
        InputError: None at all, a missing or surplus input, a wrong shape or type, or a number that
            is not a multiple of the model's fixed batch.
    """
    unknown = sorted(set(samples) - set(graph.inputs))
    missing = sorted(set(graph.inputs) - set(samples))
    if unknown or missing:
        raise InputError(
            f"inputs given: {', '.join(samples) or 'none'}; the model has {', '.join(graph.inputs)}"
        )
    batch = model_batch(graph)
    counts = set()
    for name, array in samples.items():
        known = graph.types[name]
        expected = known.shape or ()
        if array.ndim != max(len(expected), 1) or array.shape[1:] != expected[1:]:
            # A first axis of a fixed size is hardly a batch: runs have one of their own before it.
            fixed = bool(expected) and name not in graph.dynamic_batch and expected[0] not in (0, 1)
            wanted = ["runs", *expected] if fixed else ["samples", *expected[1:]]
            raise InputError(
                f"input {name!r} has shape {array.shape}; expected ({', '.join(map(str, wanted))})",
                hint=_shape_hint(name, array.shape, expected, fixed=fixed),
            )
        if array.dtype.name != known.dtype and not _is_of(array, known.dtype):
            raise InputError(f"input {name!r} is {array.dtype}; expected {known.dtype}")
        if _is_empty(graph, name):
            continue
        runs, rest = divmod(len(array), _rows(graph, name))
        counts.add(runs * batch if not rest else len(array) / _rows(graph, name) * batch)
    if not counts:
        return batch
    if len(counts) != 1 or 0 in counts or any(count % batch for count in counts):
        found = ", ".join(f"{count:g}" for count in sorted(counts))
        raise InputError(
            f"the inputs hold {found} samples; expected one number for all, at least 1 and a "
            f"multiple of the model's batch {batch}"
        )
    return int(counts.pop())


def _shape_hint(
    name: str, found: Sequence[int], expected: Sequence[int | None], *, fixed: bool
) -> str | None:
    """How an array becomes what the model takes, or the model what takes the array.

    Args:
        name: Of the input.
        found: Shape of the array.
        expected: Shape of the input.
        fixed: Whether its first axis is none of samples.
    """
    if tuple(found) == tuple(expected[1:]):
        return "a single sample has an axis before its own: x[None]"
    if len(found) != len(expected):
        return "numpy.moveaxis brings samples to the front" if fixed else None
    if sorted(found[1:]) == sorted(size or 0 for size in expected[1:]):
        order, left = [0], list(range(1, len(found)))
        for size in expected[1:]:
            order.append(left.pop(next(i for i, axis in enumerate(left) if found[axis] == size)))
        return f"its axes stand in another order: numpy.transpose(x, {tuple(order)})"
    if fixed and found[0] == expected[0]:
        return "numpy.moveaxis brings samples to the front"
    sizes = ",".join(map(str, (1, *found[1:])))
    return f"--shape {name}={sizes} makes the model's input as large, where its weights allow that"


def take(graph: Graph, samples: Samples, first: int, last: int) -> Arrays:
    """Samples ``first`` to ``last - 1``, whole runs, in the form of :func:`spread`."""
    batch = model_batch(graph)
    found = {}
    for name, array in samples.items():
        rows = _rows(graph, name)
        found[name] = array[first // batch * rows : -(-last // batch) * rows]
    return found


def choose(graph: Graph, samples: Samples, chosen: Sequence[int]) -> Arrays:
    """The runs of these numbers, in the form of :func:`spread`."""
    count = count_samples(graph, samples) // model_batch(graph)
    parts = {name: np.split(np.asarray(array), count) for name, array in samples.items()}
    return {name: np.concatenate([held[run] for run in chosen]) for name, held in parts.items()}


def runs(graph: Graph, samples: Samples) -> Iterator[Arrays]:
    """What each run is fed: arrays of the shapes that the model declares.

    Args:
        graph: The model, or a signature of it.
        samples: As :func:`spread` gives them.
    """
    batch = model_batch(graph)
    for first in range(0, count_samples(graph, samples), batch):
        part = take(graph, samples, first, first + batch)
        yield {name: shaped(graph, name, array) for name, array in part.items()}


def shaped(graph: Graph, name: str, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One run's part of an input in the form that the model takes: a scalar has no axis."""
    known = graph.types.get(name)
    if known is not None and is_container(known.dtype):
        value: npt.NDArray[Any] = part[0]  # or a list of arrays, or None
        return value
    scalar = known is not None and known.shape == () and part.ndim
    return part[:1].reshape(()) if scalar else part


def count_samples(graph: Graph, samples: Samples) -> int:
    """The number of samples, nothing checked; one run's where the model has no inputs."""
    for name, array in samples.items():
        if not _is_empty(graph, name):
            return len(array) // _rows(graph, name) * model_batch(graph)
    return model_batch(graph)


def join(parts: Sequence[npt.NDArray[Any]], axis: int = 0) -> npt.NDArray[Any]:
    """What several runs gave as one array: one value per run becomes a vector of runs.

    Args:
        parts: What each run gave.
        axis: The axis that carries the samples.

    Returns:
        Arrays of equal shape side by side; else, and for sequences, an object array of what each
        run gave (:mod:`compiler_core.graph.containers`).
    """
    whole = [part for part in parts if isinstance(part, np.ndarray | np.generic)]
    if len(whole) < len(parts) or len({part.shape for part in whole}) > 1:
        return objects(parts)
    if len(parts) == 1:
        return np.atleast_1d(parts[0])
    return np.concatenate([np.atleast_1d(part) for part in parts], axis=axis)


def join_blocks(
    blocks: Sequence[npt.NDArray[Any]], counts: Sequence[int], axis: int = 0
) -> npt.NDArray[Any]:
    """Results of several blocks of runs as :func:`join` gives them for all runs at once.

    Args:
        blocks: What :func:`join` gave for each.
        counts: Runs of each.
        axis: The axis that carries the samples.
    """
    ragged = [block.dtype == object and is_objects(block) for block in blocks]
    shapes = {
        (block.shape[axis] / count, *block.shape[:axis], *block.shape[axis + 1 :])
        for block, count in zip(blocks, counts, strict=True)
    }
    if len(blocks) > 1 and not any(ragged) and len(shapes) == 1:
        return np.concatenate(blocks, axis=axis)
    if len(blocks) == 1:
        return blocks[0]
    parts: list[npt.NDArray[Any]] = []
    for block, count, apart in zip(blocks, counts, ragged, strict=True):
        parts += list(block) if apart else np.split(block, count, axis=axis)
    return objects(parts)


def _rows(graph: Graph, name: str, scalar: int = 1) -> int:
    """Length of one run's part of an input along the leading axis."""
    shape = graph.types[name].shape
    if not shape:
        return scalar
    if _is_empty(graph, name):
        return 0
    return 1 if name in graph.dynamic_batch else int(shape[0] or 1)


def _runs(graph: Graph, name: str, array: npt.NDArray[Any]) -> int | None:
    """How many runs an array holds; ``None`` where its shape does not fit the input."""
    shape = graph.types[name].shape or ()
    if array.ndim == len(shape) + 1 and array.shape[1:] == shape:
        return len(array)
    if array.ndim != len(shape) or array.shape[1:] != shape[1:]:
        return None
    return len(array) // _rows(graph, name) if shape else 1


def _is_empty(graph: Graph, name: str) -> bool:
    """Whether the model fixes the leading axis of an input to 0: any number of runs is as long."""
    return (graph.types[name].shape or (None,))[0] == 0


def _is_of(array: npt.NDArray[Any], dtype: str) -> bool:
    if is_container(dtype):
        return array.dtype == object
    return dtype == STRING and array.dtype.kind in "UO"
