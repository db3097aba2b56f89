"""Accuracy of schemes on one set of samples, in stages: few samples first, all for those that
matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.exam import Sameness, make_exam
from compiler_core.accuracy.float_model import float_outputs, stacked
from compiler_core.accuracy.judge import Judge
from compiler_core.accuracy.tally import chosen_samples
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, model_batch
from compiler_core.graph.text import graph_digest
from compiler_core.quantize.accuracy import Accuracy, measure
from compiler_core.quantize.apply import AppliedScheme, apply_profile
from compiler_core.quantize.profile import Profile, samples_digest
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.text import quantized_digest
from compiler_core.quantize.unit_arithmetics import Computing
from nest_tune.scheme_search.accuracy_cache import AccuracyCache
from nest_tune.stores.reconstruction_store import stored_reconstruction

Samples = Mapping[str, npt.NDArray[Any]]


class Stage(Enum):
    """How many samples an evaluation takes."""

    PROXY = 16
    SUBSET = 64
    FULL = 0
    """All of them."""


class SchemeEvaluator:
    """Evaluates schemes of one model.

    Args:
        graph: The float graph, simplified.
        assignment: Unit per node.
        profile: Statistics of that graph.
        samples: Inputs; the first ones make the smaller stages, spread over all.
        labels: ``int64[samples]`` or ``None``: then agreement with the float model counts.
        output: The only output that counts; by default all that are computed.
        cache: Accuracies of earlier evaluations.
        threads: Threads of onnxruntime.

    Raises:
        InputError: Samples, labels or profile do not fit the graph, or there is no such output.
    """

    def __init__(
        self,
        graph: Graph,
        assignment: Mapping[str, str],
        profile: Profile,
        samples: Samples,
        labels: npt.NDArray[Any] | None,
        *,
        output: str | None = None,
        arithmetic: Computing | None = None,
        cache: AccuracyCache | None = None,
        threads: int = 1,
    ) -> None:
        profile.check_model(graph)
        self.graph, self.assignment, self.profile = graph, dict(assignment), profile
        self.arithmetic = arithmetic
        self.samples, self.labels = samples, labels
        self._exam = make_exam(graph, None, labelled=labels is not None, output=output)
        self._cache = cache or AccuracyCache()
        self._threads = threads
        self._count = check_samples(graph, samples)
        self._exam.check_labels(labels, self._count)
        self._batch = model_batch(graph)
        self._data_digest = samples_digest(samples)
        if labels is not None:
            self._data_digest += samples_digest({"labels": labels})
        self._graph_digest = graph_digest(graph)
        self._expected: dict[str, npt.NDArray[Any]] | None = None

    @property
    def judges(self) -> Mapping[str, Judge]:
        """Of the outputs that count."""
        return self._exam.judges

    @property
    def expected(self) -> dict[str, npt.NDArray[Any]]:
        """Outputs of the float model for all samples.

        Raises:
            InputError: They are not finite, or labels tell nothing apart in them.
        """
        if self._expected is None:
            self._expected = float_outputs(self.graph, self.samples, list(self.judges))
            sameness = Sameness(self._exam)
            sameness.add(self._expected, self._count)
            sameness.check(self.labels)
        return self._expected

    def float_accuracy(self) -> Accuracy:
        """Of the float model."""
        expected = self.expected
        return measure(self.judges, expected, expected, self.labels, self._count)

    def apply(self, scheme: QuantizationScheme) -> AppliedScheme:
        """The quantized graph of ``scheme``.

        Raises:
            InputError: The scheme does not fit the model or the profile.
        """
        kept = stored_reconstruction(self.profile, scheme)
        return apply_profile(
            self.graph, self.assignment, self.profile, scheme, kept, self.arithmetic
        )

    def evaluate(self, scheme: QuantizationScheme, stage: Stage = Stage.FULL) -> Accuracy:
        """Accuracy of ``scheme``.

        Raises:
            InputError: The scheme does not fit the model, or labels do not fit.
        """
        applied = self.apply(scheme)
        text = (
            self._graph_digest,
            quantized_digest(applied.quantized),
            self._data_digest,
            *self.judges,
            stage.name,
        )
        key = hashlib.sha256("\n".join(text).encode()).hexdigest()
        known = self._cache.get(key)
        if known is not None:
            return known
        chosen = self.chosen(stage)
        inputs = {name: array[chosen] for name, array in self.samples.items()}
        executor = ReferenceExecutor(applied.quantized, threads=self._threads)
        labels = None if self.labels is None else self.labels[chosen]
        expected = chosen_samples(self.expected, self._count, chosen)
        ours = stacked(self.graph, executor.run(inputs), list(self.judges), len(chosen))
        found = measure(self.judges, ours, expected, labels, len(chosen))
        self._cache.put(key, found)
        return found

    def chosen(self, stage: Stage) -> npt.NDArray[np.int64]:
        """Indices of the samples of ``stage``, spread evenly, in whole runs of the model."""
        runs = self._count // self._batch
        wanted = runs if stage is Stage.FULL else min(runs, -(-stage.value // self._batch))
        starts = np.arange(wanted) * runs // wanted * self._batch
        return (starts[:, None] + np.arange(self._batch)).reshape(-1)
