"""How a study measures accuracy: settled and checked before anything runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from compiler_core.accuracy.holdout import split, usual_share
from compiler_core.accuracy.own_metric import load_own_metric
from compiler_core.accuracy.samples import read_evaluation
from compiler_core.accuracy.settle import settled_exam
from compiler_core.compile.sources import FloatModel
from compiler_core.errors import InputError
from compiler_core.quantize.finite_inputs import require_finite
from nest_tune.study.request.limits import check_goals
from nest_tune.study.request.settings import StudySettings
from nest_tune.user_modules import allow_folder, working_folder


def examined(settings: StudySettings, model: FloatModel) -> tuple[StudySettings, tuple[str, ...]]:
    """Settings with the metric that follows from data and outputs where none was asked for, and
    what to tell of it.

    Args:
        settings: As asked for.
        model: The model.

    Raises:
        InputError: Calibration or evaluation data do not fit the model, labels or metric do not fit
            its outputs, a limit has the wrong unit, or a user's metric cannot be imported.
    """
    graph = model.graph
    if settings.calibration is not None:
        require_finite(read_evaluation(Path(settings.calibration), graph), graph)
    if settings.evaluation is None:
        if settings.holdout or settings.holdout_file:
            hint = "--evaluation eval.npz"
            raise InputError("--holdout: there are no evaluation data", hint=hint)
        return replace(settings, metric=settings.metric or "top1", holdout=0.0), ()
    data = read_evaluation(Path(settings.evaluation), graph)
    exam, told = settled_exam(graph, data, settings.metric or None, settings.judged_output)
    check_goals(settings.objectives, settings.limits, exam.metric, settings.target)
    data.check(exam)
    require_finite(data, graph, judged=tuple(exam.judges))
    if exam.kind.is_function:
        allow_folder(working_folder())
        load_own_metric(exam.kind.function)
    share = usual_share(data) if settings.holdout is None else settings.holdout
    split(data, graph, share)
    if settings.holdout_file is not None:
        other = read_evaluation(Path(settings.holdout_file), graph)
        other.check(exam)
        require_finite(other, graph, judged=tuple(exam.judges))
    return replace(settings, metric=exam.metric, holdout=share), told
