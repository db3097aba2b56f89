"""Weights are not judged on what they were fitted to."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from compiler_core.compile.sources import load_model
from compiler_core.precision import damage
from compiler_core.quantize.input_moments import input_moments
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.scheme import QuantizationScheme
from nest_tune.stores import measured_formats


@pytest.mark.parametrize(
    ("count", "judged", "fitted"),
    [
        (6, [0, 2, 4], [1, 3, 5]),
        (4, [0, 1, 2, 3], [0, 2]),
        (1, [0], [0]),
        (5, [0, 1, 2, 4], [0, 2, 3]),
    ],
)
def test_runs_to_fit_to(count: int, judged: list[int], fitted: list[int]) -> None:
    assert damage.others(range(count), judged) == fitted


def test_runs_to_fit_to_are_bounded() -> None:
    found = damage.others(range(10_000), list(range(16)))
    assert 32 <= len(found) <= 64
    assert found[-1] > 9_000


def rows(samples: Any) -> set[bytes]:
    return {row.tobytes() for row in np.asarray(next(iter(samples.values())))}


def test_noise_is_of_samples_that_nothing_was_fitted_to(
    synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(synthetic.write("residual", tmp_path))
    profile = profile_model(model.graph, synthetic.samples("residual", 64))
    samples = profile.first()
    assert samples is not None
    seen: list[set[bytes]] = []

    def moments(graph: Any, given: Any, names: Any) -> Any:
        seen.append(rows(given))
        return input_moments(graph, given, names)

    monkeypatch.setattr(damage, "input_moments", moments)
    meter = damage.DamageMeter(model.graph, profile.ranges(), samples, QuantizationScheme())
    dense = next(node.name for node in model.graph.nodes if node.op == "Dense")
    assert 0 < meter.noise({dense: "cpu:w4b32g"}) < 1
    judged = {row for own in meter._runs for row in rows(own)}
    assert len(seen) == 1
    assert seen[0].isdisjoint(judged)


def test_a_plan_with_fitted_weights_is_judged_by_the_other_half(
    synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(synthetic.write("residual", tmp_path))
    profile = profile_model(model.graph, synthetic.samples("residual", 16))
    counts = []
    apply = measured_formats.apply_profile

    def spy(graph: Any, units: Any, known: Any, scheme: Any) -> Any:
        counts.append(len(next(iter(known.inputs.values()))))
        return apply(graph, units, known, scheme)

    monkeypatch.setattr(measured_formats, "apply_profile", spy)
    is_good = measured_formats.good_on_samples(model, profile)
    dense = next(node.name for node in model.graph.nodes if node.op == "Dense")
    is_good({dense: "cpu:w4b32g"}, QuantizationScheme())
    is_good({dense: "cpu:u8s8c"}, QuantizationScheme())
    assert counts == [8, 16]
