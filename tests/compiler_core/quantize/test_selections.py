"""Outputs behind a selection are judged by what the selection reads."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import nest_tune
from compiler_core.compile.sources import load_model
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.good_enough import excess, judged_by, reason_against, shortfall, worst
from compiler_core.quantize.ladder import FIRST, RUNGS, climb
from compiler_core.quantize.left_in_float import float_sets
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.quality import OutputQuality
from compiler_core.quantize.selections import selected

_FLOAT = onnx.TensorProto.FLOAT


def _detector(tmp_path, *, ends: str, seed: int = 0):
    """Two heads over a convolution, and TopK or non-maximum suppression behind them; weights are
    random, so that many scores are nearly equal."""
    draw = np.random.default_rng(seed)
    nodes, constants = [], []

    def constant(name: str, values) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def conv(name: str, source: str, inputs: int, outputs: int) -> str:
        weights = draw.standard_normal((outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)
        constant(f"{name}.w", weights.astype(np.float32))
        nodes.append(
            helper.make_node("Conv", [source, f"{name}.w"], [name], pads=[1] * 4, name=name)
        )
        return name

    def add(op: str, inputs: list[str], *outputs: str, **attributes) -> str:
        nodes.append(helper.make_node(op, inputs, list(outputs), **attributes))
        return outputs[0]

    add("Relu", [conv("first", "x", 3, 16)], "features")
    scores = add("Sigmoid", [conv("score", "features", 16, 1)], "scores")
    conv("box", "features", 16, 4)
    add("Reshape", ["box", constant("box.shape", np.array([1, 4, -1]))], "box.flat")
    boxes = add("Transpose", ["box.flat"], "boxes", perm=[0, 2, 1])
    if ends == "TopK":
        pooled = add(
            "MaxPool", [scores], "pooled", kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4
        )
        same = add("Cast", [add("Equal", [scores, pooled], "same")], "mask", to=_FLOAT)
        peaks = add("Mul", [scores, same], "peaks")
        flat = add("Reshape", [peaks, constant("flat.shape", np.array([1, -1]))], "flat")
        add("TopK", [flat, constant("k", np.array([32]))], "best", "places")
        add("Gather", [boxes, "places"], "chosen.all", axis=1)
        outputs = [("best", _FLOAT, [1, 32]), ("chosen.all", _FLOAT, [1, 1, 32, 4])]
    else:
        flat = add("Reshape", [scores, constant("flat.shape", np.array([1, 1, -1]))], "flat")
        most, overlap = constant("most", np.array([8])), constant("overlap", np.float32(0.5))
        add("NonMaxSuppression", [boxes, flat, most, overlap], "places")
        outputs = [("places", onnx.TensorProto.INT64, [None, 3])]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("x", _FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info(*output) for output in outputs],
        constants,
    )
    path = tmp_path / f"{ends}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)
    return path, draw.standard_normal((8, 3, 16, 16)).astype(np.float32)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ("TopK", {"best": {"scores", "pooled"}, "chosen.all": {"scores", "pooled", "boxes"}}),
        ("NonMaxSuppression", {"places": {"boxes", "flat"}}),
    ],
)
def test_what_a_selection_reads_is_found(tmp_path, ends: str, expected) -> None:
    path, _ = _detector(tmp_path, ends=ends)
    found = {name: {*names} for name, names in selected(load_model(path).graph).items()}
    assert found == expected


@pytest.mark.parametrize("ends", ["TopK", "NonMaxSuppression"])
def test_the_convolutions_of_a_detector_stay_on_the_npu(tmp_path, ends: str) -> None:
    path, samples = _detector(tmp_path, ends=ends)
    made = nest_tune.compile(path, "vta", tmp_path / "package", calibration={"x": samples})
    assert made.macs_share_npu > 0.99
    assert made.ladder.good_enough
    assert made.quality.output in {"scores", "pooled", "flat", "boxes"}
    result = nest_tune.run(tmp_path / "package", {"x": samples[:2]}, check=True)
    assert result.bit_exact
    if ends == "TopK":
        # Peaks are what a max pool leaves as it is: both sides have to be the same numbers.
        assert (result.outputs["best"] > 0).mean() > 0.8


def test_the_place_of_the_largest_is_judged_by_the_heat_map(tmp_path) -> None:
    """With random weights many pixels are nearly the largest; another one is not worse."""
    draw = np.random.default_rng(3)
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 13]>
        agraph (float[1,3,16,16] x) => (int64[1,20] y) <int64[3] flat = {1, 20, -1}> {
            first = Conv <pads = [1, 1, 1, 1]> (x, w)
            hidden = Relu (first)
            maps = Conv <pads = [1, 1, 1, 1]> (hidden, v)
            rows = Reshape (maps, flat)
            y = ArgMax <axis = 2, keepdims = 0> (rows)
        }
    """)
    for name, shape in (("w", (16, 3, 3, 3)), ("v", (20, 16, 3, 3))):
        array = draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    onnx.save(model, tmp_path / "heat.onnx")
    assert selected(load_model(tmp_path / "heat.onnx").graph) == {"y": ("rows",)}
    samples = {"x": draw.standard_normal((8, 3, 16, 16)).astype(np.float32)}
    made = nest_tune.compile(tmp_path / "heat.onnx", "vta", tmp_path / "out", calibration=samples)
    assert (made.macs_share_npu, made.ladder.taken) == (1.0, FIRST)


def _quality(output: str, sqnr_db: float, *before: OutputQuality) -> OutputQuality:
    return OutputQuality(output, sqnr_db, None, None, 0, exact=False, samples=8, before=before)


def test_an_output_behind_a_selection_is_as_good_as_the_worst_that_is_read() -> None:
    found = _quality("best", 2.0, _quality("scores", 30.0), _quality("boxes", 16.0))
    assert judged_by(found).output == "boxes"
    assert shortfall(found) == shortfall(_quality("boxes", 16.0))
    assert excess(found) == excess(_quality("boxes", 16.0))
    assert worst([found, _quality("other", 25.0)]).output == "boxes"
    assert reason_against([found]).startswith("output 'boxes'")
    assert reason_against([_quality("best", 2.0, _quality("scores", 30.0))]) == ""


def test_an_output_that_is_good_itself_is_judged_by_itself() -> None:
    found = _quality("best", 25.0, _quality("scores", 3.0))
    assert judged_by(found).output == "best"
    assert shortfall(found) == 0
    assert excess(found) <= 1


def _router(tmp_path, *, uneven: float):
    """Scores, the best of them in order, and two dense layers of those: channels between the two
    differ by up to ``10**uneven``, and the second makes them equal again."""
    draw = np.random.default_rng(5)
    factors = 10.0 ** draw.uniform(-uneven, 0, 32)
    weights = {
        "router": draw.standard_normal((16, 24)) / 4,
        "into": draw.standard_normal((8, 32)) / 3 * factors,
        "out": draw.standard_normal((32, 6)) / 6 / factors[:, None],
    }
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 13]>
        agraph (float[N,16] x) => (float[N,6] y) <int64[1] k = {8}> {
            scores = Gemm (x, router)
            best, places = TopK (scores, k)
            first = Gemm (best, into)
            y = Gemm (first, out)
        }
    """)
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    onnx.save(model, tmp_path / "router.onnx")
    graph = load_model(tmp_path / "router.onnx").graph
    samples = np.random.default_rng(6).standard_normal((40, 16)).astype(np.float32)
    return graph, profile_model(graph, {"x": samples}), default_assignment(graph)


def test_what_is_computed_behind_a_selection_is_judged_too(tmp_path) -> None:
    graph, profile, places = _router(tmp_path, uneven=4.0)
    found = climb(graph, places, profile)
    # Judged by the scores alone the first scheme would do, and y would be noise.
    assert found.ladder.rungs[FIRST].quality.output == "y"
    assert found.ladder.taken != FIRST
    sets = float_sets(graph, places, profile, RUNGS[FIRST], share=1.0)
    behind = {graph.producer(name).name for name in ("first", "y")}
    assert any(behind & names for names in sets)


def test_a_given_scheme_is_measured_behind_a_selection_too(tmp_path) -> None:
    _, profile, _ = _router(tmp_path, uneven=4.0)
    config, made = tmp_path / "scheme.toml", []
    config.write_text('schema = "nest-tune/config/1"\n[scheme.decisions]\ngranularity = "tensor"\n')
    for given in (config, tmp_path / "0" / "config.toml"):  # its decisions, and its exponents
        output = tmp_path / str(len(made))
        made.append(
            nest_tune.compile(
                tmp_path / "router.onnx", "vta", output, config=given, calibration=profile.inputs
            )
        )
    assert [item.quality.output for item in made] == ["y", "y"]
    assert made[0].quality == made[1].quality
    assert made[0].quality.sqnr_db < 10


def test_what_is_good_behind_a_selection_is_judged_by_what_it_reads(tmp_path) -> None:
    graph, profile, places = _router(tmp_path, uneven=0.0)
    found = climb(graph, places, profile)
    assert (found.ladder.taken, found.ladder.good_enough) == (FIRST, True)


def test_a_mask_that_marks_its_rows_by_a_cast_constant_selects_nothing(tmp_path) -> None:
    """As in attention of the standard's function: rows that are masked as a whole give zeros."""
    function = """
        <ir_version: 8, opset_import: ["" : 18]>
        agraph (float[1,4,6] x, float[4,6] mask, float[1,6,8] v) => (float[1,4,8] y)
        <float low = {-inf}, float zero = {0.0}, int64[1] last = {-1}> {
            weights = Mul (x, x)
            masked = Add (weights, mask)
            shares = Softmax <axis = -1> (masked)
            most = ReduceMax <keepdims = 1> (mask, last)
            lowest = CastLike (low, mask)
            nothing = Equal (most, lowest)
            kept = Where (nothing, zero, shares)
            y = MatMul (kept, v)
        }
    """
    path = tmp_path / "masked.onnx"
    onnx.save(onnx.parser.parse_model(function), path)
    assert selected(load_model(path).graph) == {}


@pytest.mark.parametrize("repeats", ["Expand (a, counts)", "Tile (a, counts)"])
def test_what_a_selection_takes_from_a_repeated_tensor_is_judged_once(tmp_path, repeats) -> None:
    """Neighbours of points: features are repeated for every point before some are taken."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        m (float[1,4,1] x) => (float[1,4,2] y)
        <int64[3] counts = {{1, 1, 6}}, int64[1] k = {{2}}> {{
            a = Sigmoid (x)
            r = {repeats}
            s = Sin (r)
            best, places = TopK (s, k)
            y = GatherElements <axis = 2> (r, places)
        }}"""
    )
    onnx.save(model, tmp_path / "model.onnx")
    assert selected(load_model(tmp_path / "model.onnx").graph) == {"y": ("a", "s")}
