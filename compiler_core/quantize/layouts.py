"""Where the tensors of a graph lie while its skeleton is assembled.

A tensor that comes from float code is laid out as its first reader asks; a reader that takes any
order asks for what the tensor has where everything runs on the NPU, so that layouts follow from the
graph and not from the plan. From then on it, and every view of it, has its
:class:`~compiler_core.quantize.layout.Placement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.windows import sample_shape
from compiler_core.quantize.layout import (
    Chw,
    Index,
    Placement,
    laid_out,
    pixel_index,
    pixels_of,
    through_view,
    view_of,
)
from compiler_core.quantize.signals import signals


class MisfitError(Exception):
    """The node cannot run beside its neighbours; the argument says why. Never leaves assembling."""


class MisplacedError(MisfitError):
    """What the node reads lies in another order than it needs.

    Args:
        tensor: What it reads.
    """

    def __init__(self, tensor: str) -> None:
        super().__init__(f"'{tensor}' lies in memory in another order than its channels first")
        self.tensor = tensor


class NoRoomError(MisfitError):
    """No schedule of the node fits the buffers."""


class Layouts:
    """Placements of graph tensors, by name.

    Args:
        graph: The float graph.
        usual: Placements where everything that can runs on the NPU.

    Attributes:
        placements: What is decided.
        views: Nodes of the NPU that only look at their input, by their output.
        entered: Tensors of float code that integer operators read.
        moving: Why views cannot be left to the memory that they look at, by name of the node.
    """

    def __init__(self, graph: Graph, usual: Mapping[str, Placement] | None = None) -> None:
        self._graph = graph
        self._usual = usual or {}
        self.placements: dict[str, Placement] = {}
        self.views: dict[str, Node] = {}
        self.entered: set[str] = set()
        self.moving: dict[str, str] = {}

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Shape of one sample."""
        return sample_shape(self._graph, tensor) or ()

    def batch(self, tensor: str) -> int:
        """Samples of one run of the program."""
        known = self._graph.types[tensor].shape
        return int(known[0] or 1) if known else 1

    def placed(self, tensor: str) -> Placement | None:
        """Where ``tensor`` lies, if it or what it is a view of is already a quantized tensor."""
        if tensor in self.placements or tensor not in self.views:
            return self.placements.get(tensor)
        node = self.views[tensor]
        source = self.placed(node.inputs[0])
        if source is None:
            return None
        before = source.positions(self.shape(node.inputs[0]))
        index = laid_out(through_view(self._graph, node, before), source.chw)
        self.placements[tensor] = Placement(source.root, source.chw, index)
        return self.placements[tensor]

    def place(self, tensor: str, chw: Chw, index: Index | None) -> Placement:
        """Where ``tensor`` lies; a tensor of float code is laid out as asked."""
        found = self.placed(tensor)
        if found is not None:
            return found
        base, chain = self._base(tensor)
        if chain and base not in self._graph.constants:
            count = prod(self.shape(base))
            positions: Index = np.arange(count).reshape(self.shape(base))
            for node in reversed(chain):
                positions = through_view(self._graph, node, positions)
            wanted = np.arange(count) if index is None else index.reshape(-1)
            on_base = np.empty(count, dtype=np.int64)
            on_base[positions.reshape(-1)] = wanted
            shaped = laid_out(on_base.reshape(self.shape(base)), chw)
            if view_of(self.batch(base), self.shape(base), shaped, chw) is not None:
                self.placements[base] = Placement(base, chw, shaped)
                self.entered.add(base)
                found = self.placed(tensor)
        if found is None:
            if chain:
                why = (
                    f"'{base}' cannot be brought in so that '{tensor}' lies as its reader needs it"
                )
                self.moving[chain[0].name] = f"{why}: it is moved."
            found = self.placements[tensor] = Placement(tensor, chw, index)
            self.entered.add(tensor)
        return found

    def widen(self, root: str, width: int) -> None:
        """Gives the one row of ``root`` more pixels; what looks at it leaves them out."""
        for name, placed in self.placements.items():
            if placed.root == root:
                row = placed.chw[2]
                before = placed.positions(self.shape(name))
                index = before // row * width + before % row
                self.placements[name] = Placement(root, (placed.chw[0], 1, width), index)

    def _base(self, tensor: str) -> tuple[str, list[Node]]:
        """What ``tensor`` is a view of, and the views, the last one first."""
        chain = []
        while tensor in self.views:
            chain.append(self.views[tensor])
            tensor = chain[-1].inputs[0]
        return tensor, chain

    def enter_usually(self, tensor: str) -> None:
        """Lays a tensor of float code out as usual, where it is free to choose."""
        base = self._base(tensor)[0]
        usual = self._usual.get(base)
        fresh = self.placed(tensor) is None and base not in self._graph.constants
        if usual is not None and fresh:
            shape = self.shape(base)
            if view_of(self.batch(base), shape, usual.index, usual.chw) is not None:
                self.placements[base] = Placement(base, usual.chw, usual.index)
                self.entered.add(base)

    def prefer_usual(self, tensor: str, chw: Chw, index: Index | None) -> Placement:
        """Where ``tensor`` lies; a tensor of float code is laid out as usual, else as asked."""
        self.enter_usually(tensor)
        return self.place(tensor, chw, index)

    def usual_room(self, tensor: str, chw: Chw) -> int:
        """Pixels that the one row of ``tensor`` has usually behind those of ``chw``: whole blocks
        of them, for a product that may run elsewhere this time."""
        usual = self._usual.get(tensor)
        if usual is None or usual.chw[:2] != (chw[0], 1) or chw[1] != 1:
            return 0
        return max(0, usual.chw[2] - chw[2])

    def moved(self, tensor: str, chw: Chw, index: Index | None) -> Placement:
        """Lays a view of what lies in another order out anew: the CPU has to move it there.

        Raises:
            MisplacedError: It is no view.
        """
        why = MisplacedError(tensor)
        if tensor not in self.views:
            raise why
        self.moving[self.views[tensor].name] = f"{why}, as its reader needs it: it is moved."
        self.placements[tensor] = Placement(tensor, chw, index)
        self.entered.add(tensor)
        return self.placements[tensor]

    def image(self, tensor: str, *, moved: bool = False) -> Placement:
        """Where ``tensor`` lies as ``[N, C, H, W]``; where it does not, it may be ``moved``."""
        shape = self.shape(tensor)
        if len(shape) > 3:
            raise MisfitError(f"'{tensor}' has more than two spatial axes")
        chw = (
            shape[0] if shape else 1,
            shape[1] if len(shape) == 3 else 1,
            shape[-1] if len(shape) > 1 else 1,
        )
        found = self.place(tensor, chw, None)
        if found.index is not None or found.chw != chw:
            if moved:
                return self.moved(tensor, chw, None)
            raise MisplacedError(tensor)
        return found

    def channels(self, tensor: str, *, moved: bool = False) -> tuple[Placement, Index | None]:
        """Where ``tensor`` lies as ``[N, C, H, W]``, and the root's channel of each of its own
        where they lie in another order, as behind a shuffle; in others it may be ``moved``."""
        found, shape = self.placed(tensor), self.shape(tensor)
        if found is None or found.index is None or found.chw != shape:
            return self.image(tensor, moved=moved), None
        order = found.index[:, 0, 0] // (shape[1] * shape[2])
        pixels = np.arange(shape[1] * shape[2]).reshape(1, *shape[1:])
        if not np.array_equal(found.index, order[:, None, None] * pixels.size + pixels):
            return self.image(tensor, moved=moved), None
        return found, order

    def any_order(self, tensor: str) -> Placement:
        """Where ``tensor`` lies, in whatever order; the usual one where it is free to choose."""
        shape = self.shape(tensor)
        if len(shape) == 3:
            return self.prefer_usual(tensor, (shape[0], shape[1], shape[2]), None)
        if not shape:
            return self.prefer_usual(tensor, (1, 1, 1), None)
        if len(shape) == 2 and tensor in signals(self._graph):
            return self.prefer_usual(tensor, (shape[0], 1, shape[1]), None)
        return self.prefer_usual(tensor, pixels_of(shape), pixel_index(shape))
