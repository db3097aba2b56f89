"""Operators that no schedule fits run on the CPU with the reason, in compiles, plans and pins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest

from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import load_model, noise_samples, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.partition.best import find_best, prepare
from compiler_core.quantize.arithmetic import OperatorWindow
from compiler_core.targets.load import load_target
from compiler_core.units.vta.legality.window_limits import LARGEST, BufferLimits, window_misfit


def network(
    last: Callable[[Any], list[object]], size: int, rows: int | None = None
) -> Callable[[ModuleType], bytes]:
    """A convolution over a square, or ``rows`` of that size, then an operator that may be too
    large."""

    def build(synthetic: ModuleType) -> bytes:
        b = synthetic.Builder(3)
        b.conv("x", "c", (16, 16, 1, 1))
        shape = last(b)
        content: bytes = b.model({"x": ["n", 16, rows or size, size]}, {"y": ["n", *shape]})
        return content

    return build


def pool(op: str, size: int) -> Callable[[Any], list[object]]:
    def last(b: Any) -> list[object]:
        attributes = {} if op.startswith("Global") else {"kernel_shape": [size, size]}
        b.add(op, ["c"], "y", **attributes)
        return [16, 1, 1]

    return last


def conv(size: int) -> Callable[[Any], list[object]]:
    def last(b: Any) -> list[object]:
        b.conv("c", "y", (16, 16, size, size), pads=[0, 0, 0, 0])
        return [16, 1, 1]

    return last


def flat(size: int) -> Callable[[Any], list[object]]:
    def last(b: Any) -> list[object]:
        b.add("Flatten", ["c"], "f")
        b.dense("f", "y", 16 * size * size, 5)
        return [5]

    return last


def cut(size: int) -> Callable[[Any], list[object]]:
    def last(b: Any) -> list[object]:
        for name, values in (("s", [40, 40]), ("e", [size, size]), ("a", [2, 3])):
            b.constant(name, np.array(values, np.int64))
        b.add("Slice", ["c", "s", "e", "a"], "y")
        return [16, size - 40, size - 40]

    return last


def line(kernel: int, stride: int, pooled: int) -> Callable[[Any], list[object]]:
    def last(b: Any) -> list[object]:
        b.add("MaxPool", ["c"], "y", kernel_shape=[1, kernel], strides=[1, stride])
        return [16, 1, pooled]

    return last


def vocabulary(words: int) -> Callable[[Any], list[object]]:
    def last(b: Any) -> list[object]:
        b.conv("c", "y", (words, 16, 1, 1), pads=[0, 0, 0, 0])
        return [words, 2, 2]

    return last


LARGE = {
    "global average": network(pool("GlobalAveragePool", 56), 56),
    "global maximum": network(pool("GlobalMaxPool", 56), 56),
    "average": network(pool("AveragePool", 48), 48),
    "max": network(pool("MaxPool", 56), 56),
    "line": network(line(5000, 1, 1), 5000, 1),
    "conv": network(conv(33), 33),
    "dense": network(flat(36), 36),
    "vocabulary": network(vocabulary(33000), 2),
}
TOO_LARGE = {
    "slice": network(cut(46), 46),
    "overlapping lines": network(line(2100, 7, 149), 3136, 1),
}
SMALL = {
    "global average": network(pool("GlobalAveragePool", 45), 45),
    "max": network(pool("MaxPool", 45), 45),
    "conv": network(conv(31), 31),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_no_schedule_fits_runs_on_the_cpu_with_the_reason(
    synthetic: ModuleType, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "large.onnx"
    path.write_bytes(TOO_LARGE[name](synthetic))
    model, target = load_model(path), load_target("vta")
    samples = noise_samples(model.graph)
    pinned = {node.name: "vta" for node in model.graph.nodes}
    for plan in ({}, pinned):
        source = quantize_model(model, Configuration(plan=plan), samples)
        # By default they have their place on the CPU's integers, and no plan was left.
        left = [reason for reason in source.cpu_reasons.values() if "no schedule fits" in reason]
        assert bool(left) == bool(plan)
        built = compile_model(source, target)
        assert {layer.unit for layer in built.report.layers if layer.cycles} == {"vta"}
        executable = built.executable
        assert run_checked(executable, Simulator(executable), samples)[1] is None
    evaluator = prepare(model.graph, target)
    reasons = [group.npu_reason for group in evaluator.groups.groups]
    assert any(reason and "no schedule fits" in reason for reason in reasons)
    assert find_best(evaluator).evaluation.latency_ps > 0


@pytest.mark.parametrize("name", LARGE)
def test_what_is_larger_than_the_buffers_runs_on_the_npu_in_parts(
    synthetic: ModuleType, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "large.onnx"
    path.write_bytes(LARGE[name](synthetic))
    model, target = load_model(path), load_target("vta")
    samples = noise_samples(model.graph)
    source = quantize_model(model, Configuration(), samples)
    assert not source.cpu_reasons
    built = compile_model(source, target)
    executable = built.executable
    outputs, found = run_checked(executable, Simulator(executable), samples)
    assert found is None
    session = onnxruntime.InferenceSession(path.read_bytes())
    (wanted,) = session.run(None, {"x": samples["x"][:1]})
    noise = np.abs(outputs["y"][:1] - wanted)
    assert np.sqrt((noise**2).mean()) < 0.1 * np.sqrt((wanted**2).mean())
    assert find_best(prepare(model.graph, target)).evaluation.latency_ps > 0


@pytest.mark.parametrize("name", SMALL)
def test_the_largest_that_fit_run_on_the_npu(
    synthetic: ModuleType, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(SMALL[name](synthetic))
    model = load_model(path)
    source = quantize_model(model, Configuration(), noise_samples(model.graph))
    assert not source.cpu_reasons
    built = compile_model(source, load_target("vta"))
    assert sum(layer.cycles > 0 for layer in built.report.layers) == 2


def test_limits_of_windows() -> None:
    def misfit(
        *args: Any, distinct: bool = False, limits: BufferLimits = LARGEST, **kwargs: Any
    ) -> str | None:
        told = {"compares": False, "outputs": 16, **kwargs}
        return window_misfit(OperatorWindow(*args, distinct_weights=distinct, **told), limits)

    assert misfit((45, 45), (1, 1), (99, 99), whole=True) is None
    assert misfit((46, 46), (1, 1), (99, 99), whole=True) is not None
    assert misfit((46, 46), (1, 1), (40, 46), whole=True) is None
    assert misfit((3, 3), (40, 1), (99, 99), whole=True) is None
    assert misfit((3, 3), (40, 40), (99, 99), whole=True) is not None
    assert misfit((32, 32), (1, 1), (99, 99), distinct=True, whole=True) is not None
    assert misfit((31, 32), (1, 1), (99, 99), distinct=True, whole=True) is None
    assert misfit((320, 320), (7, 7), (9999, 9999), distinct=True) is None
    assert misfit((46, 46), (1, 1), (99, 99), compares=True) is not None
    small = BufferLimits(200, 100, 200)
    assert misfit((32, 32), (1, 1), (99, 99), distinct=True, limits=small) is not None
