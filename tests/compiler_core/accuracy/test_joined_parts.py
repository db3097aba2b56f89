"""Boxes beside scores in one output: the noise of one does not hide in the other."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.accuracy.figures import estimate, joined_figures, noisy
from compiler_core.accuracy.joined_parts import Part, is_probability, parts_of
from compiler_core.accuracy.judge import Judge, Kind, judges
from compiler_core.accuracy.noise import Noise, noise
from compiler_core.graph.importer import import_onnx
from compiler_core.graph.passes.simplify import simplify
from compiler_core.quantize.quality import output_quality


def detector(path: Path, *, last: bool) -> Path:
    """Two levels of boxes and class scores, channels second or (reshaped) last."""
    rng = np.random.default_rng(0)
    nodes, levels = [], []
    constants = {}
    for level, size in enumerate((4, 2)):
        constants[f"w{level}"] = rng.normal(size=(4 + 6, 3, 8 // size, 8 // size)) / 4
        nodes += [
            helper.make_node(
                "Conv", ["x", f"w{level}"], [f"c{level}"], strides=[8 // size, 8 // size]
            ),
            helper.make_node("Split", [f"c{level}", "cut"], [f"b{level}", f"s{level}"], axis=1),
            helper.make_node("Mul", [f"b{level}", "stride"], [f"m{level}"]),
            helper.make_node("Sigmoid", [f"s{level}"], [f"p{level}"]),
            helper.make_node("Concat", [f"m{level}", f"p{level}"], [f"j{level}"], axis=1),
        ]
        shape = f"r{level}"
        constants[shape] = np.array([1, -1, 10] if last else [1, 10, -1], np.int64)
        source = f"j{level}"
        if last:
            nodes.append(helper.make_node("Transpose", [source], [f"t{level}"], perm=[0, 2, 3, 1]))
            source = f"t{level}"
        nodes.append(helper.make_node("Reshape", [source, shape], [f"l{level}"]))
        levels.append(f"l{level}")
    nodes.append(helper.make_node("Concat", levels, ["y"], axis=1 if last else 2))
    constants["cut"] = np.array([4, 6], np.int64)
    constants["stride"] = np.array(320.0)
    arrays = {n: a if a.dtype == np.int64 else a.astype(np.float32) for n, a in constants.items()}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def test_behind_a_shape_that_nobody_knows_is_no_probability(tmp_path: Path) -> None:
    graph = import_onnx(detector(tmp_path / "m.onnx", last=True))
    parts = judges(graph)["y"].parts
    assert any(is_probability(graph, "y", part) for part in parts)
    blind = replace(graph, types={k: v for k, v in graph.types.items() if k not in ("j0", "j1")})
    assert not any(is_probability(blind, "y", part) for part in parts)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("simpler", [False, True])
def test_scores_beside_boxes_are_judged_by_themselves(
    tmp_path: Path, last: bool, simpler: bool
) -> None:
    path = detector(tmp_path / "m.onnx", last=last)
    graph = import_onnx(path)
    judge = judges(simplify(graph) if simpler else graph)["y"]
    assert len(judge.parts) == 4
    samples = np.random.default_rng(1).normal(size=(12, 3, 8, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(path)
    theirs = np.concatenate([session.run(None, {"x": one[None]})[0] for one in samples])
    scores = (..., slice(4, None)) if last else (slice(None), slice(4, None))
    ours = theirs.copy()
    ours[scores] = 0.5
    one = noise(ours, theirs, 12, "y")
    found = noisy(judge, ours, theirs, None, 12)
    assert one.value > 50
    lost = ((theirs[scores] - 0.5) ** 2).sum()
    wanted = 10 * np.log10((theirs[scores].astype(np.float64) ** 2).sum() / lost)
    assert found.value == pytest.approx(wanted, abs=1e-3)
    assert estimate(found).low <= found.value <= estimate(found).high < 10
    halves = [
        {"y": noisy(judge, ours[a:b], theirs[a:b], None, b - a)} for a, b in ((0, 5), (5, 12))
    ]
    assert joined_figures(halves)["y"].value == pytest.approx(found.value)
    quality = output_quality(judge, ours, theirs, 12)
    assert quality is not None
    assert quality.varying_db is not None
    assert quality.sqnr_db == pytest.approx(wanted, abs=1e-3)
    assert quality.varying_db == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("simpler", [False, True])
def test_scores_of_nothing_count_by_what_8_bits_tell(
    tmp_path: Path, last: bool, simpler: bool
) -> None:
    """Where a detector sees nothing, noise of the size of its scores says nothing."""
    graph = import_onnx(detector(tmp_path / "m.onnx", last=last))
    judge = judges(simplify(graph) if simpler else graph)["y"]
    draw = np.random.default_rng(2)
    scores = (..., slice(4, None)) if last else (slice(None), slice(4, None))
    theirs = draw.normal(size=(12, 20, 10) if last else (12, 10, 20)).astype(np.float32) * 100
    theirs[scores] = draw.uniform(0, 2e-4, theirs[scores].shape)
    assert all(cut[-1] == (4, 10) for cut in map(_channels, _scores_of(judge)))
    assert len(judge.probabilities) == 2
    ours = theirs + draw.normal(size=theirs.shape) / 10
    ours[scores] = theirs[scores] * 1.5
    quality = output_quality(judge, ours, theirs, 12)
    assert quality is not None
    assert quality.sqnr_db > 30
    assert quality.varying_db is not None
    assert quality.varying_db > 30
    ours[scores] += draw.uniform(size=ours[scores].shape) > 0.95  # seen where nothing is
    quality = output_quality(judge, ours, theirs, 12)
    assert quality is not None
    assert quality.sqnr_db < 0


def _scores_of(judge: Judge) -> list[Part]:
    return [judge.parts[number] for number in judge.probabilities]


def _channels(part: Part) -> list[tuple[int, int]]:
    return [(start, stop) for _, start, stop in part if (start, stop) == (4, 10)]


def test_parts_of_one_size_are_one() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.normal(size=(9, 6))
    ours = theirs + rng.normal(size=(9, 6)) / 10
    parts = (((1, 0, 2),), ((1, 2, 6),))
    whole, split = noise(ours, theirs, 9, "y"), noise(ours, theirs, 9, "y", parts)
    assert split.value == whole.value
    theirs[:, :2] = ours[:, :2] = 0  # nothing there, nothing lost
    assert noise(ours, theirs, 9, "y", parts).value == noise(ours, theirs, 9, "y").value
    assert Noise(np.ones(2), np.zeros(2)).value == 200


def test_noise_of_parts_is_that_of_their_arrays() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        sizes = 10.0 ** rng.integers(-4, 4, 3)
        pieces = [rng.normal(size=(5, 4)) * size for size in sizes]
        noisy_pieces = [piece + rng.normal(size=piece.shape) * 0.01 for piece in pieces]
        parts = tuple(((1, 4 * i, 4 * i + 4),) for i in range(3))
        theirs, ours = np.concatenate(pieces, 1), np.concatenate(noisy_pieces, 1)
        judge = Judge("y", Kind.REAL, (1, 12), parts=parts)
        found = noisy(judge, ours, theirs, None, 5).value
        alone = [noise(a, b, 5, "y").value for a, b in zip(noisy_pieces, pieces, strict=True)]
        whole = noise(ours, theirs, 5, "y").value
        assert min(alone) - 1e-9 <= found <= whole + 1e-9
        if len(set(sizes)) == 3 and all(
            max(a, b) / min(a, b) > 50 for a in sizes for b in sizes if a != b
        ):
            assert found == pytest.approx(min(alone))


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_the_tensors_that_were_joined(tmp_path: Path, seed: int) -> None:
    """Of random trees of concatenations and transposes, by what they compute."""
    r = random.Random(seed)
    nodes, constants, leaves, count = [], {}, [], 0

    def new() -> str:
        nonlocal count
        count += 1
        return f"v{count}"

    def build(shape: tuple[int, ...], depth: int) -> str:
        wide = [axis for axis in (1, 2, 3) if shape[axis] > 1]
        if depth == 0 or not wide or r.random() < 0.2:
            leaf, name = new(), new()
            number = len(leaves)
            leaves.append(leaf)
            constants[leaf] = np.full(shape, number, np.float32)
            nodes.append(helper.make_node("Mul", [leaf, "x"], [name]))
            return name
        if r.random() < 0.3:
            order = [0, *r.sample([1, 2, 3], 3)]
            source = [0] * 4
            for axis, from_axis in enumerate(order):
                source[from_axis] = shape[axis]
            name = new()
            inner = build(tuple(source), depth - 1)
            nodes.append(helper.make_node("Transpose", [inner], [name], perm=order))
            return name
        axis = r.choice(wide)
        cut = r.randint(1, shape[axis] - 1)
        halves = [
            build(tuple(size if a == axis else s for a, s in enumerate(shape)), depth - 1)
            for size in (cut, shape[axis] - cut)
        ]
        name = new()
        nodes.append(helper.make_node("Concat", halves, [name], axis=axis))
        return name

    top = build((1, 4, 3, 5), 3)
    nodes.append(helper.make_node("Identity", [top], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (numbers,) = session.run(None, {"x": np.ones((1, 1, 1, 1), np.float32)})
    parts = parts_of(import_onnx(tmp_path / "m.onnx"), "y", batched=True)
    seen = np.zeros(numbers.shape, int)
    for part in parts:
        index = [slice(None)] * 4
        for axis, start, stop in part:
            index[axis] = slice(start, stop)
        seen[tuple(index)] += 1
        assert np.ptp(numbers[tuple(index)]) == 0  # of one tensor
    assert (seen == (1 if len(leaves) > 1 else 0)).all()
