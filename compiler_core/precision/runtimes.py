"""How onnxruntime runs a model fastest: threads, whether they spin, how far the graph is rewritten,
whose kernels, decided by the clock beside the number formats.

1. Formats are found with the runtime as it is given.
2. Float, integers throughout and the plan that was found run with every number of threads. Where
   another number is the fastest, formats are found anew with it.
3. With that number, the plan and float run with each other option; one that is faster beyond noise
   is taken.

Two ways to run that the clock does not tell apart are equal: then it is the one that is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from compiler_core.clock.choices import RuntimeChoices
from compiler_core.clock.statistics import Interval
from compiler_core.configuration.runtime import Runtime, is_worth_trying
from compiler_core.graph.ir import Graph
from compiler_core.precision.proposals import FLOAT, FULL_INT8
from compiler_core.precision.search import PrecisionChoice
from compiler_core.precision.verified import PlanTime, VerifiedPlan

_GIVEN = Runtime()


class RuntimeTimer(Protocol):
    """Times whole models, each with a runtime of its own."""

    def runtime_times(
        self, candidates: Mapping[str, tuple[Graph, Runtime]], to: str
    ) -> Mapping[str, PlanTime]:
        """Times of each, and how they compare with one of them; those that the runtime refuses are
        left out.

        Args:
            candidates: Models and how they run, by name.
            to: The one; it is never left out.
        """
        ...


@dataclass(frozen=True)
class TimedRuntime:
    """A plan under a runtime, by the clock.

    Attributes:
        plan: Its name.
        runtime: How it ran.
        latency_us: Median and interval.
        ratio: To the float model as the runtime that was given runs it.
    """

    plan: str
    runtime: Runtime
    latency_us: Interval
    ratio: Interval


@dataclass(frozen=True, eq=False)
class RuntimeChoice:
    """Number formats, and how the runtime runs them.

    Attributes:
        formats: Found with the threads of :attr:`runtime`.
        runtime: The fastest.
        timed: What was tried.
    """

    formats: PrecisionChoice
    runtime: Runtime
    timed: tuple[TimedRuntime, ...]


def with_runtime(
    given: Runtime,
    choices: RuntimeChoices,
    timer: RuntimeTimer,
    formats: Callable[[int], PrecisionChoice],
    graph_of: Callable[[VerifiedPlan], Graph],
    progress: Callable[[str], None] = lambda _: None,
) -> RuntimeChoice:
    """The fastest formats and the fastest way to run them.

    Args:
        given: What is not default in it stays.
        choices: What the machine leaves to choose.
        timer: The clock.
        formats: Finds formats with a number of threads.
        graph_of: A plan's model.
        progress: Told what is being done.
    """
    search = _RuntimeSearch(given, timer, graph_of, progress)
    found = formats(given.threads)
    if given.threads == _GIVEN.threads:
        best = search.fastest(found, [replace(given, threads=n) for n in choices.threads], given)
        if best.threads != given.threads:
            found = formats(best.threads)
    else:
        best = given
    others = [own for own in _others(best, choices) if is_worth_trying(own)]
    best = search.fastest(found, [best, *others], best)
    chosen = search.plan_under(found, best)
    return RuntimeChoice(replace(found, chosen=chosen), best, tuple(search.timed))


def _others(given: Runtime, choices: RuntimeChoices) -> list[Runtime]:
    """Ways to run that differ in what is not threads, and is not said otherwise."""
    spinning = (True, False) if given.spinning == _GIVEN.spinning else (given.spinning,)
    is_level_open = given.optimization == _GIVEN.optimization
    levels = choices.optimizations if is_level_open else (given.optimization,)
    is_provider_open = given.provider == _GIVEN.provider
    providers = choices.providers if is_provider_open else (given.provider,)
    found = [
        Runtime(given.threads, spins, level, provider)
        for provider in providers
        for level in levels
        for spins in spinning
    ]
    return [runtime for runtime in found if runtime != given]


class _RuntimeSearch:
    def __init__(
        self,
        given: Runtime,
        timer: RuntimeTimer,
        graph_of: Callable[[VerifiedPlan], Graph],
        progress: Callable[[str], None],
    ) -> None:
        self._given, self._timer, self._graph_of = given, timer, graph_of
        self._progress = progress
        self.timed: list[TimedRuntime] = []

    def fastest(
        self, found: PrecisionChoice, runtimes: Sequence[Runtime], usual: Runtime
    ) -> Runtime:
        """The runtime under which a good plan takes least; ``usual`` where no other is faster
        beyond noise."""
        plans = _plans(found)
        if len(runtimes) == 1:
            return usual
        self._progress(f"ways to run {len(plans)} plans by the clock: {len(runtimes)}")
        keys = {(plan.plan.name, runtime): plan for plan in plans for runtime in runtimes}
        names = {key: str(number) for number, key in enumerate(keys)}
        graphs = {plan.plan.name: self._graph_of(plan) for plan in plans}
        asked = {names[key]: (graphs[key[0]], key[1]) for key in keys}
        to = "float"
        asked[to] = self._graph_of(found.named(FLOAT)), self._given
        times = self._timer.runtime_times(asked, to)
        known = {key: times[name] for key, name in names.items() if name in times}
        self.timed += [
            TimedRuntime(name, runtime, own.latency_us, own.ratio)
            for (name, runtime), own in known.items()
        ]
        best = min(known, key=lambda key: known[key].ratio.value)
        own = [key for key in known if key[1] == usual]
        if not own:
            return best[1]
        first = min(own, key=lambda key: known[key].ratio.value)
        return best[1] if known[best].to(known[first]).high < 1.0 else usual

    def plan_under(self, found: PrecisionChoice, runtime: Runtime) -> VerifiedPlan:
        """The plan to take with a runtime: the chosen one, if no other is faster beyond noise."""
        chosen = found.chosen
        last = {t.plan: t for t in self.timed if t.runtime == runtime}
        own = last.get(chosen.plan.name)
        if own is None:
            return chosen
        names = {plan.plan.name: plan for plan in _plans(found)}
        faster = [t for t in last.values() if t.plan in names and t.ratio.high < own.ratio.low]
        if not faster:
            return chosen
        return names[min(faster, key=lambda t: t.ratio.value).plan]


def _plans(found: PrecisionChoice) -> list[VerifiedPlan]:
    """Float, integers throughout and what was chosen, as far as they are good enough."""
    plans = {found.chosen.plan.name: found.chosen}
    for name in (FLOAT, FULL_INT8):
        plans.setdefault(name, found.named(name))
    return [plan for plan in plans.values() if plan.good]
