"""What a study is asked for, laid over the environment, the study file and the defaults.

Precedence: flag, then environment, then file, then default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compiler_core.accuracy.metric import check_name
from compiler_core.boards.address import SEPARATOR, is_address, parse_addresses
from compiler_core.configuration.launches import launches_named
from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from nest_tune.named import NamedFile, named_by_lock
from nest_tune.runners.environment import passed
from nest_tune.runners.runner import RUNNERS
from nest_tune.samplers.registry import require_configuration_sampler
from nest_tune.study.request.durations import parse_duration, parse_timeout
from nest_tune.study.request.goals import (
    Limit,
    Objective,
    TrialMetric,
    UnknownMetricError,
    merged,
    parse_bounds,
    parse_constraint,
    parse_direction,
    parse_metric,
    parse_objective,
)
from nest_tune.study.request.limits import check_goals
from nest_tune.study.request.measured import default_objectives, on_target, require_measured
from nest_tune.study.request.settings import (
    TRIAL_TIMEOUT,
    StudySettings,
    storage_url,
)
from nest_tune.study.request.shares import parse_holdout, parse_risk
from nest_tune.study.request.study_file import StudyFile, read_study_file
from nest_tune.study.request.study_request import SPACES, StudyRequest, as_values


def resolve(
    file: Path | None, asked: StudyRequest, environment: Mapping[str, str]
) -> StudySettings:
    """Settings from all their sources.

    Raises:
        InputError: Something is wrong, missing or contradictory.
    """
    try:
        return _resolved(file, asked, environment)
    except UnknownMetricError as error:
        read = StudyFile() if file is None else read_study_file(file)
        base = Path() if file is None else file.parent
        target = asked.target or _written_target(read, file, base)
        if target is None:
            raise
        raise on_target(error, target, _measurer(asked, read)) from error


def _resolved(
    file: Path | None, asked: StudyRequest, environment: Mapping[str, str]
) -> StudySettings:
    parsed = _Parsed.of(asked)
    read = StudyFile() if file is None else read_study_file(file)
    base = Path() if file is None else file.parent

    def path_of(flag: str | None, written: str | None) -> str | None:
        if flag is not None:
            return flag
        return None if written is None else str(base / written)

    named = None if asked.config is None else named_by_lock(Path(asked.config))
    model = path_of(asked.model, read.model.path) or _path(named.model if named else None)
    written = _written_target(read, file, base)
    target = asked.target or written
    target = target or (named.target if named else None)
    if model is None:
        raise InputError("study: no model", hint="--model resnet8.onnx, or path in [model]")
    if target is None:
        raise InputError("study: no target", hint="--target vta, or name in [target]")
    evaluation = path_of(asked.evaluation, read.data.evaluation)
    evaluation = evaluation or _path(named.evaluation if named else None, "--evaluation")
    calibration = path_of(asked.calibration, read.data.calibration)
    calibration = calibration or _path(named.calibration if named else None)
    spaces = _spaces(asked, read)
    trial_timeout_s = parsed.trial_timeout_s or _trial_timeout(environment)
    if trial_timeout_s is None and read.run.trial_timeout is not None:
        trial_timeout_s = parse_duration(read.run.trial_timeout, f"{file}: run.trial_timeout")
    timeout_s = parsed.timeout_s
    if timeout_s is None and read.study.timeout is not None:
        timeout_s = parse_duration(read.study.timeout, f"{file}: study.timeout")
    objectives = parsed.objectives or _objectives(read, file, target, evaluation)
    limits = _limits(parsed.limits, read, file)
    metric = asked.metric or read.data.metric or (named.metric if named else "")
    if metric:
        check_name(metric)
    check_goals(objectives, limits, metric, target)
    _require_consistent(objectives, limits, evaluation, target, _measurer(asked, read))
    name = asked.name or read.study.name or ""
    if name:
        _require_name(name)
    runner = asked.runner or read.run.runner
    sampler = asked.sampler or read.sampler.name
    require_configuration_sampler(
        sampler, "" if asked.sampler or file is None else f"{file}: sampler.name"
    )
    where = "" if asked.runner or file is None else f"{file}: run.runner"
    runs = RUNNERS.get(RUNNERS.require(runner, where))
    return StudySettings(
        name=name,
        model=model,
        target=target,
        seed=read.study.seed if asked.seed is None else asked.seed,
        trials=asked.trials or read.study.trials,
        timeout_s=timeout_s,
        calibration=calibration,
        evaluation=evaluation,
        shapes=asked.shapes
        or {n: tuple(s) for n, s in read.model.shapes.items()}
        or (named.shapes if named else {}),
        metric=metric,
        **_held_out(asked, read, file),
        judged_output=asked.judged_output or read.data.judged_output,
        measurer=_measurer(asked, read),
        launches=_launches(asked, read, file),
        objectives=objectives,
        limits=limits,
        quantization="quantization" in spaces,
        partition="partition" in spaces,
        tiling="tiling" in spaces,
        borders="borders" in spaces,
        plan=path_of(asked.plan, read.spaces.plan),
        sampler=sampler,
        **_searching(asked, read),
        runner=runner,
        jobs=asked.jobs or read.run.jobs or _jobs_of_boards(target) or runs.default_jobs,
        ray_address=asked.ray_address or environment.get("RAY_ADDRESS") or read.run.ray_address,
        storage=storage_url(asked.storage, environment, read.run.storage),
        trial_timeout_s=trial_timeout_s,
        pass_env=_passed(asked, read, environment),
        file=None if file is None else str(file),
    )


def _written_target(read: Any, file: Path | None, base: Path) -> str | None:
    """The target that a study file names, in one of three ways.

    Raises:
        InputError: In several.
    """
    given = [key for key in ("name", "path", "host") if getattr(read.target, key)]
    if len(given) > 1:
        raise InputError(f"{file}: [target] has {' and '.join(given)}; one of them is needed")
    hosts = read.target.host
    if hosts:
        text = hosts if isinstance(hosts, str) else SEPARATOR.join(hosts)
        return SEPARATOR.join(address.text for address in parse_addresses(text))
    if read.target.path:
        return str(base / read.target.path)
    name: str | None = read.target.name
    return name


def _measurer(asked: StudyRequest, read: Any) -> str:
    """Your own measurer; empty where there is none."""
    return asked.measurer or read.target.measurer or ""


def _jobs_of_boards(target: str) -> int:
    """One for each board; 0 where there are none."""
    return len(parse_addresses(target)) if is_address(target) else 0


def _launches(asked: StudyRequest, read: Any, file: Path | None) -> str:
    """How layers become launches."""
    launches: str = asked.launches or read.target.launches
    launches_named(launches, "--launches" if asked.launches else f"{file}: target.launches")
    return launches


def _searching(asked: StudyRequest, read: Any) -> dict[str, Any]:
    """How the sampler is asked, and what it may choose from."""
    asynchronous = asked.asynchronous
    return {
        "arguments": asked.sampler_arguments or dict(read.sampler.arguments),
        "values": asked.values or {n: as_values(v) for n, v in read.spaces.values.items()},
        "window": asked.window or read.study.window,
        "asynchronous": read.study.asynchronous if asynchronous is None else asynchronous,
    }


def _held_out(asked: StudyRequest, read: Any, file: Path | None) -> dict[str, Any]:
    """What of the data only reports, and the risk of limits."""
    share, kept = None, None
    if asked.holdout is not None:
        share, kept = parse_holdout(asked.holdout, "--holdout")
    elif read.data.holdout is not None and file is not None:
        share, kept = parse_holdout(read.data.holdout, f"{file}: data.holdout")
        kept = None if kept is None else str(file.parent / kept)
    risk, where = asked.risk, "--risk"
    if risk is None:
        risk, where = read.study.risk, f"{file}: study.risk"
    found = None if risk is None else parse_risk(risk, where)
    return {"holdout": share, "holdout_file": kept, "risk": found}


def _passed(asked: StudyRequest, read: Any, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Names of variables for workers, each once; that they are set is checked before all else."""
    names = tuple(dict.fromkeys([*read.run.pass_env, *asked.pass_env]))
    passed(names, environment)
    return names


def _path(file: NamedFile | None, option: str | None = None) -> str | None:
    """Where a file is that a lock file names."""
    if file is None:
        return None
    return str(replace(file, option=option or file.option).found())


@dataclass(frozen=True)
class _Parsed:
    """What is asked for as text, read before a file is opened: its errors come first."""

    limits: tuple[Limit, ...]
    objectives: tuple[Objective, ...]
    timeout_s: float | None
    trial_timeout_s: float | None

    @classmethod
    def of(cls, asked: StudyRequest) -> _Parsed:
        limits = [parse_constraint(text) for text in asked.constraints]
        if (drop := asked.max_accuracy_drop) is not None:
            where = f"--max-accuracy-drop {drop}"
            limits.append(parse_bounds(TrialMetric.ACCURACY_DROP, f"<= {drop}", where))
        return cls(
            tuple(limits),
            tuple(parse_objective(text) for text in asked.objectives),
            parse_timeout(asked.timeout, "--timeout"),
            parse_timeout(asked.trial_timeout, "--trial-timeout"),
        )


def _trial_timeout(environment: Mapping[str, str]) -> float | None:
    """What a machine grants a trial, whatever study files say: a slow one grants more."""
    return parse_timeout(environment.get(TRIAL_TIMEOUT) or None, TRIAL_TIMEOUT)


def _require_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(
            f"study name {name!r}: letters, digits, '.', '_' and '-' are allowed, at most 100, and "
            "the first one is a letter or digit"
        )


def _spaces(asked: StudyRequest, read: Any) -> tuple[str, ...]:
    names = SPACES
    if asked.spaces is not None:
        for space in asked.spaces:
            if space not in names:
                raise InputError(
                    f"--space {space}: allowed are {', '.join(names)}",
                    hint=did_you_mean(space, names),
                )
        return asked.spaces
    return tuple(name for name in names if getattr(read.spaces, name))


def _objectives(
    read: Any, file: Path | None, target: str, evaluation: str | None
) -> tuple[Objective, ...]:
    """What the file says, else what is wanted on the target where nobody says it."""
    written = tuple(
        Objective(
            parse_metric(name, f"{file}: objectives"),
            parse_direction(direction, f"{file}: objectives.{name}"),
            name,
        )
        for name, direction in read.objectives.items()
    )
    return written or default_objectives(target, evaluation)


def _limits(parsed: Sequence[Limit], read: Any, file: Path | None) -> tuple[Limit, ...]:
    """What is asked for replaces what the file says of the same metric."""
    given = merged(parsed)
    named = {limit.metric for limit in given}
    written = []
    for name, text in read.constraints.items():
        metric = parse_metric(name, f"{file}: constraints")
        if metric not in named:
            limit = parse_bounds(metric, text, f"{file}: constraints.{name}")
            written.append(replace(limit, name=name))
    return merged([*written, *given])


def _require_consistent(
    objectives: Sequence[Objective],
    limits: Sequence[Limit],
    evaluation: str | None,
    target: str,
    measurer: str,
) -> None:
    require_measured(target, objectives, limits, measurer)
    metrics = [objective.metric for objective in objectives]
    for metric in metrics:
        if metrics.count(metric) > 1:
            raise InputError(f"objectives: {metric.value} is named twice")
    if TrialMetric.ACCURACY in metrics and TrialMetric.ACCURACY_DROP in metrics:
        raise InputError("objectives: accuracy and accuracy_drop are the same; one is needed")
    for metric in (*metrics, *(limit.metric for limit in limits)):
        if metric.needs_evaluation and evaluation is None:
            raise InputError(
                f"{metric.value} needs evaluation data",
                hint="--evaluation eval.npz, or evaluation in [data]",
            )
