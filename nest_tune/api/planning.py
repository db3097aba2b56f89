"""Plans: which unit runs which operators; looked at, checked, and the one of least latency."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from compiler_core.files.whole_file import require_writable
from compiler_core.targets.target import Target
from nest_tune.api.plan_problem import PlanProblem
from nest_tune.api.planned_models import BestPlanned, CheckedPlan, PlannedModel
from nest_tune.api.values import Data, Model, PathName, Progress


def show_plan(
    model: Model,
    target: str | Target,
    plan: PathName | None = None,
    *,
    cpu_table: PathName | None = None,
    config: PathName | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibration: Data | None = None,
    progress: Progress = lambda _: None,
) -> PlannedModel:
    """Groups, their units and costs, and what a plan takes from end to end.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: Name, path of a ``.toml`` file, or a loaded target.
        plan: Plan file; that of a compile without one by default.
        cpu_table: Measured CPU times, as ``profile-cpu`` writes them; else the target's rates.
        config: Configuration file with schedules; else the untuned defaults.
        shapes: Of inputs with dynamic axes; else as the calibration data have them.
        calibration: Samples of the inputs; see :class:`PlanProblem`.
        progress: Told what is being done.

    Raises:
        InputError: A file or argument is wrong, or the target has no NPU.

    Example:
        >>> import nest_tune
        >>> found = nest_tune.show_plan("examples/digits/model.onnx", "vta")
        >>> sorted(set(found.units.values()))
        ['vta']
    """
    problem = PlanProblem(
        model,
        target,
        cpu_table=cpu_table,
        config=config,
        shapes=shapes,
        calibration=calibration,
        progress=progress,
    )
    return problem.show(plan)


def check_plan(
    model: Model,
    target: str | Target,
    plan: PathName,
    *,
    fix: PathName | None = None,
    cpu_table: PathName | None = None,
    config: PathName | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibration: Data | None = None,
    progress: Progress = lambda _: None,
) -> CheckedPlan:
    """Checks a plan: whether the target can do it, and what it takes.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: Name, path of a ``.toml`` file, or a loaded target.
        plan: Plan file.
        fix: File of the nearest legal plan, written where this one is not legal.
        cpu_table, config, shapes, calibration, progress: As for :func:`show_plan`.

    Raises:
        InputError: The plan is not legal, or as :func:`show_plan`.
    """
    if fix is not None:
        require_writable(Path(fix), "--fix")
    problem = PlanProblem(
        model,
        target,
        cpu_table=cpu_table,
        config=config,
        shapes=shapes,
        calibration=calibration,
        progress=progress,
    )
    return problem.check(plan, fix)


def best_plan(
    model: Model,
    target: str | Target,
    plan: PathName | None = None,
    *,
    time_limit_s: float | None = None,
    cpu_table: PathName | None = None,
    config: PathName | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibration: Data | None = None,
    progress: Progress = lambda _: None,
) -> BestPlanned:
    """Finds the plan of least latency, with a bound on what is left to gain.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: Name, path of a ``.toml`` file, or a loaded target.
        plan: Plan file whose named nodes are pinned.
        time_limit_s: Ends the search before its budget, which counts what it looks at, is spent.
        cpu_table, config, shapes, calibration, progress: As for :func:`show_plan`.

    Raises:
        InputError: As :func:`show_plan`.

    Example:
        >>> import nest_tune
        >>> best = nest_tune.best_plan("examples/digits/model.onnx", "vta")
        >>> best.latency_ms <= nest_tune.show_plan("examples/digits/model.onnx", "vta").latency_ms
        True
    """
    problem = PlanProblem(
        model,
        target,
        cpu_table=cpu_table,
        config=config,
        shapes=shapes,
        calibration=calibration,
        progress=progress,
    )
    return problem.best(plan, time_limit_s=time_limit_s)
