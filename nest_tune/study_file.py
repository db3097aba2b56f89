"""Study files: what a user writes, checked, and with flags and environment laid over it.

Precedence: flag, then environment, then file, then default. Paths in a file are relative to the
folder of the file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compiler_core.errors import InputError
from nest_tune.study.goals import (
    Direction,
    Limit,
    Metric,
    Objective,
    merged,
    nearest,
    parse_bounds,
    parse_constraint,
    parse_direction,
    parse_metric,
    parse_objective,
)

SAMPLER_NAMES = ("xgb", "tpe", "nsga2", "random", "exhaustive")
RUNNER_NAMES = ("local", "ray", "replay")
METRIC_NAMES = ("top1", "top5", "agreement", "sqnr_db", "cosine")
DEFAULT_STORAGE = "sqlite:///nest-tune.db"
_BYTES_MAX = 1 << 20


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Study(_Section):
    name: str | None = None
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    trials: int = Field(default=200, ge=1, le=1_000_000)
    timeout: str | None = None


class _Model(_Section):
    path: str | None = None
    shapes: dict[str, list[int]] = {}


class _Target(_Section):
    name: str | None = None
    path: str | None = None
    measurer: str | None = None


class _Data(_Section):
    calibration: str | None = None
    evaluation: str | None = None
    metric: str | None = None


class _Spaces(_Section):
    quantization: bool = True
    partition: bool = True
    tiling: bool = True
    plan: str | None = None


class _Sampler(_Section):
    name: Literal["xgb", "tpe", "nsga2", "random", "exhaustive"] = "xgb"


class _Run(_Section):
    runner: Literal["local", "ray", "replay"] = "local"
    jobs: int | None = Field(default=None, ge=1, le=4096)
    storage: str | None = None
    trial_timeout: str = "60s"
    ray_address: str | None = None


class _File(_Section):
    study: _Study = _Study()
    model: _Model = _Model()
    target: _Target = _Target()
    data: _Data = _Data()
    objectives: dict[str, str] = {}
    constraints: dict[str, str] = {}
    spaces: _Spaces = _Spaces()
    sampler: _Sampler = _Sampler()
    run: _Run = _Run()


@dataclass(frozen=True)
class StudySettings:
    """A study as asked for.

    Attributes:
        name: Of the study.
        seed: Of all its random streams.
        trials: Budget of outer trials, with trial 0.
        timeout_s: Budget of time.
        model, calibration, evaluation: Files.
        shapes: Of inputs with dynamic axes.
        target: Name or file.
        metric: Of accuracy.
        measurer: Of latency and energy, by name; empty for the simulator.
        objectives, limits: What for.
        quantization, partition, tiling: Which spaces are searched.
        plan: File of a plan that pins the partition.
        sampler: Name.
        runner, jobs, ray_address: Where trials run; 0 jobs for all that a cluster has.
        storage: URL.
        trial_timeout_s: Of one call of a trial.
        file: The study file.
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
    metric: str = "top1"
    measurer: str = ""
    objectives: tuple[Objective, ...] = ()
    limits: tuple[Limit, ...] = ()
    quantization: bool = True
    partition: bool = True
    tiling: bool = True
    plan: str | None = None
    sampler: str = "xgb"
    runner: str = "local"
    jobs: int = 1
    ray_address: str | None = None
    storage: str = DEFAULT_STORAGE
    trial_timeout_s: float = 60.0
    file: str | None = None


FREE = frozenset(
    ("name", "trials", "timeout_s", "runner", "jobs", "ray_address", "storage", "trial_timeout_s")
) | {"file"}
"""Settings that may change between a start and a resume: they don't change what a trial is."""


def settings_document(settings: StudySettings) -> dict[str, Any]:
    """Settings as plain values."""
    document = {f.name: getattr(settings, f.name) for f in fields(settings)}
    document["shapes"] = {name: list(shape) for name, shape in settings.shapes.items()}
    document["objectives"] = [[o.metric.value, o.direction.value] for o in settings.objectives]
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
        Objective(Metric(metric), Direction(direction))
        for metric, direction in document["objectives"]
    )
    values["limits"] = tuple(
        parse_bounds(Metric(metric), text, "stored study") for metric, text in document["limits"]
    )
    return StudySettings(**values)


def differences(stored: StudySettings, wanted: StudySettings) -> list[str]:
    """What would make the trials of two studies differ, one line each."""
    old, new = settings_document(stored), settings_document(wanted)
    return [
        f"{name}: {old[name]!r} -> {new[name]!r}"
        for name in old
        if name not in FREE and old[name] != new[name]
    ]


def read_study_file(path: Path) -> _File:
    """Reads a study file.

    Raises:
        InputError: It cannot be read, or a key or value is wrong; names the nearest known one.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > _BYTES_MAX:
        raise InputError(f"{path}: more than {_BYTES_MAX} bytes")
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a TOML file: {error}") from error
    try:
        return _File.model_validate(document)
    except ValidationError as error:
        raise _first_error(error, path) from error


def file_document(path: Path) -> dict[str, Any]:
    """What a study file says about the search itself, by dotted key; budgets and places where work
    is done are left out.

    Raises:
        InputError: As :func:`read_study_file`.
    """
    document = read_study_file(path).model_dump()
    document.pop("run")
    for name in ("name", "trials", "timeout"):
        document["study"].pop(name)
    return {f"{table}.{key}": v for table, values in document.items() for key, v in values.items()}


def _first_error(error: ValidationError, path: Path) -> InputError:
    found = error.errors()[0]
    place = ".".join(map(str, found["loc"]))
    where = f"{path}: {place}"
    if found["type"] == "extra_forbidden":
        known = _known_keys(found["loc"][:-1])
        key = str(found["loc"][-1])
        near = get_close_matches(key, known, 1, 0.5)
        return InputError(
            f"{path}: unknown key {place}; known are {', '.join(known)}",
            hint=f"did you mean {near[0]!r}?" if near else _elsewhere(key),
        )
    if found["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(found.get("ctx", {}).get("expected", "")))
        hint = nearest(str(found["input"]), allowed)
        return InputError(
            f"{where}: {found['input']!r}; allowed are {', '.join(allowed)}", hint=hint
        )
    text = found["msg"][0].lower() + found["msg"][1:]
    return InputError(f"{where}: {found['input']!r}: {text}")


def _known_keys(place: Sequence[Any]) -> list[str]:
    model: Any = _File
    for name in place:
        model = model.model_fields[str(name)].annotation
    return list(model.model_fields)


def _elsewhere(key: str) -> str | None:
    for name, section in _File.model_fields.items():
        keys = getattr(section.annotation, "model_fields", {})
        if key in keys:
            return f"{key!r} belongs in [{name}]"
    return None


@dataclass(frozen=True)
class Flags:
    """What the command line said; ``None`` or empty where it said nothing."""

    name: str | None = None
    model: str | None = None
    target: str | None = None
    calibration: str | None = None
    evaluation: str | None = None
    metric: str | None = None
    measurer: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    objectives: tuple[Objective, ...] = ()
    limits: tuple[Limit, ...] = ()
    spaces: tuple[str, ...] | None = None
    plan: str | None = None
    sampler: str | None = None
    trials: int | None = None
    timeout_s: float | None = None
    trial_timeout_s: float | None = None
    jobs: int | None = None
    runner: str | None = None
    ray_address: str | None = None
    storage: str | None = None
    seed: int | None = None


def with_texts(
    flags: Flags,
    *,
    objectives: Sequence[str] = (),
    constraints: Sequence[str] = (),
    max_accuracy_drop: str | None = None,
    timeout: str | None = None,
    trial_timeout: str | None = None,
) -> Flags:
    """Flags with those that users write as text.

    Args:
        flags: The others.
        objectives: ``latency_ms:min``.
        constraints: ``accuracy_drop<=0.01``.
        max_accuracy_drop: ``0.01`` or ``1%``: short for a constraint.
        timeout, trial_timeout: ``90s``, ``10m`` or ``2h``.

    Raises:
        InputError: One of them reads otherwise.
    """
    limits = [parse_constraint(text) for text in constraints]
    if max_accuracy_drop is not None:
        where = f"--max-accuracy-drop {max_accuracy_drop}"
        limits.append(parse_bounds(Metric.ACCURACY_DROP, f"<= {max_accuracy_drop}", where))
    return replace(
        flags,
        objectives=tuple(parse_objective(text) for text in objectives),
        limits=tuple(limits),
        timeout_s=None if timeout is None else parse_duration(timeout, "--timeout"),
        trial_timeout_s=(
            None if trial_timeout is None else parse_duration(trial_timeout, "--trial-timeout")
        ),
    )


def resolve(file: Path | None, flags: Flags, environment: Mapping[str, str]) -> StudySettings:
    """Settings from all their sources.

    Raises:
        InputError: Something is wrong, missing or contradictory.
    """
    read = _File() if file is None else read_study_file(file)
    base = Path() if file is None else file.parent

    def path_of(flag: str | None, written: str | None) -> str | None:
        if flag is not None:
            return flag
        return None if written is None else str(base / written)

    model = path_of(flags.model, read.model.path)
    target = flags.target or read.target.name or path_of(None, read.target.path)
    if model is None:
        raise InputError("study: no model", hint="--model resnet8.onnx, or path in [model]")
    if target is None:
        raise InputError("study: no target", hint="--target vta, or name in [target]")
    if flags.target is None and read.target.name and read.target.path:
        raise InputError(f"{file}: [target] has both name and path; one is needed")
    evaluation = path_of(flags.evaluation, read.data.evaluation)
    spaces = _spaces(flags, read)
    trial_timeout_s = flags.trial_timeout_s or parse_duration(
        read.run.trial_timeout, f"{file}: run.trial_timeout"
    )
    timeout_s = flags.timeout_s
    if timeout_s is None and read.study.timeout is not None:
        timeout_s = parse_duration(read.study.timeout, f"{file}: study.timeout")
    objectives = flags.objectives or _objectives(read, file)
    if not objectives:
        objectives = (Objective(Metric.LATENCY_MS, Direction.MINIMIZE),)
        if evaluation is not None:
            objectives += (Objective(Metric.ACCURACY, Direction.MAXIMIZE),)
    limits = _limits(flags, read, file)
    metric = flags.metric or read.data.metric or _default_metric(evaluation)
    _require_metric(metric)
    _require_consistent(objectives, limits, evaluation)
    name = flags.name or read.study.name or f"{Path(model).stem}-{Path(target).stem}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(
            f"study name {name!r}: letters, digits, '.', '_' and '-' are allowed, at most 100"
        )
    runner = flags.runner or read.run.runner
    sampler = flags.sampler or read.sampler.name
    _require_known("sampler", sampler, SAMPLER_NAMES)
    _require_known("runner", runner, RUNNER_NAMES)
    return StudySettings(
        name=name,
        model=model,
        target=target,
        seed=read.study.seed if flags.seed is None else flags.seed,
        trials=flags.trials or read.study.trials,
        timeout_s=timeout_s,
        calibration=path_of(flags.calibration, read.data.calibration),
        evaluation=evaluation,
        shapes=flags.shapes or {n: tuple(s) for n, s in read.model.shapes.items()},
        metric=metric,
        measurer=flags.measurer or read.target.measurer or "",
        objectives=objectives,
        limits=limits,
        quantization="quantization" in spaces,
        partition="partition" in spaces,
        tiling="tiling" in spaces,
        plan=path_of(flags.plan, read.spaces.plan),
        sampler=sampler,
        runner=runner,
        jobs=flags.jobs or read.run.jobs or (0 if runner == "ray" else 1),
        ray_address=flags.ray_address or environment.get("RAY_ADDRESS") or read.run.ray_address,
        storage=storage_url(flags.storage, environment, read.run.storage),
        trial_timeout_s=trial_timeout_s,
        file=None if file is None else str(file),
    )


def storage_url(
    flag: str | None, environment: Mapping[str, str], written: str | None = None
) -> str:
    """The storage by precedence."""
    return flag or environment.get("NEST_TUNE_STORAGE") or written or DEFAULT_STORAGE


def _default_metric(evaluation: str | None) -> str:
    """``top1`` where there are labels."""
    if evaluation is None:
        return "top1"
    from compiler_core.frontend import LABELS
    from compiler_core.npz import read_npz

    return "top1" if LABELS in read_npz(Path(evaluation), names=[LABELS]) else "agreement"


def _require_known(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise InputError(
            f"{what} {name!r}; allowed are {', '.join(known)}", hint=nearest(name, known)
        )


def _require_metric(metric: str) -> None:
    if metric not in METRIC_NAMES and not re.fullmatch(r"[\w.]+:\w+", metric):
        raise InputError(
            f"metric {metric!r}; allowed are {', '.join(METRIC_NAMES)} or module:function",
            hint=nearest(metric, METRIC_NAMES),
        )


def _spaces(flags: Flags, read: _File) -> tuple[str, ...]:
    names = ("quantization", "partition", "tiling")
    if flags.spaces is not None:
        for space in flags.spaces:
            if space not in names:
                raise InputError(
                    f"--space {space}: allowed are {', '.join(names)}", hint=nearest(space, names)
                )
        return flags.spaces
    return tuple(name for name in names if getattr(read.spaces, name))


def _objectives(read: _File, file: Path | None) -> tuple[Objective, ...]:
    return tuple(
        Objective(
            parse_metric(name, f"{file}: objectives"),
            parse_direction(direction, f"{file}: objectives.{name}"),
        )
        for name, direction in read.objectives.items()
    )


def _limits(flags: Flags, read: _File, file: Path | None) -> tuple[Limit, ...]:
    """Flags replace what the file says of the same metric."""
    given = merged(flags.limits)
    named = {limit.metric for limit in given}
    written = []
    for name, text in read.constraints.items():
        metric = parse_metric(name, f"{file}: constraints")
        if metric not in named:
            written.append(parse_bounds(metric, text, f"{file}: constraints.{name}"))
    return merged([*written, *given])


def _require_consistent(
    objectives: Sequence[Objective], limits: Sequence[Limit], evaluation: str | None
) -> None:
    metrics = [objective.metric for objective in objectives]
    for metric in metrics:
        if metrics.count(metric) > 1:
            raise InputError(f"objectives: {metric.value} is named twice")
    if Metric.ACCURACY in metrics and Metric.ACCURACY_DROP in metrics:
        raise InputError("objectives: accuracy and accuracy_drop are the same; one is needed")
    for metric in (*metrics, *(limit.metric for limit in limits)):
        if metric.needs_evaluation and evaluation is None:
            raise InputError(
                f"{metric.value} needs evaluation data",
                hint="--evaluation eval.npz, or evaluation in [data]",
            )


_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str, where: str) -> float:
    """``90s``, ``10m`` or ``2h`` in seconds.

    Raises:
        InputError: It reads otherwise or is 0.
    """
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds < 1e9:
        raise InputError(f"{where}: {text!r}; a duration such as 90s, 10m or 2h is needed")
    return seconds
