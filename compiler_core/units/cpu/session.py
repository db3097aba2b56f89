"""CPU segments of a package, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import onnxruntime

from compiler_core.errors import InputError
from compiler_core.executable.executable import CpuSegment
from compiler_core.graph.reader import parse_model, tensors_of
from compiler_core.graph.session import RUNTIME_ERRORS

_FATAL_ONLY = 4
"""Errors are raised and worded by the caller; the log would repeat them on standard error."""
_EXTERNAL = 1


class CpuSession:
    """A CPU segment, ready to run.

    Args:
        segment: The segment; tensors outside its model are refused.

    Raises:
        InputError: onnxruntime cannot run it.
    """

    def __init__(self, segment: CpuSegment) -> None:
        self._segment = segment
        where = f"segment {segment.name}"
        model = parse_model(segment.model, where)
        for tensor in tensors_of(model.graph):
            if tensor.data_location == _EXTERNAL:
                raise InputError(f"{where}: tensor {tensor.name!r} lies in another file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL_ONLY
        try:
            self._session = onnxruntime.InferenceSession(
                segment.model, options, providers=["CPUExecutionProvider"]
            )
        except RUNTIME_ERRORS as error:
            raise InputError(f"{where}: onnxruntime cannot run it: {_line(error)}") from error
        wanted = {item.name for item in self._session.get_inputs()}
        if wanted != set(segment.inputs):
            raise InputError(
                f"{where}: its model reads {', '.join(sorted(wanted)) or 'nothing'}; the package "
                f"feeds {', '.join(sorted(segment.inputs)) or 'nothing'}"
            )

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Arrays by output name.

        Raises:
            InputError: onnxruntime refuses the inputs.
        """
        names = list(self._segment.outputs)
        try:
            results = self._session.run(names, {n: feeds[n] for n in self._segment.inputs})
        except RUNTIME_ERRORS as error:
            raise InputError(
                f"segment {self._segment.name}: onnxruntime refuses the inputs: {_line(error)}"
            ) from error
        return dict(zip(names, results, strict=True))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
