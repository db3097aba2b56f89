"""How to do a study again: commands, and the versions it was reported with."""

from __future__ import annotations

import shlex
from math import isfinite

from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import OuterTrial


def commands(result: StudyResult, chosen: OuterTrial | None) -> tuple[str, ...]:
    settings = result.settings
    quote = shlex.quote
    if settings.file is not None:
        words = ["nest-tune", "study", "start", quote(settings.file)]
        words += ["--seed", str(settings.seed), "--trials", str(len(result.trials))]
    else:
        words = ["nest-tune", "study", "start", "--model", quote(settings.model)]
        words += ["--target", quote(settings.target)]
        for option, path in (
            ("--calibration", settings.calibration),
            ("--evaluation", settings.evaluation),
            ("--plan", settings.plan),
        ):
            words += [] if path is None else [option, quote(path)]
        for name, shape in settings.shapes.items():
            words += ["--shape", quote(f"{name}={','.join(map(str, shape))}")]
        for goal in settings.objectives:
            words += ["--objective", f"{goal.metric.value}:{goal.direction.value}"]
        for limit in settings.limits:
            if isfinite(limit.low):
                words += ["--constraint", quote(f"{limit.metric.value}>={limit.low!r}")]
            if isfinite(limit.high):
                words += ["--constraint", quote(f"{limit.metric.value}<={limit.high!r}")]
        spaces = [n for n in ("quantization", "partition", "tiling") if getattr(settings, n)]
        words += ["--metric", quote(settings.metric), "--space", ",".join(spaces)]
        words += ["--sampler", settings.sampler, "--seed", str(settings.seed)]
        words += ["--trials", str(len(result.trials))]
    found = [" ".join(words)]
    if chosen is not None:
        name = settings.name
        config = f"{name}.toml"
        found.append(f"nest-tune study export {name}:{chosen.number} -o {config}")
        found.append(
            f"nest-tune compile {quote(settings.model)} --target {quote(settings.target)} "
            f"--config {config} -o {name}-package"
        )
        found.append(f"nest-tune ci check {config}")
    return tuple(found)


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
