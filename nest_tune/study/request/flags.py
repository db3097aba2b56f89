"""Flags of a study, laid over the environment, the study file and the defaults.

Precedence: flag, then environment, then file, then default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from compiler_core.accuracy.metric import check_name
from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from nest_tune.named import NamedFile, named_by_lock
from nest_tune.runners.environment import passed
from nest_tune.study.request.durations import parse_duration, parse_timeout
from nest_tune.study.request.goals import (
    Direction,
    Limit,
    Metric,
    Objective,
    merged,
    parse_bounds,
    parse_constraint,
    parse_direction,
    parse_metric,
    parse_objective,
)
from nest_tune.study.request.limits import check_goals
from nest_tune.study.request.settings import StudySettings, storage_url
from nest_tune.study.request.study_file import (
    RUNNER_NAMES,
    SAMPLER_NAMES,
    StudyFile,
    read_study_file,
)


@dataclass(frozen=True)
class Flags:
    """What a study is asked for beside its file; ``None`` or empty where nothing was said.

    Attributes:
        name: Of the study.
        config: Path of a lock file: what it names stands in for what nobody says.
        model, calibration, evaluation, plan: Paths.
        target: Name or path.
        metric: Of accuracy: a name, or ``module:function``.
        judged_output: The only output that counts.
        measurer: Of latency and energy, by name.
        shapes: Of inputs with dynamic axes.
        objectives: As written, ``latency_ms:min``.
        constraints: As written, ``accuracy_drop<=0.01``.
        max_accuracy_drop: ``0.01``, ``1%`` or, for metrics in dB, ``1dB``: short for a constraint.
        spaces: Names of those that are searched.
        sampler, runner: Names.
        trials: Budget.
        timeout, trial_timeout: As written: ``90s``, ``10m`` or ``2h``.
        jobs, ray_address: Where trials run.
        storage: URL.
        seed: Of all random streams.
        pass_env: Variables that workers get, by name.
    """

    name: str | None = None
    config: str | None = None
    model: str | None = None
    target: str | None = None
    calibration: str | None = None
    evaluation: str | None = None
    metric: str | None = None
    judged_output: str | None = None
    measurer: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    objectives: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    max_accuracy_drop: str | None = None
    spaces: tuple[str, ...] | None = None
    plan: str | None = None
    sampler: str | None = None
    trials: int | None = None
    timeout: str | None = None
    trial_timeout: str | None = None
    jobs: int | None = None
    runner: str | None = None
    ray_address: str | None = None
    storage: str | None = None
    seed: int | None = None
    pass_env: tuple[str, ...] = ()


def resolve(file: Path | None, flags: Flags, environment: Mapping[str, str]) -> StudySettings:
    """Settings from all their sources.

    Raises:
        InputError: Something is wrong, missing or contradictory.
    """
    asked = _Asked.of(flags)
    read = StudyFile() if file is None else read_study_file(file)
    base = Path() if file is None else file.parent

    def path_of(flag: str | None, written: str | None) -> str | None:
        if flag is not None:
            return flag
        return None if written is None else str(base / written)

    named = None if flags.config is None else named_by_lock(Path(flags.config))
    model = path_of(flags.model, read.model.path) or _path(named.model if named else None)
    target = flags.target or read.target.name or path_of(None, read.target.path)
    target = target or (named.target if named else None)
    if model is None:
        raise InputError("study: no model", hint="--model resnet8.onnx, or path in [model]")
    if target is None:
        raise InputError("study: no target", hint="--target vta, or name in [target]")
    if flags.target is None and read.target.name and read.target.path:
        raise InputError(f"{file}: [target] has both name and path; one is needed")
    evaluation = path_of(flags.evaluation, read.data.evaluation)
    evaluation = evaluation or _path(named.evaluation if named else None, "--evaluation")
    calibration = path_of(flags.calibration, read.data.calibration)
    calibration = calibration or _path(named.calibration if named else None)
    spaces = _spaces(flags, read)
    trial_timeout_s = asked.trial_timeout_s or parse_duration(
        read.run.trial_timeout, f"{file}: run.trial_timeout"
    )
    timeout_s = asked.timeout_s
    if timeout_s is None and read.study.timeout is not None:
        timeout_s = parse_duration(read.study.timeout, f"{file}: study.timeout")
    objectives = asked.objectives or _objectives(read, file) or _default_objectives(evaluation)
    limits = _limits(asked.limits, read, file)
    metric = flags.metric or read.data.metric or (named.metric if named else "")
    if metric:
        check_name(metric)
    check_goals(objectives, limits, metric)
    _require_consistent(objectives, limits, evaluation)
    name = flags.name or read.study.name or f"{Path(model).stem}-{Path(target).stem}"
    _require_name(name)
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
        calibration=calibration,
        evaluation=evaluation,
        shapes=flags.shapes
        or {n: tuple(s) for n, s in read.model.shapes.items()}
        or (named.shapes if named else {}),
        metric=metric,
        judged_output=flags.judged_output or read.data.judged_output,
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
        pass_env=_passed(flags, read, environment),
        file=None if file is None else str(file),
    )


def _passed(flags: Flags, read: StudyFile, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Names of variables for workers, each once; that they are set is checked before all else."""
    names = tuple(dict.fromkeys([*read.run.pass_env, *flags.pass_env]))
    passed(names, environment)
    return names


def _path(file: NamedFile | None, option: str | None = None) -> str | None:
    """Where a file is that a lock file names."""
    if file is None:
        return None
    return str(replace(file, option=option or file.option).found())


@dataclass(frozen=True)
class _Asked:
    """What flags say as text, read before a file is opened: its errors come first."""

    limits: tuple[Limit, ...]
    objectives: tuple[Objective, ...]
    timeout_s: float | None
    trial_timeout_s: float | None

    @classmethod
    def of(cls, flags: Flags) -> _Asked:
        limits = [parse_constraint(text) for text in flags.constraints]
        if (drop := flags.max_accuracy_drop) is not None:
            where = f"--max-accuracy-drop {drop}"
            limits.append(parse_bounds(Metric.ACCURACY_DROP, f"<= {drop}", where))
        return cls(
            tuple(limits),
            tuple(parse_objective(text) for text in flags.objectives),
            parse_timeout(flags.timeout, "--timeout"),
            parse_timeout(flags.trial_timeout, "--trial-timeout"),
        )


def _default_objectives(evaluation: str | None) -> tuple[Objective, ...]:
    """Latency, and accuracy where it can be known."""
    latency = Objective(Metric.LATENCY_MS, Direction.MINIMIZE)
    accuracy = Objective(Metric.ACCURACY, Direction.MAXIMIZE)
    return (latency,) if evaluation is None else (latency, accuracy)


def _require_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(
            f"study name {name!r}: letters, digits, '.', '_' and '-' are allowed, at most 100"
        )


def _require_known(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise InputError(
            f"{what} {name!r}; allowed are {', '.join(known)}", hint=did_you_mean(name, known)
        )


def _spaces(flags: Flags, read: StudyFile) -> tuple[str, ...]:
    names = ("quantization", "partition", "tiling")
    if flags.spaces is not None:
        for space in flags.spaces:
            if space not in names:
                raise InputError(
                    f"--space {space}: allowed are {', '.join(names)}",
                    hint=did_you_mean(space, names),
                )
        return flags.spaces
    return tuple(name for name in names if getattr(read.spaces, name))


def _objectives(read: StudyFile, file: Path | None) -> tuple[Objective, ...]:
    return tuple(
        Objective(
            parse_metric(name, f"{file}: objectives"),
            parse_direction(direction, f"{file}: objectives.{name}"),
            name,
        )
        for name, direction in read.objectives.items()
    )


def _limits(asked: Sequence[Limit], read: StudyFile, file: Path | None) -> tuple[Limit, ...]:
    """Flags replace what the file says of the same metric."""
    given = merged(asked)
    named = {limit.metric for limit in given}
    written = []
    for name, text in read.constraints.items():
        metric = parse_metric(name, f"{file}: constraints")
        if metric not in named:
            limit = parse_bounds(metric, text, f"{file}: constraints.{name}")
            written.append(replace(limit, name=name))
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
