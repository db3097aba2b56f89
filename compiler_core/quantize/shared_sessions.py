"""Sessions of integer operators that are alike but for names, made once.

The steps of a recurrent network that was written out, the branches of a siamese one and blocks that
share weights are the same computation under other names. A session holds its weights as floats,
several times over where sums are large, and takes longest of all to make.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from compiler_core.quantize.exact import exact_model
from compiler_core.quantize.ir import IntegerOperator, QuantizedTensor, integers_read

Floats = npt.NDArray[np.float32]

_NAMES = ("input", "output", "operand", "residual")
_LABELS = ("name", "sources")


@dataclass(frozen=True, eq=False)
class NamedSession:
    """A session under the names of one group of operators.

    Attributes:
        session: May serve other groups under their names.
        inputs: Its name by the group's, per tensor read.
        outputs: The same per tensor computed.
    """

    session: onnxruntime.InferenceSession
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    def run(self, feeds: Mapping[str, Floats]) -> dict[str, Floats]:
        """The outputs by the group's names.

        Raises:
            RuntimeError: onnxruntime refuses the inputs.
        """
        given = {known: feeds[name] for name, known in self.inputs.items()}
        found = self.session.run(list(self.outputs.values()), given)
        return dict(zip(self.outputs, found, strict=True))


class SharedSessions:
    """Sessions by what they compute.

    Args:
        threads: Of onnxruntime; they never change the bits.
    """

    def __init__(self, threads: int = 1) -> None:
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = 3
        self._made: dict[Hashable, onnxruntime.InferenceSession] = {}

    def session(
        self,
        operators: Sequence[IntegerOperator],
        tensors: Mapping[str, QuantizedTensor],
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> NamedSession:
        """A session that computes ``outputs`` by ``operators`` (in topological order) from
        ``inputs``.

        Raises:
            EncodeError: The model takes more than 2 GiB.
            RuntimeError: onnxruntime refuses the operators.
        """
        used = [*inputs, *(name for one in operators for name in (*integers_read(one), one.output))]
        known = {name: f"t{number}" for number, name in enumerate(dict.fromkeys(used))}
        plain = [_renamed(operator, known.__getitem__) for operator in operators]
        shapes = {
            known[name]: QuantizedTensor(known[name], tensors[name].shape, 0) for name in known
        }
        read, wanted = [known[name] for name in inputs], [known[name] for name in outputs]
        key = (
            tuple(_key(operator) for operator in plain),
            tuple((name, tensor.shape) for name, tensor in shapes.items()),
            tuple(read),
            tuple(wanted),
        )
        if key not in self._made:
            model = exact_model(plain, shapes, read, wanted)
            self._made[key] = onnxruntime.InferenceSession(
                model.SerializeToString(), self._options, providers=["CPUExecutionProvider"]
            )
        return NamedSession(
            self._made[key],
            {name: known[name] for name in inputs},
            {name: known[name] for name in outputs},
        )


def _renamed(operator: IntegerOperator, known: Callable[[str], str]) -> IntegerOperator:
    """The operator with other names of its tensors."""
    named = {f.name: getattr(operator, f.name) for f in fields(operator)}
    changed: dict[str, Any] = {
        name: known(value) for name, value in named.items() if name in _NAMES and value is not None
    }
    if "inputs" in named:
        changed["inputs"] = tuple(map(known, named["inputs"]))
    return replace(operator, **changed)


def _key(operator: IntegerOperator) -> Hashable:
    """What an operator computes, whatever it is called."""
    values = (getattr(operator, f.name) for f in fields(operator) if f.name not in _LABELS)
    return type(operator), tuple(map(_value, values))


def _value(value: Hashable) -> Hashable:
    if not isinstance(value, np.ndarray):
        return value
    digest = blake2b(value.tobytes(), digest_size=16).digest()
    return value.dtype.str, value.shape, digest
