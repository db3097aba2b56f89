"""Plans: which unit runs which operators; looked at, checked, and the one of least latency."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from compiler_core.files.whole_file import require_writable
from compiler_core.targets.target import Target
from nest_tune.api.asked import PlanSettings
from nest_tune.api.plan_problem import PlanProblem
from nest_tune.api.planned_models import BestPlanned, CheckedPlan, PlannedModel
from nest_tune.api.settings import takes_settings
from nest_tune.api.values import Model, PathName, Progress


@takes_settings(PlanSettings)
def show_plan(
    model: Model,
    target: str | Target,
    plan: PathName | None = None,
    *,
    progress: Progress = lambda _: None,
    **asked: Unpack[PlanSettings],
) -> PlannedModel:
    """Groups, their units and costs, and what a plan takes from end to end.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: Name, path of a ``.toml`` file, or a loaded target.
        plan: Plan file; that of a compile without one by default.
        progress: Told what is being done.
        asked: What is known of the model and the target:

    Raises:
        InputError: A file or argument is wrong, or the target has no NPU.

    Example:
        >>> import nest_tune
        >>> found = nest_tune.show_plan("examples/digits/model.onnx", "vta")
        >>> sorted(set(found.units.values()))
        ['vta']
    """
    problem = PlanProblem(model, target, progress=progress, **asked)
    return problem.show(plan)


@takes_settings(PlanSettings)
def check_plan(
    model: Model,
    target: str | Target,
    plan: PathName,
    *,
    fix: PathName | None = None,
    progress: Progress = lambda _: None,
    **asked: Unpack[PlanSettings],
) -> CheckedPlan:
    """Checks a plan: whether the target can do it, and what it takes.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: Name, path of a ``.toml`` file, or a loaded target.
        plan: Plan file.
        fix: File of the nearest legal plan, written where this one is not legal.
        progress: Told what is being done.
        asked: As for :func:`show_plan`:

    Raises:
        InputError: The plan is not legal, or as :func:`show_plan`.
    """
    if fix is not None:
        require_writable(Path(fix), "--fix")
    problem = PlanProblem(model, target, progress=progress, **asked)
    return problem.check(plan, fix)


@takes_settings(PlanSettings)
def best_plan(
    model: Model,
    target: str | Target,
    plan: PathName | None = None,
    *,
    time_limit_s: float | None = None,
    progress: Progress = lambda _: None,
    **asked: Unpack[PlanSettings],
) -> BestPlanned:
    """Finds the plan of least latency, with a bound on what is left to gain.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: Name, path of a ``.toml`` file, or a loaded target.
        plan: Plan file whose named nodes are pinned.
        time_limit_s: Ends the search before its budget, which counts what it looks at, is spent.
        progress: Told what is being done.
        asked: As for :func:`show_plan`:

    Raises:
        InputError: As :func:`show_plan`.

    Example:
        >>> import nest_tune
        >>> best = nest_tune.best_plan("examples/digits/model.onnx", "vta")
        >>> best.latency_ms <= nest_tune.show_plan("examples/digits/model.onnx", "vta").latency_ms
        True
    """
    problem = PlanProblem(model, target, progress=progress, **asked)
    return problem.best(plan, time_limit_s=time_limit_s)
