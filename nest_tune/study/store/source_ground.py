"""What a study of generated sources stands on."""

from __future__ import annotations

from pathlib import Path

from compiler_core.clock.machine import this_machine
from compiler_core.compile.sources import FloatModel, read_samples
from compiler_core.errors import InputError
from compiler_core.files.file_digest import file_digest
from compiler_core.quantize.calibration_warnings import calibration_warnings
from compiler_core.targets.source_kinds import candidates_for
from compiler_core.tensor.digest import digest
from nest_tune.bundling import bundle_target, bundles_for, model_for_sources
from nest_tune.stores.profile_store import stored_profile
from nest_tune.study.proposals.narrowing import narrowed
from nest_tune.study.proposals.source_parts import FormPart, MemoryPart, PrecisionPart, RangingPart
from nest_tune.study.request.goals import TrialMetric
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.examination import examined
from nest_tune.study.store.ground import Ground, digest_of_file, measured_as
from nest_tune.study.store.source_forms import forms_needed, forms_of
from nest_tune.study.store.stored_study import StoredStudy
from nest_tune.user_modules import module_files
from search_spaces.joint import JointSpace, SpacePart


def survey_sources(
    settings: StudySettings,
    model: FloatModel,
    study: StoredStudy | None = None,
    *,
    rehearsed: bool = False,
) -> Ground:
    """Loads and checks what a study of generated sources stands on.

    Args:
        settings: As asked for.
        model: Loaded.
        study: Where it has been started before: what was found then is taken from it.
        rehearsed: Whether nothing that takes long is done: no default is tried.

    Raises:
        InputError: A file is wrong, or does not fit the model or the metric, the model cannot be
            written as sources, or something is asked for that sources do not have.
        MissingDependencyError: A compiler or emulator is not installed.
    """
    _require_sources(settings)
    search = candidates_for(settings.target)
    identity = search.identity(settings.target)
    model = model_for_sources(model)
    bundles_for(settings.target).require(model.graph)
    settings, told = examined(settings, model)
    if settings.calibration is None:
        raise InputError(
            "there are no calibration data, which int8 needs", hint="--calibration calib.npz"
        )
    samples = read_samples(Path(settings.calibration), model.graph)
    profile = stored_profile(model.graph, samples)
    parts: list[SpacePart] = []
    if settings.quantization:
        ranges = profile.ranges()
        forms = () if study is None else forms_of(study)
        if study is None and not rehearsed:
            forms = forms_needed(search, settings.target, model, ranges, samples)
        parts = [RangingPart(search.ranging()), *([FormPart(forms)] if forms else [])]
        if _asks_for_memory(settings):
            plans = search.memory_plans(model.graph, ranges, settings.target)
            parts += [MemoryPart(plans)] if len(plans) > 1 else []
        choices = search.precisions(model.graph, ranges)
        parts.append(PrecisionPart(choices, last_first=bool(forms)))
    space = narrowed(JointSpace(parts), settings.values)
    target = bundle_target(settings.target)
    digests = {
        "model": model.digest,
        "target": digest(target, 64),
        "calibration": digest_of_file(settings.calibration),
        "evaluation": digest_of_file(settings.evaluation),
        "metric": measured_as(settings),
        "space": space.digest,
        "sources": digest(identity, 32),
    }
    timed = search.metrics(settings.target)
    if "latency_ms" in timed and "cycles" not in timed:  # by this machine's clock
        digests["machine"] = this_machine().digest
    if settings.holdout_file:
        digests["holdout"] = digest_of_file(settings.holdout_file)
    if modules := module_files((settings.metric,)):
        digests["modules"] = digest([file_digest(Path(path)) for path in modules], 64)
    warnings = (*told, *calibration_warnings(model.graph, profile))
    return Ground(settings, model, target, space, digests, warnings=warnings)


def _asks_for_memory(settings: StudySettings) -> bool:
    """Whether RAM is to be small, or limited."""
    asked = (*(o.metric for o in settings.objectives), *(x.metric for x in settings.limits))
    return TrialMetric.RAM_PEAK_BYTES in asked


def _require_sources(settings: StudySettings) -> None:
    """Refuses what generated sources do not have.

    Raises:
        InputError: Something of it is asked for.
    """
    where = f"target {settings.target!r} takes generated sources"
    if settings.plan is not None:
        raise InputError(f"{where}: there is nothing to plan")
    if settings.measurer:
        raise InputError(f"{where}, which no measurer runs: {settings.measurer!r}")
