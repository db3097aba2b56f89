"""How to do a study again: commands, and the versions it was reported with.

Every line runs as it stands, in the folder that the study was started in.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from math import isfinite
from pathlib import Path

from compiler_core.configuration.launches import MERGED
from compiler_core.errors import NestTuneError
from nest_tune.records.storage_url import StorageUrl
from nest_tune.study.proposals.narrowing import as_shown
from nest_tune.study.request.resolve import resolve
from nest_tune.study.request.settings import (
    DEFAULT_STORAGE,
    DEFAULT_WINDOW,
    StudySettings,
    differences,
)
from nest_tune.study.request.study_request import SPACES, StudyRequest
from nest_tune.study.store.marks import ASYNCHRONOUS, KEEPS_STATE, marks
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import OuterTrial
from nest_tune.study_command import plain_name, study_command

_LONGEST = 100
"""Letters of a name that a search is started under."""


def commands_for(result: StudyResult, trial: OuterTrial, storage: str) -> tuple[str, ...]:
    """Commands that make a trial's configuration, package and check again, from the study.

    Args:
        result: The study.
        trial: A measured one.
        storage: URL of its database.
    """
    name = result.study.name
    plain = plain_name(name)[:_LONGEST] or "study"
    lock = f"{plain}.toml"
    place = ["--storage", str(StorageUrl(storage))] if storage != DEFAULT_STORAGE else []
    return (
        study_command("export", f"{name}:{trial.number}", "-o", lock, *place),
        _line("compile", "--config", lock, "-o", f"{plain}-package"),
        _line("ci", "check", lock),
    )


def search_commands(result: StudyResult, chosen: OuterTrial | None) -> tuple[str, ...]:
    """Commands that search again, in a database of their own, which knows nothing yet; a trial of
    that search is shown where its number means the same."""
    settings = result.settings
    trials = str(max(len(result.trials), 1))
    name = plain_name(settings.name)[:_LONGEST] or "study"
    again = ["--storage", f"sqlite:///{name}-again.db"]
    budget = ["--seed", str(settings.seed), "--trials", trials]
    words = [settings.file] if _file_says_all(settings) and settings.file else _flags(settings)
    lines = [_line("study", "start", *words, *budget, "--name", name, *again)]
    if chosen is not None and not result.asked_for:
        lines.append(_line("study", "show", f"{name}:{chosen.number}", *again))
    return tuple(lines)


def search_note(result: StudyResult) -> str:
    """In what another search may differ; empty where it gives the same trials."""
    known = result.study.document.get("records", {}).get("count", 0)
    if asked := len(result.asked_for):
        return (
            f"The study was told to try {asked} configuration{'s' if asked > 1 else ''} "
            "(nest-tune study enqueue), which another search does not know: its trials differ."
        )
    if result.settings.measurer or result.settings.target == "host":
        return "What is measured by the clock differs from run to run, and so may the trials."
    if ASYNCHRONOUS in marks(result.study):
        return (
            "The study is asynchronous: proposals saw what had finished by then. That is kept with "
            "the trials: --runner replay under another name, in the same database, repeats it; a "
            "search from nothing gives other trials."
        )
    if KEEPS_STATE in marks(result.study):
        return "The sampler keeps a state of its own: another search may give other trials."
    if result.settings.tiling and known:
        return (
            f"The database held {known:,} measured schedules when this study was started; without "
            "them the search may tune otherwise, and its trials may differ."
        )
    return ""


def _line(*words: str) -> str:
    return " ".join(["nest-tune", *map(shlex.quote, words)])


def _file_says_all(settings: StudySettings) -> bool:
    """Whether the study file alone leads to these settings, budget and place aside."""
    if settings.file is None:
        return False
    asked = StudyRequest(name=settings.name, seed=settings.seed)
    try:
        found = resolve(Path(settings.file), asked, dict.fromkeys(settings.pass_env, ""))
    except (NestTuneError, OSError):
        return False
    places = all(
        _place(getattr(found, name)) == _place(getattr(settings, name))
        for name in ("model", "target", "calibration", "evaluation")
    )
    if found.holdout is None:  # what follows from the data, as it did
        found = replace(found, holdout=settings.holdout)
    return places and not differences(settings, found)


def _place(path: str | None) -> Path:
    return Path(path or "").resolve()


def _flags(settings: StudySettings) -> list[str]:
    """Settings as flags, all that make a trial what it is."""
    words = ["--model", settings.model, "--target", settings.target]
    for option, value in (
        ("--calibration", settings.calibration),
        ("--evaluation", settings.evaluation),
        ("--judged-output", settings.judged_output),
        ("--plan", settings.plan),
        ("--measurer", settings.measurer),
        ("--launches", "" if settings.launches == MERGED else settings.launches),
    ):
        words += [option, value] if value else []
    kept = settings.holdout_file or f"{settings.holdout or 0.0:g}"
    words += ["--holdout", kept] if settings.evaluation else []
    words += ["--risk", f"{settings.risk:g}"] if settings.risk is not None else []
    for name, shape in settings.shapes.items():
        words += ["--shape", f"{name}={','.join(map(str, shape))}"]
    for goal in settings.objectives:
        words += ["--objective", f"{goal.metric.value}:{goal.direction.value}"]
    for limit in settings.limits:
        unit = "dB" if limit.unit == "dB" else ""  # percentages are kept as shares
        if isfinite(limit.low):
            words += ["--constraint", f"{limit.metric.value}>={limit.low!r}{unit}"]
        if isfinite(limit.high):
            words += ["--constraint", f"{limit.metric.value}<={limit.high!r}{unit}"]
    for name in settings.pass_env:
        words += ["--pass-env", name]
    for name, values in settings.values.items():
        words += ["--value", f"{name}={','.join(map(as_shown, values))}"]
    for name, value in settings.arguments.items():
        words += ["--sampler-argument", f"{name}={json.dumps(value)}"]
    words += ["--window", str(settings.window)] if settings.window != DEFAULT_WINDOW else []
    words += ["--asynchronous"] if settings.asynchronous else []
    spaces = [name for name in SPACES if getattr(settings, name)]
    return [*words, "--metric", settings.metric, "--space", ",".join(spaces),
            "--sampler", settings.sampler]  # fmt: skip


def versions() -> dict[str, str]:
    import platform
    from importlib import metadata

    found = {"Python": platform.python_version()}
    for name in ("nest-tune", "numpy", "numba", "onnx", "onnxruntime", "optuna"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
