"""The check of a lock file: compile again, compare every number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from compiler_core.accuracy.metric import check_name, shown_name
from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.for_target import fitted
from compiler_core.compile.sources import (
    QuantizedModel,
    load_model,
    quantize_model,
)
from compiler_core.compile.unit_layers import model_layers, model_tasks
from compiler_core.configuration.configuration import Configuration, Subject, read_configuration
from compiler_core.configuration.lock import Lock, LockedLayer
from compiler_core.errors import InfeasibleError, InputError
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from nest_tune.ci.by_clock import (
    LATENCY,
    TOLERANCE,
    ClockCheck,
    compare_clock,
    with_enough_repeats,
    without_accuracy,
)
from nest_tune.ci.difference import Difference, parse_tolerances, within
from nest_tune.ci.examination import examination, require_same_data
from nest_tune.ci.lock import (
    ACCURACY_ENTRIES,
    LockSources,
    accuracy_of,
    constants_sha256,
    locked,
    locked_layers,
)
from nest_tune.ci.result import TOTALS, CheckResult
from nest_tune.ci.source_check import check_sources
from nest_tune.ci.source_lock import is_source_lock
from nest_tune.named import named_by_lock
from nest_tune.study.execution.scoring import accuracy_metrics, measure_all

Progress = Callable[[str], None]


def check(
    path: Path,
    data: Path | None,
    *,
    model: Path | None = None,
    calibration: Path | None = None,
    with_accuracy: bool = True,
    accept_data: bool = False,
    tolerances: Sequence[str] = (),
    progress: Progress = lambda _: None,
) -> CheckResult:
    """Compiles what a lock file says and compares.

    Args:
        path: The lock file.
        data: Evaluation data, else those that the lock names.
        model, calibration: Likewise.
        with_accuracy: Whether to compare the accuracy, where the lock holds one.
        accept_data: Whether other data than the lock's may be used, to be locked anew.
        tolerances: ``METRIC=2%``: how much a metric may differ, in the whole model and its layers.
        progress: Told what is being done.

    Raises:
        InputError: The lock file or what it names is wrong, or the data are not those of the lock.
    """
    if is_source_lock(path):
        return check_sources(
            path,
            data,
            model=model,
            with_accuracy=with_accuracy,
            accept_data=accept_data,
            tolerances=tolerances,
            progress=progress,
        )
    configuration, lock = _opened(path)
    layer_metrics = tuple(item.name for item in fields(LockedLayer))
    allowed = parse_tolerances(tolerances, (*configuration.measured, *layer_metrics))
    sources = _sources(path, configuration, lock, model, calibration)
    data = _data(path, configuration, data) if with_accuracy else None
    if data is not None:
        sources = _with_data(sources, lock, path, data, accept_data=accept_data)
    progress(f"importing {sources.model.name}")
    target = load_target(sources.target)
    source = fitted(load_model(sources.model, sources.shapes), target)
    exam, given = (
        (None, None)
        if sources.evaluation is None
        else examination(sources.evaluation, sources.metric, sources.judged_output, source)
    )
    subjects = tuple(
        _subjects(configuration, Subject(source.name, source.digest), Subject("", target.digest))
    )
    free = _for_any(configuration)
    compared: dict[str, tuple[str, ...]] = {}
    try:
        calibrated = sources.calibration_samples(source, free)
        quantized, lost = _without_lost_tasks(
            quantize_model(source, free, calibrated, arithmetic=target_arithmetic(target)),
            lock,
            target,
        )
        compiled = with_enough_repeats(compile_model(quantized, target, progress=progress))
    except InfeasibleError as error:
        failed = Difference("compile", "a package", error.message, _layer_of(error.message, lock))
        return CheckResult(path, {failed.where: ("compile",)}, (*subjects, failed), None)
    layers = locked_layers(compiled)
    differences = [*lost, *_layer_differences(lock.layers, layers)]
    for name in (*lock.layers, *(n for n in layers if n not in lock.layers)):
        compared[name] = tuple(f.name for f in fields(LockedLayer))
    measured: dict[str, float] = {}
    if exam is not None and given is not None:
        progress("measuring accuracy")
        own, floats = measure_all(exam, given, source.graph, quantized.quantized)
        measured = accuracy_metrics(exam.metric, own, floats)
        sources = replace(sources, metric=exam.metric, samples=given.samples)
    elif lock.evaluation:  # what was not measured again stays as it is
        measured = accuracy_of(configuration.measured, lock.metric)
    compiled = replace(compiled, configuration=replace(compiled.configuration, measured=measured))
    updated = locked(compiled, sources, path.absolute().parent)
    assert updated.lock is not None
    kept = _with_old_data(
        updated.lock, lock, calibration=sources.calibration is None, evaluation=data is None
    )
    updated = replace(updated, lock=kept)
    differences += subjects
    differences += _total_differences(configuration, compiled, updated)
    without = lock.metric if data is None else None
    compared[TOTALS] = _totals(configuration, updated, without)
    notes: tuple[str, ...] = ()
    if (clock := compiled.metrics.by_clock) is not None:
        timed = compare_clock(lock.clock, clock, allowed.pop(LATENCY, TOLERANCE), TOTALS)
        names = tuple(name for name in compared[TOTALS] if name != LATENCY)
        compared[TOTALS] = (*names, *timed.compared)
        differences, told = _by_clock(differences, timed, lock.metric)
        notes = (*timed.notes, *told)
    passed = tuple(item for item in differences if within(item, allowed))
    failed_ones = tuple(item for item in differences if not within(item, allowed))
    return CheckResult(path, compared, failed_ones, updated, passed, notes)


def _opened(path: Path) -> tuple[Configuration, Lock]:
    """The configuration of a lock file, its measurements under the names of its metric, and what it
    is locked with.

    Raises:
        InputError: It cannot be read, is none, or is of a metric that there is not.
    """
    configuration = read_configuration(path)
    lock = configuration.lock
    if lock is None:
        raise InputError(
            f"{path}: a configuration without [lock]: there is nothing to compare with",
            hint="nest-tune study export NAME -o best.toml writes one",
        )
    if lock.metric:
        try:
            check_name(lock.metric)
        except InputError as error:
            raise InputError(f"{path}: lock.metric: {error.message}", hint=error.hint) from error
    return _renamed(configuration, lock), lock


def _for_any(configuration: Configuration) -> Configuration:
    """A configuration that goes with every model and target: what differs is compared."""
    return replace(
        configuration,
        model=replace(configuration.model, digest=""),
        target=replace(configuration.target, digest=""),
    )


def _totals(before: Configuration, now: Configuration, without: str | None) -> tuple[str, ...]:
    """What is compared of a whole model, but for accuracy by the metric ``without``, which was not
    measured."""
    entries = () if without is None else ACCURACY_ENTRIES
    shown = {shown_name(entry, without or "") for entry in entries}
    names = dict.fromkeys((*before.measured, *now.measured))
    return ("model digest", "target digest", "constants", *(n for n in names if n not in shown))


def _with_old_data(now: Lock, before: Lock, *, calibration: bool, evaluation: bool) -> Lock:
    """A new lock with what the old one says of calibration and evaluation data that were not
    used."""
    if calibration:
        now = replace(
            now, calibration=before.calibration, calibration_digest=before.calibration_digest
        )
    if evaluation:
        now = replace(
            now,
            metric=before.metric,
            judged_output=before.judged_output,
            evaluation=before.evaluation,
            samples=before.samples,
            evaluation_file=before.evaluation_file,
        )
    return now


def _by_clock(
    differences: Sequence[Difference], timed: ClockCheck, metric: str
) -> tuple[list[Difference], tuple[str, ...]]:
    """Differences where latency is by the clock, and what is told of those that are none."""
    elsewhere = (LATENCY, "target digest")  # by the clock a target is wherever it runs
    found = [item for item in differences if item.metric not in elsewhere]
    found += timed.differences
    return (found, ()) if timed.is_kind else without_accuracy(found, metric)


def _sources(
    path: Path,
    configuration: Configuration,
    lock: Lock,
    model: Path | None,
    calibration: Path | None,
) -> LockSources:
    """What a lock was made from, with the calibration data where its scheme takes them again."""
    named = named_by_lock(path, configuration)
    needed = configuration.scheme.quantization().needs_statistics
    if calibration is None and named.calibration is not None and needed:
        calibration = named.calibration.found()
    return LockSources(
        model or named.model.found(),
        named.target,
        named.shapes,
        None,
        lock.metric,
        lock.judged_output,
        lock.samples,
        calibration,
    )


def _data(path: Path, configuration: Configuration, data: Path | None) -> Path | None:
    """Evaluation data: as given, else as the lock names them."""
    named = named_by_lock(path, configuration).evaluation
    if data is not None or named is None:
        return data
    try:
        return named.found()
    except InputError as error:
        hint = f"{error.hint}; or compare everything but the accuracy: --without-data"
        raise InputError(error.message, hint=hint) from error


def _with_data(
    sources: LockSources, lock: Lock, path: Path, data: Path, *, accept_data: bool
) -> LockSources:
    if not accept_data:
        require_same_data(data, lock.evaluation, path)
    return replace(sources, evaluation=data)


def _renamed(configuration: Configuration, lock: Lock) -> Configuration:
    """With the names that the lock's metric gives what was measured: older locks call all of it
    accuracy."""
    kept = {n: v for n, v in configuration.measured.items() if n not in ACCURACY_ENTRIES}
    found = accuracy_of(configuration.measured, lock.metric)
    return replace(configuration, measured={**kept, **found})


def _subjects(
    configuration: Configuration, model: Subject, target: Subject
) -> Iterator[Difference]:
    for kind, old, new in (
        ("model digest", configuration.model.digest, model.digest),
        ("target digest", configuration.target.digest, target.digest),
    ):
        if old and old != new:
            yield Difference(kind, old, new, TOTALS)


def _without_lost_tasks(
    quantized: QuantizedModel, lock: Lock, target: Target
) -> tuple[QuantizedModel, list[Difference]]:
    """Leaves out schedules of tasks that the model does not have (any more)."""
    configuration = quantized.configuration
    known = model_tasks(model_layers(quantized.quantized, target), target)
    lost = [name for name in configuration.schedules if name not in known]
    kept = {n: s for n, s in configuration.schedules.items() if n in known}
    found = [Difference("task", name, None, _layer_of(name, lock)) for name in lost]
    return replace(quantized, configuration=replace(configuration, schedules=kept)), found


def _layer_of(message: str, lock: Lock) -> str:
    """The first layer whose task a message names."""
    for name, layer in lock.layers.items():
        if layer.task and layer.task in message:
            return name
    return TOTALS


def _layer_differences(
    old: Mapping[str, LockedLayer], new: Mapping[str, LockedLayer]
) -> Iterator[Difference]:
    for name in (*old, *(name for name in new if name not in old)):
        before, now = old.get(name), new.get(name)
        if before is None or now is None:
            one = None if before is None else before.operator
            other = None if now is None else now.operator
            yield Difference("layer", one, other, name)
            continue
        for item in fields(LockedLayer):
            expected, measured = getattr(before, item.name), getattr(now, item.name)
            if expected != measured:
                yield Difference(item.name, expected, measured, name)


def _total_differences(
    configuration: Configuration, compiled: CompiledModel, updated: Configuration
) -> Iterator[Difference]:
    assert configuration.lock is not None
    constants = constants_sha256(compiled)
    if configuration.lock.constants != constants:
        yield Difference("constants", configuration.lock.constants, constants, TOTALS)
    for name in dict.fromkeys((*configuration.measured, *updated.measured)):
        expected, measured = configuration.measured.get(name), updated.measured.get(name)
        if expected != measured:
            yield Difference(name, expected, measured, TOTALS)
