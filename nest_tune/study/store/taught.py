"""Which schemes a new study tries first: what studies of other models in its storage teach.

A scheme's accuracy says something beside that of another scheme where both were tried with one
plan, so each model gives the schemes of the plan that it tried most of them with, of its study that
tried most. Their values are translated to the decisions of the new study, and the order is that of
:func:`~nest_tune.samplers.transfer.taught_order`: nothing of it is learnt from the model itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.plain import to_plain
from nest_tune.runners.runner import RUNNERS
from nest_tune.samplers.transfer import taught_order
from nest_tune.study.request.goals import TrialMetric
from nest_tune.study.request.settings import StudySettings, differences
from nest_tune.study.store.resume import stored_settings
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import StoredStudy
from nest_tune.study.trial import Point
from search_spaces.quantization import QuantizationSpace

TAUGHT = 4
"""Schemes that are tried before the usual guesses."""

_FEWEST = 3
"""Schemes of one plan that teach an order."""
_MODELS = 32
"""Models that are learnt from, those of the newest studies."""
_KNOWN_ALIKE = 0.75
"""Share of the decisions that a study has to have, too."""

Scheme = tuple[tuple[str, str], ...]
"""Names and shown values of decisions."""
Lesson = Mapping[Scheme, float]
"""What each scheme of a model lost, negative: larger is better."""


def first_guesses(
    storage: StudyStorage | None, settings: StudySettings, model: str
) -> tuple[Mapping[str, Any] | None, tuple[Lesson, ...]]:
    """What a new study may begin with: guesses by part, where it repeats another one, and lessons.

    Args:
        storage: Where other studies are; ``None`` for nowhere.
        settings: Of the new study.
        model: Digest of its model.
    """
    if storage is None:
        return None, ()
    if not RUNNERS.get(settings.runner).computes:
        return repeated_guesses(storage, settings, model), ()
    return None, lessons_of(storage, model)


def lessons_of(storage: StudyStorage, model: str) -> tuple[Lesson, ...]:
    """What studies of other models have measured of schemes, by model.

    Args:
        storage: Where the studies are.
        model: Digest of the model that is not to be learnt from.
    """
    best: dict[str, dict[Scheme, float]] = {}
    for study in reversed(storage.scan()[0]):
        other = dict(study.document.get("digests", {})).get("model", "")
        if not other or other == model or (other not in best and len(best) == _MODELS):
            continue
        found = _lesson(storage, study)
        if len(found) >= max(_FEWEST, len(best.get(other, ())) + 1):
            best[other] = found
    return tuple(best[name] for name in sorted(best))


def taught_schemes(space: QuantizationSpace, lessons: Sequence[Lesson]) -> tuple[Point, ...]:
    """The schemes of a space that lessons speak for most, the best first.

    Args:
        space: Of the new study.
        lessons: From :func:`lessons_of`.
    """
    translated = [_translated(space, lesson) for lesson in lessons]
    sources = [source for source in translated if len(source) >= _FEWEST]
    candidates = sorted({point for source in sources for point in source})
    order = taught_order(candidates, sources)
    return tuple(candidates[number] for number in order[:TAUGHT])


def repeated_guesses(
    storage: StudyStorage, settings: StudySettings, model: str
) -> Mapping[str, Any] | None:
    """Guesses of the study that a replay repeats, ``None`` where there is none: what the storage
    teaches now is not what it taught then.

    Args:
        storage: Where studies are.
        settings: Of the new study.
        model: Digest of its model.
    """
    for study in storage.scan()[0]:
        digests = dict(study.document.get("digests", {}))
        if digests.get("model") == model and not differences(stored_settings(study), settings):
            found: Mapping[str, Any] | None = study.document.get("guesses")
            return found
    return None


def _lesson(storage: StudyStorage, study: StoredStudy) -> dict[Scheme, float]:
    """What the schemes lost that a study tried with one plan, the one with most of them."""
    parameters = study.document.get("parameters", [])
    prefix = f"{QuantizationSpace.name}."
    axes = [n for n, (name, _) in enumerate(parameters) if str(name).startswith(prefix)]
    try:
        trials = storage.trials(study) if axes else ()
    except InputError:  # damaged: it is named where studies are listed
        return {}
    plans: dict[tuple[int, ...], dict[Scheme, float]] = {}
    for trial in trials:
        lost = trial.metrics.get(TrialMetric.ACCURACY_DROP.value)
        if lost is None or not trial.outcome.is_measured:
            continue
        plan = tuple(index for n, index in enumerate(trial.point) if n not in axes)
        scheme = tuple(
            (str(parameters[n][0]).removeprefix(prefix), str(parameters[n][1][trial.point[n]]))
            for n in axes
        )
        plans.setdefault(plan, {})[scheme] = -lost
    return max(plans.values(), key=len, default={})


def _translated(space: QuantizationSpace, lesson: Lesson) -> dict[Point, float]:
    """A lesson by the points of a space; of schemes that are one point there the mean."""
    names = {parameter.name for parameter in space.parameters}
    values: dict[Point, list[float]] = {}
    for scheme, value in lesson.items():
        known = dict(scheme)
        if len(names & known.keys()) < _KNOWN_ALIKE * len(names):
            return {}
        point = []
        for parameter, usual in zip(space.parameters, space.default, strict=True):
            shown = [str(to_plain(v)) for v in parameter.values]
            here = known.get(parameter.name, shown[usual])
            if here not in shown:
                break
            point.append(shown.index(here))
        else:
            if space.is_legal(tuple(point)):
                values.setdefault(tuple(point), []).append(value)
    return {point: sum(own) / len(own) for point, own in values.items()}
