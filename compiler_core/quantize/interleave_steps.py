"""DepthToSpace on a unit: phases of a convolution that are stored side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.quantize.layout import Placement
from compiler_core.quantize.skeleton import ConvKind, ConvStep
from compiler_core.quantize.step_builder import StepBuilder


def depth_to_space(work: StepBuilder, node: Node) -> None:
    """DepthToSpace: by the convolution that computes its phases, or by a copy of them.

    Raises:
        MisfitError: The phases are larger than what one program computes.
    """
    size = int(node.attributes["blocksize"])
    source = work.layouts.image(node.inputs[0])
    channels, height, width = source.chw
    order = np.arange(channels)
    if node.text("mode", "DCR") == "CRD":
        order = order.reshape(-1, size * size).T.reshape(-1)
    inner = work.producer(node.inputs[0])
    if inner is not None and inner.groups == 1 and inner.kind is ConvKind.WEIGHTS:
        work.steps.remove(inner)
        del work.layouts.placements[inner.output]
        step = replace(
            inner,
            weight=inner.weight[order],
            bias=inner.bias[order],
            sources=inner.sources + work.sources(node),
        )
    else:
        step = _copy(work, node, source, order)
    if size > 1:
        step = replace(step, interleave=size)
    step = replace(step, output=node.output, clip=node.clip)
    result = (channels // (size * size), height * size, width * size)
    work.emit(step, node.output, result)


def _copy(work: StepBuilder, node: Node, source: Placement, order: np.ndarray) -> ConvStep:
    weight = np.eye(len(order))[order][:, :, None, None]
    return ConvStep(
        name=node.name,
        kind=ConvKind.COPY,
        input=source.root,
        output=node.output,
        weight=weight,
        bias=np.zeros(len(order)),
        strides=(1, 1),
        pads=(0, 0, 0, 0),
        dilations=(1, 1),
        groups=1,
        sources=work.sources(node),
        clip=node.clip,
    )
