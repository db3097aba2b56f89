"""A user's target with smaller buffers: what no schedule fits there runs on the CPU, by compiles,
plans and candidates of studies, with the reason; pins to the NPU are refused with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import (
    FloatModel,
    load_model,
    noise_samples,
    quantize_model,
)
from compiler_core.configuration.configuration import Configuration
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.partition.best import default_plan, find_best, planned_assignment, prepare
from compiler_core.partition.configured import with_plan
from compiler_core.partition.plan import Plan, plan_text
from compiler_core.partition.resolve import IllegalPlanError, assignment_of
from compiler_core.quantize.arithmetic import OperatorWindow
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.units.vta.legality.window_limits import BufferLimits, window_misfit

Build = Callable[[Any], list[object]]


def pool(op: str, size: int) -> Build:
    def last(b: Any) -> list[object]:
        attributes = {} if op.startswith("Global") else {"kernel_shape": [size, size]}
        b.add(op, ["c"], "y", **attributes)
        return [16, 1, 1]

    return last


def conv(size: int) -> Build:
    def last(b: Any) -> list[object]:
        b.conv("c", "y", (16, 16, size, size), pads=[0, 0, 0, 0])
        return [16, 1, 1]

    return last


def flat(size: int) -> Build:
    def last(b: Any) -> list[object]:
        b.add("Flatten", ["c"], "f")
        b.dense("f", "y", 16 * size * size, 5)
        return [5]

    return last


def padded(size: int) -> Build:
    """A padding that the convolution would take in, and an addition beside it."""

    def last(b: Any) -> list[object]:
        b.add("MaxPool", ["c"], "m", kernel_shape=[size, size], pads=[size // 2] * 4)
        b.add("Add", ["m", "c"], "y")
        return [16, size, size]

    return last


# Side of the last window, the largest that fits and the smallest that does not, by the divisor of
# the buffers: sqrt(2048 / divisor - 3) pixels, sqrt(1024 / divisor - 3) taps.
SIDES = {
    4: {"global": (22, 23), "average": (22, 23), "max": (22, 23), "conv": (15, 16)},
    8: {"global": (15, 16), "average": (15, 16), "max": (15, 16), "conv": (11, 12)},
}
BUILDERS: dict[str, Callable[[int], Build]] = {
    "global": lambda size: pool("GlobalAveragePool", size),
    "average": lambda size: pool("AveragePool", size),
    "max": lambda size: pool("MaxPool", size),
    "conv": conv,
    "dense": flat,
    "padded": padded,
}


def small_target(folder: Path, divisor: int, cores: int = 1) -> Target:
    path = folder / f"small{divisor}.toml"
    depths = ", ".join(
        f"{name} = {depth // divisor}"
        for name, depth in (("uop", 2048), ("inp", 2048), ("wgt", 1024), ("acc", 2048))
    )
    base = {1: "vta", 2: "vta-x2"}[cores]
    path.write_text(
        f'schema = "nest-tune/target/1"\nname = "small{divisor}"\ninherit = "{base}"\n'
        '[npu.geometry]\norigin = "assumed"\nsource = "a smaller chip"\n'
        f"buffer_depth = {{ {depths} }}\n"
    )
    return load_target(str(path))


def network(synthetic: ModuleType, folder: Path, kind: str, size: int) -> FloatModel:
    b = synthetic.Builder(3)
    b.conv("x", "c", (16, 16, 1, 1))
    shape = BUILDERS[kind](size)(b)
    path = folder / f"{kind}{size}.onnx"
    path.write_bytes(b.model({"x": ["n", 16, size, size]}, {"y": ["n", *shape]}))
    return load_model(path)


def compile_and_run(model: FloatModel, target: Target, configuration: Configuration) -> Any:
    samples = noise_samples(model.graph)
    built = compile_model(quantize_model(model, configuration, samples), target)
    executable = built.executable
    assert run_checked(executable, Simulator(executable), samples)[1] is None
    return built


@pytest.mark.parametrize(
    ("divisor", "kind", "size"),
    [
        *((d, kind, sides[1]) for d, kinds in SIDES.items() for kind, sides in kinds.items()),
        (4, "dense", 18),
        (8, "dense", 13),
        (8, "padded", 17),
    ],
)
def test_what_no_schedule_fits_runs_on_the_cpu_with_the_reason(
    synthetic: ModuleType, tmp_path: Path, divisor: int, kind: str, size: int
) -> None:
    target = small_target(tmp_path, divisor)
    model = network(synthetic, tmp_path, kind, size)
    told: list[str] = []
    assert not quantize_model(model, Configuration(), noise_samples(model.graph)).cpu_reasons
    configuration = with_plan(Configuration(), model, target, progress=told.append)
    built = compile_and_run(model, target, configuration)
    (name, *_), (reason, *_) = zip(*built.source.cpu_reasons.items(), strict=True)
    assert re.search(r"no schedule fits .* = [\d,]+ (pixels|taps); .*[\d,]+ fit", reason)
    assert built.configuration.plan[name] == "cpu"
    assert any(layer.cycles for layer in built.report.layers), "the rest stays on the NPU"

    evaluator = prepare(model.graph, target)
    assert reason in [group.npu_reason for group in evaluator.groups.groups]
    best = find_best(evaluator).optimum.placement
    plan = assignment_of(best, evaluator.groups, evaluator.costs.places)
    compile_and_run(model, target, with_plan(Configuration(plan=plan), model, target))

    # In a configuration as in one for a larger target: the CPU takes it. In a plan: refused.
    pinned = {node.name: "vta" for node in model.graph.nodes}
    moved = with_plan(Configuration(plan=pinned), model, target, progress=told.append)
    assert moved.plan[name] == "cpu"
    assert any(name in line and reason in line for line in told)
    path = tmp_path / "pinned.plan.toml"
    path.write_text(plan_text(Plan({name: "vta"})))
    with pytest.raises(IllegalPlanError, match=re.escape(reason)):
        with_plan(Configuration(), model, target, path)
    free = planned_assignment(Plan({}), model.graph, target).units
    assert free[name] == "cpu"


@pytest.mark.parametrize(
    ("divisor", "kind", "size"),
    [(d, kind, sides[0]) for d, kinds in SIDES.items() for kind, sides in kinds.items()],
)
def test_the_largest_that_fit_run_on_the_npu(
    synthetic: ModuleType, tmp_path: Path, divisor: int, kind: str, size: int
) -> None:
    target = small_target(tmp_path, divisor)
    model = network(synthetic, tmp_path, kind, size)
    configuration = with_plan(Configuration(), model, target)
    assert not configuration.plan
    built = compile_and_run(model, target, configuration)
    assert not built.source.cpu_reasons
    assert sum(layer.cycles > 0 for layer in built.report.layers) == 2


def test_several_cores(synthetic: ModuleType, tmp_path: Path) -> None:
    target = small_target(tmp_path, 8, cores=2)
    model = network(synthetic, tmp_path, "global", 20)
    assert "cpu" in default_plan(model.graph, target).values()
    built = compile_and_run(model, target, with_plan(Configuration(), model, target))
    assert any("no schedule fits" in reason for reason in built.source.cpu_reasons.values())


def test_limits_of_accumulators() -> None:
    few = BufferLimits(accumulators=64)
    for compares, outputs, fits in ((True, 16, False), (False, 1008, True), (False, 1009, False)):
        window = OperatorWindow(
            (8, 8), (1, 1), (9, 9), distinct_weights=False, compares=compares, outputs=outputs
        )
        assert (window_misfit(window, few) is None) is fits
