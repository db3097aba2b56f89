"""The check of a lock file of generated sources: build again, compare every number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from compiler_core.compile.sources import load_model
from compiler_core.errors import InfeasibleError
from nest_tune.bundling import model_for_sources
from nest_tune.ci.difference import Difference, parse_tolerances, within
from nest_tune.ci.examination import examination, require_same_data
from nest_tune.ci.lock import LockSources
from nest_tune.ci.result import TOTALS, CheckResult
from nest_tune.ci.source_lock import SOURCES, SourceLock, build_lock, lock_text, read_source_lock
from nest_tune.named import named_by

_INSTRUCTIONS = "instructions"


def check_sources(
    path: Path,
    data: Path | None,
    *,
    model: Path | None = None,
    with_accuracy: bool = True,
    accept_data: bool = False,
    tolerances: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> CheckResult:
    """Builds what a lock file says and compares.

    Args:
        path: The lock file.
        data: Evaluation data, else those that the lock names.
        model: Likewise.
        with_accuracy: Whether to compare the accuracy, where the lock holds one.
        accept_data: Whether other data than the lock's may be used, to be locked anew.
        tolerances: ``METRIC=2%``: how much a metric may differ, in the whole model and its layers.
        progress: Told what is being done.

    Raises:
        InputError: The lock file or what it names is wrong, or the data are not those of the lock.
        MissingDependencyError: The target's compiler or emulator are not installed.
    """
    known = read_source_lock(path)
    lock = known.lock
    allowed = parse_tolerances(tolerances, (*known.measured, _INSTRUCTIONS))
    named = named_by(path, lock)
    if not with_accuracy:
        data = None
    elif data is None and named.evaluation is not None:
        data = named.evaluation.found()
    elif data is not None and not accept_data:
        require_same_data(data, lock.evaluation, path)
    source_file = model or named.model.found()
    progress(f"importing {source_file.name}")
    source = model_for_sources(load_model(source_file, named.shapes))
    examined = None if data is None else examination(data, lock.metric, lock.judged_output, source)
    sources = LockSources(
        source_file,
        named.target,
        named.shapes,
        data,
        lock.metric,
        lock.judged_output,
        lock.samples,
    )
    progress("building the sources" + (" and measuring accuracy" if examined else ""))
    try:
        now = build_lock(path, source, sources, path.absolute().parent, examined)
    except InfeasibleError as error:
        failed = Difference("compile", "a package", error.message, TOTALS)
        return CheckResult(path, {TOTALS: ("compile",)}, (failed,), None)
    if data is None:
        now = _with_old_accuracy(now, known)
    differences = tuple(_differences(known, now))
    compared: dict[str, tuple[str, ...]] = dict.fromkeys(
        {**lock.layers, **now.lock.layers}, ("operator", _INSTRUCTIONS)
    )
    compared[TOTALS] = (SOURCES, *dict.fromkeys((*known.measured, *now.measured)))
    return CheckResult(
        path,
        compared,
        tuple(item for item in differences if not within(item, allowed)),
        None,
        tuple(item for item in differences if within(item, allowed)),
        updated_text=lock_text(path, now),
    )


def _with_old_accuracy(now: SourceLock, known: SourceLock) -> SourceLock:
    """What was not measured again stays as it is."""
    old = known.lock
    kept = replace(
        now.lock,
        metric=old.metric,
        judged_output=old.judged_output,
        evaluation=old.evaluation,
        samples=old.samples,
        evaluation_file=old.evaluation_file,
    )
    others = {n: v for n, v in known.measured.items() if n not in _COSTS}
    return SourceLock(kept, {**now.measured, **others})


_COSTS = ("constant_bytes", "flash_bytes", "instructions", "ram_peak_bytes")


def _differences(old: SourceLock, new: SourceLock) -> Iterator[Difference]:
    before, now = old.lock.layers, new.lock.layers
    for name in {**before, **now}:
        one, other = before.get(name), now.get(name)
        if one is None or other is None:
            gone = None if one is None else one.operator
            yield Difference("layer", gone, None if other is None else other.operator, name)
            continue
        if one.operator != other.operator:
            yield Difference("operator", one.operator, other.operator, name)
        if one.instructions != other.instructions:
            yield Difference(_INSTRUCTIONS, one.instructions, other.instructions, name)
    if old.lock.constants != new.lock.constants:
        yield Difference(SOURCES, old.lock.constants, new.lock.constants, TOTALS)
    for name in dict.fromkeys((*old.measured, *new.measured)):
        expected, measured = old.measured.get(name), new.measured.get(name)
        if expected != measured:
            yield Difference(name, expected, measured, TOTALS)
