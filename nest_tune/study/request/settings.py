"""What a study was asked for, as plain values that are stored; what of it a resume may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from compiler_core.configuration.launches import APART
from compiler_core.errors import InputError
from nest_tune.records.storage_url import StorageUrl
from nest_tune.runners.runner import DEFAULT_RUNNER
from nest_tune.samplers.registry import DEFAULT_SAMPLER
from nest_tune.study.request.goals import Direction, Limit, Objective, TrialMetric, parse_bounds

DEFAULT_WINDOW = 8
"""Where nobody says another one; never depends on the number of workers."""

DEFAULT_STORAGE = StorageUrl("sqlite:///nest-tune.db")


TRIAL_TIMEOUT = "NEST_TUNE_TRIAL_TIMEOUT"
"""Variable of the environment that says how long one call of a trial may take."""


@dataclass(frozen=True)
class StudySettings:
    """A study as asked for.

    Attributes:
        name: Of the study; empty for one with model, target and a number.
        seed: Of all its random streams.
        trials: Budget of outer trials, with trial 0.
        timeout_s: Budget of time.
        model, calibration, evaluation: Files.
        shapes: Of inputs with dynamic axes.
        target: Name or file.
        metric: Of accuracy; empty for what follows from labels and outputs.
        holdout: Share of the evaluation data that only reports; ``None`` for what follows from
            their number.
        holdout_file: Data of their own that only report.
        risk: Chance that a limit on accuracy does not hold on other samples, from which it is
            judged; ``None``: by what was measured.
        judged_output: The only output that counts; ``None`` for all.
        measurer: Of latency and energy, by name; empty for the simulator.
        launches: ``apart`` or ``merged``: whether layers that follow one another are one program.
        objectives, limits: What for.
        quantization, partition, tiling, borders: Which spaces are searched.
        plan: File of a plan that pins the partition.
        sampler: Name.
        arguments: Of the sampler.
        values: What decisions are narrowed to, by name: values as they are shown.
        window: How many trials before it a proposal sees no results of; of an asynchronous study,
            how many are in flight at most.
        asynchronous: Whether proposals see whatever has finished.
        runner, jobs, ray_address: Where trials run; 0 jobs for all that a cluster has.
        storage: URL; what is stored of it has no secrets.
        trial_timeout_s: Of one call of a trial; ``None``: by what others have taken.
        pass_env: Variables of the environment that workers get beside the usual ones.
        file: The study file.
        pick: Rule by which a trial is chosen; empty for the one that follows from the limits.
        output: Folder that the chosen trial is compiled to; empty for none.
    """

    name: str
    model: str
    target: str
    seed: int = 0
    trials: int = 200
    timeout_s: float | None = None
    calibration: str | None = None
    evaluation: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    metric: str = ""
    holdout: float | None = None
    holdout_file: str | None = None
    risk: float | None = None
    judged_output: str | None = None
    measurer: str = ""
    objectives: tuple[Objective, ...] = ()
    limits: tuple[Limit, ...] = ()
    quantization: bool = True
    partition: bool = True
    tiling: bool = True
    borders: bool = False
    plan: str | None = None
    sampler: str = DEFAULT_SAMPLER
    arguments: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    window: int = DEFAULT_WINDOW
    asynchronous: bool = False
    runner: str = DEFAULT_RUNNER
    jobs: int = 1
    ray_address: str | None = None
    storage: StorageUrl = DEFAULT_STORAGE
    trial_timeout_s: float | None = None
    pass_env: tuple[str, ...] = ()
    file: str | None = None
    pick: str = ""
    output: str = ""
    launches: str = APART  # of studies that knew no other


PLACES = ("model", "target", "calibration", "evaluation", "holdout_file")
"""Settings that say where something lies: its digest is compared, not its place."""

FREE = frozenset(
    ("name", "trials", "timeout_s", "runner", "jobs", "ray_address", "storage", "trial_timeout_s")
) | {"file", "pass_env", "pick", "output", *PLACES}
"""Settings that may change between a start and a resume: they don't change what a trial is."""


def settings_document(settings: StudySettings) -> dict[str, Any]:
    """Settings as plain values."""
    document = {f.name: getattr(settings, f.name) for f in fields(settings)}
    document["shapes"] = {name: list(shape) for name, shape in settings.shapes.items()}
    document["objectives"] = [[o.metric.value, o.direction.value] for o in settings.objectives]
    document["storage"] = str(settings.storage)
    document["pass_env"] = list(settings.pass_env)
    document["arguments"] = dict(settings.arguments)
    document["values"] = {name: list(values) for name, values in settings.values.items()}
    document["limits"] = [[limit.metric.value, limit.text] for limit in settings.limits]
    return document


def read_settings_document(document: Mapping[str, Any]) -> StudySettings:
    """Inverse of :func:`settings_document`.

    Raises:
        InputError: It was written by another version.
    """
    known = {f.name for f in fields(StudySettings)}
    if unknown := sorted(set(document) - known):
        raise InputError(f"stored study: unknown settings {', '.join(unknown)}")
    values = dict(document)
    values["shapes"] = {name: tuple(shape) for name, shape in document["shapes"].items()}
    values["objectives"] = tuple(
        Objective(TrialMetric(metric), Direction(direction))
        for metric, direction in document["objectives"]
    )
    values["limits"] = tuple(
        parse_bounds(TrialMetric(metric), text, "stored study")
        for metric, text in document["limits"]
    )
    narrowed = document.get("values", {})
    values["values"] = {name: tuple(allowed) for name, allowed in narrowed.items()}
    values["storage"] = StorageUrl(document["storage"])
    values.setdefault("holdout", 0.0)  # of studies that knew none
    values["pass_env"] = tuple(document.get("pass_env", ()))
    return StudySettings(**values)


def differences(stored: StudySettings, wanted: StudySettings) -> list[str]:
    """What would make the trials of two studies differ, one line each."""
    old, new = settings_document(stored), settings_document(wanted)
    return [
        f"{name}: {old[name]!r} -> {new[name]!r}"
        for name in old
        if name not in FREE and old[name] != new[name]
    ]


def storage_url(
    flag: str | None, environment: Mapping[str, str], written: str | None = None
) -> StorageUrl:
    """The storage by precedence.

    Raises:
        InputError: It is no URL.
    """
    found = flag or environment.get("NEST_TUNE_STORAGE") or written
    return DEFAULT_STORAGE if found is None else StorageUrl(found)
