"""Number formats of a model on this machine, found before a compile: times are kept, plans are not.

A plan is written into the configuration that a compile leaves, so that the same file compiles to
the same model without a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy.typing as npt

from compiler_core.clock.choices import RuntimeChoices, choices_here
from compiler_core.compile.sources import FloatModel, first_run
from compiler_core.configuration.configuration import Configuration, Scheme
from compiler_core.configuration.runtime import Runtime
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import choose, model_batch
from compiler_core.precision.clock_timer import ClockTimer
from compiler_core.precision.damage import DamageMeter
from compiler_core.precision.judge import IsGood
from compiler_core.precision.parts import run_values
from compiler_core.precision.runtimes import RuntimeChoice, RuntimeTimer, with_runtime
from compiler_core.precision.search import PrecisionChoice, PrecisionSearch
from compiler_core.precision.table import (
    FormatCosts,
    PrecisionTable,
    costs_of,
    measure_table,
    with_narrow_twins,
)
from compiler_core.precision.verified import PlanTimer, VerifiedPlan
from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.behind_selections import measure_plan
from compiler_core.quantize.good_enough import reason_against
from compiler_core.quantize.precisions import is_fitted, precisions_of
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.quality import QualityMeter
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.units.names import CPU
from nest_tune.stores.part_times import MachineTimer, RecordedTimer

_FEWEST_RUNS = 4
"""That can be halved."""

Progress = Callable[[str], None]
Offers = Sequence[Mapping[str, str]]
"""Places of plans that are worth a try, the best first."""


class MachinePlanTimer(MachineTimer, PlanTimer, RuntimeTimer, Protocol):
    """Times parts and whole models of one machine."""


def make_timer(
    model: FloatModel, profile: Profile, threads: int, progress: Progress, board: str = ""
) -> MachinePlanTimer:
    """The clock of this machine, or of boards, on what tensors hold in a run of the calibration
    data."""
    feeds = first_run(model.graph, profile)
    values = None if feeds is None else run_values(model.graph, feeds)
    if board:
        from compiler_core.precision.board_timer import BoardTimer  # few formats are of boards

        return BoardTimer(board, threads, progress=progress, values=values)
    return ClockTimer(threads, progress=progress, values=values)


def measured_formats(
    model: FloatModel,
    profile: Profile,
    *,
    is_good: IsGood | None = None,
    threads: int = 1,
    board: str = "",
    progress: Progress = lambda _: None,
) -> PrecisionChoice:
    """The plan that this machine, or a board, runs fastest, of those that are good enough on the
    samples.

    Args:
        model: The float model.
        profile: Statistics of the calibration data, with the samples.
        is_good: The limit; by default what a compile takes without asking.
        threads: Of what is timed.
        board: Addresses of boards that time in place of this machine; what plans lose is found
            here.
        progress: Told what is being done.

    Raises:
        InputError: The profile does not fit the model, or has no samples.
        MissingDependencyError: A board cannot be reached, or lacks something.
    """
    timer = make_timer(model, profile, threads, progress, board)
    recorded = RecordedTimer(timer)
    limit = is_good or good_on_samples(model, profile)
    saturates = timer.machine.saturates
    search = PrecisionSearch(
        model.graph, profile, recorded, timer, limit, saturates=saturates, progress=progress
    )
    found = search.choose()
    progress(f"{recorded.measured:,} times measured, {recorded.known:,} known from records")
    return found


def choices_of(board: str) -> RuntimeChoices:
    """What the runtime leaves to choose on this machine, or on boards.

    Raises:
        MissingDependencyError: A board cannot be reached, or lacks something.
    """
    if not board:
        return choices_here()
    from compiler_core.boards.timing import choices_of_boards  # few formats are of boards

    return choices_of_boards(board)


def measured_runtime(
    model: FloatModel,
    profile: Profile,
    given: Runtime,
    *,
    board: str = "",
    progress: Progress = lambda _: None,
) -> RuntimeChoice:
    """The plan that this machine, or a board, runs fastest, and the way to run it that is.

    Args:
        model, profile, board, progress: As of :func:`measured_formats`.
        given: What is not default in it stays.

    Raises:
        InputError, MissingDependencyError: As :func:`measured_formats`.
    """
    timer = make_timer(model, profile, given.threads, progress, board)

    def formats(threads: int) -> PrecisionChoice:
        return measured_formats(model, profile, threads=threads, board=board, progress=progress)

    def graph_of(plan: VerifiedPlan) -> Graph:
        if not plan.plan.places:
            return model.graph
        samples = profile.first()
        assert samples is not None  # formats were found by them
        meter = DamageMeter(model.graph, profile.ranges(), samples, plan.scheme)
        return meter.lowered(plan.plan.places)

    return with_runtime(given, choices_of(board), timer, formats, graph_of, progress)


def good_on_samples(model: FloatModel, profile: Profile) -> IsGood:
    """Whether the outputs for the calibration samples are good enough to be taken without asking.

    Raises:
        InputError: The profile has no samples.
    """
    samples = profile.first()
    if samples is None:
        raise InputError(
            "a profile holds no samples: number formats are judged by what they lose",
            hint="give --calibration calib.npz in place of a profile",
        )
    meter = QualityMeter(model.graph, samples)
    halves = _halves(model, profile, samples)

    def is_good(places: Mapping[str, str], scheme: QuantizationScheme) -> bool:
        units = {node.name: CPU for node in model.graph.nodes} | dict(places)
        fits = any(is_fitted(own) for own in precisions_of(units).values())
        known, judge = halves if fits and halves is not None else (profile, meter)
        try:
            outputs = measure_plan(
                judge,
                model.graph,
                units,
                lambda places: apply_profile(model.graph, places, known, scheme).quantized,
            )
            return not reason_against(outputs)
        except InputError:
            return False

    return is_good


def _halves(
    model: FloatModel, profile: Profile, samples: Mapping[str, npt.NDArray[Any]]
) -> tuple[Profile, QualityMeter] | None:
    """Every second run for weights that are fitted to samples, and the rest to judge them by;
    ``None`` where there are too few."""
    count = len(next(iter(samples.values()))) // model_batch(model.graph)
    if count < _FEWEST_RUNS:
        return None
    fitted = choose(model.graph, samples, range(0, count, 2))
    judged = choose(model.graph, samples, range(1, count, 2))
    return replace(profile, inputs=fitted), QualityMeter(model.graph, judged)


def measured_costs(
    model: FloatModel,
    profile: Profile,
    *,
    threads: int = 1,
    board: str = "",
    graded: bool = False,
    progress: Progress = lambda _: None,
) -> tuple[FormatCosts, QuantizationScheme, Offers]:
    """What operators cost in their number formats on this machine, the way to find scales that
    leaves least noise, and plans to try first.

    Args:
        model: The float model.
        profile: Statistics of the calibration data, with the samples.
        threads: Of what is timed.
        board: As of :func:`measured_formats`.
        graded: Whether plans of ever less noise are looked for; else there are none to try first,
            and scales are those for integers throughout.
        progress: Told what is being done.

    Raises:
        InputError, MissingDependencyError: As :func:`measured_formats`.
    """
    timer = make_timer(model, profile, threads, progress, board)
    parts = RecordedTimer(timer)
    search = PrecisionSearch(
        model.graph,
        profile,
        parts,
        timer,
        lambda _places, _scheme: True,
        saturates=timer.machine.saturates,
        progress=progress,
    )
    offers = search.offers() if graded else []
    scheme = offers[0].scheme if offers else search.scheme
    costs = costs_of(search.table)
    if timer.machine.saturates:
        costs = with_narrow_twins(costs)
    return costs, scheme, [offer.plan.places for offer in offers]


def measured_table(
    model: FloatModel,
    profile: Profile,
    *,
    threads: int = 1,
    board: str = "",
    progress: Progress = lambda _: None,
) -> PrecisionTable:
    """What operators and pairs cost in their number formats on this machine, or on a board.

    Args:
        model, profile, threads, board, progress: As of :func:`measured_costs`.

    Raises:
        InputError, MissingDependencyError: As :func:`measured_formats`.
    """
    parts = RecordedTimer(make_timer(model, profile, threads, progress, board))
    found = measure_table(model.graph, profile.ranges(), parts, progress)
    progress(f"{parts.measured:,} times measured, {parts.known:,} known from records")
    return found


def with_formats(
    configuration: Configuration, model: FloatModel, choice: PrecisionChoice
) -> Configuration:
    """A configuration that says the formats of a choice."""
    places = choice.chosen.plan.places
    plan = {node.name: places.get(node.name, CPU) for node in model.graph.nodes}
    if not places:
        return replace(configuration, plan=plan)
    return replace(configuration, plan=plan, scheme=Scheme.of({}, choice.scheme))
