"""Rows of generated sources: every operator beside itself in the default."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nest_tune.report import sources
from nest_tune.study.execution.source_bench import COST, KERNEL, UNTUNED


def test_operators_of_one_node_stand_beside_their_own_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = [
        SimpleNamespace(node=node, name=name, shape=name, kernels=[{"unit": "portable"}])
        for node, name in (("conv", "pad"), ("conv", "sum"), ("relu", "relu"))
    ]
    costs = {"pad": 560.0, "sum": 1640.0, "relu": 400.0}
    known = {
        UNTUNED + name: SimpleNamespace(schedule={COST: cost, KERNEL: {"unit": "portable"}})
        for name, cost in costs.items()
    }
    bench = SimpleNamespace(candidate=lambda _: SimpleNamespace(tasks=tasks))
    monkeypatch.setattr(sources, "SourceBench", lambda _: bench)
    space: Any = SimpleNamespace(decode=lambda _: {}, parts=())
    ground: Any = SimpleNamespace(subjects=None, space=space)
    result: Any = SimpleNamespace(tasks=known)
    chosen: Any = SimpleNamespace(point=(), tuned=False)
    rows = sources._rows(ground, result, chosen, [])
    assert [row.default_cost for row in rows] == [560.0, 1640.0, 400.0]
    assert [row.cost for row in rows] == [560.0, 1640.0, 400.0]
