"""Sliding windows of convolutions and pools: the ONNX attributes resolved against static shapes.

| symbol | meaning |
|---|---|
| ``kernel``, ``strides``, ``dilations`` | ``(h, w)`` |
| ``pads`` | ``(top, left, bottom, right)`` |
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler_core.graph.ir import Graph, Node


@dataclass(frozen=True)
class NodeWindow:
    """A two-dimensional window; one-dimensional operators have height 1."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the output, rounded down."""
        sizes = []
        for axis, size in enumerate((height, width)):
            padded = size + self.pads[axis] + self.pads[axis + 2]
            reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            sizes.append((padded - reach) // self.strides[axis] + 1)
        return sizes[0], sizes[1]


def sample_shape(graph: Graph, tensor: str) -> tuple[int, ...] | None:
    """Shape of ``tensor`` without its first (batch) axis; ``None`` when it is not known in full."""
    known = graph.types.get(tensor)
    if known is None or known.shape is None or not known.shape:
        return None
    dims = known.shape[1:]
    if any(dim is None for dim in dims):
        return None
    return tuple(int(dim) for dim in dims if dim is not None)


def image_shape(graph: Graph, tensor: str) -> tuple[int, int, int] | None:
    """``(C, H, W)`` of a 4-D tensor, ``(C, 1, W)`` of a 3-D one, ``None`` for anything else."""
    sample = sample_shape(graph, tensor)
    if sample is None or len(sample) not in (2, 3):
        return None
    return (sample[0], 1, sample[1]) if len(sample) == 2 else (sample[0], sample[1], sample[2])


def window_of(graph: Graph, node: Node) -> NodeWindow | None:
    """The window of a convolution or pool; ``None`` where shapes are unknown or not 1-D or 2-D.

    ``auto_pad`` becomes explicit padding, and the rows and columns that ``ceil_mode`` adds become
    padding at the bottom and right (which is what they are for a maximum).
    """
    source = image_shape(graph, node.inputs[0])
    result = image_shape(graph, node.output)
    rank = len(sample_shape(graph, node.inputs[0]) or ())
    if source is None or result is None:
        return None
    if node.op == "Conv":
        weight = graph.constants.get(node.inputs[1])
        if weight is None or weight.ndim != rank + 1:
            return None
        kernel = tuple(weight.shape[2:])
    else:
        kernel = tuple(node.attributes.get("kernel_shape", ()))
    spatial = rank - 1
    strides = tuple(node.attributes.get("strides") or (1,) * spatial)
    dilations = tuple(node.attributes.get("dilations") or (1,) * spatial)
    if not len(kernel) == len(strides) == len(dilations) == spatial:
        return None
    pads = _pads(graph, node, kernel, strides, dilations)
    if pads is None or len(pads) != 2 * spatial:
        return None
    if spatial == 1:
        kernel, strides, dilations = (1, *kernel), (1, *strides), (1, *dilations)
        pads = (0, pads[0], 0, pads[1])
    window = NodeWindow(
        _pair(kernel), _pair(strides), (pads[0], pads[1], pads[2], pads[3]), _pair(dilations)
    )
    if min(window.kernel + window.strides + window.dilations) < 1:
        return None
    return _with_ceiling(window, source, result) if node.attributes.get("ceil_mode") else window


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    return int(values[0]), int(values[1])


def _pads(
    graph: Graph,
    node: Node,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...] | None:
    """Padding per ONNX: all begins, then all ends."""
    mode = node.text("auto_pad", "NOTSET")
    sizes = (sample_shape(graph, node.inputs[0]) or ())[1:]
    if mode == "NOTSET":
        return tuple(int(pad) for pad in node.attributes.get("pads") or (0,) * 2 * len(kernel))
    if mode == "VALID":
        return (0,) * 2 * len(kernel)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        return None
    begins, ends = [], []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size)
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return (*begins, *ends)


def _with_ceiling(
    window: NodeWindow, source: tuple[int, int, int], result: tuple[int, int, int]
) -> NodeWindow:
    pads = list(window.pads)
    for axis in range(2):
        reach = (window.kernel[axis] - 1) * window.dilations[axis] + 1
        needed = (
            (result[1 + axis] - 1) * window.strides[axis] + reach - source[1 + axis] - pads[axis]
        )
        pads[axis + 2] = max(pads[axis + 2], needed)
    return NodeWindow(
        window.kernel, window.strides, (pads[0], pads[1], pads[2], pads[3]), window.dilations
    )
