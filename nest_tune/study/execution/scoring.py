"""Accuracy of a quantized graph: what a metric makes of its outputs.

Metrics that compare with labels: ``top1``, ``top5``. Metrics that compare with the float model:
``agreement`` of the best class, ``sqnr_db`` and ``cosine`` of the outputs. ``module:function`` is a
user's own: ``function(outputs, labels) -> float`` with arrays by output name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log10, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.calibration import model_batch
from nest_tune.study.request.goals import LABELLED
from nest_tune.user_modules import load_named

Arrays = Mapping[str, npt.NDArray[Any]]

_MOST_DB = 200.0


@dataclass(frozen=True)
class Score:
    """Value of a metric.

    Attributes:
        value: More is better.
        samples: That it was measured on.
        hits: One bit per sample, the first one highest, of metrics that count samples; as hex.
            Two measurements on the same samples are compared bit by bit: their difference is known
            far better than either of them.
    """

    value: float
    samples: int
    hits: str = ""


def hopeful_difference(one: Score, other: Score, deviations: float) -> float:
    """How much better than ``other`` the value of ``one`` may be on all samples, as far as the
    samples of both can tell.

    Args:
        one, other: Measured on the same samples.
        deviations: Standard deviations of benefit of the doubt.
    """
    difference = one.value - other.value
    count = one.samples
    if not one.hits or len(one.hits) != len(other.hits):
        return difference + deviations * abs(one.value) / sqrt(count)
    changed = (int(one.hits, 16) ^ int(other.hits, 16)).bit_count() / count
    return difference + deviations * sqrt(max(changed - difference**2, 1 / count) / count)


def score(
    metric: str, outputs: Arrays, labels: npt.NDArray[Any] | None, floats: Arrays | None
) -> Score:
    """Value of a metric; more is better.

    Args:
        metric: As in :data:`~nest_tune.study.request.goals.ACCURACIES`, or ``module:function``.
        outputs: Of the quantized graph, samples first.
        labels: ``int64[samples]``.
        floats: Outputs of the float model, where the metric compares with it.

    Raises:
        InputError: Labels do not fit the outputs, or the user's function cannot be used.
    """
    first = next(iter(outputs.values()))
    if ":" in metric:
        return Score(_user_metric(metric)(outputs, labels), len(first))
    rows = first.reshape(len(first), -1).astype(np.float64)
    if metric in LABELLED:
        return counted(_hits(rows, labels, 1 if metric == "top1" else 5))
    assert floats is not None
    reference = np.asarray(next(iter(floats.values())), np.float64).reshape(len(rows), -1)
    if metric == "agreement":
        return counted(rows.argmax(axis=1) == reference.argmax(axis=1))
    if metric == "cosine":
        norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(reference, axis=1)
        products = (rows * reference).sum(axis=1)
        cosines = np.where(norms > 0, products / np.where(norms > 0, norms, 1), 1)
        return Score(float(cosines.mean()), len(rows))
    noise = float(((rows - reference) ** 2).sum())
    signal = float((reference**2).sum())
    if noise == 0 or signal == 0:
        return Score(_MOST_DB if noise == 0 else -_MOST_DB, len(rows))
    return Score(max(-_MOST_DB, min(_MOST_DB, 10 * log10(signal / noise))), len(rows))


def counted(hits: npt.NDArray[np.bool_]) -> Score:
    """The score of a metric that counts samples, from what it says of each."""
    return Score(float(hits.mean()), len(hits), np.packbits(hits).tobytes().hex())


def unpacked_hits(known: Score) -> npt.NDArray[np.bool_]:
    """What a counting metric says of each sample: inverse of :func:`counted`."""
    packed = np.frombuffer(bytes.fromhex(known.hits), np.uint8)
    return np.unpackbits(packed, count=known.samples).astype(bool)


def _hits(
    rows: npt.NDArray[np.float64], labels: npt.NDArray[Any] | None, best: int
) -> npt.NDArray[np.bool_]:
    if labels is None or labels.shape != (len(rows),) or labels.dtype.kind not in "iu":
        shown = "missing" if labels is None else f"{labels.dtype}{list(labels.shape)}"
        raise InputError(
            f"evaluation data: labels 'y' are {shown}; int64[{len(rows)}] is needed",
            hint="add y, or choose --metric agreement",
        )
    if not 0 <= int(labels.min()) <= int(labels.max()) < rows.shape[1]:
        raise InputError(
            f"evaluation data: labels 'y' reach from {labels.min()} to {labels.max()}; the model "
            f"has {rows.shape[1]} classes"
        )
    # A stable order gives equal scores the rank of the smaller class.
    ranked = np.argsort(-rows, axis=1, kind="stable")[:, :best]
    hits: npt.NDArray[np.bool_] = (ranked == labels[:, None]).any(axis=1)
    return hits


def _user_metric(name: str) -> Callable[[Arrays, npt.NDArray[Any] | None], float]:
    try:
        found = load_named(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"metric {name!r}: {error}",
            hint="module:function, the module in the working folder or installed",
        ) from error

    def measure(outputs: Arrays, labels: npt.NDArray[Any] | None) -> float:
        value = float(found(outputs, labels))
        if not np.isfinite(value):
            raise InputError(f"metric {name!r} gave {value}; a finite number is needed")
        return value

    return measure


def float_outputs(graph: Graph, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Outputs of the float model for all samples."""
    names = [name for name in graph.outputs if name not in graph.constants]
    session = FloatSession(graph, names)
    batch = model_batch(graph)
    count = len(next(iter(inputs.values())))
    runs = [
        session.run({name: array[first : first + batch] for name, array in inputs.items()})
        for first in range(0, count, batch)
    ]
    return {name: np.concatenate([run[name] for run in runs]) for name in names}
