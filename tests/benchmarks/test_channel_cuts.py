"""Optima of layers cut by output channels: against brute force, and on a small network."""

from __future__ import annotations

from itertools import product
from math import inf
from pathlib import Path

import numpy as np
import pytest

from benchmarks.channel_cuts import Choice, LayerChoices, channel_damage, network_choices, ratios
from compiler_core.compile.sources import load_model
from compiler_core.files.npz import read_npz
from compiler_core.quantize.ir import IntegerConv
from compiler_core.quantize.profile import profile_model
from compiler_core.targets.load import load_target


def brute_force(layers: list[tuple[Choice, ...]], launch: float, budget: float) -> float:
    best = inf
    for chosen in product(*layers):
        if sum(choice.damage for choice in chosen) <= budget + 1e-9:
            best = min(best, sum(c.cycles + c.launches * launch for c in chosen))
    return best


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("launch", [0.0, 50.0])
def test_optima_are_those_of_brute_force(seed: int, launch: float) -> None:
    draw = np.random.default_rng(seed)
    layers = []
    for number in range(4):
        # Multiples of a step of the budget, so that nothing is rounded.
        damage = sorted(int(n) for n in draw.integers(1, 1000, 3))
        cycles = [int(n) for n in draw.integers(100, 2000, 4)]
        others = zip(cycles[1:], damage, strict=True)
        cut = [Choice(c, float(d), 2, 0) for c, d in others]
        joint = (Choice(cycles[0], 0.0, 1, 99), *cut)
        staged = (joint[0], Choice(min(cycles), float(damage[-1]), 2, 0))
        layers.append(LayerChoices(str(number), "", joint, staged))
    total = sum(layer.staged[-1].damage for layer in layers)
    for found in ratios(layers, launch, [0.0, 0.25, 0.5, 1.0]):
        exact = brute_force([layer.joint for layer in layers], launch, found.budget * total)
        theirs = brute_force([layer.staged for layer in layers], launch, found.budget * total)
        # Rounding is in favour of a small ratio, and small.
        assert found.joint_cycles <= exact
        assert found.staged_cycles >= theirs
        slack = 8 / 4000
        wider = brute_force(
            [layer.joint for layer in layers], launch, (found.budget + slack) * total
        )
        assert found.joint_cycles >= wider


def test_damage_is_that_of_rounding_to_4_bits() -> None:
    weight = np.array([[7, -4, 1], [120, 3, -90], [0, 0, 0]], np.int8).reshape(3, 3, 1, 1)
    operator = IntegerConv(
        "c", "x", "y", weight, np.zeros(3, np.int32), (1, 1), (0, 0, 0, 0), (1, 1), 1, 3, -128, 127
    )
    found = channel_damage(operator)
    assert found[0] == found[2] == 0.0
    # 120, 3, -90 in steps of 16 are clipped to 7, 0, -6 times 16.
    expected = ((112 - 120) ** 2 + 3**2 + (96 - 90) ** 2) / (weight.astype(float) ** 2).sum()
    assert found[1] == pytest.approx(expected)


@pytest.mark.parametrize("measured", [False, True])
def test_choices_of_a_network(repository: Path, measured: bool) -> None:
    folder = repository / "examples" / "digits"
    model = load_model(folder / "model.onnx")
    data = {model.graph.inputs[0]: read_npz(folder / "calib.npz")["x"]}
    layers = network_choices(
        model, profile_model(model.graph, data), load_target("vta-duo"), measured=measured
    )
    assert len(layers) == 8
    for layer in layers:
        assert len(layer.staged) <= 2
        least = min(choice.cycles for choice in layer.joint)
        assert min(choice.cycles for choice in layer.staged) == least
        assert all(choice.damage >= 0 for choice in layer.joint)
    (whole,) = ratios(layers, 0.0, [1.0])
    assert 0.99 < whole.value <= 1.0


def test_orders_of_classes_and_copies_are_no_better_than_orders_for_nothing(
    repository: Path,
) -> None:
    """Digits adds tensors, so that some layers share an order; the sort of each is the least."""
    folder = repository / "examples" / "digits"
    model = load_model(folder / "model.onnx")
    data = {model.graph.inputs[0]: read_npz(folder / "calib.npz")["x"]}
    layers = network_choices(
        model, profile_model(model.graph, data), load_target("vta-duo"), measured=False
    )
    assert [layer.stem for layer in layers] == [True] + [False] * 7
    for layer in layers:
        assert len(layer.ordered) == len(layer.joint)
        for free, ruled in zip(layer.joint, layer.ordered, strict=True):
            assert (free.cycles, free.launches, free.first) == (
                ruled.cycles,
                ruled.launches,
                ruled.first,
            )
            assert ruled.damage >= free.damage - 1e-12
        assert layer.copied[: len(layer.ordered)] == layer.ordered
        for copy in layer.copied[len(layer.ordered) :]:
            free = next(own for own in layer.joint if own.first == copy.first)
            assert copy.damage == free.damage
            assert copy.cycles > free.cycles
            assert copy.launches > free.launches
        assert layer.whole_stem(layer.ordered) == (
            tuple(c for c in layer.ordered if c.launches == 1) if layer.stem else layer.ordered
        )
