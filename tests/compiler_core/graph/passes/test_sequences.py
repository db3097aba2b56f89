"""Elements of sequences that are known by name are taken without a sequence."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from compiler_core.compile.sources import load_model
from compiler_core.graph.session import FloatSession

_HEAD = '<ir_version: 8, opset_import: ["" : 17]> agraph (float[1,6,8] x) => (float[1,a,b] y)'
_PLACES = "int64 zero = {0}, int64 one = {1}, int64 two = {2}, int64 back = {-1}"
_NUMBERS = f"<{_PLACES}, int64[3] sizes = {{1, 3, 2}}>"


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("r = Neg (x) s = SequenceConstruct (x, r) y = SequenceAt (s, back)", {"Neg"}),
        ("s = SequenceConstruct (x, x) y = ConcatFromSequence <axis = 2> (s)", {"Concat"}),
        ("s = SplitToSequence <axis = 1> (x, sizes) y = SequenceAt (s, one)", {"Slice"}),
        ("s = SplitToSequence <axis = 2> (x, two) y = SequenceAt (s, back)", {"Slice"}),
        (
            """s = SplitToSequence <axis = 1, keepdims = 0> (x) a = SequenceAt (s, one)
            axes = Constant <value_ints = [1]> () y = Unsqueeze (a, axes)""",
            {"Gather", "Reshape"},
        ),
        (
            """s = SequenceConstruct (x, x) n = SequenceLength (s) f = Cast <to = 1> (n)
            y = Mul (x, f)""",
            {"Mul"},
        ),
        (
            """e = SequenceEmpty () r = Neg (x) a = SequenceInsert (e, x)
            b = SequenceInsert (a, r, zero) s = SequenceInsert (b, r)
            y = ConcatFromSequence <axis = 1> (s)""",
            {"Neg", "Concat"},
        ),
        (
            """r = Neg (x) a = SequenceConstruct (x, r, x) s = SequenceErase (a, zero)
            t = SequenceErase (s) y = SequenceAt (t, back)""",
            {"Neg"},
        ),
        ("s = SplitToSequence <axis = 1> (x, two) y = ConcatFromSequence <axis = 1> (s)", None),
    ],
)
def test_the_same_numbers_without_sequences(tmp_path, body: str, left) -> None:
    model = onnx.parser.parse_model(f"{_HEAD} {_NUMBERS} {{ {body} }}")
    onnx.save(model, tmp_path / "model.onnx")
    x = np.random.default_rng(0).standard_normal((1, 6, 8)).astype(np.float32)
    graph = load_model(tmp_path / "model.onnx").graph
    ops = {node.op for node in graph.nodes}
    assert ops == left or (left is None and any("Sequence" in op for op in ops))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (wanted,) = session.run(None, {"x": x})
    np.testing.assert_array_equal(FloatSession(graph).run({"x": x})["y"], wanted)
