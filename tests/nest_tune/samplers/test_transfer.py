"""Configurations come in the order that other models' measurements teach."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from nest_tune.samplers.transfer import Configuration, log_ranks, taught_order

ROOT = Path(__file__).resolve().parents[3]
SPACE: list[Configuration] = list(itertools.product("ab", "xyz", "12"))
HEADER = "model,granularity,clipping,top1_accuracy_percent,nodes\n"


def plain_log_ranks(
    candidates: list[Configuration], source: dict[Configuration, float]
) -> list[float]:
    """Reference: one candidate after the other; effects by least squares over the measurements and,
    once for each value of a knob, no effect."""
    costs = []
    for value in source.values():
        ahead = sum(other > value for other in source.values())
        equal = sum(other == value for other in source.values())
        costs.append(np.log(ahead + (equal + 1) / 2))
    mean = np.mean(costs)
    pairs = sorted({(knob, value) for config in source for knob, value in enumerate(config)})
    rows = [[float(config[knob] == value) for knob, value in pairs] for config in source]
    system = np.concatenate([np.array(rows), np.eye(len(pairs))])
    wanted = np.concatenate([np.array(costs) - mean, np.zeros(len(pairs))])
    effects = dict(zip(pairs, np.linalg.lstsq(system, wanted)[0], strict=True))
    measured = dict(zip(source, costs, strict=True))
    return [
        measured[c] if c in measured else mean + sum(effects.get(p, 0.0) for p in enumerate(c))
        for c in candidates
    ]


@given(st.dictionaries(st.sampled_from(SPACE), st.integers(0, 5).map(float), min_size=1))
def test_log_ranks_equal_the_reference(source: dict[Configuration, float]) -> None:
    np.testing.assert_allclose(log_ranks(SPACE, source), plain_log_ranks(SPACE, source))


@given(st.lists(st.dictionaries(st.sampled_from(SPACE), st.floats(0, 100)), max_size=3))
def test_candidates_come_by_the_mean_of_their_log_ranks(
    sources: list[dict[Configuration, float]],
) -> None:
    order = taught_order(SPACE, sources)
    assert sorted(order) == list(range(len(SPACE)))
    ranks = [plain_log_ranks(SPACE, source) for source in sources if source]
    mean = np.mean(ranks, axis=0) if ranks else np.zeros(len(SPACE))
    for first, second in itertools.pairwise(order):
        assert mean[first] <= mean[second] + 1e-9


def test_equals_come_by_their_ties() -> None:
    ties = list(np.random.default_rng(0).permutation(len(SPACE)))
    assert taught_order(SPACE, [], ties) == list(np.argsort(ties))
    assert taught_order(SPACE, [{}]) == list(range(len(SPACE)))


def test_effects_of_knobs_stand_in_for_what_was_not_measured() -> None:
    """Of what nobody measured, first what has the best value of each knob."""
    source: dict[Configuration, float] = {
        ("a", "x", "1"): 50.0,
        ("a", "y", "1"): 51.0,
        ("a", "z", "1"): 55.0,
        ("b", "x", "1"): 53.0,
        ("a", "x", "2"): 52.0,
    }
    order = [SPACE[n] for n in taught_order(SPACE, [source])]
    assert next(c for c in order if c not in source) == ("b", "z", "2")


def test_what_a_source_has_measured_comes_before_what_stands_in() -> None:
    source = {("a", "x", "1"): 1.0, ("b", "z", "2"): 1.0}
    order = taught_order(SPACE, [source])
    assert {SPACE[n] for n in order[:2]} == set(source)


def replay() -> ModuleType:
    name = "replay_quantization"
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: columns model, knobs"),
        ("name,granularity,top1_accuracy_percent\n", "line 1: columns model, knobs"),
        (HEADER + "a,tensor,max,lots,5\n", "line 2: 5 columns"),
        (HEADER + "a,tensor,max,101,5\n", "line 2: 5 columns"),
        (HEADER + "a,tensor,max\n", "line 2: 5 columns"),
        (HEADER + "a,tensor,max,50,5\na,tensor,max,50,5\n", "line 3: measured twice"),
        (HEADER, "no rows"),
    ],
)
def test_wrong_tables_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        replay().read_table(path, {})


def test_trials_are_counted_on_a_table(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = [("tensor", "max", 40.0), ("tensor", "KL", 50.0), ("channel", "KL", 50.6)]
    lines = [f"{m},{g},{c},{v},5\n" for m in ("a", "b") for g, c, v in rows]
    path.write_text(HEADER + "".join(lines))
    module = replay()
    first, second = module.read_table(path, {"a": 51.0})
    assert (first.reference, first.best, first.near) == (51.0, 50.6, 50.0)
    assert second.near == pytest.approx(49.6)
    assert module.trials_to(first, [second], "transfer", 0) == (1, 1)
    for name in module.SAMPLERS:
        best, near = module.trials_to(first, [second], name, 3)
        assert 1 <= near <= best <= 3
