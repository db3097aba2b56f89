"""CPU segments of a package, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.executable.executable import CpuSegment
from compiler_core.graph.demand import check_model
from compiler_core.graph.reader import ImportLimits, parse_model, tensors_of
from compiler_core.graph.runtime import RUNTIME_ERRORS, is_unbounded, open_session, run_session

_EXTERNAL = 1


class CpuSession:
    """A CPU segment, ready to run.

    Args:
        segment: The segment; tensors outside its model are refused.
        portable: As of :func:`~compiler_core.graph.runtime.open_session`.

    Raises:
        InputError: onnxruntime cannot run it.
    """

    def __init__(self, segment: CpuSegment, *, portable: bool = True) -> None:
        self._segment = segment
        where = f"segment {segment.name}"
        model = parse_model(segment.model, where)
        for tensor in tensors_of(model.graph):
            if tensor.data_location == _EXTERNAL:
                raise InputError(f"{where}: tensor {tensor.name!r} lies in another file")
        try:
            check_model(model, ImportLimits())
        except InputError as error:
            raise InputError(f"{where}: {error.message}", hint=error.hint) from error
        self._guarded = is_unbounded(model)
        try:
            self._session = open_session(model, portable=portable, guarded=self._guarded)
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
            results = run_session(
                self._session,
                names,
                {name: feeds[name] for name in self._segment.inputs},
                guarded=self._guarded,
            )
        except RUNTIME_ERRORS as error:
            raise InputError(
                f"segment {self._segment.name}: onnxruntime refuses the inputs: {_line(error)}"
            ) from error
        return dict(zip(names, results, strict=True))


class CpuSessions:
    """See :class:`~compiler_core.units.facets.host.FloatSessions`."""

    def open(self, segment: CpuSegment, *, portable: bool = True) -> CpuSession:
        return CpuSession(segment, portable=portable)


SESSIONS = CpuSessions()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
