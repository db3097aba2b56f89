"""Plans of number formats: measured parts, optima of their costs, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compiler_core.clock.statistics import Interval, median_interval, ratio_interval
from compiler_core.compile.sources import FloatModel, load_model
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.precision.clock_timer import ClockTimer
from compiler_core.precision.explained import explained
from compiler_core.precision.full_forms import full_forms
from compiler_core.precision.parts import PartKey, neighbours, part_inputs, parts_of
from compiler_core.precision.proposals import (
    ALL_DYNAMIC,
    FLOAT,
    FULL_INT8,
    FormatProposer,
    PrecisionPlan,
)
from compiler_core.precision.search import PrecisionSearch
from compiler_core.precision.table import costs_of, measure_table, table_of, with_narrow_twins
from compiler_core.precision.verified import PlanTime, VerifiedPlan, fastest
from compiler_core.quantize.precision_lowering import lower_precisions
from compiler_core.quantize.precisions import (
    Rounding,
    has_weights,
    precision_of,
    precisions_of,
    timed_as,
    with_narrow_weights,
    with_rounding,
)
from compiler_core.quantize.profile import Profile, profile_model
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod
from compiler_core.units.names import CPU
from tests.rule_timer import RuleTimer, graph_us

Known = tuple[FloatModel, Profile]


@pytest.fixture(scope="module", params=["residual", "mixed", "concat"])
def known(
    request: pytest.FixtureRequest, synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Known:
    folder: Path = tmp_path_factory.mktemp("models")
    model = load_model(synthetic.write(request.param, folder))
    return model, profile_model(model.graph, synthetic.samples(request.param, 8))


def test_parts_enter_and_leave_as_their_operators_do(known: Known) -> None:
    model, profile = known
    singles, pairs = parts_of(model.graph)
    assert list(singles) == [node.name for node in model.graph.nodes]
    assert set(pairs) == {(a.name, b.name) for a, b in neighbours(model.graph)}
    for node in model.graph.nodes:
        if node.op == "Conv":
            part = singles[node.name].lowered(["cpu:u8s8c"], profile.ranges())
            assert [part.types[name].dtype for name in part.inputs] == ["uint8"]
            assert [part.types[name].dtype for name in part.outputs] == ["uint8"]
            assert part_inputs(part)[part.inputs[0]].dtype == np.uint8


def test_signatures_know_shapes_and_not_values(synthetic: ModuleType, tmp_path: Path) -> None:
    graph = load_model(synthetic.write("residual", tmp_path)).graph
    one, _ = parts_of(graph)
    changed = {
        name: value * 2 if value.dtype.kind == "f" else value
        for name, value in graph.constants.items()
    }
    two, _ = parts_of(replace(graph, constants=changed))
    assert [p.signature for p in one.values()] == [p.signature for p in two.values()]
    convolutions = [one[n.name].signature for n in graph.nodes if n.op == "Conv"]
    assert len(set(convolutions)) == len(convolutions)


def test_sums_of_parts_are_what_chains_take(known: Known) -> None:
    """Exact where no tensor has two readers; elsewhere conversions for both are counted twice."""
    model, profile = known
    graph, timer = model.graph, RuleTimer()
    table = measure_table(graph, profile.ranges(), timer)
    assert all(places[0] == CPU for places in table.kept.values())
    branches = any(len(graph.consumers(n)) > 1 for node in graph.nodes for n in node.outputs)
    borders = 10.0 * len(graph.nodes) if branches else 10.0  # those of the model itself
    random = np.random.default_rng(0)
    for _ in range(5):
        places = {n: p[random.integers(len(p))] for n, p in table.kept.items()}
        lowered = lower_precisions(
            graph, precisions_of(places), profile.ranges(), QuantizationScheme()
        )
        total = table.total_us(places)
        assert total is not None
        assert abs(total - graph_us(lowered)) <= borders


def test_optima_cost_least(known: Known) -> None:
    model, profile = known
    table = measure_table(model.graph, profile.ranges(), RuleTimer())
    proposer = FormatProposer(table)
    best, *others = proposer.proposals(None)
    assert best.gap is not None
    assert best.gap <= 1e-3
    names = list(table.kept)
    if np.prod([len(table.kept[name]) for name in names]) <= 20_000:
        totals = [
            table.total_us(dict(zip(names, choice, strict=True)))
            for choice in product(*(table.kept[name] for name in names))
        ]
        assert best.estimate_us == pytest.approx(min(t for t in totals if t is not None), rel=2e-3)
    assert all(plan.places != best.places for plan in others)
    with_room = FormatProposer(
        table, lambda: {n: dict.fromkeys(p, 1.0) for n, p in table.kept.items()}
    )
    none = with_room.best("none", 0.0)
    assert none is None or none.places == {}


def test_scales_found_as_products_run_are_tried_whole_though_each_alone_seems_slow(
    known: Known,
) -> None:
    """Products that read one tensor find its scale once; alone each pays for it."""
    model, profile = known
    table = measure_table(model.graph, profile.ranges(), RuleTimer())
    singles = {
        name: {p: 100.0 * time if ":d8" in p else time for p, time in times.items()}
        for name, times in table.singles.items()
    }
    able = {name for name, times in singles.items() if any(":d8" in place for place in times)}
    plans = FormatProposer(replace(table, singles=singles)).proposals(None)
    found = [plan.places for plan in plans if plan.name == ALL_DYNAMIC]
    assert [set(places) for places in found] == ([able] if able else [])
    assert all(len(set(places.values())) == 1 for places in found)


@pytest.mark.parametrize("limit", [1.0, 1e-4, 0.0])
def test_what_is_chosen_is_good_and_no_slower(known: Known, limit: float) -> None:
    model, profile = known
    timer, told = RuleTimer(), []
    search = PrecisionSearch(
        model.graph,
        profile,
        timer,
        timer,
        lambda places, scheme: search.noise(places, scheme) <= limit,
        progress=told.append,
    )
    found = search.choose()
    assert told
    assert found.chosen.noise <= limit
    times = {v.plan.name: v.time.latency_us.value for v in found.verified if v.time and v.good}
    mine = found.chosen.time
    assert mine is not None
    assert mine.latency_us.value <= min(times.values()) * 1.01
    assert {FLOAT, FULL_INT8} <= {v.plan.name for v in found.verified}
    if limit == 1.0:
        assert mine.ratio.value < 0.9
    if limit == 0.0:
        assert found.chosen.plan.places == {}


def test_weights_in_blocks_are_rounded_to_lose_least(synthetic: ModuleType, tmp_path: Path) -> None:
    model = load_model(synthetic.write("residual", tmp_path))
    profile = profile_model(model.graph, synthetic.samples("residual", 8))
    timer = RuleTimer(blocks_us=1.0)
    search = PrecisionSearch(model.graph, profile, timer, timer, lambda _p, _s: True)
    found = search.choose()
    dense = model.graph.nodes[-1].name
    place = found.chosen.plan.places[dense]
    ways = {with_rounding(place, way): way for way in Rounding}
    assert place in ways
    others = [{**found.chosen.plan.places, dense: way} for way in ways]
    noises = [search.noise(places, found.scheme) for places in others]
    assert found.chosen.noise == min(noises) < max(noises)
    row = explained(found.table, found.chosen.plan.places)[-1]
    assert (row.name, row.chosen) == (dense, place.removeprefix("cpu:"))
    assert row.chosen_ms < row.float_ms


def test_a_profile_without_samples_is_refused(known: Known) -> None:
    model, profile = known
    timer = RuleTimer()
    with pytest.raises(InputError, match="holds no samples"):
        PrecisionSearch(
            model.graph, replace(profile, inputs=None), timer, timer, lambda _p, _s: True
        )


def test_the_clock_times_parts_and_plans(synthetic: ModuleType, tmp_path: Path) -> None:
    """Structure alone: what takes how long is another matter on every machine."""
    model = load_model(synthetic.write("residual", tmp_path))
    profile = profile_model(model.graph, synthetic.samples("residual", 8))
    timer = ClockTimer(1, repeats=1, budget_s=0.01)
    singles, _ = parts_of(model.graph)
    part = next(iter(singles.values()))
    asked = {
        part.key([place]): lambda place=place: part.lowered([place], profile.ranges())
        for place in (CPU, "cpu:u8s8c")
    }
    times = timer.times_us(asked)
    assert set(times) == set(asked)
    assert all(time > 0 for time in times.values())
    found = timer.ratios({"a": model.graph, "b": model.graph}, "a")
    assert found["a"].ratio.value == 1.0
    assert found["b"].latency_us.low <= found["b"].latency_us.value
    assert timer.machine.digest


def test_what_cannot_run_alone_stays_float(synthetic: ModuleType, tmp_path: Path) -> None:
    class Refusing(RuleTimer):
        def times_us(self, parts):  # type: ignore[no-untyped-def]
            return {
                k: v for k, v in super().times_us(parts).items() if "GlobalAver" not in k.signature
            }

    graph = load_model(synthetic.write("residual", tmp_path)).graph
    profile = profile_model(graph, synthetic.samples("residual", 8))
    table = measure_table(graph, profile.ranges(), Refusing())
    pool = next(node for node in graph.nodes if node.op == "GlobalAveragePool")
    assert table.kept[pool.name] == (CPU,)
    assert table.total_us({}) is not None


class PerTensor(RuleTimer):
    """Operators of all forms take the same; whole models with a scale per tensor take less."""

    def ratios(
        self, graphs: Mapping[str, Graph], to: str, *, rounds: int = 0
    ) -> Mapping[str, PlanTime]:
        found = super().ratios(graphs, to, rounds=rounds)
        scales = {name: most_scales(graph) for name, graph in graphs.items()}
        return {
            name: scaled(time, 1.0 if scales[name] > 1 else 0.9) for name, time in found.items()
        }


def most_scales(graph: Graph) -> int:
    """Most scales of one tensor; more than one in float."""
    own = [
        graph.constants[node.inputs[1]].size for node in graph.nodes if node.op == "QuantizeLinear"
    ]
    weights = [
        graph.constants[node.inputs[1]].size
        for node in graph.nodes
        if node.op == "DequantizeLinear" and node.inputs[0] in graph.constants
    ]
    return max([*own, *weights], default=2)


def scaled(time: PlanTime, by: float) -> PlanTime:
    us, ratio = (
        Interval(i.value * by, i.low * by, i.high * by, i.samples, i.level)
        for i in (time.latency_us, time.ratio)
    )
    return PlanTime(us, ratio)


def test_the_clock_says_which_form_of_integers_is_the_fastest(known: Known) -> None:
    model, profile = known
    timer = PerTensor()
    search = PrecisionSearch(model.graph, profile, timer, timer, lambda _p, _s: True)
    found = search.choose()
    places = found.named(FULL_INT8).plan.places
    weighted = [n.name for n in model.graph.nodes if has_weights(model.graph, n)]
    assert all(places[name].endswith("t") for name in weighted)
    assert found.chosen.timed.ratio.value <= found.named(FULL_INT8).timed.ratio.value


def test_forms_of_integers_have_all_operators_on_integers(known: Known) -> None:
    model, profile = known
    table = measure_table(model.graph, profile.ranges(), RuleTimer())
    forms = full_forms(table)
    assert {"u8s8c", "u8s8t", "s8s8c", "s8s8t", "u8u8c", "u8u8t"} <= set(forms)
    able = {
        node.name for node in model.graph.nodes
        if any(place.startswith("cpu:u8") for place in table.singles[node.name])
    }  # fmt: skip
    for name, places in forms.items():
        assert set(places) == able
        activations = {precision_of(place).activations for place in places.values()}  # type: ignore[union-attr]
        assert activations == {"int8" if name.startswith("s8") else "uint8"}
    # In a study's table, which has the kept places alone, no operator falls back to float.
    kept = table_of(model.graph, costs_of(table))
    assert all(set(places) == able for places in full_forms(kept).values())


def test_slow_forms_are_not_run(known: Known) -> None:
    model, profile = known
    table = measure_table(model.graph, profile.ranges(), RuleTimer())
    singles = {
        name: {p: 2 * time if ":s8" in p else time for p, time in times.items()}
        for name, times in table.singles.items()
    }
    assert not any(name.startswith("s8") for name in full_forms(replace(table, singles=singles)))


def test_scales_are_found_otherwise_where_that_keeps_the_limit(known: Known) -> None:
    """What is good enough with one way to find scales alone is found with that way."""
    model, profile = known
    timer = RuleTimer()
    plain = PrecisionSearch(model.graph, profile, timer, timer, lambda _p, _s: True)
    last = plain.schemes[-1].activation_range
    search = PrecisionSearch(
        model.graph, profile, timer, timer, lambda _p, scheme: scheme.activation_range is last
    )
    found = search.choose()
    assert found.scheme.activation_range is last
    assert found.chosen.plan.places
    assert found.named(FULL_INT8).good


def test_weights_have_7_bits_where_kernels_saturate_and_that_loses_less(known: Known) -> None:
    model, profile = known
    timer = RuleTimer()
    for saturates in (False, True):
        search = PrecisionSearch(
            model.graph, profile, timer, timer, lambda _p, _s: True, saturates=saturates
        )
        found = search.choose()
        full = found.named(FULL_INT8)
        wide = {name: timed_as(place) for name, place in full.plan.places.items()}
        assert full.noise <= search.noise(wide, full.scheme)
        assert saturates or not any("s7" in place for place in full.plan.places.values())


def test_of_plans_that_the_clock_does_not_tell_apart_the_one_with_less_noise_is_taken() -> None:
    scheme = QuantizationScheme()

    def plan(
        name: str, noise: float, samples: tuple[float, ...], good: bool = True
    ) -> VerifiedPlan:
        ratio = ratio_interval(samples, (10.0,) * len(samples))
        time = PlanTime(median_interval(samples), ratio, samples)
        return VerifiedPlan(PrecisionPlan(name, {}, None), scheme, noise, good, time)

    first = plan("first", 0.5, (5.0, 5.1, 5.0, 5.2, 5.0, 5.1, 5.0, 5.1, 5.0))
    same = plan("same", 0.1, (5.1, 5.0, 5.0, 5.1, 5.1, 5.0, 5.1, 5.1, 5.0))
    slower = plan("slower", 0.0, tuple(1.02 * us for us in first.timed.samples_us))
    bad = plan("bad", 0.0, tuple(0.5 * us for us in first.timed.samples_us), good=False)
    assert fastest([slower, first, same, bad]).plan.name == "same"
    assert fastest([slower, first, bad]).plan.name == "first"


def test_what_was_not_kept_costs_what_is_like_it(known: Known) -> None:
    model, profile = known
    table = measure_table(model.graph, profile.ranges(), RuleTimer())
    forms = full_forms(table).values()
    assert any(p not in table.kept[n] for places in forms for n, p in places.items())
    for places in forms:
        total = table.total_us(places)
        assert total is not None
        assert total < table.total_us({})  # type: ignore[operator]
    assert table.total_us({model.graph.nodes[0].name: "cpu:w8b32"}) is None


class Misled(RuleTimer):
    """Single operators seem to take a little more on integers; whole models take less."""

    def times_us(self, parts: Mapping[PartKey, Callable[[], Graph]]) -> Mapping[PartKey, float]:
        return {
            key: 10.1 if "int8" in {known.dtype for known in make().types.values()} else 10.0
            for key, make in parts.items()
        }


def test_moves_that_help_are_made_together(synthetic: ModuleType, tmp_path: Path) -> None:
    graph = load_model(synthetic.write("residual", tmp_path)).graph
    profile = profile_model(graph, synthetic.samples("residual", 8))
    timer = Misled()
    most = 3
    search = PrecisionSearch(graph, profile, timer, timer, lambda places, _s: len(places) <= most)
    found = search.choose()
    together = [plan for plan in found.verified if plan.plan.name.startswith("moves together")]
    assert together
    assert all(plan.good for plan in together)
    assert len(found.chosen.plan.places) == most
    assert found.chosen.timed.ratio.value <= min(
        p.timed.ratio.value for p in found.verified if p.good
    )


def test_the_room_is_as_wide_as_the_limit_lets_it_be(known: Known) -> None:
    model, profile = known
    timer = RuleTimer()
    search = PrecisionSearch(model.graph, profile, timer, timer, lambda places, _s: within(places))

    def noise(places: Mapping[str, str]) -> float:
        damages = search.proposer.damages
        return sum(damages[name].get(timed_as(place), 0.0) for name, place in places.items())

    whole = noise(search.proposer.best("optimum", None).places)  # type: ignore[union-attr]

    def within(places: Mapping[str, str]) -> bool:
        return noise(places) <= 0.5 * whole

    found = search.choose()
    assert found.room is not None
    assert 0.45 * whole < found.room < 0.6 * whole


def test_offers_have_ever_less_noise_and_what_destroys_comes_last(known: Known) -> None:
    model, profile = known
    timer = RuleTimer()
    search = PrecisionSearch(model.graph, profile, timer, timer, lambda _p, _s: True)
    offers = search.offers()
    assert len(offers) > 1
    assert len({tuple(sorted(offer.plan.places.items())) for offer in offers}) == len(offers)
    meter = search._judge.least_noise

    def noise(
        places: Mapping[str, str], scheme: QuantizationScheme
    ) -> tuple[float, dict[str, str]]:
        """As much as operators in formats of their own."""
        return (1.0 if len(places) > 2 else 0.01), meter(places, scheme)[1]

    search._judge.least_noise = noise  # type: ignore[method-assign]
    again = search.offers()
    assert [len(offer.plan.places) > 2 for offer in again] == sorted(
        len(offer.plan.places) > 2 for offer in again
    )
    assert {offer.noise for offer in again} == {1.0, 0.01}
    times = [offer.plan.estimate_us for offer in offers if offer.noise <= 0.05]
    assert times == sorted(times)  # type: ignore[type-var]


def test_scales_are_found_in_the_way_that_suits_the_plan(known: Known) -> None:
    """Where integers throughout destroy all, they do not tell which way is the best."""
    model, profile = known
    timer = RuleTimer()
    suits = QuantizationScheme(activation_range=RangeMethod.MAX, bias_correction=True)
    search = PrecisionSearch(
        model.graph, profile, timer, timer, lambda places, s: s == suits and len(places) <= 2
    )
    meter = search._judge.least_noise

    def noise(
        places: Mapping[str, str], scheme: QuantizationScheme
    ) -> tuple[float, dict[str, str]]:
        whole, rounded = meter(places, scheme)
        few = len(places) <= 2
        return (whole / 1e6 if few and scheme == suits else whole), rounded

    search._judge.least_noise = noise  # type: ignore[method-assign]
    found = search.choose()
    assert found.scheme == suits
    assert 0 < len(found.chosen.plan.places) <= 2


def test_weights_of_7_bits_cost_what_those_of_8_cost(synthetic: ModuleType, tmp_path: Path) -> None:
    graph = load_model(synthetic.write("residual", tmp_path)).graph
    profile = profile_model(graph, synthetic.samples("residual", 8))
    costs = costs_of(measure_table(graph, profile.ranges(), RuleTimer()))
    twins = with_narrow_twins(costs)
    table, plain = table_of(graph, twins), table_of(graph, costs)
    others = {name: own[-1] for name, own in costs.places.items()}
    added = 0
    for name, own in twins.places.items():
        wide = costs.places[name]
        assert own[: len(wide)] == wide
        assert list(map(timed_as, own[len(wide) :])) == [
            place for place in wide if with_narrow_weights(place) != place
        ]
        for place in own[len(wide) :]:
            added += 1
            assert table.singles[name][place] == plain.singles[name][timed_as(place)]
            assert table.total_us({**others, name: place}) == plain.total_us(
                {**others, name: timed_as(place)}
            )
    assert added
    for pair, found in table.borders.items():
        for (one, other), cost in found.items():
            assert cost == plain.borders[pair][timed_as(one), timed_as(other)]
