"""A product of two activations: what it multiplies by is laid out as weights are.

| symbol | meaning |
|---|---|
| ``G`` | products side by side: axes between the batch and the last two, as heads of attention |
| ``M, K, J`` | rows, summed terms and columns of ``[M, K] x [K, J]`` |
| ``K', J'`` | the same, rounded up to whole blocks of channels |

The left factor is an image of ``G K'`` channels and ``M`` pixels, the right one of ``G K'``
channels and ``J'`` pixels, the result one of ``G J'`` channels and ``M`` pixels. So keys multiply
queries as they lie, tokens being pixels: padding makes whole blocks of them where their projection
is computed. Values have their tokens as pixels, too, where channels are wanted: they are
transposed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from compiler_core.graph.ir import Node
from compiler_core.quantize.layout import Chw, Index, Placement, laid_out
from compiler_core.quantize.layouts import MisfitError
from compiler_core.quantize.skeleton import ConvKind, ConvStep, ProductStep, TransposeStep
from compiler_core.quantize.step_builder import StepBuilder


@dataclass(frozen=True)
class _Matrices:
    """``count`` matrices of ``rows x columns`` of a sample."""

    count: int
    rows: int
    columns: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.count, self.rows, self.columns

    def by_columns(self, channels: int, pixels: int) -> Index:
        """Flat positions where columns are channels and rows pixels, with room for so many of each
        matrix."""
        matrix, row, column = np.ogrid[: self.count, : self.rows, : self.columns]
        return np.asarray((matrix * channels + column) * pixels + row)

    def by_rows(self, channels: int, pixels: int) -> Index:
        """The same where rows are channels and columns pixels."""
        matrix, row, column = np.ogrid[: self.count, : self.rows, : self.columns]
        return np.asarray((matrix * channels + row) * pixels + column)


def product(work: StepBuilder, node: Node) -> None:
    """MatMul of two activations."""
    (left, right), block = node.inputs, work.channel_block
    a, b = (_matrices(work.layouts.shape(tensor)) for tensor in (left, right))
    terms, columns = _whole(a.columns, block), _whole(b.columns, block)
    source = _factor(work, left, a.by_columns(terms, a.rows), (a.count * terms, 1, a.rows))
    operand = _operand(work, node, right, b)
    step = ProductStep(
        node.name, source, operand, node.output, a.count, work.sources(node), node.clip
    )
    result = replace(a, columns=b.columns)
    index = result.by_columns(columns, a.rows).reshape(work.layouts.shape(node.output))
    chw = (a.count * columns, 1, a.rows)
    work.emit(step, node.output, chw, laid_out(index, chw))


def _matrices(shape: tuple[int, ...]) -> _Matrices:
    return _Matrices(prod(shape[:-2]), *shape[-2:])


def _whole(size: int, block: int) -> int:
    return -(-size // block) * block


def _factor(work: StepBuilder, tensor: str, wanted: Index, chw: Chw) -> str:
    """Root of a tensor that lies as wanted, or that the CPU lays out so."""
    layouts = work.layouts
    index = laid_out(wanted.reshape(layouts.shape(tensor)), chw)
    found = layouts.prefer_usual(tensor, chw, index)
    if found.same_order(Placement(found.root, chw, index)):
        return found.root
    return layouts.moved(tensor, chw, index).root


def _operand(work: StepBuilder, node: Node, tensor: str, b: _Matrices) -> str:
    """Root of the right factor: rows as channels, whole blocks of columns as pixels."""
    block, layouts = work.channel_block, work.layouts
    terms, columns = _whole(b.rows, block), _whole(b.columns, block)
    layouts.enter_usually(tensor)
    placed = layouts.placed(tensor)
    if placed is not None:
        channels, pixels = placed.chw[0], prod(placed.chw[1:])  # some may be padding already
        positions = placed.positions(layouts.shape(tensor)).reshape(b.shape)
        in_rows = b.rows == terms and channels == b.count * terms and pixels in (b.columns, columns)
        if in_rows and np.array_equal(positions, b.by_rows(terms, pixels)):
            return _with_pixels(work, node, placed, columns)
        whole = b.columns == columns and channels == b.count * columns
        in_columns = whole and pixels in (b.rows, terms)
        if in_columns and np.array_equal(positions, b.by_columns(columns, pixels)):
            source = _with_pixels(work, node, placed, terms)
            return _transposed(work, node, source, b.count, (b.count * terms, 1, columns))
    return _factor(work, tensor, b.by_rows(terms, columns), (b.count * terms, 1, columns))


def _with_pixels(work: StepBuilder, node: Node, source: Placement, pixels: int) -> str:
    """A copy with so many pixels in a row; those behind the image are zero."""
    channels, height, width = source.chw
    if height * width == pixels:
        return source.root
    if work.widened(source.root, pixels):
        return source.root
    if height > 1:
        raise MisfitError(f"'{source.root}' lies in rows of {width}, which fill no whole blocks")
    name = work.fresh(f"{node.output}/pixels")
    step = ConvStep(
        name=f"{node.name}/pixels",
        kind=ConvKind.COPY,
        input=source.root,
        output=name,
        weight=np.ones((channels, 1, 1, 1)),
        bias=np.zeros(channels),
        strides=(1, 1),
        pads=(0, 0, 0, pixels - width),
        dilations=(1, 1),
        groups=channels,
        sources=(node.name,),
    )
    work.emit(step, name, (channels, 1, pixels))
    work.hoist(name)
    return name


def _transposed(work: StepBuilder, node: Node, source: str, groups: int, chw: Chw) -> str:
    name = work.fresh(f"{node.output}/transposed")
    step = TransposeStep(f"{node.name}/transposed", source, name, groups, (node.name,))
    work.emit(step, name, chw)
    work.hoist(name)
    return name
