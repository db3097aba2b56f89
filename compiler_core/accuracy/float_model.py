"""Outputs of the float model, run by run: no sample's bits depend on its neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.judge import ONE_OUTPUT, computed_outputs
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import model_batch
from compiler_core.graph.sampling import runs as sample_runs
from compiler_core.graph.session import FloatSession

Arrays = dict[str, npt.NDArray[Any]]
Samples = Mapping[str, npt.NDArray[Any]]


def float_runs(graph: Graph, samples: Samples, names: Sequence[str]) -> Iterator[Arrays]:
    """Tensors ``names`` of each run; a value without axes becomes an array of one.

    Raises:
        InputError: onnxruntime cannot run the graph.
    """
    session = FloatSession(graph, names)
    for feeds in sample_runs(graph, samples):
        yield {name: np.atleast_1d(array) for name, array in session.run(feeds).items()}


def float_outputs(graph: Graph, samples: Samples, names: Sequence[str] | None = None) -> Arrays:
    """Tensors ``names``, by default the computed outputs, for all samples.

    Raises:
        InputError: onnxruntime cannot run the graph, or runs give results of different shapes.
    """
    chosen = computed_outputs(graph) if names is None else tuple(names)
    return joined_runs(list(float_runs(graph, samples, chosen)), chosen)


def joined_runs(runs: Sequence[Mapping[str, npt.NDArray[Any]]], names: Sequence[str]) -> Arrays:
    """Results of several runs as one array each.

    Raises:
        InputError: Runs give results of different shapes.
    """
    for name in names:
        shapes = {run[name].shape[1:] for run in runs}
        if len(shapes) > 1:
            raise InputError(
                f"output {name!r} differs in shape from sample to sample: "
                f"{', '.join(str(list(shape)) for shape in sorted(shapes)[:3])}",
                hint=f"{ONE_OUTPUT} judges another output",
            )
    return {name: np.concatenate([run[name] for run in runs]) for name in names}


def stacked(
    graph: Graph, outputs: Mapping[str, npt.NDArray[Any]], names: Sequence[str], samples: int
) -> Arrays:
    """Outputs whose runs are joined along the axis that carries the samples, as
    :func:`float_outputs` gives them: run after run along the first axis.

    Args:
        graph: The float model, or a signature of it.
        outputs: As an executor gives them.
        names: Which.
        samples: How many.
    """
    found: Arrays = {}
    for name in names:
        array, axis = outputs[name], graph.sample_axis(name)
        runs = samples // model_batch(graph)
        if axis and runs and array.shape[axis] % runs == 0:
            array = np.concatenate(np.split(array, runs, axis=axis))
        found[name] = array
    return found
