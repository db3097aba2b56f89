"""Staged evaluation, its cache, sensitivity and the search, on a small network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.quantize.accuracy import Accuracy, Estimate, Metric
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.scheme import QuantizationScheme, WeightRounding
from compiler_core.quantize.sensitivity import layer_macs, sensitivities
from compiler_core.quantize.text import quantized_digest
from nest_tune.scheme_search.accuracy_cache import AccuracyCache
from nest_tune.scheme_search.evaluation import SchemeEvaluator, Stage
from nest_tune.scheme_search.plot import sensitivity_svg, text_bar
from nest_tune.scheme_search.search import (
    ScoredScheme,
    choose,
    npu_grid,
    search_schemes,
    share_on_npu,
)


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    """Four convolutions; the second one's channels differ by orders of magnitude."""
    channels = [3, 8, 8, 8, 5]
    spread = np.float32(10.0) ** np.linspace(-2, 2, 8, dtype=np.float32).reshape(8, 1, 1, 1)
    nodes, constants = [], {}
    types = {"t0": TensorType("float32", (1, 3, 6, 6))}
    for number in range(4):
        weight = random(channels[number + 1], channels[number], 1, 1, seed=number)
        constants[f"w{number}"] = weight * (spread if number == 1 else 1)
        types[f"w{number}"] = TensorType("float32", weight.shape)
        types[f"t{number + 1}"] = TensorType("float32", (1, channels[number + 1], 6, 6))
        clip = (0.0, np.inf) if number < 3 else None
        inputs = (f"t{number}", f"w{number}")
        nodes.append(Node(f"conv{number}", "Conv", inputs, (f"t{number + 1}",), {}, "", clip))
    activations = frozenset(f"t{number}" for number in range(5))
    return Graph(
        "small", ("t0",), ("t4",), tuple(nodes), constants, types, {"": 17}, (), activations
    )


@pytest.fixture(scope="module")
def evaluator(network):
    samples = {"t0": random(40, 3, 6, 6, seed=9)}
    profile = profile_model(network, {"t0": random(16, 3, 6, 6, seed=8)})
    return SchemeEvaluator(network, default_assignment(network), profile, samples, None)


def test_stages_and_cache(evaluator, network, tmp_path):
    cache = AccuracyCache(tmp_path / "cache")
    own = SchemeEvaluator(
        network, evaluator.assignment, evaluator.profile, evaluator.samples, None, cache=cache
    )
    scheme = QuantizationScheme(granularity=Granularity.CHANNEL)
    assert own.evaluate(scheme, Stage.PROXY).samples == 16
    assert own.evaluate(scheme).samples == 40
    files = sorted((tmp_path / "cache").iterdir())
    assert len(files) == 2
    first = own.evaluate(scheme)
    again = AccuracyCache(tmp_path / "cache")
    keys = [path.stem for path in files]
    found = [again.get(key) for key in keys]
    assert {item.samples for item in found} == {16, 40}
    full = next(item for item in found if item.samples == 40)
    assert dict(full.metrics) == dict(first.metrics)
    np.testing.assert_array_equal(full.correct, first.correct)
    files[0].write_text("{")
    assert AccuracyCache(tmp_path / "cache").get(keys[0]) is None
    assert again.get("unknown") is None


def test_labels_are_checked(evaluator, network):
    for labels, message in (
        (np.zeros(40, np.int64), r"int64\[40, 6, 6\] is needed"),
        (np.zeros((39, 6, 6), np.int64), r"int64\[40, 6, 6\] is needed"),
        (np.full((40, 6, 6), 5), "the model has 5 classes"),
    ):
        with pytest.raises(InputError, match=message):
            SchemeEvaluator(
                network, evaluator.assignment, evaluator.profile, evaluator.samples, labels
            )


def test_sensitivity_finds_the_uneven_layer(evaluator, network):
    assert layer_macs(network) == {"conv0": 864, "conv1": 2304, "conv2": 2304, "conv3": 1440}
    ranking = sensitivities(
        network,
        evaluator.assignment,
        evaluator.profile.ranges(),
        QuantizationScheme(),
        evaluator.samples,
        None,
    )
    assert len(ranking) == 4
    values = [item.accuracy.metrics[Metric.SQNR].value for item in ranking]
    assert values == sorted(values)
    assert "conv1" in {item.name for item in ranking[:3]}
    # The last layer writes the scores themselves.
    last = next(item for item in ranking if item.name == "conv3")
    assert last.own.value == pytest.approx(last.accuracy.metrics[Metric.SQNR].value)


@pytest.mark.parametrize("unit", ["cpu", "vta"])
def test_own_noise_of_a_layer(evaluator, network, unit):
    units = dict.fromkeys(evaluator.assignment, unit)
    ranking = sensitivities(
        network, units, evaluator.profile.ranges(), QuantizationScheme(), evaluator.samples, None
    )
    assert all(15 < item.own.value < 60 for item in ranking)


def test_search_keeps_the_share_and_improves(evaluator):
    told = []
    result = search_schemes(evaluator, npu_share=0.6, finalists=3, progress=told.append)
    default = evaluator.evaluate(QuantizationScheme()).metrics[Metric.SQNR].value
    assert result.uniform.accuracy.metrics[Metric.SQNR].value > default
    assert result.uniform.npu_share == 1.0
    assert result.mixed.npu_share >= 0.6
    assert share_on_npu(evaluator, result.mixed.scheme) == result.mixed.npu_share
    assert told[0].startswith("proxy 1 of")


def test_everything_on_the_npu_ranks_no_layers_and_moves_none(evaluator, monkeypatch):
    def refused(*_arguments, **_options):
        raise AssertionError("the mixed stage ran")

    monkeypatch.setattr("nest_tune.scheme_search.search.sensitivities", refused)
    monkeypatch.setattr("nest_tune.scheme_search.search.float_sets", refused)
    result = search_schemes(evaluator, finalists=2, mixed=False)
    assert result.mixed is None
    assert result.ranking == ()
    assert not any(item.scheme.float_layers for item in result.evaluated)
    with pytest.raises(AssertionError, match="mixed stage"):
        search_schemes(evaluator, finalists=2)


def test_pictures():
    svg = sensitivity_svg("a < b", ["one", "two&"], [10.0, 30.0])
    assert svg.startswith("<svg")
    assert "a &lt; b" in svg
    assert "two&amp;" in svg
    assert text_bar(1.0, 2.0, 4) == "██"
    assert text_bar(0.0, 2.0, 4) == ""
    assert text_bar(9.0, 2.0, 4) == "████"


def candidate(agreement, hits, decibels):
    accuracy = Accuracy(
        100, {Metric.SQNR: Estimate(decibels, decibels, decibels)}, np.arange(100) < hits
    )
    return ScoredScheme(QuantizationScheme(), accuracy, agreement, 400, 1.0)


def test_choice_within_a_standard_error_of_the_best_agreement():
    # The standard error at 0.96 of 400 samples is 0.0098.
    best, near, far = candidate(0.96, 80, 30.0), candidate(0.952, 82, 20.0), candidate(0.94, 90, 40)
    assert choose([best, near, far]) is near
    assert choose([best, far]) is best
    finer = candidate(0.955, 82, 25.0)
    assert choose([near, best, finer]) is finer
    # Fewer samples leave more room: the error is 0.0245 of 64.
    assert choose([best, near, replace(far, samples=64)]).agreement == 0.94


def test_samples_without_labels_make_agreement_more_certain(evaluator, network):
    more = SchemeEvaluator(
        network,
        evaluator.assignment,
        evaluator.profile,
        {"t0": random(24, 3, 6, 6, seed=5)},
        None,
    )
    result = search_schemes(evaluator, unlabelled=more, npu_share=0.6, finalists=2, gptq=True)
    fitted = {item.scheme.needs_samples: item for item in result.evaluated}
    assert set(fitted) == {False, True}
    for needs_samples, found in fitted.items():
        measured = [evaluator] if needs_samples else [evaluator, more]
        agreeing = sum(item.evaluate(found.scheme).correct.sum() for item in measured)
        assert found.samples == sum(item.chosen(Stage.FULL).size for item in measured)
        assert found.agreement == pytest.approx(agreeing / found.samples)


def test_gptq_is_tried_on_the_best_that_differ(evaluator):
    result = search_schemes(evaluator, npu_share=1.0, finalists=5, gptq=True)
    grid = [item for item in result.evaluated if not item.scheme.float_layers]
    rounded = [item.scheme for item in grid if item.scheme.needs_samples]
    nearest = [item.scheme for item in grid if not item.scheme.needs_samples]
    assert len(nearest) == 5
    assert set(nearest) <= set(npu_grid())
    different = []
    for scheme in nearest:
        digest = quantized_digest(evaluator.apply(scheme).quantized)
        if digest not in [known for known, _ in different]:
            different.append((digest, scheme))
    tried = [replace(scheme, weight_rounding=WeightRounding.NEAREST) for scheme in rounded]
    assert len(rounded) == 3
    assert tried[: len(different)] == [scheme for _, scheme in different[:3]]


def test_gptq_is_tried_where_agreement_is_low(evaluator, monkeypatch):
    def tried(**asked):
        result = search_schemes(evaluator, npu_share=1.0, finalists=2, **asked)
        return any(item.scheme.needs_samples for item in result.evaluated)

    agreement = search_schemes(evaluator, npu_share=1.0, finalists=2, gptq=False).uniform.agreement
    for enough, expected in ((agreement, False), (np.nextafter(agreement, 2), True)):
        monkeypatch.setattr("nest_tune.scheme_search.search._ENOUGH_AGREEMENT", enough)
        assert tried() is expected
        assert tried(gptq=True)
        assert not tried(gptq=False)
