"""What a study stands on: model, target and space, and digests of all that trials depend on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from compiler_core.accuracy.samples import Arrays
from compiler_core.clock.choices import RuntimeChoices
from compiler_core.clock.machine import ClockMachine, this_machine
from compiler_core.compile.for_target import fitted
from compiler_core.compile.open_shapes import load_with_samples
from compiler_core.compile.sources import FloatModel, read_samples
from compiler_core.configuration.launches import APART, MERGED
from compiler_core.configuration.runtime import RUNTIME
from compiler_core.files.file_digest import file_digest
from compiler_core.files.npz import npz_shapes
from compiler_core.files.plain import from_plain
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, model_batch
from compiler_core.partition.best import planned_assignment
from compiler_core.partition.plan import read_plan
from compiler_core.precision.table import FormatCosts
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.calibration_warnings import calibration_warnings
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.scheme import QuantizationScheme, read_scheme
from compiler_core.quantize.sensitivity import layer_macs
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import lowering_versions
from compiler_core.tensor.digest import digest
from nest_tune.board_measurers import load_measurer
from nest_tune.bundling import is_bundle_target
from nest_tune.stores.default_scheme import default_choice, known_choice
from nest_tune.stores.measured_formats import Offers, choices_of, measured_costs
from nest_tune.stores.profile_store import known_profile, stored_profile
from nest_tune.study.proposals.narrowing import narrowed
from nest_tune.study.proposals.outer_space import FIRST_SCHEME, make_space
from nest_tune.study.request.goals import aims_of
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.examination import examined
from nest_tune.study.store.ground import Ground, digest_of_file, measured_as
from nest_tune.study.store.source_ground import survey_sources
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import StoredStudy
from nest_tune.study.store.taught import first_guesses, taught_schemes
from nest_tune.user_modules import module_files

_Kept = TypeVar("_Kept")


def _machine_of(target: Target) -> ClockMachine:
    """Where a target is timed.

    Raises:
        InputError: Its boards are not alike.
        MissingDependencyError: One cannot be reached, or lacks something.
    """
    if not target.board:
        return this_machine()
    from compiler_core.boards.timing import machine_of_boards  # few studies are for boards

    return machine_of_boards(target.board)


def survey_ground(
    settings: StudySettings,
    study: StoredStudy | None = None,
    *,
    rehearsed: bool = False,
    storage: StudyStorage | None = None,
) -> Ground:
    """Loads and checks what a study stands on.

    Args:
        settings: As asked for.
        study: Where it has been started before: what was found then is taken from it.
        rehearsed: Whether nothing that takes long is done: what has not been found out before about
            the calibration data is left out.
        storage: Of other studies, whose trials say what a new one tries first.

    Raises:
        InputError: A file is wrong, or does not fit the model or the metric.
        MissingDependencyError: The target's board cannot be reached.
    """
    data = settings.calibration or settings.evaluation
    sizes = None if data is None else lambda: npz_shapes(data)
    model, shapes = load_with_samples(Path(settings.model), settings.shapes, sizes)
    settings = replace(settings, shapes=shapes)
    if is_bundle_target(settings.target):
        return survey_sources(settings, model, study, rehearsed=rehearsed)
    target = load_target(settings.target)
    model = fitted(model, target)
    settings, told = examined(settings, model)
    default, warnings = _default_scheme(settings, model, target, study, rehearsed=rehearsed)
    formats, runtime = None, None
    offers: Offers = ()
    if study is not None:
        formats = _stored(study, "formats", FormatCosts)
        runtime = _stored(study, RUNTIME, RuntimeChoices)
    elif target.by_clock and not rehearsed:
        formats, default, offers = _measured_formats(settings, model, target, default)
    if formats is not None and runtime is None:
        runtime = choices_of(target.board)
    if study is None:
        guesses, lessons = first_guesses(storage, settings, model.digest)
    else:
        guesses, lessons = study.fixed("guesses"), ()
    whole = make_space(
        model.graph,
        target,
        quantization=settings.quantization,
        partition=settings.partition,
        plan=None if settings.plan is None else Path(settings.plan),
        guesses=guesses,
        default=default,
        joins_layers=settings.launches == MERGED,
        borders=settings.borders,
        aims=[metric.value for metric in aims_of(settings.objectives, settings.limits)],
        formats=formats,
        offers=offers,
        runtime=runtime,
        taught=lambda schemes: taught_schemes(schemes, lessons),
    )
    space = narrowed(whole, settings.values)
    digests = {
        "model": model.digest,
        "target": target.digest,
        "calibration": digest_of_file(settings.calibration),
        "evaluation": digest_of_file(settings.evaluation),
        "metric": measured_as(settings),
        "space": space.digest,
        "lowering": lowering_versions(target),
    }
    if target.by_clock and not (rehearsed and target.board):
        digests["machine"] = _machine_of(target).digest
    if settings.launches != APART:
        digests["launches"] = settings.launches
    if settings.holdout_file:
        digests["holdout"] = digest_of_file(settings.holdout_file)
    if settings.measurer:
        digests["measurer"] = load_measurer(settings.measurer).identity
    if modules := module_files((settings.metric, settings.measurer)):
        digests["modules"] = digest([file_digest(Path(path)) for path in modules], 64)
    told = (*told, *warnings)
    return Ground(settings, model, target, space, digests, default, told, formats, runtime)


def _stored(study: StoredStudy, key: str, kind: type[_Kept]) -> _Kept | None:
    """What was measured of the target's machine when the study was started."""
    plain = study.document.get(key)
    if plain is None:
        return None
    found: _Kept = from_plain(kind, plain, f"study {study.name!r}: {key}")
    return found


def _measured_formats(
    settings: StudySettings, model: FloatModel, target: Target, default: QuantizationScheme
) -> tuple[FormatCosts | None, QuantizationScheme, Offers]:
    """What number formats of operators cost on this machine or on boards, the scheme beside them,
    and plans to try first; none where the study does not search both, or has nothing to calibrate
    with."""
    if settings.calibration is None or not (settings.partition and settings.quantization):
        return None, default, ()
    samples = read_samples(Path(settings.calibration), model.graph)
    profile, threads = stored_profile(model.graph, samples), _threads(settings)
    graded = settings.evaluation is not None
    return measured_costs(model, profile, threads=threads, board=target.board, graded=graded)


def _threads(settings: StudySettings) -> int:
    """Threads that costs of number formats are measured with: those that the study is narrowed to,
    else the default's one."""
    given = settings.values.get(f"{RUNTIME}.threads", ())
    text = str(given[0]) if len(given) == 1 else ""
    return max(1, int(text)) if text.isascii() and text.isdigit() else 1


def _default_scheme(
    settings: StudySettings,
    model: FloatModel,
    target: Target,
    study: StoredStudy | None,
    *,
    rehearsed: bool,
) -> tuple[QuantizationScheme, tuple[str, ...]]:
    """The untuned default of quantization, as it was found when the study was started, and warnings
    of its calibration data."""
    if study is not None:
        return read_scheme(study.document.get("default_scheme", {}), "default_scheme"), ()
    if settings.calibration is None:
        return FIRST_SCHEME, ()
    samples = read_samples(Path(settings.calibration), model.graph)
    if rehearsed:
        known_before = profile_at_hand(model.graph, samples)
        if known_before is None:
            return FIRST_SCHEME, ()
        profile = known_before
    else:
        profile = stored_profile(model.graph, samples)
    warnings = calibration_warnings(model.graph, profile)
    if not target.npu_cores:
        return FIRST_SCHEME, warnings
    known = target_arithmetic(target)
    units = default_assignment(model.graph, arithmetic=known)
    if settings.plan is not None:
        planned = planned_assignment(
            read_plan(Path(settings.plan)),
            model.graph,
            target,
            joins_layers=settings.launches == MERGED,
        )
        units = dict(planned.units)
    pinned = settings.plan is not None
    if rehearsed:
        choice = known_choice(model.graph, units, profile, arithmetic=known, pinned=pinned)
        return FIRST_SCHEME if choice is None else choice.scheme, warnings
    found = default_choice(model.graph, units, profile, arithmetic=known, pinned=pinned)
    return found.scheme, warnings


_WORK = 1 << 33
"""Multiplications that a rehearsal spends on one thing, about: a second of one core."""


def runs_at_hand(graph: Graph, available: int) -> int:
    """Runs of the float model that take no longer than a rehearsal should, of those there are."""
    macs = sum(layer_macs(graph).values())
    return max(1, min(available, _WORK // max(1, macs)))


def profile_at_hand(graph: Graph, samples: Arrays) -> Profile | None:
    """The profile of calibration data where it is known or soon gathered."""
    count = check_samples(graph, samples) // model_batch(graph)
    if runs_at_hand(graph, 4 * count) == 4 * count:  # statistics take longer than the model
        return stored_profile(graph, samples)
    return known_profile(graph, samples)
