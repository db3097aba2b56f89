"""The transfer sampler follows the sources that agree with what is measured."""

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
from nest_tune.samplers.transfer import Configuration, TransferSampler, log_ranks

ROOT = Path(__file__).resolve().parents[3]
SPACE: list[Configuration] = list(itertools.product("ab", "xyz", "12"))
HEADER = "model,granularity,clipping,top1_accuracy_percent,nodes\n"


def plain_log_ranks(
    candidates: list[Configuration], source: dict[Configuration, float]
) -> list[float]:
    """Reference: one candidate after the other."""
    found = []
    for candidate in candidates:
        distance = {c: sum(x != y for x, y in zip(c, candidate, strict=True)) for c in source}
        nearest = [c for c in source if distance[c] == min(distance.values())]
        logs = []
        for c in nearest:
            ahead = sum(v > source[c] for v in source.values())
            equal = sum(v == source[c] for v in source.values())
            logs.append(np.log(ahead + (equal + 1) / 2))
        found.append(float(np.mean(logs)))
    return found


@given(st.dictionaries(st.sampled_from(SPACE), st.integers(0, 5).map(float), min_size=1))
def test_log_ranks_equal_the_reference(source: dict[Configuration, float]) -> None:
    np.testing.assert_allclose(log_ranks(SPACE, source), plain_log_ranks(SPACE, source))


@given(
    st.lists(st.dictionaries(st.sampled_from(SPACE), st.floats(0, 100)), max_size=3),
    st.integers(0, 9),
)
def test_every_configuration_is_proposed_once(
    sources: list[dict[Configuration, float]], seed: int
) -> None:
    orders = []
    for _ in range(2):
        sampler = TransferSampler(SPACE, sources, seed)
        order = []
        while (number := sampler.propose()) is not None:
            order.append(number)
            sampler.observe(number, float(number % 3))
        orders.append(order)
    assert sorted(orders[0]) == list(range(len(SPACE)))
    assert orders[0] == orders[1]


def test_without_sources_the_seed_decides() -> None:
    first = {TransferSampler(SPACE, [], seed).propose() for seed in range(20)}
    assert len(first) > 4


def test_measurements_decide_which_source_to_believe() -> None:
    values = {c: float(i) for i, c in enumerate(SPACE)}
    opposite = {c: -v for c, v in values.items()}
    sampler = TransferSampler(SPACE, [opposite, opposite, values], 0)
    order = []
    while (number := sampler.propose()) is not None:
        order.append(number)
        sampler.observe(number, values[SPACE[number]])
    assert order[0] == 0  # two sources of three are wrong
    assert order.index(len(SPACE) - 1) <= 6


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
