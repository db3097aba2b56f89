"""Where the smaller operand of an addition lies for a unit to add each element to many."""

from __future__ import annotations

from itertools import product

import numpy as np

from compiler_core.quantize.layout import Placement, laid_out

Shape = tuple[int, ...]


def spread_placement(large: Placement, shape: Shape, small: Shape) -> Placement | None:
    """How a tensor of shape ``small`` has to lie beside ``large``.

    Args:
        large: Where the larger operand lies.
        shape: Of one sample of it.
        small: The same with 1 in place of some sizes.

    Returns:
        The placement with one channel, row or column in place of those over which an element is
        added: as few as there are. ``None`` where elements would have to be added to parts of them.
    """
    position = large.positions(shape)
    channel, pixel = np.divmod(position, large.chw[1] * large.chw[2])
    places = (channel, *np.divmod(pixel, large.chw[2]))
    first = tuple(slice(0, own) for own in small)
    for kept in sorted(product((False, True), repeat=3), key=sum):
        channels, height, width = (
            size if keep else 1 for size, keep in zip(large.chw, kept, strict=True)
        )
        chw = (channels, height, width)
        own = [place * keep for place, keep in zip(places, kept, strict=True)]
        found = (own[0] * height + own[1]) * width + own[2]
        one = found[first]
        if np.unique(one).size == one.size and (found == one).all():
            return Placement(large.root, chw, laid_out(one, chw))
    return None
