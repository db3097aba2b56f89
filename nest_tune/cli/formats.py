"""Tables of number formats: plans that were run whole, and each operator with its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nest_tune.cli.output import console
from nest_tune.cli.tables import print_table
from nest_tune.figures import percent

if TYPE_CHECKING:
    from compiler_core.precision.report import FormatsReport

_PERCENT = 100.0
_MOST_OPERATORS = 20


def print_formats(report: FormatsReport) -> None:
    """Tables: the plans, where some were timed together, ways to run them, where some were tried,
    and the operators."""
    if report.plans:
        _print_plans(report)
    if report.runtimes:
        _print_runtimes(report)
    _print_operators(report)


def _print_plans(report: FormatsReport) -> None:
    from rich.table import Table
    from rich.text import Text

    plans = Table(title="plans of number formats, timed together", box=None)
    for head in ("plan", "ms", "95 %", "expected", "noise", ""):
        plans.add_column(head, justify="left" if head in ("plan", "") else "right")
    for plan in report.plans:
        verdict = "chosen" if plan.name == report.chosen else "" if plan.good else "loses too much"
        plans.add_row(
            Text(plan.name),
            f"{plan.latency_ms:.4f}",
            f"{plan.low_ms:.4f}-{plan.high_ms:.4f}",
            "" if plan.estimate_ms is None else f"{plan.estimate_ms:.4f}",
            f"{_PERCENT * plan.noise:.3g} %",
            verdict,
        )
    print_table(plans)
    gap = next((plan.gap for plan in report.plans if plan.gap is not None), None)
    if gap is not None:
        console().print(f"by the measured costs no plan is more than {percent(gap)} faster")


def _print_runtimes(report: FormatsReport) -> None:
    from rich.table import Table
    from rich.text import Text

    runtimes = Table(title="ways to run, timed together", box=None)
    for head in ("plan", "threads", "spinning", "optimization", "provider", "ms", "95 %"):
        left = head in ("plan", "optimization", "provider")
        runtimes.add_column(head, justify="left" if left else "right")
    for row in report.runtimes:
        own = row.runtime
        runtimes.add_row(
            Text(row.plan),
            str(own.threads),
            "yes" if own.spinning else "no",
            own.optimization,
            own.provider.removesuffix("ExecutionProvider"),
            f"{row.latency_ms:.4f}",
            f"{row.low_ms:.4f}-{row.high_ms:.4f}",
        )
    print_table(runtimes)


def _print_operators(report: FormatsReport) -> None:
    from rich.table import Table
    from rich.text import Text

    operators = Table(title="operators", box=None)
    for head in ("name", "operator", "float ms", "int8 ms", "chosen", "why"):
        operators.add_column(head, justify="right" if head.endswith("ms") else "left")
    shown = sorted(report.operators, key=lambda row: -row.float_ms)[:_MOST_OPERATORS]
    for row in (row for row in report.operators if row in shown):
        operators.add_row(
            Text(row.name),
            row.operator,
            f"{row.float_ms:.4f}",
            "" if row.int8_ms is None else f"{row.int8_ms:.4f}",
            row.chosen,
            row.why,
        )
    print_table(operators)
    if len(report.operators) > len(shown):
        rest = len(report.operators) - len(shown)
        console().print(f"and {rest} that take less in float: formats.json, or --json")
