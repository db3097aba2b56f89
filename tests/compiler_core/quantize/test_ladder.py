"""The ladder of defaults: what it takes, on networks that need different rungs."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.errors import InputError
from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.ladder import FIRST, GPTQ, GPTQ_SPLIT, RUNGS, climb
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.text import quantized_digest


def network(plain, scale=1.0, *, uneven=0.0, depth=3, depthwise=False, offset=0.0, seed=0):
    """Convolutions with Relus, and a dense layer; channels differ by up to ``10**uneven``, and what
    reads them makes them equal again, so that each of them counts."""
    random = np.random.default_rng(seed)
    build = plain.GraphBuilder(x=(8, 6, 6))
    last, before = "x", np.ones(8)
    for layer in range(depth):
        groups = 8 if depthwise and layer % 2 else 1
        weight = random.standard_normal((8, 8 // groups, 3, 3)) / np.sqrt(72 / groups)
        factors = 10.0 ** random.uniform(-uneven, 0, 8)
        weight *= factors[:, None, None, None]
        weight /= before.reshape((8, 1, 1, 1) if groups == 8 else (1, 8, 1, 1))
        before = factors
        names = [
            build.constant(f"w{layer}", weight.astype("f4")),
            build.constant(f"b{layer}", (0.1 * factors * random.standard_normal(8)).astype("f4")),
        ]
        last = build.add(
            "Conv", [last, *names], f"c{layer}", (8, 6, 6),
            pads=[1, 1, 1, 1], group=groups, clip=(0.0, float("inf")),
        )  # fmt: skip
    last = build.add("Flatten", [last], "f", (288,))
    dense = random.standard_normal((288, 5)) / 17 * scale / np.repeat(before, 36)[:, None]
    build.add(
        "Gemm",
        [
            last,
            build.constant("wd", dense.astype("f4")),
            build.constant("bd", np.full(5, offset, "f4")),
        ],
        "y",
        (5,),
    )
    return build.build("y")


def climbed(graph, count=40, seed=1):
    samples = {"x": np.random.default_rng(seed).standard_normal((count, 8, 6, 6)).astype("f4")}
    profile = profile_model(graph, samples)
    return climb(graph, default_assignment(graph), profile), profile


def test_a_network_that_is_good_on_the_first_rung_keeps_the_integers_it_had(plain) -> None:
    graph = network(plain)
    found, profile = climbed(graph)
    assert found.scheme == QuantizationScheme()
    assert (found.ladder.taken, found.ladder.good_enough) == (FIRST, True)
    assert list(found.ladder.rungs) == [FIRST]
    one, other = (
        quantized_digest(apply_profile(graph, default_assignment(graph), profile, s).quantized)
        for s in (found.scheme, QuantizationScheme())
    )
    assert one == other


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_channels_of_very_different_size_need_a_later_rung_and_get_it(
    plain, seed: int, depthwise: bool
) -> None:
    graph = network(plain, uneven=3.0, depthwise=depthwise, seed=seed)
    found, _ = climbed(graph)
    assert found.scheme != QuantizationScheme()
    first, taken = found.ladder.rungs[FIRST], found.ladder.rungs[found.ladder.taken]
    assert taken.quality.sqnr_db > first.quality.sqnr_db + 6
    assert found.quality == taken.quality


def test_the_same_data_give_the_same_ladder(plain) -> None:
    graph = network(plain, uneven=3.0, seed=2)
    one, other = climbed(graph)[0], climbed(graph)[0]
    assert (one.scheme, one.quality, one.ladder) == (other.scheme, other.quality, other.ladder)


def test_where_nothing_is_good_enough_the_best_is_taken_and_it_is_said(plain) -> None:
    # All that differs between samples is far below one integer of the output.
    graph = network(plain, scale=1e-4, offset=100.0)
    found, _ = climbed(graph)
    assert not found.ladder.good_enough
    assert {GPTQ, GPTQ_SPLIT} & set(found.ladder.rungs)
    assert set(RUNGS) <= set(found.ladder.rungs)
    best = max(rung.quality.sqnr_db for rung in found.ladder.rungs.values() if rung.quality)
    assert found.quality.sqnr_db >= best - 1


@pytest.mark.parametrize("count", [1, 2])
def test_few_samples_are_enough_to_climb(plain, count: int) -> None:
    found, _ = climbed(network(plain, uneven=3.0), count)
    assert found.quality.samples == count


def test_a_profile_without_samples_leaves_the_first_rung_unmeasured(plain) -> None:
    from dataclasses import replace

    graph = network(plain, uneven=3.0)
    _, profile = climbed(graph)
    found = climb(graph, default_assignment(graph), replace(profile, inputs=None))
    assert (found.scheme, found.quality, found.ladder) == (QuantizationScheme(), None, None)


def test_nothing_on_the_npu_is_good_enough_at_once(plain) -> None:
    graph = network(plain, uneven=3.0)
    profile = climbed(graph)[1]
    found = climb(graph, default_assignment(graph, cores=0), profile)
    assert found.ladder.taken == FIRST
    assert found.quality.sqnr_db == 200.0


def test_where_nothing_can_be_measured_the_first_rung_is_taken_and_it_is_said(
    plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise InputError("outputs differ in shape")

    monkeypatch.setattr("compiler_core.quantize.ladder.QualityMeter.measure", refused)
    found, _ = climbed(network(plain))
    assert found.scheme == QuantizationScheme()
    assert found.quality is None
    assert not found.ladder.good_enough
    assert found.ladder.rungs[FIRST].outcome == "not measured: outputs differ in shape"


def test_rungs_beyond_the_bound_of_work_are_left_out_and_it_is_said(plain, monkeypatch) -> None:
    graph = network(plain, scale=1e-4, offset=100.0)
    whole, _ = climbed(graph)
    assert not whole.ladder.good_enough
    monkeypatch.setattr("compiler_core.quantize.ladder._MOST_MEASURED", 4 * 4 * (1 << 21))
    found, _ = climbed(graph)
    told = [name for name, rung in found.ladder.rungs.items() if "too long" in rung.outcome]
    assert told
    assert told == list(RUNGS)[-len(told) :]
    assert list(found.ladder.rungs)[:2] == list(RUNGS)[:2]
    monkeypatch.setattr("compiler_core.quantize.ladder._MOST_MEASURED", 0)
    found, _ = climbed(graph)
    measured = [name for name in RUNGS if found.ladder.rungs[name].quality is not None]
    assert measured == list(RUNGS)[:2]
