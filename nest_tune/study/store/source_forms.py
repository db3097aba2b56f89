"""Which defaults with float32 a study of generated sources has to know: none where integers of 8
bits are good enough on the calibration data, as ``compile`` would find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from compiler_core.accuracy.float_model import float_outputs, stacked
from compiler_core.accuracy.judge import judges
from compiler_core.compile.sources import FloatModel
from compiler_core.graph.sampling import check_samples, choose, model_batch
from compiler_core.quantize.good_enough import reason_against
from compiler_core.quantize.quality import measured_runs, output_quality
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.facets.candidates import CandidateRequest, Candidates
from nest_tune.study.proposals.source_parts import FormPart
from nest_tune.study.store.stored_study import StoredStudy


def forms_needed(
    search: Candidates,
    target: str,
    model: FloatModel,
    ranges: Mapping[str, TensorRange],
    samples: Mapping[str, npt.NDArray[Any]],
) -> tuple[str, ...]:
    """The forms that :meth:`~compiler_core.units.facets.candidates.Candidates.forms` has of a
    model, where the usual one is not good enough on samples; else none.

    Args:
        search: Makes candidates.
        target: Name or path.
        model: As sources are written for it.
        ranges: Statistics of its activations.
        samples: Calibration data.
    """
    graph = model.graph
    found = search.forms(graph)
    if len(found) < 2:
        return ()
    request = CandidateRequest(graph, (model.name, model.digest), ranges, target)
    runs = measured_runs(graph, check_samples(graph, samples))
    part, count = choose(graph, samples, runs), len(runs) * model_batch(graph)
    known = judges(graph)
    names = list(known)
    ours = stacked(graph, search.make(request).outputs(part), names, count)
    theirs = stacked(graph, float_outputs(graph, part, names), names, count)
    qualities = [output_quality(known[name], ours[name], theirs[name], count) for name in names]
    return found if reason_against([one for one in qualities if one is not None]) else ()


def forms_of(study: StoredStudy) -> tuple[str, ...]:
    """The forms that a study was started with."""
    for name, values in study.document.get("parameters") or ():
        if name == f"{FormPart.name}.{FormPart.name}":
            return tuple(values)
    return ()
