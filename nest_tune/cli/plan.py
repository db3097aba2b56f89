"""``nest-tune plan``: which unit runs what; look, check, optimum of the cost tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compiler_core.errors import InputError
from nest_tune.api.asked import PlanSettings
from nest_tune.cli.completion import target_names
from nest_tune.cli.options import (
    AsJson,
    FixedInputs,
    ModelFile,
    fixed_model,
)
from nest_tune.cli.output import print_json, say
from nest_tune.cli.plan_job import (
    parse_damage,
    problem_of,
    refuse_on_host,
    refuse_with_formats,
    report_formats,
    report_host,
    report_limited,
    report_shown_formats,
    samples_for_formats,
    write_files,
)
from nest_tune.cli.plan_report import (
    best_document,
    plan_document,
    print_best,
    print_groups,
    print_totals,
)
from nest_tune.cli.setting_options import takes

app = typer.Typer(
    name="plan",
    help="Partitions: which unit runs which operators; look, check, find the optimum.",
    epilog="Example: nest-tune plan best googlenet.onnx --target vta -o plan.toml",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help answers in half the time
)

TargetName = Annotated[
    str,
    typer.Option(
        "--target",
        metavar="T",
        autocompletion=target_names,
        help="Name of a target, path of a .toml file, or host.",
    ),
]
SvgFile = Annotated[
    Path | None, typer.Option("--svg", metavar="plan.svg", help="Write a picture of the graph.")
]
CsvFile = Annotated[
    Path | None, typer.Option("--csv", metavar="plan.csv", help="Write a table of the groups.")
]
TraceFile = Annotated[
    Path | None,
    typer.Option("--trace", metavar="trace.json", help="Write a timeline for Perfetto."),
]
TimeLimit = Annotated[
    float | None,
    typer.Option("--time-limit", min=0.1, metavar="S", help="End the search after S seconds."),
]


@app.command(epilog="Example: nest-tune plan show squeezenet.onnx --target vta --svg plan.svg")
@takes(PlanSettings)
def show(
    model: ModelFile,
    target: TargetName,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="plan.toml", help="Plan; else that of a compile without one."),
    ] = None,
    fix_input: FixedInputs = None,
    *,
    asked: PlanSettings,
    svg: SvgFile = None,
    csv: CsvFile = None,
    trace: TraceFile = None,
    as_json: AsJson = False,
) -> None:
    """Show groups, their units and costs, and what a plan takes from end to end; on host, with
    calibration data, what operators take in their number formats."""
    model = fixed_model(model, fix_input)
    files = {"svg": svg, "csv": csv, "trace": trace}
    samples = samples_for_formats(asked, target)
    if samples is not None:
        refuse_with_formats(asked, "config", plan=plan, **files)
        report_shown_formats(model, target, samples, asked, as_json)
        return
    problem = problem_of(model, target, asked, **files)
    if problem.chip.by_clock:
        refuse_on_host(problem, asked, plan=plan, **files)
        report_host(problem, "plan-show", as_json)
        return
    found = problem.show(plan)
    write_files(found, svg, csv, trace)
    if as_json:
        print_json("plan-show", plan_document(found))
        return
    print_groups(found.evaluator, found.evaluation)
    print_totals(found.evaluator, found.evaluation)


@app.command(epilog="Example: nest-tune plan check net.onnx --target vta --plan plan.toml")
@takes(PlanSettings)
def check(
    model: ModelFile,
    target: TargetName,
    plan: Annotated[Path, typer.Option(metavar="plan.toml", help="Plan to check.")],
    fix: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Write the nearest legal plan where it is not legal."),
    ] = None,
    fix_input: FixedInputs = None,
    *,
    asked: PlanSettings,
    as_json: AsJson = False,
) -> None:
    """Check a plan; exit 2 says what is wrong with it and which plan is the nearest."""
    model = fixed_model(model, fix_input)
    problem = problem_of(model, target, asked, fix=fix)
    found = problem.check(plan, fix)
    if as_json:
        body = {
            "ok": True,
            "pinned": found.pinned,
            "free": found.free,
            "left_on_cpu": dict(found.left_on_cpu),
        }
        print_json("plan-check", body | plan_document(found))
        return
    say(f"{plan}: legal; {found.pinned} groups pinned, {found.free} free")
    for name, reason in found.left_on_cpu.items():
        say(f"stays on the CPU: {name}: {reason}")
    print_totals(found.evaluator, found.evaluation)


@app.command(epilog="Example: nest-tune plan best googlenet.onnx --target vta -o plan.toml")
@takes(PlanSettings)
def best(
    model: ModelFile,
    target: TargetName,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="plan.toml", help="Plan whose named nodes are pinned."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="plan.toml", help="Write the best plan."),
    ] = None,
    time_limit: TimeLimit = None,
    most_damage: Annotated[
        str | None,
        typer.Option(
            metavar="10%",
            help="On units of different precision, layers may be cut over them: the fastest plan "
            "that does so much of the damage that fewest bits do to all weights.",
        ),
    ] = None,
    open_runtime: Annotated[
        bool,
        typer.Option(
            "--open-runtime",
            help="On host, threads, spinning, level and provider of the runtime are decided, too.",
        ),
    ] = False,
    fix_input: FixedInputs = None,
    *,
    asked: PlanSettings,
    svg: SvgFile = None,
    csv: CsvFile = None,
    trace: TraceFile = None,
    as_json: AsJson = False,
) -> None:
    """Find the plan of least latency, with a bound on what is left to gain."""
    model = fixed_model(model, fix_input)
    files = {"svg": svg, "csv": csv, "trace": trace}
    samples = samples_for_formats(asked, target)
    if samples is not None:
        refuse_with_formats(asked, "config", plan=plan, **files)
        report_formats(model, target, samples, asked, output, as_json, open_runtime=open_runtime)
        return
    if open_runtime:
        raise InputError(
            "--open-runtime: the clock decides how a model runs on machines that are timed by it",
            hint="--target host --calibration calib.npz",
        )
    files["output"] = output
    problem = problem_of(model, target, asked, **files)
    if problem.chip.by_clock:
        damage = None if most_damage is None else Path(most_damage)
        refuse_on_host(problem, asked, plan=plan, most_damage=damage, **files)
        report_host(problem, "plan-best", as_json)
        return
    if most_damage is not None:
        from nest_tune.api.planning_within import plan_within

        limited = plan_within(problem, parse_damage(most_damage, plan=plan))
        write_files(limited, svg, csv, trace)
        if output is not None:
            limited.write_plan(output)
        report_limited(limited, as_json)
        return
    best_one = problem.best(plan, time_limit_s=time_limit)
    write_files(best_one, svg, csv, trace)
    if output is not None:
        best_one.write_plan(output)
    if as_json:
        document = best_document(best_one.evaluator, best_one.found, output)
        print_json("plan-best", plan_document(best_one) | document)
        return
    print_groups(best_one.evaluator, best_one.evaluation)
    print_totals(best_one.evaluator, best_one.evaluation)
    print_best(best_one.found)
