"""Samples that choose, and samples that only report.

What chooses among many candidates flatters the chosen one: it was lucky on these samples. So part
of them is kept out of every choice and looked at once, in the end. Which part depends on nothing
but the number of samples, so that no study of the same data ever chooses by it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.samples import EvaluationData
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import choose, model_batch

ENOUGH = 400
"""Labelled samples from which on a part is kept out unasked."""

SHARE = 0.25
"""That part."""

_STREAM = 0x401D
"""Of the draw: any constant does."""


@dataclass(frozen=True, eq=False)
class EvaluationSplit:
    """Evaluation data in two parts.

    Attributes:
        choosing: What every choice is made by.
        reporting: What is looked at in the end alone; ``None`` where nothing is kept out.
    """

    choosing: EvaluationData
    reporting: EvaluationData | None


def usual_share(data: EvaluationData) -> float:
    """The share that is kept out where nobody says it."""
    return SHARE if data.labels is not None and data.samples >= ENOUGH else 0.0


def reported_runs(runs: int, share: float) -> npt.NDArray[np.int64]:
    """Which runs of the model only report, in order: ``int64[round(share * runs)]``."""
    wanted = round(share * runs)
    drawn = np.random.default_rng([_STREAM, runs]).permutation(runs)[:wanted]
    return np.sort(drawn)


def split(data: EvaluationData, graph: Graph, share: float) -> EvaluationSplit:
    """Evaluation data with a seeded part kept out.

    Args:
        data: All there are.
        graph: The model: its runs stay whole.
        share: Of the samples, from 0 to below 1.

    Raises:
        InputError: One of the parts would be empty.
    """
    if not share:
        return EvaluationSplit(data, None)
    batch = model_batch(graph)
    runs = data.samples // batch
    out = reported_runs(runs, share)
    if not 0 < len(out) < runs:
        raise InputError(
            f"{data.where}: a share of {share:g} of {data.samples} samples leaves nothing "
            f"{'to choose by' if len(out) else 'to report on'}",
            hint="--holdout 0 keeps nothing out, --holdout other.npz takes samples of their own",
        )
    kept = np.setdiff1d(np.arange(runs), out)
    return EvaluationSplit(_chosen(data, graph, kept), _chosen(data, graph, out))


def _chosen(data: EvaluationData, graph: Graph, runs: npt.NDArray[np.int64]) -> EvaluationData:
    batch, labels = model_batch(graph), data.labels
    if labels is not None and labels.ndim:
        per_run = len(labels) * batch // data.samples
        labels = labels[(runs[:, None] * per_run + np.arange(per_run)).reshape(-1)]
    inputs = choose(graph, data.inputs, runs.tolist())
    return replace(data, inputs=inputs, labels=labels, samples=len(runs) * batch)
