"""``nest-tune profile-cpu``: operators timed on this machine, as a cost table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from compiler_core.files.whole_file import require_writable, write_atomically
from nest_tune.cli.options import (
    AsJson,
    CalibrationSizes,
    FixedInputs,
    ModelFile,
    OrtThreads,
    Shapes,
    fixed_model,
    parse_shapes,
)
from nest_tune.cli.output import print_json, progress
from nest_tune.cli.tables import print_table

EXAMPLE = "Example: nest-tune profile-cpu squeezenet.onnx -o cpu.csv"


def profile_cpu(
    model: ModelFile,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="cpu.csv", help="Write the cost table."),
    ] = None,
    threads: OrtThreads = 1,
    repeats: Annotated[
        int, typer.Option(min=5, metavar="N", help="Executions of each operator.")
    ] = 30,
    budget: Annotated[
        float,
        typer.Option(
            min=0.0, metavar="S", help="Seconds per operator; five executions are always made."
        ),
    ] = 0.3,
    shape: Shapes = None,
    fix_input: FixedInputs = None,
    calibration: CalibrationSizes = None,
    as_json: AsJson = False,
) -> None:
    """Measure every operator of a model on this CPU: a cost table for plans."""
    model = fixed_model(model, fix_input)
    require_writable(output, "--output")
    from compiler_core.units.facets.host import host_costs, host_measuring
    from nest_tune.api.values import loaded_model

    graph = loaded_model(model, parse_shapes(shape), calibration).graph
    known = host_measuring()
    feeds = known.inputs(graph)
    rows = known.operators(
        graph, feeds, threads=threads, repeats=repeats, budget_s=budget, progress=progress
    )
    whole = known.model(graph, feeds, threads=threads, repeats=repeats, budget_s=10 * budget)
    total_us = sum(row.median_us * row.count for row in rows)
    if output is not None:
        content = host_costs().write_table(rows)
        write_atomically(output, lambda stream: stream.write(content))
    if as_json:
        print_json(
            "profile-cpu",
            {
                "model": model.stem,
                "deterministic": False,
                "threads": threads,
                "operators": [asdict(row) for row in rows],
                "sum_ms": total_us / 1e3,
                "latency_ms": whole.median_us / 1e3,
                "latency_low_ms": whole.low_us / 1e3,
                "latency_high_ms": whole.high_us / 1e3,
                "repeats": whole.repeats,
                "table": None if output is None else str(output),
            },
        )
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    table.add_column("operator")
    table.add_column("signature", overflow="fold")
    for title in ("count", "median µs", "quartiles µs", "repeats"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in sorted(rows, key=lambda item: -item.median_us * item.count):
        table.add_row(
            row.operator,
            Text(row.signature.removeprefix(f"{row.operator} ")),
            str(row.count),
            f"{row.median_us:,.1f}",
            f"{row.low_us:,.1f} … {row.high_us:,.1f}",
            str(row.repeats),
        )
    print_table(table)
    print(
        f"operators one by one {total_us / 1e3:.3f} ms; the whole model "
        f"{whole.median_us / 1e3:.3f} ms, half of {whole.repeats} runs between "
        f"{whole.low_us / 1e3:.3f} and {whole.high_us / 1e3:.3f} ms"
    )
    if output is not None:
        print(f"table {output}")
