"""What functions of the Python interface take: paths, arrays, something to tell progress to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy.typing as npt

from compiler_core.accuracy.samples import (
    EvaluationData,
    evaluation_data,
    named_samples,
    read_evaluation,
    read_samples,
)
from compiler_core.graph.ir import Graph

PathName = str | PathLike[str]
"""A path as text or as a path."""

Arrays = Mapping[str, npt.NDArray[Any]]
"""Arrays by name, samples along the first axis."""

Progress = Callable[[str], None]
"""Told what is being done, one line at a time."""


def samples_of(given: PathName | Arrays, graph: Graph) -> dict[str, npt.NDArray[Any]]:
    """The inputs of ``graph``, from a file or from arrays.

    Raises:
        InputError: The file is damaged, or an input is missing.
    """
    if isinstance(given, Mapping):
        return named_samples(given, graph, "samples")
    return read_samples(Path(given), graph)


def evaluation_of(given: PathName | Arrays, graph: Graph) -> EvaluationData:
    """The inputs of ``graph`` and labels, from a file or from arrays.

    Raises:
        InputError: The file is damaged, or the inputs do not fit.
    """
    if isinstance(given, Mapping):
        return evaluation_data(given, graph, "samples")
    return read_evaluation(Path(given), graph)
