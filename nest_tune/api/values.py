"""What functions of the Python interface take: paths, arrays, something to tell progress to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

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
from compiler_core.errors import InputError
from compiler_core.files.brief import brief
from compiler_core.files.npz import npz_shapes, read_npz
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.finite_inputs import require_finite
from nest_tune.api.given_files import as_file

PathName = str | PathLike[str]
"""A path as text or as a path."""

Arrays = Mapping[str, npt.NDArray[Any]]
"""Arrays by name, samples along the first axis."""

Model = PathName | onnx.ModelProto
"""A model: an ONNX file, or one in memory."""

Data = PathName | Arrays | npt.NDArray[Any]
"""Samples: an ``.npz`` file, arrays by name, or one array, the only input's."""

Progress = Callable[[str], None]
"""Told what is being done, one line at a time."""


def path_of(name: str, given: Any) -> Path:
    """A path, as text or as a path.

    Args:
        name: What it is, for the message.
        given: What somebody gave.

    Raises:
        InputError: It is neither.
    """
    if isinstance(given, str | PathLike):
        return Path(fspath(given))
    raise InputError(f"{name}: {brief(given)} is no path")


def model_file(given: Any) -> Path:
    """The file of a model; one in memory is written to ``nest-tune-data``, named by its content.

    Raises:
        InputError: It is neither a path nor a model, or cannot be written.
    """
    kept = as_file("model", given)
    if isinstance(kept, str | PathLike):
        return path_of("model", kept)
    raise InputError(
        f"model: {brief(given)} is neither a path nor an onnx.ModelProto",
        hint="torch and other models are exported to ONNX first",
    )


def given_data(given: Any) -> Path | Arrays:
    """Samples as a file, or as arrays by name: one array is ``x``, the only input's.

    Raises:
        InputError: It is neither a path, nor arrays by name, nor an array.
    """
    if isinstance(given, str | PathLike):
        return path_of("data", given)
    if isinstance(given, Mapping):
        return given
    if isinstance(given, np.ndarray):
        return {"x": given}
    raise InputError(
        f"data: {brief(given)} is neither a path, nor an array, nor arrays by name",
        hint="{'input': array}, with 'y' for labels, or one array for the only input",
    )


def arrays_of(given: Data) -> Arrays:
    """Arrays by name, from a file or as they are.

    Raises:
        InputError: The file is damaged.
    """
    known = given_data(given)
    return known if isinstance(known, Mapping) else read_npz(known, text=True)


def sizes_of(given: Data) -> dict[str, tuple[int, ...]]:
    """Shapes of arrays by name, from a file or as they are.

    Raises:
        InputError: The file is damaged.
    """
    known = given_data(given)
    if isinstance(known, Mapping):
        return {name: np.shape(array) for name, array in known.items()}
    return npz_shapes(known)


def loaded_model(
    model: Model,
    shapes: Mapping[str, tuple[int, ...]] | None,
    data: Data | None = None,
) -> FloatModel:
    """A model, imported and simplified; sizes that it leaves open are those of ``data``.

    Raises:
        InputError: A file or ``shapes`` is wrong, or nothing says a size.
    """
    return loaded_with_shapes(model_file(model), shapes, data)[0]


def loaded_with_shapes(
    path: Path, shapes: Mapping[str, tuple[int, ...]] | None, data: Data | None = None
) -> tuple[FloatModel, Mapping[str, tuple[int, ...]]]:
    """The same of a file, and the shapes with which it is read so again.

    Raises:
        InputError: As :func:`loaded_model`.
    """
    return load_with_samples(path, shapes, None if data is None else lambda: sizes_of(data))


def shapes_text(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Shapes as the option ``--shape`` has them."""
    return ", ".join(f"{name}={','.join(map(str, shape))}" for name, shape in shapes.items())


def samples_of(given: Data, graph: Graph) -> dict[str, npt.NDArray[Any]]:
    """The inputs of ``graph``, from a file or from arrays.

    Raises:
        InputError: The file is damaged, or an input is missing.
    """
    known = given_data(given)
    if isinstance(known, Mapping):
        return named_samples(known, graph, "samples")
    return read_samples(known, graph)


def check_calibration(samples: Mapping[str, npt.NDArray[Any]], graph: Graph, given: Data) -> None:
    """Refuses calibration data that do not fit, in the words of evaluations, before anything runs.

    Args:
        samples: The inputs of ``graph``.
        graph: The model.
        given: What they come from, which is named.

    Raises:
        InputError: A shape, type or number does not fit, or what becomes integers is NaN or
            infinite.
    """
    where = str(given) if isinstance(given, str | PathLike) else "samples"
    try:
        count = check_samples(graph, samples)
    except InputError as error:
        raise InputError(f"{where}: {error.message}", hint=error.hint) from error
    require_finite(EvaluationData(where, dict(samples), None, count), graph)


def calibration_of(given: Data, graph: Graph) -> dict[str, npt.NDArray[Any]]:
    """As :func:`samples_of`, checked by :func:`check_calibration`."""
    samples = samples_of(given, graph)
    check_calibration(samples, graph, given)
    return samples


def float_run(graph: Graph, threads: int = 1) -> Run:
    """Executes a float model once; it is opened when it is first asked."""
    opened: list[FloatSession] = []

    def run(feed: dict[str, npt.NDArray[Any]]) -> Arrays:
        if not opened:
            opened.append(FloatSession(graph, threads=threads))
        return opened[0].run(feed)

    return run


def stateful_samples_of(
    given: Data, graph: Graph, states: States, run: Run
) -> dict[str, npt.NDArray[Any]]:
    """As :func:`samples_of`, with the states that ``run`` leads to.

    Raises:
        InputError: As :func:`samples_of`, or the states do not fit the model.
    """
    if not states:
        return samples_of(given, graph)
    where = str(given) if isinstance(given, str | PathLike) else "samples"
    arrays = arrays_of(given)
    return named_samples(unrolled(graph, arrays, states, run, where), graph, where)


def evaluation_of(given: Data, graph: Graph) -> EvaluationData:
    """The inputs of ``graph`` and labels, from a file or from arrays.

    Raises:
        InputError: The file is damaged, or the inputs do not fit.
    """
    known = given_data(given)
    if isinstance(known, Mapping):
        return evaluation_data(known, graph, "samples")
    return read_evaluation(known, graph)


def stateful_evaluation_of(given: Data, graph: Graph, states: States) -> EvaluationData:
    """As :func:`evaluation_of`; states begin as given, or as zeros, before every sample.

    Raises:
        InputError: As :func:`evaluation_of`, or the states do not fit the model.
    """
    if not states:
        return evaluation_of(given, graph)
    where = str(given) if isinstance(given, str | PathLike) else "samples"
    arrays = arrays_of(given)
    return evaluation_data(with_beginnings(graph, arrays, states), graph, where)
