"""Cases of the backend suite: a model, what it is fed, what it has to give."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test as suite

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "light")

_DATA = Path(suite.__file__).parent / "data"
_PARSED = {
    "sequence_type": (onnx.SequenceProto, onnx.numpy_helper.to_list),
    "optional_type": (onnx.OptionalProto, onnx.numpy_helper.to_optional),
    "tensor_type": (onnx.TensorProto, onnx.numpy_helper.to_array),
}

Value = Any
"""An array, a list of them (a sequence) or ``None`` (an optional that is absent)."""


@dataclass(frozen=True, eq=False)
class Case:
    """One test.

    Attributes:
        kind: Folder of the suite.
        name: Unique in its kind.
        model: As the suite gives it.
        inputs: Value per input of the model.
        outputs: Value per output; ``None`` where the suite holds none for all of them.
        rtol, atol: How near the outputs have to come.
    """

    kind: str
    name: str
    model: onnx.ModelProto
    inputs: dict[str, Value]
    outputs: Sequence[Value] | None
    rtol: float
    atol: float


@cache
def node_cases() -> tuple[Case, ...]:
    """The tests of single operators, made by the ``onnx`` package as it is asked for them."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    cases = []
    for item in found:
        for given, wanted in item.data_sets or ():
            names = [value.name for value in item.model.graph.input]
            values = [_plain(value) for value in given]
            inputs = dict(zip(names, values, strict=False))
            outputs = [_plain(value) for value in wanted]
            cases.append(Case("node", item.name, item.model, inputs, outputs, item.rtol, item.atol))
    return tuple(cases)


def stored_cases(kind: str) -> Iterator[Case]:
    """The tests of a folder of the suite, read when they are asked for."""
    for path in sorted((_DATA / kind).iterdir()):
        if kind == "light":
            if path.suffix == ".onnx":
                yield _light(path)
            continue
        model = onnx.load(path / "model.onnx")
        for number, folder in enumerate(sorted(path.glob("test_data_set_*"))):
            fed = {item.name for item in model.graph.initializer}
            values = [value for value in model.graph.input if value.name not in fed]
            inputs = {
                value.name: _stored(folder / f"input_{index}.pb", value)
                for index, value in enumerate(values)
            }
            outputs = [
                _stored(folder / f"output_{index}.pb", value)
                for index, value in enumerate(model.graph.output)
            ]
            name = path.name if not number else f"{path.name}/{number}"
            yield Case(kind, name, model, inputs, outputs, 1e-3, 1e-7)


def all_cases(kinds: Sequence[str] = KINDS) -> Iterator[Case]:
    """Every test of some kinds, in an order that never changes."""
    for kind in kinds:
        yield from node_cases() if kind == "node" else stored_cases(kind)


def _light(path: Path) -> Case:
    """A network without weights: its inputs are made here, as the suite's runner makes them."""
    model = onnx.load(path)
    fed = {item.name for item in model.graph.initializer}
    inputs = {}
    for value in model.graph.input:
        if value.name not in fed:
            shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            inputs[value.name] = (np.arange(count).reshape(shape) / count).astype(np.float32)
    return Case("light", path.stem, model, inputs, None, 2e-3, 1e-7)


def _stored(path: Path, value: onnx.ValueInfoProto) -> Value:
    kind, read = _PARSED[value.type.WhichOneof("value") or "tensor_type"]
    proto = kind()
    proto.ParseFromString(path.read_bytes())
    return read(proto)  # type: ignore[operator]


def _plain(value: Value) -> Value:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None else np.asarray(value)
