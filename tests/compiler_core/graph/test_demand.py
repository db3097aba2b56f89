"""Small models that ask for much are refused before anything is computed."""

from __future__ import annotations

import resource
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.errors import InputError
from compiler_core.graph.held import held_bytes
from compiler_core.graph.importer import import_model, import_onnx
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession

CASES = Path(__file__).resolve().parents[2] / "cases" / "hostile"
GROWTH_MAX_BYTES = 300 << 20


def _model(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    functions: list[onnx.FunctionProto] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions or [])


def _reduced(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", [name], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["as_float"], ["most"], keepdims=0),
        helper.make_node("Add", ["x", "most"], ["y"]),
    ]


def _large(op: str, weights: dict[str, object], **attributes: object) -> onnx.ModelProto:
    arrays = {
        name: np.asarray(value, np.float32 if np.asarray(value).dtype.kind == "f" else None)
        for name, value in weights.items()
        if name
    }
    node = helper.make_node(op, list(weights), ["big"], **attributes)
    return _model([node, *_reduced("big")], arrays)


def _doubled(source: str, times: int) -> onnx.ModelProto:
    names = [source, *(f"d{i}" for i in range(times))]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=-1) for a, b in pairwise(names)]
    weights = {"c": np.arange(64, dtype=np.float32)} if source == "c" else {}
    return _model([*nodes, *_reduced(names[-1])], weights)


HUGE = 10**12
DEMANDS = {
    "range": _large("Range", {"a": 0, "b": HUGE, "c": 1}),
    "tile": _large("Tile", {"a": [1.0], "b": [HUGE]}),
    "expand": _large("Expand", {"a": [1.0], "b": [HUGE]}),
    "filled": _large("ConstantOfShape", {"a": [10**6, 10**6]}),
    "pad": _large("Pad", {"a": [1.0], "b": [HUGE, 0]}),
    "one hot": _large("OneHot", {"a": [1], "b": HUGE, "c": [0.0, 1.0]}),
    "resize": _large(
        "Resize", {"a": np.ones((1, 1, 2, 2), "f4"), "": None, "b": [1.0, 1.0, 1e6, 1e6]}
    ),
    "window": _large("HammingWindow", {"a": 2**62}),
    "random": _model(
        [helper.make_node("RandomNormal", [], ["big"], shape=[HUGE]), *_reduced("big")], {}
    ),
    "doubled constants": _doubled("c", 45),
    "doubled data": _doubled("x", 45),
    "product": _model(
        [
            helper.make_node("ConstantOfShape", ["s"], ["a"]),
            helper.make_node("MatMul", ["a", "a"], ["big"]),
            *_reduced("big"),
        ],
        {"s": np.array([8000, 8000])},
    ),
    "padding": _model(
        [
            helper.make_node("Reshape", ["x", "s"], ["r"]),
            helper.make_node("Conv", ["r", "w"], ["big"], pads=[0, 65536, 0, 0]),
            *_reduced("big"),
        ],
        {"s": np.array([1, 1, 4, 4]), "w": np.ones((1, 1, 3, 3), np.float32)},
    ),
}


@pytest.mark.parametrize("name", DEMANDS)
def test_a_large_demand_is_refused_with_its_bound(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="at most"):
        import_model(DEMANDS[name])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < GROWTH_MAX_BYTES


def test_the_message_says_node_value_bound_and_what_to_do() -> None:
    with pytest.raises(InputError) as caught:
        import_onnx(CASES / "range.onnx")
    assert "node 'Range:r' (Range): tensor 'r': 8000000000000 bytes" in caught.value.message
    assert "at most 536870912" in caught.value.message
    assert caught.value.hint is not None


def _call(name: str, inner: str, domain: str = "f") -> onnx.FunctionProto:
    nodes = [
        helper.make_node(inner, ["a"], ["b"], domain=domain),
        helper.make_node(inner, ["b"], ["c"], domain=domain),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    return helper.make_function("f", name, ["a"], ["c"], nodes, opsets)


def test_functions_that_call_themselves_are_refused() -> None:
    call = helper.make_node("P", ["x"], ["y"], domain="f")
    with pytest.raises(InputError, match="calls itself: 'f::P' -> 'f::Q' -> 'f::P'"):
        import_model(_model([call], {}, [_call("P", "Q"), _call("Q", "P")]))
    used = helper.make_node("Relu", ["x"], ["y"])
    with pytest.raises(InputError, match="calls itself"):
        import_model(_model([used], {}, [_call("P", "P")]))


def test_functions_that_double_are_counted_not_written_out() -> None:
    functions = [_call("F0", "Abs", ""), *(_call(f"F{i}", f"F{i - 1}") for i in range(1, 40))]
    call = helper.make_node("F39", ["x"], ["y"], domain="f")
    with pytest.raises(InputError, match="nodes, with those of its subgraphs and functions"):
        import_model(_model([call], {}, functions))
    few = helper.make_node("F3", ["x"], ["y"], domain="f")
    assert import_model(_model([few], {}, functions[:4])).outputs == ("y",)


def _nested(depth: int) -> onnx.ModelProto:
    out = helper.make_tensor_value_info("i", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["i"])], "leaf", [], [out])
    for _ in range(depth):
        leaf = helper.make_graph([helper.make_node("Identity", ["x"], ["i"])], "e", [], [out])
        node = helper.make_node("If", ["flag"], ["i"], then_branch=graph, else_branch=leaf)
        graph = helper.make_graph([node], "level", [], [out])
    top = helper.make_node("If", ["flag"], ["y"], then_branch=graph, else_branch=graph)
    return _model([top], {"flag": np.array(True)})


def test_deep_subgraphs_are_refused() -> None:
    assert import_model(_nested(3)).outputs == ("y",)
    with pytest.raises(InputError, match="deeper than 16 levels"):
        import_model(_nested(25))


def _sized_by_data(rounds: int) -> onnx.ModelProto:
    """A vector whose length only running the model tells."""
    return _model(
        [
            helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
            helper.make_node("Cast", ["s"], ["i"], to=TensorProto.INT64),
            helper.make_node("Add", ["i", "many"], ["n"]),
            helper.make_node("Range", ["zero", "n", "one"], ["big"]),
            *_reduced("big"),
        ],
        {"zero": np.array(0), "one": np.array(1), "many": np.array(rounds)},
    )


def test_what_only_running_tells_is_bounded_as_it_runs() -> None:
    feeds = {"x": np.zeros((1, 16), np.float32)}
    small = simplify(import_model(_sized_by_data(1000)))
    assert FloatSession(small).run(feeds)["y"][0, 0] == 999
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    large = simplify(import_model(_sized_by_data(10**10)))
    with pytest.raises(InputError, match="emory"):
        FloatSession(large).run(feeds)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < GROWTH_MAX_BYTES


def _endless(trips: int | None) -> onnx.ModelProto:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Relu", ["v"], ["w"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [1, 16]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 16]),
        ],
    )
    weights = {"true": np.array(True)}
    if trips is not None:
        weights["trips"] = np.array(trips)
    node = helper.make_node(
        "Loop", ["" if trips is None else "trips", "true", "x"], ["y"], body=body
    )
    return _model([node], weights)


def test_a_loop_of_many_rounds_is_refused() -> None:
    with pytest.raises(InputError, match="1000000000000 rounds; at most 65536"):
        import_model(_endless(HUGE))


@pytest.mark.parametrize("trips", [None, "x"])
def test_a_loop_that_never_ends_is_refused_by_its_rounds(
    trips: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compiler_core.graph.rounds.EXECUTIONS_MAX", 2000)
    model = _endless(None)
    if trips is not None:  # as many as an input says
        model.graph.node[0].input[0] = "many"
        model.graph.node.insert(0, helper.make_node("Cast", ["sum"], ["many"], to=7))
        model.graph.node.insert(0, helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0))
    session = FloatSession(import_model(model))
    feeds = {"x": np.full((1, 16), 1000 / 16, np.float32)}
    if trips is not None:
        assert (session.run(feeds)["y"] == feeds["x"]).all()
        feeds["x"] += 1 / 16
    with pytest.raises(InputError, match="more than 1000 rounds, which is what a body of its size"):
        session.run(feeds)


@pytest.mark.parametrize("shape", [(0, 0), (0,), (2,)])
@pytest.mark.parametrize("place", [0, 1])
def test_a_loop_needs_one_number_of_rounds_and_one_condition(
    shape: tuple[int, ...], place: int
) -> None:
    model = _endless(3)
    kind = np.bool_ if place else np.int64
    wrong = numpy_helper.from_array(np.ones(shape, kind), model.graph.node[0].input[place])
    kept = [item for item in model.graph.initializer if item.name != wrong.name]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, wrong])
    feeds = {"x": np.zeros((1, 16), np.float32)}
    with pytest.raises(InputError, match=r"onnxruntime|not a valid ONNX graph"):
        FloatSession(import_model(model)).run(feeds)


def test_a_body_that_gives_no_condition_is_refused() -> None:
    model = _endless(3)
    body = model.graph.node[0].attribute[0].g
    body.initializer.append(numpy_helper.from_array(np.ones((0, 1), bool), "none"))
    body.node[0].input[0] = "none"
    del body.output[0].type.tensor_type.shape.dim[:]
    body.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(InputError):
        FloatSession(import_model(model)).run({"x": np.zeros((1, 16), np.float32)})


@pytest.mark.parametrize("op", ["NonZero", "Unique"])
def test_results_as_large_as_data_say_are_bounded_by_what_they_read(op: str) -> None:
    def sized(count: int) -> onnx.ModelProto:
        nodes = [
            helper.make_node("ConstantOfShape", ["size"], ["c"]),
            helper.make_node("Sub", ["c", "x"], ["d"]),
            helper.make_node(op, ["d"], ["n"]),
            helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
            *_reduced("f"),
        ]
        return _model(nodes, {"size": np.array([count, 16])})

    import_model(sized(1000))
    with pytest.raises(InputError, match="as its data say"):
        import_model(sized(2_000_000))


def test_loops_within_loops_that_never_end_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler_core.graph.runtime.GUARDED_SECONDS", 0.3)
    inner, outer = _endless(None).graph, _endless(None)
    deep = inner.node[0].attribute[0].g
    for item in (*deep.input, *deep.output):
        item.name += "/inner"
    for node in deep.node:
        node.input[0], node.output[0] = f"{node.input[0]}/inner", f"{node.output[0]}/inner"
    body = outer.graph.node[0].attribute[0].g
    del body.node[:]
    body.node.add().CopyFrom(helper.make_node("Identity", ["go"], ["go_on"]))
    loop = body.node.add()
    loop.CopyFrom(inner.node[0])
    loop.input[2], loop.output[0] = "v", "w"
    session = FloatSession(import_model(outer))
    with pytest.raises(InputError, match="a loop in it does not end"):
        session.run({"x": np.zeros((1, 16), np.float32)})


def test_the_larger_a_body_the_fewer_its_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler_core.graph.rounds.EXECUTIONS_MAX", 100)
    import_model(_endless(50))
    with pytest.raises(InputError, match="51 rounds; at most 50 are run, with a body of this size"):
        import_model(_endless(51))


@pytest.mark.parametrize("stated", [True, False])
def test_a_loop_whose_results_are_joined_takes_fewer_rounds(
    stated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compiler_core.graph.rounds.JOINED_MAX", 20)
    model = _endless(21 if stated else None)
    body = model.graph.node[0].attribute[0].g
    body.node.add().CopyFrom(helper.make_node("Neg", ["v"], ["each"]))
    body.output.append(helper.make_tensor_value_info("each", TensorProto.FLOAT, [1, 16]))
    model.graph.node[0].output.append("all")
    with pytest.raises(InputError, match=r"21 rounds; at most 20|more than 20 rounds"):
        FloatSession(import_model(model)).run({"x": np.zeros((1, 16), np.float32)})


def _scan(length: int) -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "e"], ["t"]), helper.make_node("Neg", ["t"], ["o"])],
        "body",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in ("s", "e")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in ("t", "o")],
    )
    nodes = [
        helper.make_node("Scan", ["start", "many"], ["last", "all"], body=body, num_scan_inputs=1),
        helper.make_node("Add", ["x", "last"], ["y"]),
    ]
    weights = {"start": np.zeros((), np.float32), "many": np.zeros(length, np.float32)}
    return _model(nodes, weights)


def test_a_scan_is_bounded_by_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler_core.graph.rounds.EXECUTIONS_MAX", 100)
    import_model(_scan(50))
    with pytest.raises(InputError, match="51 rounds; at most 50"):
        import_model(_scan(51))


def _pieces(count: int, split: object = None) -> onnx.ModelProto:
    weights = {"size": np.array([count])} | ({} if split is None else {"split": np.array(split)})
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["c"]),
        helper.make_node("SplitToSequence", ["c", "split"][: len(weights)], ["s"], axis=0),
        helper.make_node("ConcatFromSequence", ["s"], ["r"], axis=0),
        *_reduced("r"),
    ]
    return _model(nodes, weights)


@pytest.mark.parametrize(
    ("count", "split", "pieces"),
    [(100_000, None, 100_000), (100_000, 5, 20_000), (20_000, [1] * 20_000, 20_000)],
)
def test_a_sequence_of_many_pieces_is_refused(count: int, split: object, pieces: int) -> None:
    with pytest.raises(InputError, match=f"a sequence of {pieces} pieces; at most 16384"):
        import_model(_pieces(count, split))


@pytest.mark.parametrize(("count", "split"), [(1000, None), (100_000, 50), (10, [4, 6])])
def test_a_sequence_of_few_pieces_is_read(count: int, split: object) -> None:
    import_model(_pieces(count, split))


def test_an_operator_that_takes_too_long_is_told_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("compiler_core.graph.runtime.GUARDED_SECONDS", 0.001)
    session = FloatSession(import_model(_pieces(16_000)))
    with pytest.raises(InputError, match="an operator takes too long"):
        session.run({"x": np.zeros((1, 16), np.float32)})


def test_constants_that_double_are_refused_together() -> None:
    nodes = [helper.make_node("Concat", ["w", "w"], ["t0"], axis=0)]
    names = [f"t{index}" for index in range(21)]
    nodes += [helper.make_node("Concat", [a, a], [b], axis=0) for a, b in pairwise(names)]
    nodes += [helper.make_node("Relu", ["t20"], ["u"]), *_reduced("u")]
    with pytest.raises(InputError, match=r"over constants alone.*at most 805306368"):
        import_model(_model(nodes, {"w": np.zeros(64, np.float32)}))


def test_what_is_held_at_once_is_bounded() -> None:
    def fan(count: int) -> onnx.ModelProto:
        names = [f"t{index}" for index in range(count)]
        nodes = [helper.make_node("Tile", ["x", "repeats"], ["t"])]
        nodes += [helper.make_node("Relu", ["t"], [name]) for name in names]
        nodes += [helper.make_node("Sum", names, ["s"]), *_reduced("s")]
        return _model(nodes, {"repeats": np.array([1, 2**20])})  # 64 MiB each

    import_model(fan(6))
    with pytest.raises(InputError, match=r"bytes of computed tensors are held at once.*805306368"):
        import_model(fan(16))


def test_a_long_chain_holds_two_tensors_at_once() -> None:
    names = ["t", *(f"t{index}" for index in range(40))]
    nodes = [helper.make_node("Tile", ["x", "repeats"], ["t"])]
    nodes += [helper.make_node("Relu", [a], [b]) for a, b in pairwise(names)]
    graph = import_model(_model([*nodes, *_reduced("t39")], {"repeats": np.array([1, 1024])}))
    assert held_bytes(graph)[0] == 64 + 2 * 65536
