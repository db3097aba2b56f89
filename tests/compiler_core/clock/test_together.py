"""Interleaved measuring with a clock that the test turns, and the machine that it is done on."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compiler_core.clock.conditions import MachineClock, Reading, ThreadClock, clock_of, conditions
from compiler_core.clock.machine import cpu_info, this_machine
from compiler_core.clock.pinning import chosen_cores, pinned
from compiler_core.clock.together import MIN_ROUNDS, measure_together
from compiler_core.clock.turns import first_free
from compiler_core.errors import InputError


class Turned:
    """A clock that candidates turn, on a machine whose counters the test sets."""

    def __init__(self, others: float = 0.0, switches: float = 0.0, share: float = 1.0) -> None:
        self.ns = 0
        self._others, self._switches, self._share = others, switches, share

    def now_ns(self) -> int:
        return self.ns

    def reading(self) -> Reading:
        wall_s = self.ns / 1e9
        cpu_s = self._share * wall_s
        busy_s = cpu_s + self._others * wall_s
        return Reading(wall_s, cpu_s, round(self._switches * wall_s), busy_s, 0.0, 0.5)

    def spends(self, us: Callable[[int], float], calls: list[str], name: str) -> Callable[[], None]:
        counts = [0]

        def run() -> None:
            self.ns += round(1000 * us(counts[0]))
            counts[0] += 1
            calls.append(name)

        return run


def test_candidates_are_timed_in_rounds_that_all_take_part_in() -> None:
    clock, calls = Turned(), list[str]()
    runs = {
        "fast": clock.spends(lambda _: 1000.0, calls, "fast"),
        "slow": clock.spends(lambda _: 2500.0, calls, "slow"),
    }
    found = measure_together(runs, repeats=10, clock=clock)
    assert found.rounds == 10
    assert found.samples_us == {"fast": (1000.0,) * 10, "slow": (2500.0,) * 10}
    assert found.ratio("slow", "fast").value == 2.5
    assert found.latency_us("fast").high == 1000.0
    assert not found.restless
    rounds = [calls[-40:][i : i + 4] for i in range(0, 40, 4)]
    assert all(sorted(one) == ["fast", "fast", "slow", "slow"] for one in rounds)
    assert all(one[0] == one[1] for one in rounds)  # one that warms the caches, one that counts
    assert len({one[0] for one in rounds}) == 2  # no candidate always comes first


def test_warm_up_lasts_until_nothing_changes() -> None:
    clock, calls = Turned(), list[str]()
    falling = clock.spends(lambda n: 1000.0 + max(0, 20 - n) * 200.0, calls, "x")
    found = measure_together({"x": falling}, repeats=8, clock=clock)
    assert set(found.samples_us["x"]) == {1000.0}
    assert not found.restless
    clock = Turned()
    ever = clock.spends(lambda n: 1000.0 + n, calls, "x")
    found = measure_together({"x": ever}, repeats=30, clock=clock)
    assert found.restless == ("x",)
    assert any("come to rest" in warning for warning in found.warnings)


def test_the_budget_ends_rounds_but_not_the_least_number() -> None:
    clock, calls = Turned(), list[str]()
    runs = {"x": clock.spends(lambda _: 1e6, calls, "x")}
    assert measure_together(runs, repeats=50, budget_s=0.0, clock=clock).rounds == MIN_ROUNDS
    calls.clear()
    assert measure_together(runs, repeats=50, budget_s=20.0, clock=clock).rounds == 20
    assert len(calls) == 2 + 3 + 3 + 20  # long runs need no other one before them
    with pytest.raises(InputError, match="no candidates"):
        measure_together({})


def test_short_runs_are_timed_several_at_once() -> None:
    clock, calls = Turned(), list[str]()
    found = measure_together({"x": clock.spends(lambda _: 2.0, calls, "x")}, clock=clock)
    assert set(found.samples_us["x"]) == {2.0}
    assert len(calls) > 30 * 25
    still = measure_together({"x": lambda: None}, repeats=7, clock=Turned())
    assert min(still.samples_us["x"]) > 0  # of a clock that does not move, too


@pytest.mark.parametrize(
    ("clock", "word"),
    [
        (Turned(others=1.9), "other processes took 1.9"),
        (Turned(switches=200.0), "200 involuntary context switches"),
        (Turned(share=0.6), "60 % of a core"),
    ],
)
def test_a_loaded_machine_is_said(
    clock: Turned, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    found = measure_together({"x": clock.spends(lambda _: 5e4, [], "x")}, clock=clock)
    assert found.conditions.is_loaded
    assert word in found.warnings[0]


def test_an_idle_machine_is_not() -> None:
    clock = Turned(others=0.05, switches=2.0)
    found = measure_together({"x": clock.spends(lambda _: 5e4, [], "x")}, clock=clock)
    assert not found.conditions.is_loaded
    assert found.warnings == ()
    one = Reading(0.0, 0.0, load=9.0)
    long = replace(one, wall_s=10.0, cpu_s=10.0)
    assert "load average 9.0 on 4 cores" in conditions(one, long, 2, 4).warning
    assert not conditions(one, replace(long, wall_s=0.01), 2, 4).is_loaded  # nothing to tell from
    assert not conditions(replace(one, load=None), long, 2, 4).is_loaded


def test_one_thing_is_timed_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done: list[str] = []

    def other() -> None:
        with first_free(["a"]):
            done.append("other")

    with first_free(["a"]) as index:
        assert index == 0
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.2)
        with first_free(["a", "b"]) as free:
            assert free == 1
        assert not done
    thread.join(10)
    assert done == ["other"]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with first_free(["a"]) as index:  # without locks nothing waits
        assert index == 0


def test_the_machines_own_clock_goes_on() -> None:
    clock = MachineClock()
    before, start = clock.reading(), clock.now_ns()
    sum(range(10000))
    after = clock.reading()
    assert clock.now_ns() > start
    assert after.wall_s > before.wall_s
    assert after.cpu_s >= before.cpu_s


def test_machines_are_told_apart_by_what_times_depend_on() -> None:
    here = this_machine(1)
    assert here.digest == this_machine(1).digest
    assert here.digest != this_machine(2).digest
    assert here.digest != replace(here, runtime="onnxruntime 0.1").digest
    assert here.digest != replace(here, flags="none").digest
    assert "1 thread" in here.text
    with pinned(1):
        assert this_machine(1) == here


def test_processors_of_both_kinds_have_a_name() -> None:
    x86 = "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: A  B\nstepping\t: 7\n"
    found = cpu_info(x86 + "flags\t\t: sse avx\n\nprocessor\t: 1\nmodel name\t: other\n")
    assert found == {"model": "A B family 6 model 85", "flags": "avx sse"}
    arm = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"
    assert cpu_info(arm) == {"model": "0x41 0xd0b", "flags": "asimd fp"}
    assert cpu_info("") == {"model": "", "flags": ""}


def test_threads_get_cores_of_their_own() -> None:
    halves = {0: {0, 4}, 1: {1, 5}, 4: {0, 4}, 5: {1, 5}}
    assert chosen_cores([0, 1, 4, 5], 2, halves.__getitem__) == {4, 5}
    assert chosen_cores([0, 1, 4], 2, halves.__getitem__) == {4, 1}
    assert chosen_cores([0, 1, 4, 5], 9, halves.__getitem__) == {0, 1, 4, 5}
    before = os.sched_getaffinity(0)
    with pinned(1) as cores:
        assert os.sched_getaffinity(0) == set(cores)
        assert len(cores) == 1
    assert os.sched_getaffinity(0) == before


def test_the_clock_of_one_thread_does_not_count_what_others_take() -> None:
    clock = ThreadClock()
    start, wall = clock.now_ns(), time.perf_counter_ns()
    time.sleep(0.02)
    assert clock.now_ns() - start < 10_000_000 < time.perf_counter_ns() - wall
    while clock.now_ns() - start < 3_000_000:
        pass
    assert time.perf_counter_ns() - wall >= 20_000_000
    assert not isinstance(clock_of(2), ThreadClock)
    coarse = time.get_clock_info("thread_time").resolution > 1e-6
    assert isinstance(clock_of(1), ThreadClock) != coarse
