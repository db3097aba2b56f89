"""States of recurrent networks: outputs that are fed back as inputs from sample to sample.

Data files need no array for an input that is a state: it begins as zeros, or as what the file holds
for the first sample, and is then what the model gave for the sample before. Unrolled, a state is an
input like any other, with one value per sample; whoever calibrates or evaluates on the samples sees
no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.judge import computed_outputs
from compiler_core.accuracy.samples import EvaluationData, evaluation_data, named_samples
from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.graph.containers import is_container
from compiler_core.graph.dtypes import STRING
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import count_samples, model_batch, runs, spread

Arrays = Mapping[str, npt.NDArray[Any]]
States = Mapping[str, str]
"""Input by the output that is fed back to it."""
Run = Callable[[dict[str, npt.NDArray[Any]]], Arrays]
"""Executes a model once."""


def check_states(graph: Graph, states: States) -> None:
    """Refuses what cannot be fed back.

    Raises:
        InputError: The model has no such output or input, or they differ in type or shape.
    """
    for output, name in states.items():
        for kind, wanted, known in (
            ("output", output, graph.outputs),
            ("input", name, graph.inputs),
        ):
            if wanted not in known:
                raise InputError(
                    f"state {output}={name}: the model has no {kind} {wanted!r}; it has "
                    f"{', '.join(known)}",
                    hint=did_you_mean(wanted, known) or "--state OUTPUT=INPUT",
                )
        source, target = graph.types.get(output), graph.types[name]
        if is_container(target.dtype) or target.dtype == STRING:
            raise InputError(f"state {output}={name}: the input is {target.dtype}, not numbers")
        if source is None or source.shape is None or None in source.shape:
            continue  # seen when it runs
        if source.shape != target.shape:
            raise InputError(
                f"state {output}={name}: the output has shape {list(source.shape)}, the input "
                f"{list(target.shape or ())}",
                hint="--shape fixes dynamic axes",
            )


def output_for_labels(graph: Graph, states: States) -> str | None:
    """The output that labels are about where nobody says it: the only one that is no state;
    ``None`` where that tells none of several."""
    others = [name for name in computed_outputs(graph) if name not in states]
    return others[0] if states and len(others) == 1 else None


def unrolled(graph: Graph, arrays: Arrays, states: States, run: Run, where: str) -> Arrays:
    """Samples with the values that the states have before each of them.

    Args:
        graph: The model, or a signature of it.
        arrays: By input; those of states may be absent. ``x`` stands for the only other input.
            Other arrays, labels among them, stay.
        states: What is fed back.
        run: Executes the model for one sample.
        where: Begins the message of an error.

    Raises:
        InputError: The states do not fit the model, or the samples do not.
    """
    check_states(graph, states)
    if not states:
        return arrays
    fed = set(states.values())
    named = with_beginnings(graph, arrays, states)
    samples = named_samples(named, graph, where)
    held: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in fed}
    current: dict[str, npt.NDArray[Any]] = {}
    for feed in runs(graph, samples):
        feed |= current
        for name in fed:
            held[name].append(np.asarray(feed[name]))
        results = run(feed)
        for output, name in states.items():
            found, wanted = np.asarray(results[output]), feed[name]
            if found.shape != wanted.shape and found.size != wanted.size:
                raise InputError(
                    f"{where}: state {output}={name}: the model gives shape {list(found.shape)}, "
                    f"its input has {list(wanted.shape)}"
                )
            current[name] = found.reshape(wanted.shape).astype(wanted.dtype)
    values = {
        name: np.concatenate([part.reshape(part.shape or (1,)) for part in parts])
        for name, parts in held.items()
    }
    return {**named, **values}


def with_beginnings(graph: Graph, arrays: Arrays, states: States) -> dict[str, Any]:
    """Samples whose states are what they are before the first of them.

    Raises:
        InputError: The states do not fit the model.
    """
    check_states(graph, states)
    fed = set(states.values())
    others = [name for name in graph.inputs if name not in fed]
    named = dict(arrays)
    if len(others) == 1 and others[0] not in named and "x" in named:
        named[others[0]] = named.pop("x")
    own = spread(graph, {name: np.asarray(named[name]) for name in others if name in named})
    count = count_samples(graph, own) // model_batch(graph)
    for name in fed:
        value = _beginning(graph, arrays, name)
        named[name] = np.concatenate([value.reshape(value.shape or (1,))] * max(count, 1))
    return named


def _beginning(graph: Graph, arrays: Arrays, name: str) -> npt.NDArray[Any]:
    """A state before the first sample, once for all of them: :func:`unrolled` moves it on."""
    known = graph.types[name]
    shape = tuple(size or 1 for size in known.shape or ())
    given = arrays.get(name)
    if given is None:
        return np.zeros(shape, known.dtype)
    given = np.asarray(given)
    first = given[: shape[0]] if given.ndim == len(shape) and shape else given
    if given.ndim == len(shape) + 1:
        first = given[0]
    if first.shape != shape:
        raise InputError(
            f"state {name!r} begins with shape {list(first.shape)}; the input has {list(shape)}"
        )
    return first


def unrolled_evaluation(
    graph: Graph, data: EvaluationData, states: States, run: Run
) -> EvaluationData:
    """Evaluation data with the states that a model has on it."""
    if not states:
        return data
    labels = {} if data.labels is None else {"y": data.labels}
    arrays = unrolled(graph, data.inputs, states, run, data.where)
    found = evaluation_data({**arrays, **labels}, graph, data.where)
    return replace(found, labels=data.labels)
