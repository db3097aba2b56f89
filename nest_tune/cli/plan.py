"""``nest-tune plan``: which unit runs what; look, check, optimum of the cost tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compiler_core.files.whole_file import require_writable, write_atomically
from nest_tune.cli.completion import target_names
from nest_tune.cli.options import AsJson, ModelFile, Shapes
from nest_tune.cli.output import print_json, progress, say
from nest_tune.cli.plan_job import PlanJob
from nest_tune.cli.plan_report import (
    best_document,
    print_best,
    print_groups,
    print_totals,
)

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
CpuTableFile = Annotated[
    Path | None,
    typer.Option(
        "--cpu-table",
        metavar="cpu.csv",
        help="Measured CPU times, as profile-cpu writes them; else the target's rates.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="best.toml", help="Schedules; else the untuned default."),
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
    float, typer.Option("--time-limit", min=0.1, metavar="S", help="Seconds for the search.")
]


@app.command(epilog="Example: nest-tune plan show squeezenet.onnx --target vta --svg plan.svg")
def show(
    model: ModelFile,
    target: TargetName,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="plan.toml", help="Plan; else that of a compile without one."),
    ] = None,
    cpu_table: CpuTableFile = None,
    config: ConfigFile = None,
    shape: Shapes = None,
    svg: SvgFile = None,
    csv: CsvFile = None,
    trace: TraceFile = None,
    as_json: AsJson = False,
) -> None:
    """Show groups, their units and costs, and what a plan takes from end to end."""
    job = PlanJob(model, target, cpu_table, config, shape, svg, trace, csv)
    if job.on_host:
        job.refuse_on_host(
            plan=plan, cpu_table=cpu_table, config=config, svg=svg, csv=csv, trace=trace
        )
        job.report_host("plan-show", as_json)
        return
    from compiler_core.partition.best import complete, untuned

    evaluator = job.evaluator()
    if plan is None:
        placement, order = untuned(evaluator), None
    else:
        resolved = job.resolve(plan, evaluator)
        placement, order = complete(evaluator, resolved), resolved.order
    evaluation = evaluator.evaluate(placement, order)
    job.write(evaluator, evaluation)
    if as_json:
        print_json("plan-show", job.document(evaluator, evaluation))
        return
    print_groups(evaluator, evaluation)
    print_totals(evaluator, evaluation)


@app.command(epilog="Example: nest-tune plan check net.onnx --target vta --plan plan.toml")
def check(
    model: ModelFile,
    target: TargetName,
    plan: Annotated[Path, typer.Option(metavar="plan.toml", help="Plan to check.")],
    fix: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Write the nearest legal plan where it is not legal."),
    ] = None,
    cpu_table: CpuTableFile = None,
    config: ConfigFile = None,
    shape: Shapes = None,
    as_json: AsJson = False,
) -> None:
    """Check a plan; exit 2 says what is wrong with it and which plan is the nearest."""
    require_writable(fix, "--fix")
    job = PlanJob(model, target, cpu_table, config, shape, None, None)
    from compiler_core.partition.best import complete, misfits
    from compiler_core.partition.groups import build_groups
    from compiler_core.partition.plan import plan_text
    from compiler_core.partition.resolve import IllegalPlanError, resolve_plan

    job.require_npu()
    given = job.read(plan)
    groups = build_groups(job.model.graph, job.arithmetic)
    try:
        resolved = resolve_plan(given, groups, job.places)
    except IllegalPlanError as error:
        if fix is not None:
            text = plan_text(error.nearest).encode()
            write_atomically(fix, lambda stream: stream.write(text))
            progress(f"nearest legal plan: {fix}")
        raise
    evaluator = job.evaluator()
    placement = complete(evaluator, resolved)
    evaluation = evaluator.evaluate(placement, resolved.order)
    moved = misfits(evaluator, placement)
    body = {
        "ok": True,
        "pinned": len(resolved.pins),
        "free": len(groups.groups) - len(resolved.pins),
        "left_on_cpu": {groups.groups[g].name: reason for g, reason in moved.items()},
        **job.document(evaluator, evaluation),
    }
    if as_json:
        print_json("plan-check", body)
        return
    say(f"{plan}: legal; {body['pinned']} groups pinned, {body['free']} free")
    for name, reason in moved.items():
        say(f"stays on the CPU: {groups.groups[name].name}: {reason}")
    print_totals(evaluator, evaluation)


@app.command(epilog="Example: nest-tune plan best googlenet.onnx --target vta -o plan.toml")
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
    time_limit: TimeLimit = 30.0,
    cpu_table: CpuTableFile = None,
    config: ConfigFile = None,
    shape: Shapes = None,
    svg: SvgFile = None,
    csv: CsvFile = None,
    trace: TraceFile = None,
    as_json: AsJson = False,
) -> None:
    """Find the plan of least latency, with a bound on what is left to gain."""
    require_writable(output, "--output")
    job = PlanJob(model, target, cpu_table, config, shape, svg, trace, csv)
    if job.on_host:
        job.refuse_on_host(
            plan=plan,
            output=output,
            cpu_table=cpu_table,
            config=config,
            svg=svg,
            csv=csv,
            trace=trace,
        )
        job.report_host("plan-best", as_json)
        return
    from compiler_core.partition.best import find_best
    from compiler_core.partition.plan import plan_text
    from compiler_core.partition.resolve import plan_of

    evaluator = job.evaluator()
    pins = None if plan is None else job.resolve(plan, evaluator).pins
    found = find_best(evaluator, pins=pins, time_limit_s=time_limit)
    job.write(evaluator, found.evaluation)
    if output is not None:
        made = plan_of(
            found.optimum.placement,
            evaluator.groups,
            job.places,
            model=job.subject,
            target=job.target,
        )
        write_atomically(output, lambda stream: stream.write(plan_text(made).encode()))
    if as_json:
        document = job.document(evaluator, found.evaluation)
        print_json("plan-best", document | best_document(evaluator, found, output))
        return
    print_groups(evaluator, found.evaluation)
    print_totals(evaluator, found.evaluation)
    print_best(found)
