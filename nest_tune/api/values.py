"""What functions of the Python interface take: paths, arrays, something to tell progress to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.samples import (
    EvaluationData,
    evaluation_data,
    named_samples,
    read_evaluation,
    read_samples,
)
from compiler_core.accuracy.states import Run, States, unrolled, with_beginnings
from compiler_core.compile.open_shapes import load_with_samples
from compiler_core.compile.sources import FloatModel
from compiler_core.files.npz import npz_shapes, read_npz
from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession

PathName = str | PathLike[str]
"""A path as text or as a path."""

Arrays = Mapping[str, npt.NDArray[Any]]
"""Arrays by name, samples along the first axis."""

Progress = Callable[[str], None]
"""Told what is being done, one line at a time."""


def arrays_of(given: PathName | Arrays) -> Arrays:
    """Arrays by name, from a file or as they are.

    Raises:
        InputError: The file is damaged.
    """
    return given if isinstance(given, Mapping) else read_npz(Path(given), text=True)


def sizes_of(given: PathName | Arrays) -> dict[str, tuple[int, ...]]:
    """Shapes of arrays by name, from a file or as they are.

    Raises:
        InputError: The file is damaged.
    """
    if isinstance(given, Mapping):
        return {name: np.shape(array) for name, array in given.items()}
    return npz_shapes(Path(given))


def loaded_model(
    model: PathName,
    shapes: Mapping[str, tuple[int, ...]] | None,
    data: PathName | Arrays | None = None,
) -> FloatModel:
    """A model, imported and simplified; sizes that it leaves open are those of ``data``.

    Raises:
        InputError: A file or ``shapes`` is wrong, or nothing says a size.
    """
    sizes = None if data is None else lambda: sizes_of(data)
    return load_with_samples(Path(model), shapes, sizes)[0]


def shapes_text(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Shapes as the option ``--shape`` has them."""
    return ", ".join(f"{name}={','.join(map(str, shape))}" for name, shape in shapes.items())


def samples_of(given: PathName | Arrays, graph: Graph) -> dict[str, npt.NDArray[Any]]:
    """The inputs of ``graph``, from a file or from arrays.

    Raises:
        InputError: The file is damaged, or an input is missing.
    """
    if isinstance(given, Mapping):
        return named_samples(given, graph, "samples")
    return read_samples(Path(given), graph)


def float_run(graph: Graph, threads: int = 1) -> Run:
    """Executes a float model once; it is opened when it is first asked."""
    opened: list[FloatSession] = []

    def run(feed: dict[str, npt.NDArray[Any]]) -> Arrays:
        if not opened:
            opened.append(FloatSession(graph, threads=threads))
        return opened[0].run(feed)

    return run


def stateful_samples_of(
    given: PathName | Arrays, graph: Graph, states: States, run: Run
) -> dict[str, npt.NDArray[Any]]:
    """As :func:`samples_of`, with the states that ``run`` leads to.

    Raises:
        InputError: As :func:`samples_of`, or the states do not fit the model.
    """
    if not states:
        return samples_of(given, graph)
    where = "samples" if isinstance(given, Mapping) else str(given)
    arrays = arrays_of(given)
    return named_samples(unrolled(graph, arrays, states, run, where), graph, where)


def evaluation_of(given: PathName | Arrays, graph: Graph) -> EvaluationData:
    """The inputs of ``graph`` and labels, from a file or from arrays.

    Raises:
        InputError: The file is damaged, or the inputs do not fit.
    """
    if isinstance(given, Mapping):
        return evaluation_data(given, graph, "samples")
    return read_evaluation(Path(given), graph)


def stateful_evaluation_of(
    given: PathName | Arrays, graph: Graph, states: States
) -> EvaluationData:
    """As :func:`evaluation_of`; states begin as given, or as zeros, before every sample.

    Raises:
        InputError: As :func:`evaluation_of`, or the states do not fit the model.
    """
    if not states:
        return evaluation_of(given, graph)
    where = "samples" if isinstance(given, Mapping) else str(given)
    arrays = arrays_of(given)
    return evaluation_data(with_beginnings(graph, arrays, states), graph, where)
