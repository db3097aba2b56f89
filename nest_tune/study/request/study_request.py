"""What a study is asked for, each setting written once.

From the fields of :class:`StudyRequest` follow the options of ``nest-tune study start``
(:mod:`nest_tune.cli.setting_options`), the tables of a study file
(:mod:`nest_tune.study.request.study_file`) and the keyword arguments of
:meth:`nest_tune.Study.start`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.brief import brief
from compiler_core.files.nearest import did_you_mean
from nest_tune.runners.runner import DEFAULT_RUNNER
from nest_tune.samplers.registry import DEFAULT_SAMPLER
from nest_tune.setting import ARGUMENTS, VALUES, Setting, settings_of

DEFAULT_SPACES = ("quantization", "partition", "tiling")
SPACES = (*DEFAULT_SPACES, "borders")
"""What can be searched."""


def _setting(help: str, kind: type = str, place: str = "", **more: Any) -> Any:  # noqa: A002
    setting = Setting(help, kind, place, **more)
    metadata = {"setting": setting}
    if kind is dict:
        return field(default_factory=dict, metadata=metadata)
    empty: Any = () if kind is list and not more.get("default") else None
    return field(default=empty, metadata=metadata)


@dataclass(frozen=True)
class StudyRequest:
    """What somebody says of a study; ``None`` or empty where nothing was said."""

    config: str | None = _setting(
        "Lock file: its model, target and data where none is given.", metavar="best.toml"
    )
    model: str | None = _setting("ONNX file.", place="model.path", metavar="FILE")
    target: str | None = _setting(
        "Name of a target, or path of a .toml file.",
        place="target.name",
        metavar="T",
        completion="target_names",
    )
    calibration: str | None = _setting(
        "Samples of the inputs.", place="data.calibration", metavar="calib.npz"
    )
    evaluation: str | None = _setting(
        "Samples, and labels y.", place="data.evaluation", metavar="eval.npz"
    )
    metric: str | None = _setting(
        "top1, top5, agreement, sqnr_db, cosine, kl, a plug-in's, or module:function.",
        place="data.metric",
        completion="metrics",
    )
    holdout: str | None = _setting(
        "Share of the evaluation data, or a file, that only reports in the end; default a quarter "
        "of 400 labelled samples or more, 0: none.",
        place="data.holdout",
        metavar="SHARE|FILE",
    )
    risk: str | None = _setting(
        "Chance that a limit on accuracy is not kept on other samples: judges it by the lower end "
        "of what the samples can tell.",
        place="study.risk",
        metavar="5%",
    )
    judged_output: str | None = _setting(
        "Only output that counts; default: all, the worst.",
        place="data.judged_output",
        metavar="NAME",
    )
    measurer: str | None = _setting(
        "Measures latency and energy; else the simulator.",
        place="target.measurer",
        metavar="NAME",
        completion="measurers",
    )
    launches: str | None = _setting(
        "merged: layers that follow one another are one program; apart: one per operator.",
        place="target.launches",
        default="merged",
        metavar="apart|merged",
    )
    shapes: Mapping[str, tuple[int, ...]] = _setting(
        "Shape of an input, of dynamic axes or instead of what the file says; repeatable.",
        dict,
        place="model.shapes",
        metavar="NAME=1,3,…",
        option="--shape",
    )
    objectives: tuple[str, ...] = _setting(
        "What to optimize; repeatable.",
        list,
        metavar="METRIC:min",
        option="--objective",
        completion="objectives",
        pair="{}:{}",
    )
    constraints: tuple[str, ...] = _setting(
        "What has to hold; repeatable.",
        list,
        metavar="METRIC<=X",
        option="--constraint",
        pair="{} {}",
    )
    max_accuracy_drop: str | None = _setting(
        "Short for a constraint on accuracy_drop: 1%, 0.01; 1dB for sqnr_db.", metavar="1%"
    )
    spaces: tuple[str, ...] | None = _setting(
        "quantization, partition, tiling, borders; repeatable.",
        list,
        default=DEFAULT_SPACES,
        metavar="NAME",
        option="--space",
    )
    plan: str | None = _setting("Fixes the partition.", place="spaces.plan", metavar="plan.toml")
    values: Mapping[str, tuple[Any, ...]] = _setting(
        "What a decision is narrowed to, or pinned; repeatable.",
        dict,
        place="spaces.values",
        metavar="DECISION=V,…",
        option="--value",
        holds=VALUES,
    )
    sampler: str | None = _setting(
        "xgb, tpe, nsga2, random, exhaustive, a plug-in's, one of Optuna's as TPESampler, or "
        "module:Class.",
        place="sampler.name",
        default=DEFAULT_SAMPLER,
        metavar="NAME",
        completion="samplers",
    )
    sampler_arguments: Mapping[str, Any] = _setting(
        "Argument of the sampler; repeatable.",
        dict,
        place="sampler.arguments",
        metavar="NAME=VALUE",
        option="--sampler-argument",
        holds=ARGUMENTS,
    )
    window: int | None = _setting(
        "A proposal sees results of trials up to N before it; default 8.",
        int,
        place="study.window",
        default=8,
        least=1,
        most=65_536,
        metavar="N",
    )
    asynchronous: bool | None = _setting(
        "A proposal sees whatever has finished, with a window of trials in flight.",
        bool,
        place="study.asynchronous",
        default=False,
    )
    trials: int | None = _setting(
        "Budget of trials; default 200.",
        int,
        place="study.trials",
        default=200,
        least=1,
        most=1_000_000,
        metavar="N",
    )
    timeout: str | None = _setting(
        "Budget of time; what is in flight then is finished.", place="study.timeout", metavar="10m"
    )
    trial_timeout: str | None = _setting(
        "Give a step of a trial up after so long; default: 20 times the longest so far, at least "
        "60s.",
        place="run.trial_timeout",
        metavar="10m",
    )
    jobs: int | None = _setting(
        "Trials at the same time.", int, place="run.jobs", least=1, most=4096, metavar="N"
    )
    runner: str | None = _setting(
        "local, ray, replay or a plug-in's.",
        place="run.runner",
        default=DEFAULT_RUNNER,
        metavar="NAME",
        completion="runners",
    )
    ray_address: str | None = _setting(
        "Ray cluster: auto, HOST:PORT or ray://HOST:PORT; else one here.",
        place="run.ray_address",
        metavar="ADDRESS",
    )
    pass_env: tuple[str, ...] = _setting(
        "Variable of the environment that workers get, too; repeatable.",
        list,
        place="run.pass_env",
        metavar="NAME",
    )
    storage: str | None = _setting(
        "Database; default sqlite:///nest-tune.db.", place="run.storage", metavar="URL"
    )
    seed: int | None = _setting(
        "Of all random streams.",
        int,
        place="study.seed",
        default=0,
        least=0,
        most=(1 << 32) - 1,
    )
    name: str | None = _setting("Of the study.", place="study.name")

    @classmethod
    def of(cls, **given: Any) -> StudyRequest:
        """A request from loose values: paths, numbers and sequences of any kind; ``None`` for what
        is not said.

        Raises:
            InputError: A name is no setting, or a value is of another kind.
        """
        known = settings()
        found = {}
        for name, value in given.items():
            if name not in known:
                raise InputError(
                    f"study setting {name!r} is not known; known are {', '.join(known)}",
                    hint=did_you_mean(name, known),
                )
            if value is not None:
                found[name] = _taken(name, known[name], value)
        return cls(**found)


def settings() -> dict[str, Setting]:
    """Every setting by name."""
    return settings_of(StudyRequest)


def _taken(name: str, setting: Setting, value: Any) -> Any:
    if setting.kind is dict and setting.holds == VALUES and isinstance(value, Mapping):
        return {str(key): as_values(own) for key, own in value.items()}
    if setting.kind is dict and setting.holds == ARGUMENTS and isinstance(value, Mapping):
        return {str(key): own for key, own in value.items()}
    if setting.kind is bool and isinstance(value, bool):
        return value
    if setting.kind is dict and isinstance(value, Mapping):
        return {str(key): tuple(shape) for key, shape in value.items()}
    if setting.kind is list and setting.pair and isinstance(value, Mapping):
        return tuple(setting.pair.format(key, own) for key, own in value.items())
    if setting.kind is list and isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(map(str, value))
    if setting.kind is int and isinstance(value, int) and not isinstance(value, bool):
        if setting.least is not None and value < setting.least:
            raise InputError(f"{name} {value}: at least {setting.least} is needed")
        if setting.most is not None and value > setting.most:
            raise InputError(f"{name} {value}: at most {setting.most} is allowed")
        return value
    if setting.kind is str and isinstance(value, str) and not value:
        raise InputError(f"{name}: is empty", hint=f"leave {name} out for its default")
    if setting.kind is str and isinstance(value, str | PathLike):
        return str(fspath(value))
    if setting.kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    needed = {
        str: "a text or a path",
        int: "a whole number",
        list: "a list of texts",
        bool: "true or false",
    }
    raise InputError(f"{name} {brief(value)}: {needed.get(setting.kind, 'a mapping')} is needed")


def as_values(given: Any) -> tuple[Any, ...]:
    """Values of a decision: several, or the only one."""
    several = isinstance(given, Sequence) and not isinstance(given, str)
    return tuple(given) if several else (given,)


def _with_attributes(text: str) -> str:
    lines = [f"        {name}: {setting.help}" for name, setting in settings().items()]
    return "\n".join([text, "", "    Attributes:", *lines, "    "])


StudyRequest.__doc__ = _with_attributes(StudyRequest.__doc__ or "")
