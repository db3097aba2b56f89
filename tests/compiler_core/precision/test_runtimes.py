"""How the runtime runs a plan, decided by the clock beside its number formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from compiler_core.clock.choices import CPU_PROVIDER, RuntimeChoices
from compiler_core.compile.sources import load_model
from compiler_core.configuration.runtime import Runtime, is_worth_trying
from compiler_core.graph.ir import Graph
from compiler_core.precision.clock_timer import ClockTimer
from compiler_core.precision.proposals import FLOAT
from compiler_core.precision.runtimes import RuntimeChoice, with_runtime
from compiler_core.precision.search import PrecisionChoice, PrecisionSearch
from compiler_core.precision.verified import PlanTime, VerifiedPlan
from compiler_core.quantize.precision_lowering import lower_precisions
from compiler_core.quantize.precisions import precisions_of
from compiler_core.quantize.profile import profile_model
from tests.rule_timer import RuleTimer

CHOICES = RuntimeChoices((1, 2, 4), ("all", "extended"), (CPU_PROVIDER, "Other"))


class Asked(RuleTimer):
    """Keeps what it is asked; kernels of ``Other`` are refused."""

    def __init__(self) -> None:
        super().__init__()
        self.runtimes: list[Runtime] = []

    def runtime_times(
        self, candidates: Mapping[str, tuple[Graph, Runtime]], to: str
    ) -> Mapping[str, PlanTime]:
        self.runtimes += [runtime for _, runtime in candidates.values()]
        able = {n: c for n, c in candidates.items() if c[1].provider == CPU_PROVIDER}
        return super().runtime_times(able, to)


@pytest.fixture
def searched(synthetic: ModuleType, tmp_path: Path):  # type: ignore[no-untyped-def]
    model = load_model(synthetic.write("residual", tmp_path))
    profile = profile_model(model.graph, synthetic.samples("residual", 8))
    threads: list[int] = []

    def formats(own: int) -> PrecisionChoice:
        threads.append(own)
        timer = RuleTimer()
        return PrecisionSearch(model.graph, profile, timer, timer, lambda _p, _s: True).choose()

    def graph_of(plan: VerifiedPlan) -> Graph:
        asked = precisions_of(plan.plan.places)
        return lower_precisions(model.graph, asked, profile.ranges(), plan.scheme)

    def run(timer: RuleTimer, given: Runtime) -> tuple[RuntimeChoice, list[int]]:
        return with_runtime(given, CHOICES, timer, formats, graph_of), threads

    return run


def test_the_fastest_way_is_taken_and_formats_are_found_with_its_threads(searched) -> None:  # type: ignore[no-untyped-def]
    timer = Asked()
    found, threads = searched(timer, Runtime())
    assert found.runtime == Runtime(threads=2)
    assert threads == [1, 2]
    assert {runtime.threads for runtime in timer.runtimes} == {1, 2, 4}
    assert all(is_worth_trying(runtime) for runtime in timer.runtimes)
    assert Runtime(2, False) in timer.runtimes
    assert Runtime(2, True, "extended") in timer.runtimes
    assert {row.plan for row in found.timed} >= {FLOAT}
    assert found.formats.chosen.plan.places
    best = min(found.timed, key=lambda row: row.ratio.value)
    assert best.runtime.threads == 2


def test_what_is_given_stays(searched) -> None:  # type: ignore[no-untyped-def]
    timer = Asked()
    given = Runtime(4, False)
    found, threads = searched(timer, given)
    assert found.runtime == given
    assert threads == [4]
    assert {(runtime.threads, runtime.spinning) for runtime in timer.runtimes} == {(4, False)}
    assert {runtime.optimization for runtime in timer.runtimes} == {"all", "extended"}


def test_equal_ways_change_nothing(searched) -> None:  # type: ignore[no-untyped-def]
    class Equal(Asked):
        def runtime_times(
            self, candidates: Mapping[str, tuple[Graph, Runtime]], to: str
        ) -> Mapping[str, PlanTime]:
            plain = {n: (graph, Runtime()) for n, (graph, _) in candidates.items()}
            return super().runtime_times(plain, to)

    found, threads = searched(Equal(), Runtime())
    assert found.runtime == Runtime()
    assert threads == [1]


def test_the_clock_times_runtimes(synthetic: ModuleType, tmp_path: Path) -> None:
    """Structure alone."""
    graph = load_model(synthetic.write("residual", tmp_path)).graph
    timer = ClockTimer(1)
    asked = {
        "to": (graph, Runtime()),
        "basic": (graph, replace(Runtime(), optimization="basic")),
        "absent": (graph, replace(Runtime(), provider="AbsentExecutionProvider")),
    }
    found = timer.runtime_times(asked, "to")
    assert set(found) == {"to", "basic"}
    assert found["to"].ratio.value == 1.0
