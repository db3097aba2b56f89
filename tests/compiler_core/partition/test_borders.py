"""Plan and package agree at borders: on random networks full of them, for any plan."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType

import pytest

from compiler_core.compile.sources import load_model, noise_samples
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.partition.baselines import all_npu
from compiler_core.partition.best import prepare
from compiler_core.partition.legal import misfits
from compiler_core.targets.load import load_target
from tests.compiler_core.partition.agreement import compiled, random_network, require_agreement


@pytest.mark.parametrize(
    ("seed", "target"),
    [
        *((seed, ("vta", "vta-x2", "vta-pynq")[seed % 3]) for seed in range(12)),
        (19, "vta"),
        # Copies for concatenations side by side on two cores.
        (113, "vta-x2"),
        (133, "vta-x2"),
        *(
            pytest.param(seed, ("vta", "vta-x2", "vta-x4", "vta-ultra96")[seed % 4],
                         marks=pytest.mark.slow)
            for seed in range(100, 160) if seed not in (113, 133)
        ),
    ],
)  # fmt: skip
def test_a_package_takes_what_its_plan_promised(tmp_path: Path, seed: int, target: str) -> None:
    path = tmp_path / "borders.onnx"
    path.write_bytes(random_network(seed))
    model, chip = load_model(path), load_target(target)
    rough = prepare(model.graph, chip)
    whole = all_npu(rough)
    quantized = compiled(model, rough, whole, chip).source.quantized
    evaluator = prepare(model.graph, chip, quantized=quantized)
    draw = random.Random(seed)
    placements = [whole, *(tuple(map(draw.choice, evaluator.choices)) for _ in range(3))]
    compared = 0
    for placement in placements:
        if misfits(evaluator, placement):
            continue
        built = compiled(model, evaluator, placement, chip)
        name = f"seed {seed} on {target}, placement {placement}"
        require_agreement(built, evaluator, evaluator.evaluate(placement), name)
        executable = built.executable
        data = noise_samples(model.graph)
        assert run_checked(executable, Simulator(executable), data)[1] is None, name
        compared += 1
    assert compared


@pytest.mark.parametrize(
    "seed", [*range(6), *(pytest.param(s, marks=pytest.mark.slow) for s in range(200, 230))]
)
def test_a_package_keeps_the_order_of_its_plan(tmp_path: Path, seed: int) -> None:
    target = ("vta-x2", "vta-x4")[seed % 2]
    path = tmp_path / "borders.onnx"
    path.write_bytes(random_network(seed, operators=12))
    model, chip = load_model(path), load_target(target)
    rough = prepare(model.graph, chip)
    whole = all_npu(rough)
    quantized = compiled(model, rough, whole, chip).source.quantized
    evaluator = prepare(model.graph, chip, quantized=quantized)
    draw = random.Random(seed)
    numbers = range(len(evaluator.groups.groups))
    for count in (len(numbers), max(1, len(numbers) // 2)):
        order = draw.sample(numbers, count)
        built = compiled(model, evaluator, whole, chip, order)
        promised = evaluator.evaluate(whole, order)
        require_agreement(built, evaluator, promised, f"seed {seed} on {target}, {order}", order)


def two_segments(synthetic: ModuleType) -> bytes:
    """A CPU tensor that two NPU segments read, a view of it that the CPU reads, and all of them
    returned."""
    b = synthetic.Builder(5)
    b.add("Sigmoid", ["x"], "s")
    b.conv("s", "a", (16, 16, 3, 3))
    b.add("Tanh", ["a"], "t")
    b.conv("t", "c", (16, 16, 3, 3))
    b.add("Add", ["c", "s"], "d")
    b.add("Concat", ["d", "s"], "e", axis=1)
    b.add("Flatten", ["s"], "f")
    b.add("Softplus", ["f"], "g")
    content: bytes = b.model(
        {"x": ["n", 16, 6, 6]},
        {"e": ["n", 32, 6, 6], "g": ["n", 576], "f": ["n", 576], "a": ["n", 16, 6, 6]},
    )
    return content


@pytest.mark.parametrize("target", ["vta", "vta-x2"])
def test_a_tensor_that_two_segments_read_is_quantized_once(
    synthetic: ModuleType, tmp_path: Path, target: str
) -> None:
    path = tmp_path / "two.onnx"
    path.write_bytes(two_segments(synthetic))
    model = load_model(path)
    evaluator = prepare(model.graph, load_target(target))
    placement = all_npu(evaluator)
    built = compiled(model, evaluator, placement, load_target(target))
    assert sum("s" in part.inputs for part in built.executable.npu_segments) == 2
    names = [layer.name for layer in built.report.layers if layer.operator == "quantize"]
    assert sorted(names) == ["s", "t"]
    require_agreement(built, evaluator, evaluator.evaluate(placement), target)
    executable = built.executable
    data = noise_samples(model.graph)
    assert run_checked(executable, Simulator(executable), data)[1] is None
