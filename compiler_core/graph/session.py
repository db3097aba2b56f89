"""Float execution of a graph through onnxruntime: calibration, CPU segments, constant folding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

from compiler_core.errors import InputError
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.ir import Graph
from compiler_core.graph.runtime import RUNTIME_ERRORS, is_unbounded, open_session, run_session
from compiler_core.graph.sampling import join


class FloatSession:
    """A graph, or a part of it, ready to run on the CPU.

    Args:
        graph: Any graph.
        outputs: Tensors to return, any of the graph, intermediate ones too; the graph's outputs by
            default.
        inputs: Tensors to feed; the graph's inputs by default.
        threads: Threads of one operator; set explicitly, because onnxruntime ignores
            OMP_NUM_THREADS.
        optimize: Let onnxruntime rewrite the graph; without, every operator is executed as it
            stands.
        portable: See :func:`~compiler_core.graph.runtime.open_session`.

    Raises:
        InputError: onnxruntime cannot run the graph.
    """

    def __init__(
        self,
        graph: Graph,
        outputs: Sequence[str] | None = None,
        *,
        inputs: Sequence[str] | None = None,
        threads: int = 1,
        optimize: bool = True,
        portable: bool = True,
    ) -> None:
        self.outputs = tuple(graph.outputs if outputs is None else outputs)
        self.inputs = tuple(graph.inputs if inputs is None else inputs)
        self._fixed_batch = self._batch_of_one(graph)
        try:
            self._outside: dict[str, npt.NDArray[Any]] = {}
            model = export_onnx(graph, inputs=inputs, outputs=outputs, outside=self._outside)
            self._guarded = is_unbounded(model)
            self._session = open_session(
                model,
                threads=threads,
                optimize=optimize,
                portable=portable,
                guarded=self._guarded,
                outside=self._outside,
            )
        except EncodeError as error:
            raise InputError(
                f"graph {graph.name!r} takes more than the 2 GiB of a model"
            ) from error
        except RUNTIME_ERRORS as error:
            raise InputError(
                f"onnxruntime cannot run graph {graph.name!r}: {_line(error)}"
            ) from error

    def run(
        self, inputs: Mapping[str, npt.NDArray[Any]], *, sample_wise: bool = False
    ) -> dict[str, npt.NDArray[Any]]:
        """Execute.

        Args:
            inputs: Array per input name; the leading axis of a graph with a batch axis may have
                any length.
            sample_wise: Execute one sample at a time, so that a sample's bits do not depend on its
                neighbours (onnxruntime may sum in another order for another batch).

        Returns:
            Array per output name. Where the graph fixes its batch to 1, more samples are executed
            one by one and joined along the leading axis.

        Raises:
            InputError: An input is missing or onnxruntime refuses it.
        """
        for name in self.inputs:
            if name not in inputs:
                raise InputError(f"input {name!r} is missing; given: {', '.join(inputs) or 'none'}")
        feeds = {name: inputs[name] for name in self.inputs}
        lengths = {
            array.shape[0] if isinstance(array, np.ndarray) and array.ndim else 0
            for array in feeds.values()
        }
        count = lengths.pop() if len(lengths) == 1 else 1
        if count > 1 and (sample_wise or self._fixed_batch):
            parts = [
                self._run({name: array[i : i + 1] for name, array in feeds.items()})
                for i in range(count)
            ]
            return {name: join([part[name] for part in parts]) for name in self.outputs}
        return self._run(feeds)

    def _run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        try:
            results = run_session(self._session, self.outputs, feeds, guarded=self._guarded)
        except RUNTIME_ERRORS as error:
            raise InputError(f"onnxruntime refuses the inputs: {_line(error)}") from error
        return dict(zip(self.outputs, results, strict=True))

    def _batch_of_one(self, graph: Graph) -> bool:
        """Whether every input has a leading axis that the graph fixes to 1."""
        for name in self.inputs:
            known = graph.types.get(name)
            if (
                name in graph.dynamic_batch
                or known is None
                or not known.shape
                or known.shape[0] != 1
            ):
                return False
        return bool(self.inputs)


def _line(error: BaseException) -> str:
    words = str(error)
    if isinstance(error, UnicodeDecodeError):
        words = error.object.decode("utf-8", "replace")
    return " ".join(words.split()) or type(error).__name__
