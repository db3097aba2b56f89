from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.dead_code import DeadCode

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def ramp(*shape: int) -> npt.NDArray[np.float32]:
    return ((np.arange(np.prod(shape)) * 5) % 7 - 3).astype(np.float32).reshape(shape)


def test_drops_what_no_output_needs(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,4] x) => (float y) {
            y = Relu(x)
            z = Add(y, p)
            u = Neg(z)
        }""",
        p=ramp(4),
    )
    rewritten(
        graph,
        (DeadCode(),),
        """
        %y = Relu(%x) -> float32[N,4]
        """,
    )
