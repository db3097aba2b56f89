"""Every operator model of the ONNX test suite: what stock onnxruntime runs must stay the same."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.backend.test.case.node import collect_testcases

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.runtime import RUNTIME_ERRORS
from compiler_core.graph.session import FloatSession

Case = tuple[onnx.ModelProto, dict[str, Any]]

REFUSED = ("only tensors are supported", "size 0;", "holds NaN", "operator set version")
"""What the import refuses on purpose, though onnxruntime runs it."""


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite computes infinities on purpose
        found = collect_testcases(None)
    return [
        (case.model, dict(zip(_inputs(case.model), case.data_sets[0][0], strict=False)))
        for case in found
        if case.model is not None and case.data_sets
    ]


def _inputs(model: onnx.ModelProto) -> list[str]:
    return [value.name for value in model.graph.input]


def _with_constants(model: onnx.ModelProto, feeds: dict[str, Any]) -> Case:
    """The same model with every input but the first a constant."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    first, *others = feeds
    kept = model.graph.input[0].SerializeToString()
    del model.graph.input[:]
    model.graph.input.append(onnx.ValueInfoProto.FromString(kept))
    for name in others:
        tensor = onnx.numpy_helper.from_array(np.asarray(feeds[name]), name)
        model.graph.initializer.append(tensor)
    model.ir_version = max(model.ir_version, 8)
    return model, {first: feeds[first]}


def _stock(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any] | None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    content = model.SerializeToString()
    try:
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        results: list[Any] = session.run(None, feeds)
    except (*RUNTIME_ERRORS, ValueError, TypeError, RuntimeError):
        return None
    return results


def _survives(model: onnx.ModelProto, feeds: dict[str, Any]) -> str:
    want = _stock(model, feeds)
    if want is None:
        return "onnxruntime cannot"
    dynamic = {
        value.name: np.shape(feeds[value.name])
        for value in model.graph.input
        if not all(dim.dim_value > 0 for dim in value.type.tensor_type.shape.dim)
    }
    try:
        simple = simplify(import_model(model, shapes=dynamic))
    except InputError as error:
        if any(reason in error.message for reason in REFUSED):
            return "refused"
        raise
    got = FloatSession(simple, optimize=False).run(feeds)
    for name, array in zip(simple.outputs, want, strict=True):
        _assert_same(got[name], array)
    return "same"


def _assert_same(found: Any, wanted: Any) -> None:
    if isinstance(wanted, list):  # a sequence, whose elements may have different shapes
        assert len(found) == len(wanted)
        for element, other in zip(found, wanted, strict=True):
            _assert_same(element, other)
    elif isinstance(wanted, np.ndarray) and wanted.dtype.kind == "f":
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    else:
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("constants", [False, True])
def test_operators(cases: list[Case], constants: bool) -> None:
    results: Counter[str] = Counter()
    for model, feeds in cases:
        # Sequences and absent optionals cannot become constants.
        plain = all(isinstance(value, np.ndarray | np.generic) for value in feeds.values())
        if constants and (len(feeds) < 2 or not plain):
            continue
        chosen = _with_constants(model, feeds) if constants else (model, feeds)
        results[_survives(*chosen)] += 1
    assert results["same"] > 500
    assert results["refused"] < 0.1 * results["same"]
