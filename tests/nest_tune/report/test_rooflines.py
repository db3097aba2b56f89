"""Each unit of a target has a roof of its own in the report."""

from __future__ import annotations

from compiler_core.executable.profile import roofline
from compiler_core.partition.best import prepare
from compiler_core.targets.load import load_target
from nest_tune.report.compiled import roofline_charts
from nest_tune.testing.unit_models import small_model
from tests.compiler_core.partition.agreement import compiled


def test_layers_lie_under_the_roof_of_their_unit() -> None:
    model, target = small_model(), load_target("vta-aim")
    evaluator = prepare(model.graph, target, packaged=True)
    numbers = target.places.numbers
    aim, vta = numbers["aim"], numbers["vta"]
    placement = tuple(aim if aim in own else vta if vta in own else 0 for own in evaluator.choices)
    assert {aim, vta} <= set(placement)
    built = compiled(model, evaluator, placement, target)
    charts, _ = roofline_charts(None, built, target)
    assert [chart.unit for chart in charts] == ["vta", "aim"]
    assert charts[0].peak_macs_per_cycle != charts[1].peak_macs_per_cycle
    layers = [layer for layer in built.report.layers if layer.cycles and layer.macs]
    assert sum(len(chart.dots) for chart in charts) == len(layers)
    for chart in charts:
        for dot in chart.dots:
            slope = dot.macs_per_byte * chart.bytes_per_cycle
            assert dot.macs_per_cycle <= min(chart.peak_macs_per_cycle, slope) * 1.000001
    both, _ = roofline_charts(built, built, target)
    assert [2 * len(chart.dots) for chart in charts] == [len(chart.dots) for chart in both]
    alone = load_target("vta")
    evaluator = prepare(model.graph, alone, packaged=True)
    whole = tuple(own[-1] for own in evaluator.choices)
    only = compiled(model, evaluator, whole, alone)
    assert [chart.unit for chart in roofline_charts(None, only, alone)[0]] == [""]
    assert any(roofline(layer, alone) for layer in only.report.layers)
