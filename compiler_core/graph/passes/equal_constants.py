"""Large constants that hold the same numbers become one."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.common_subexpressions import content
from compiler_core.graph.passes.rewriter import Rewriter

_LARGE = 1 << 10
"""Elements from which on two are worth a comparison."""


@dataclass(frozen=True)
class EqualConstants:
    """One constant in the place of equal ones.

    The steps of a recurrent cell that an exporter wrote out share their weights, which become a
    constant for each step where every step's node is rewritten by itself. What looks at weights
    again and again (scales, rounding, files) looks at one.
    """

    name: ClassVar[str] = "equal-constants"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        alike: dict[Hashable, list[str]] = {}
        for name, array in graph.constants.items():
            if array.size >= _LARGE:
                alike.setdefault((array.dtype.str, array.shape), []).append(name)
        work = Rewriter(graph)
        for names in alike.values():
            firsts: dict[Hashable, str] = {}
            for name in names if len(names) > 1 else ():
                first = firsts.setdefault(content(work.constants[name]), name)
                if first != name and not work.pinned(name):
                    for reader in work.readers(name):
                        work.substitute(reader, name, first)
        return work.finish()
