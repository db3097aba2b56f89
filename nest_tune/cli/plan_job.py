"""What the verbs of ``nest-tune plan`` share: their problem, and the files that they write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from compiler_core.errors import InputError
from compiler_core.files.whole_file import require_writable
from nest_tune.cli.output import print_json, progress
from nest_tune.figures import percent

if TYPE_CHECKING:
    from nest_tune.api.asked import PlanSettings
    from nest_tune.api.plan_problem import PlanProblem
    from nest_tune.api.planned_models import PlannedModel
    from nest_tune.api.planning_within import LimitedPlanned
    from nest_tune.api.values import Data


def problem_of(model: Path, target: str, asked: PlanSettings, **files: Path | None) -> PlanProblem:
    """A model and a target as the options name them.

    Args:
        model, target, asked: Options.
        files: Those that will be written, by option.

    Raises:
        InputError: A file cannot be written, or as :class:`nest_tune.api.plan_problem.PlanProblem`.
    """
    for name, path in files.items():
        require_writable(path, f"--{name}")
    from nest_tune.api.plan_problem import PlanProblem

    return PlanProblem(model, target, progress=progress, **asked)


def samples_for_formats(asked: PlanSettings, target: str) -> Data | None:
    """The samples that number formats are planned by: where there are some, and the target is a
    machine that is measured as a whole, by the clock."""
    samples = asked.get("calibration")
    if samples is None:
        return None
    from compiler_core.targets.load import load_target

    return samples if load_target(target).by_clock else None


def refuse_on_host(problem: PlanProblem, asked: PlanSettings, **paths: Path | None) -> None:
    """Refuses options that mean nothing where the one unit is measured as a whole."""
    _refuse(
        {**_files_of(asked), **paths},
        f"target {problem.chip.name!r} has no NPU: there is one plan, every operator on its CPU",
        "nest-tune target list shows targets with an NPU",
    )


def refuse_with_formats(asked: PlanSettings, *allowed: str, **paths: Path | None) -> None:
    """Refuses options that say nothing of number formats."""
    given = {name: path for name, path in _files_of(asked).items() if name not in allowed}
    _refuse(
        {**given, **paths},
        "with --calibration number formats of this machine are planned, not units",
        "leave one of them out",
    )


def _files_of(asked: PlanSettings) -> dict[str, object]:
    """Files that say something of units."""
    return {name: asked.get(name) for name in ("cpu_table", "config")}


def _refuse(given: Mapping[str, object], why: str, hint: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise InputError(f"--{name.replace('_', '-')} {value}: {why}", hint=hint)


def write_files(
    found: PlannedModel, svg: Path | None, csv: Path | None, trace: Path | None
) -> None:
    """The picture, the table and the timeline, where they were asked for."""
    if svg is not None:
        found.write_picture(svg)
    if csv is not None:
        found.write_table(csv)
    if trace is not None:
        found.write_trace(trace)


def report_formats(
    model: Path,
    target: str,
    samples: Data,
    asked: PlanSettings,
    output: Path | None,
    as_json: bool,
    *,
    open_runtime: bool = False,
) -> None:
    """The fastest number formats on this machine."""
    from nest_tune.api.formats import best_formats

    require_writable(output, "--output")
    found = best_formats(
        model,
        samples,
        config=asked.get("config"),
        target=target,
        open_runtime=open_runtime,
        shapes=asked.get("shapes"),
        progress=progress,
    )
    if output is not None:
        found.write(output)
    if as_json:
        from compiler_core.precision.report import formats_document

        body = {"model": found.model.name, "target": found.target.name, "deterministic": False}
        written = None if output is None else str(output)
        print_json("plan-best", body | formats_document(found.report) | {"output": written})
        return
    from nest_tune.cli.formats import print_formats

    print_formats(found.report)


def report_shown_formats(
    model: Path, target: str, samples: Data, asked: PlanSettings, as_json: bool
) -> None:
    """What operators take in their number formats on this machine."""
    from nest_tune.api.formats import shown_formats

    found = shown_formats(
        model,
        samples,
        config=asked.get("config"),
        target=target,
        shapes=asked.get("shapes"),
        progress=progress,
    )
    if as_json:
        from compiler_core.precision.report import formats_document

        body = {
            "model": found.model.name,
            "target": found.target.name,
            "deterministic": False,
            "expected_ms": found.expected_ms,
            "float_ms": found.float_ms,
        }
        print_json("plan-show", body | formats_document(found.report))
        return
    from nest_tune.cli.formats import print_formats

    print_formats(found.report)
    if found.expected_ms is not None and found.float_ms is not None:
        print(
            f"{found.report.chosen}: {found.expected_ms:.4f} ms expected of operators and pairs; "
            f"float32 throughout {found.float_ms:.4f} ms"
        )


def report_host(problem: PlanProblem, document: str, as_json: bool) -> None:
    """Latency on this machine, by the clock."""
    from compiler_core.units.names import CPU

    found = problem.measure()
    timing = found.timing
    if as_json:
        print_json(
            document,
            {
                "model": {"name": found.model.name, "digest": found.model.digest},
                "target": {"name": found.target.name, "digest": found.target.digest},
                "deterministic": False,
                "latency_ms": timing.median_us / 1e3,
                "latency_low_ms": timing.low_us / 1e3,
                "latency_high_ms": timing.high_us / 1e3,
                "repeats": timing.repeats,
                "optimality_gap": 0.0,
                "baselines": {"all_cpu": timing.median_us / 1e3},
                "units": dict.fromkeys(found.nodes, CPU),
            },
        )
        return
    print(
        f"{found.model.name} on this machine: {timing.median_us / 1e3:.3f} ms, half of "
        f"{timing.repeats} runs between {timing.low_us / 1e3:.3f} and "
        f"{timing.high_us / 1e3:.3f} ms (by the clock, one thread: not deterministic)"
    )


def parse_damage(text: str, *, plan: Path | None) -> float:
    """A limit on damage, ``10%`` or ``0.1``.

    Raises:
        InputError: It reads otherwise, or is given beside a plan.
    """
    from nest_tune.study.request.shares import parse_share

    if plan is not None:
        raise InputError(
            f"--most-damage {text}: with --plan {plan} the precision of its nodes is pinned",
            hint="leave one of them out",
        )
    found = parse_share(text)
    if found is None or found > 1:
        raise InputError(f"--most-damage {text}: a share up to 100% is needed", hint="10%")
    return found


def report_limited(found: LimitedPlanned, as_json: bool) -> None:
    """A plan within a limit on damage."""
    from nest_tune.cli.plan_report import plan_document, print_groups, print_totals

    if as_json:
        body = {
            "damage": found.damage,
            "most_damage": found.most_damage,
            "offers": found.offers,
            "plan": dict(found.plan.units),
        }
        print_json("plan-best", plan_document(found) | body)
        return
    print_groups(found.evaluator, found.evaluation)
    print_totals(found.evaluator, found.evaluation)
    print(
        f"damage     {percent(found.damage)} of what fewest bits do to all weights, at most "
        f"{percent(found.most_damage)}; the fastest of {found.offers} plans, the first of which by "
        "the cost tables were timed"
    )
