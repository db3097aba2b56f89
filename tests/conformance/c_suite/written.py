"""One case as generated C: whether it can be written, and gives the runtime's numbers."""

from __future__ import annotations

import copy
import traceback
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import onnx
import onnxruntime

from compiler_core.errors import NestTuneError
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession
from compiler_core.graph.spelled.for_sources import graph_for_sources
from compiler_core.units.cpu.c.bundles.bundle import expected
from compiler_core.units.cpu.c.convert.convert import require_kernels, to_network
from compiler_core.units.cpu.c.convert.options import Options
from tests.conformance.onnx_suite.cases import Case

_MOST = 1e29
"""Infinities of constants are numbers of this size and more in C."""


class Written(StrEnum):
    """How a case ended; the last two are faults."""

    SAME = "same"
    SKIPPED = "onnxruntime does not run it"
    REFUSED = "refused"
    CRASH = "crash"
    MISMATCH = "mismatch"


@dataclass(frozen=True)
class CaseInC:
    """How a case ended.

    Attributes:
        case: Its name.
        ending: In one word.
        detail: The error.
        graph: As C is written of it; ``None`` where it is not.
        feeds: Array per input of the graph.
    """

    case: str
    ending: Written
    detail: str = ""
    graph: Graph | None = None
    feeds: dict[str, Any] | None = None


def written(case: Case) -> CaseInC:
    """A case as it is, or, where that cannot be written, with all inputs but the first as
    constants: weights, axes and limits are constants in networks."""
    if any(not _is_plain(value) for value in case.inputs.values()):
        return CaseInC(case.name, Written.SKIPPED)
    found = _written(case.name, case.model, case.inputs)
    if found.ending is Written.REFUSED and len(case.inputs) > 1:
        return _written(case.name, *_with_constants(case))
    return found


def _is_plain(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiub"


def _with_constants(case: Case) -> tuple[onnx.ModelProto, dict[str, Any]]:
    model = copy.deepcopy(case.model)
    fed = [value for value in model.graph.input if value.name in case.inputs][:1]
    for value in model.graph.input:
        if value.name in case.inputs and value not in fed:
            array = np.asarray(case.inputs[value.name])
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
    del model.graph.input[:]
    model.graph.input.extend(fed)
    return model, {value.name: case.inputs[value.name] for value in fed}


def _written(name: str, model: onnx.ModelProto, inputs: dict[str, Any]) -> CaseInC:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers)
        session.run(None, inputs)
    except Exception as error:
        return CaseInC(name, Written.SKIPPED, str(error))
    try:
        graph = graph_for_sources(simplify(import_model(model)))
        require_kernels(graph, "float32")
        network = to_network(graph, {}, Options(precision="float32"))
        feeds = {key: _fed(inputs[key]) for key in graph.inputs}
        wanted = FloatSession(graph).run(feeds)
        _, found = expected(network, feeds)
    except NestTuneError as error:
        return CaseInC(name, Written.REFUSED, error.message)
    except Exception:
        return CaseInC(name, Written.CRASH, traceback.format_exc())
    for tensor, value, array in zip(graph.outputs, network.outputs, found, strict=True):
        if tensor in wanted and not _is_near(network.real(value, array), wanted[tensor]):
            return CaseInC(name, Written.MISMATCH, f"output {tensor!r} differs")
    return CaseInC(name, Written.SAME, "", graph, feeds)


def _fed(array: Any) -> Any:
    return array.astype(np.float32) if array.dtype in (np.float16, np.float64) else array


def _is_near(found: Any, wanted: Any) -> bool:
    found, wanted = (np.asarray(value, np.float64).ravel() for value in (found, wanted))
    large = np.abs(wanted) >= _MOST
    if found.shape != wanted.shape or not (np.abs(found[large]) >= _MOST).all():
        return False
    most = max(1.0, float(np.abs(wanted[np.isfinite(wanted) & ~large]).max(initial=0)))
    near = np.isclose(found, wanted, rtol=1e-3, atol=2e-4 * most, equal_nan=True)
    return bool((near | large).all())
