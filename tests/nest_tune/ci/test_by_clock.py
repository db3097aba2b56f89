"""Locks of what was timed by the clock: held by tests of distributions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compiler_core.clock.machine import ClockMachine, this_machine
from compiler_core.compile import this_machine as host
from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.host_timing import HostTimes, time_on_host
from compiler_core.compile.sources import load_model, quantize_model
from compiler_core.configuration.configuration import (
    Configuration,
    configuration_text,
    read_configuration,
)
from compiler_core.configuration.lock import LockedClock
from compiler_core.executable.report import ClockTiming
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from nest_tune.ci import by_clock
from nest_tune.ci.by_clock import compare_clock, longer, without_accuracy
from nest_tune.ci.difference import Difference
from nest_tune.ci.lock import LockSources, locked

HERE = ClockMachine("A", "x86_64", "avx", 4, "onnxruntime 1", 1)


def repeats(scale: float, floats: float, seed: int, weather: float = 1.0) -> ClockTiming:
    """Fifty rounds, whose noise the two models share in part."""
    generator = np.random.default_rng(seed)
    rounds = weather * generator.lognormal(0.0, 0.1, 50)
    ours = scale * rounds * generator.lognormal(0.0, 0.02, 50)
    theirs = floats * rounds * generator.lognormal(0.0, 0.02, 50)
    return ClockTiming(
        0.0, 0.0, 50, ratio=float(np.median(ours / theirs)), machine=HERE,
        samples_ms=tuple(ours), float_samples_ms=tuple(theirs),
    )  # fmt: skip


def lock_of(timing: ClockTiming, machine: ClockMachine = HERE) -> LockedClock:
    return LockedClock(machine, timing.samples_ms, timing.float_samples_ms)


def names(locked: LockedClock | None, now: ClockTiming, tolerance: float = 0.05) -> set[str]:
    return {d.metric for d in compare_clock(locked, now, tolerance, "whole model").differences}


def test_the_same_model_holds_and_a_slower_one_does_not() -> None:
    old = lock_of(repeats(1.0, 2.0, 0))
    alarms = sum(bool(names(old, repeats(1.0, 2.0, seed))) for seed in range(1, 101))
    assert alarms <= 3
    assert names(old, repeats(0.7, 2.0, 7)) == set()  # faster is no fault
    assert names(old, repeats(1.3, 2.0, 7)) == {"latency_ratio", "latency_ms"}
    assert names(old, repeats(1.3, 2.0, 7), 0.5) == set()
    assert names(old, repeats(1.04, 2.0, 7)) == set()


def test_a_slower_machine_is_no_slower_model() -> None:
    old = lock_of(repeats(1.0, 2.0, 0))
    slow = replace(repeats(1.0, 2.0, 5, weather=1.8), warnings=("the machine was loaded",))
    found = compare_clock(old, slow, 0.05, "whole model")
    assert found.differences == ()
    assert any("the machine was slower, not the model" in note for note in found.notes)
    assert any("loaded" in note for note in found.notes)
    # Of a machine that was idle nobody can say so: the session's options, say, are worse.
    quiet = replace(slow, warnings=())
    assert names(old, quiet) == {"latency_ms"}


def test_on_another_machine_of_the_kind_ratios_are_compared() -> None:
    other = lock_of(repeats(1.0, 2.0, 0), replace(HERE, model="B", cores=64))
    found = compare_clock(other, repeats(5.0, 10.0, 3), 0.05, "whole model")
    assert (found.differences, found.compared) == ((), ("latency_ratio",))
    assert any("locked on another machine" in note for note in found.notes)
    assert names(other, repeats(5.0, 5.0, 3)) == {"latency_ratio"}


@pytest.mark.parametrize("change", [{"flags": "sse"}, {"runtime": "o 2"}, {"threads": 2}])
def test_on_a_machine_of_another_kind_nothing_can_be(change: dict[str, str]) -> None:
    other = lock_of(repeats(1.0, 2.0, 0), replace(HERE, **change))  # type: ignore[arg-type]
    found = compare_clock(other, repeats(9.0, 2.0, 3), 0.05, "whole model")
    assert (found.differences, found.compared) == ((), ())
    assert any("of another kind" in note for note in found.notes)
    assert not found.is_kind
    lost = [Difference("agreement", 0.9, 0.8, "whole model"), Difference("x", 1, 2, "whole model")]
    kept, told = without_accuracy(lost, "agreement")
    assert [item.metric for item in kept] == ["x"]
    assert "agreement is 0.8, was 0.9" in told[0]


def test_too_few_repeats_are_said() -> None:
    old = lock_of(repeats(1.0, 2.0, 0))
    few = replace(old, samples_ms=old.samples_ms[:29])
    for lock in (few, None):
        found = compare_clock(lock, repeats(9.0, 2.0, 3), 0.05, "whole model")
        assert found.compared == ()
        assert any("fewer than 30 repeats" in note for note in found.notes)


def test_longer_is_beyond_the_tolerance_and_beyond_chance() -> None:
    base = np.linspace(0.95, 1.05, 40)
    assert longer(1.1 * base, base, 0.05)
    assert not longer(1.1 * base, base, 0.1)
    assert not longer(1.1 * base[:3], base, 0.05)


def compiled_for_host(model: Path) -> CompiledModel:
    loaded, target = load_model(model), load_target("host")
    plan = dict.fromkeys((node.name for node in loaded.graph.nodes), "cpu")
    source = quantize_model(
        loaded, Configuration(plan=plan), None, arithmetic=target_arithmetic(target)
    )
    return compile_model(source, target)


@pytest.fixture
def lock(synthetic: ModuleType, tmp_path: Path) -> Path:
    """A lock file of a model on this machine."""
    synthetic.write("residual", tmp_path)
    compiled = compiled_for_host(tmp_path / "residual.onnx")
    sources = LockSources(tmp_path / "residual.onnx", "host")
    path = tmp_path / "best.toml"
    path.write_text(configuration_text(locked(compiled, sources, tmp_path)))
    return path


def test_a_lock_of_the_host_is_checked(
    lock: Path, nest_tune: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = read_configuration(lock).lock
    assert kept is not None
    assert kept.clock is not None
    assert len(kept.clock.samples_ms) >= 30
    assert kept.clock.machine == this_machine(1)
    assert kept.layers == {}

    def times(factor: float) -> None:
        """Repeats as they are in the lock, but for a factor: not those of a machine that others
        use, too."""
        clock = kept.clock
        assert clock is not None

        def timed(*_: object, **__: object) -> HostTimes:
            ours = tuple(factor * ms for ms in clock.samples_ms)
            timing = ClockTiming(
                0.0, 0.0, len(ours), 1.0, factor, machine=clock.machine,
                samples_ms=ours, float_samples_ms=clock.float_samples_ms,
            )  # fmt: skip
            return HostTimes(float(np.median(ours)), timing, ((),))

        monkeypatch.setattr(host, "time_on_host", timed)

    times(1.0)
    code, text, _ = nest_tune("ci", "check", lock, "--json")
    assert code == 0, text
    times(1.5)
    code, text, _ = nest_tune("ci", "check", lock, "--json")
    found = json.loads(text)
    assert code == 4
    metrics = {row["metric"] for row in found["differences"]}
    assert metrics == {"latency_ratio", "latency_ms"}
    assert nest_tune("ci", "check", lock, "--tolerance", "latency_ms=80%")[0] == 0


def test_few_repeats_are_made_anew_for_a_lock(
    synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic.write("residual", tmp_path)
    monkeypatch.setattr(
        host, "time_on_host", lambda *given: time_on_host(*given, rounds=7, budget_s=0.0)
    )
    compiled = compiled_for_host(tmp_path / "residual.onnx")
    assert compiled.metrics.by_clock is not None
    assert compiled.metrics.by_clock.repeats == 7
    again = by_clock.with_enough_repeats(compiled)
    assert again.metrics.by_clock is not None
    assert again.metrics.by_clock.repeats == 30
    assert by_clock.with_enough_repeats(again) is again
