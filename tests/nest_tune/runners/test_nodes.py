"""What is said of clusters whose nodes are refused, too small or gone."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from compiler_core.errors import InputError, MissingDependencyError
from nest_tune.runners.batching import Call, Pace
from nest_tune.runners.nodes import Nodes
from nest_tune.runners.runner import Needs, Work


def node(name: str, cpus: int, gib: float = 4.0, alive: bool = True) -> dict[str, Any]:
    return {
        "NodeID": name,
        "Alive": alive,
        "Resources": {"CPU": cpus, "memory": gib * 2**30},
    }


def test_what_no_node_holds_is_refused_with_what_was_asked_and_what_there_is() -> None:
    nodes = Nodes()
    nodes.look([node("a", 2), node("b", 4, 2.0), node("c", 64, alive=False), node("head", 0)])
    assert nodes.cpus == 6
    assert nodes.can_hold(Needs(4))
    with pytest.raises(InputError, match=r"needs 5 CPUs and 1\.0 GiB .* of 2 nodes have 4 CPUs"):
        nodes.can_hold(Needs(5, 1 << 30))
    with pytest.raises(InputError, match=r"needs 1 CPUs and 8\.0 GiB .* and 4\.0 GiB"):
        nodes.can_hold(Needs(1, 8 << 30))


def test_refused_nodes_are_left_alone_and_named_when_none_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nodes = Nodes()
    nodes.look([node("a" * 8, 2), node("b" * 8, 4)])
    nodes.refuse("a" * 8, "host1", "numba is 0.1")
    nodes.refuse("a" * 8, "host1", "numba is 0.1")
    assert nodes.cpus == 4
    assert len([r for r in caplog.records if "(host1) is not used" in r.message]) == 1
    nodes.refuse("b" * 8, "host2", "python is 3.9")
    with pytest.raises(MissingDependencyError, match=r"aaaaaaaa: numba is 0\.1; .*python is 3\.9"):
        nodes.can_hold(Needs())


def test_an_empty_cluster_is_told_once_and_its_return_too(caplog: pytest.LogCaptureFixture) -> None:
    nodes = Nodes()
    for _ in range(3):
        nodes.look([node("a", 2, alive=False), node("head", 0)])
        assert not nodes.can_hold(Needs())
    nodes.look([node("a", 2), node("head", 0)])
    assert nodes.can_hold(Needs())
    said = [record.message for record in caplog.records]
    assert [("waiting for one" in text, "again" in text) for text in said] == [
        (True, False),
        (False, True),
    ]


def calls(count: int, function: str = "m:f", cpus: int = 1) -> list[Call]:
    return [Call(Work(n, function, None, 1.0, Needs(cpus))) for n in range(count)]


def test_batches_of_cheap_calls_grow_and_leave_no_worker_idle() -> None:
    pace = Pace()
    waiting = deque(calls(100))
    assert len(pace.next_batch(waiting, 4)) == 1  # nothing is known yet
    pace.learn("m:f", 0.01)
    assert len(pace.next_batch(waiting, 4)) == 25  # a quarter of a second, and of the work
    assert len(pace.next_batch(waiting, 1)) == 25
    assert len(pace.next_batch(waiting, 16)) == 4  # 49 calls for 16 workers
    pace.learn("m:f", 100.0)
    assert len(pace.next_batch(waiting, 1)) == 1


def test_calls_of_other_kinds_and_deadly_ones_do_not_share_a_task() -> None:
    pace = Pace()
    pace.learn("m:f", 1e-4)
    waiting = deque([*calls(2), *calls(1, "m:g"), *calls(1, cpus=2), *calls(1)])
    waiting.append(Call(Work(9, "m:f", None, 1.0), is_alone=True))
    sizes = []
    while waiting:
        sizes.append(len(pace.next_batch(waiting, 1)))
    assert sizes == [2, 1, 1, 1, 1]
