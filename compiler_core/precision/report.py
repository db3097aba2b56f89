"""What was found of number formats, as a file of a package: plans by the clock, and every operator
with its format and why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compiler_core.configuration.runtime import Runtime
from compiler_core.errors import InputError
from compiler_core.files.plain import from_plain, refuse_unknown, to_plain
from compiler_core.graph.ir import Graph
from compiler_core.precision.explained import ChosenFormat, explained
from compiler_core.precision.runtimes import TimedRuntime
from compiler_core.precision.search import PrecisionChoice
from compiler_core.precision.table import FormatCosts, table_of
from compiler_core.precision.verified import VerifiedPlan

FORMATS_FILE = "formats.json"
SESSION_FILE = "session.py"
_SCHEMA = "nest-tune/formats/1"

_LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "layout": "ORT_ENABLE_LAYOUT",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}
_SESSION = '''"""Opens the model of this package as it was measured."""

from pathlib import Path

import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {threads}
options.inter_op_num_threads = 1
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.{level}
options.add_session_config_entry("session.intra_op.allow_spinning", "{spinning}")
session = onnxruntime.InferenceSession(
    Path(__file__).with_name("model.qdq.onnx"), options, providers={providers}
)
'''


@dataclass(frozen=True)
class PlanReport:
    """A plan that was run whole.

    Attributes:
        name: Of the plan.
        latency_ms, low_ms, high_ms: Median and its interval, by the clock.
        estimate_ms: By the costs of operators and pairs; ``None`` where they do not know all of it.
        gap: How much less another plan could take by these costs at most; ``None`` for no optimum.
        noise: Of the outputs, as a share of their power.
        good: Whether it loses little enough.
        integers: Operators that are not in float32.
    """

    name: str
    latency_ms: float
    low_ms: float
    high_ms: float
    estimate_ms: float | None
    gap: float | None
    noise: float
    good: bool
    integers: int


@dataclass(frozen=True)
class RuntimeReport:
    """A plan under one way to run it.

    Attributes:
        plan: Its name.
        runtime: Threads and the like.
        latency_ms, low_ms, high_ms: Median and its interval, by the clock.
        ratio: To the float model as it runs without a choice.
    """

    plan: str
    runtime: Runtime
    latency_ms: float
    low_ms: float
    high_ms: float
    ratio: float


@dataclass(frozen=True)
class FormatsReport:
    """Number formats of a model on this machine.

    Attributes:
        chosen: Name of the plan that was taken.
        plans: All that were run whole, interleaved; none where a study chose.
        operators: Each with its format.
        runtimes: Ways to run plans that were tried; none where that was not open.
    """

    chosen: str
    plans: tuple[PlanReport, ...]
    operators: tuple[ChosenFormat, ...]
    runtimes: tuple[RuntimeReport, ...] = ()


def formats_report(choice: PrecisionChoice) -> FormatsReport:
    """What to tell of a choice."""
    plans = tuple(_plan(found) for found in choice.verified if found.time is not None)
    places, is_limited = choice.chosen.plan.places, choice.room is not None
    rows = explained(choice.table, places, is_limited=is_limited)
    return FormatsReport(choice.chosen.plan.name, plans, rows)


def runtimes_report(timed: Sequence[TimedRuntime]) -> tuple[RuntimeReport, ...]:
    """What to tell of ways to run plans."""
    return tuple(
        RuntimeReport(
            found.plan,
            found.runtime,
            found.latency_us.value / 1e3,
            found.latency_us.low / 1e3,
            found.latency_us.high / 1e3,
            found.ratio.value,
        )
        for found in timed
    )


def trial_formats(
    graph: Graph, costs: FormatCosts, plan: Mapping[str, str], name: str
) -> FormatsReport:
    """What to tell of a plan that a study chose: its operators.

    Args:
        graph: The model.
        costs: That the study began with.
        plan: Place by operator.
        name: Of the plan.
    """
    return FormatsReport(name, (), explained(table_of(graph, costs), plan))


def _plan(found: VerifiedPlan) -> PlanReport:
    assert found.time is not None
    latency, estimate = found.time.latency_us, found.plan.estimate_us
    return PlanReport(
        found.plan.name,
        latency.value / 1e3,
        latency.low / 1e3,
        latency.high / 1e3,
        None if estimate is None else estimate / 1e3,
        found.plan.gap,
        found.noise,
        found.good,
        len(found.plan.places),
    )


def formats_text(report: FormatsReport) -> str:
    """As a JSON document."""
    return json.dumps({"schema": _SCHEMA, **formats_document(report)}, indent=1) + "\n"


def formats_document(report: FormatsReport) -> dict[str, Any]:
    """As plain values."""
    document: dict[str, Any] = to_plain(report)
    return document


def read_formats(content: bytes, where: str) -> FormatsReport:
    """The inverse of :func:`formats_text`.

    Raises:
        InputError: It is something else.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: no JSON document") from error
    if not isinstance(document, Mapping) or document.get("schema") != _SCHEMA:
        raise InputError(f"{where}: schema {_SCHEMA!r} is needed")
    refuse_unknown(document, ["schema", "chosen", "plans", "operators", "runtimes"], where)
    plain = {key: value for key, value in document.items() if key != "schema"}
    found: FormatsReport = from_plain(FormatsReport, plain, where)
    return found


def session_text(runtime: Runtime) -> str:
    """Python that opens the model of a package as it was measured."""
    return _SESSION.format(
        threads=runtime.threads,
        level=_LEVELS[runtime.optimization],
        spinning=int(runtime.spinning),
        providers=json.dumps(runtime.providers),
    )
