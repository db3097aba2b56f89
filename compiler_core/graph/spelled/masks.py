"""Sums with a constant that holds −∞, as masks of attention do."""

from __future__ import annotations

import numpy as np

from compiler_core.graph.spelled.spelling import Spelling


def masked_sum(s: Spelling) -> bool:
    """Add of something finite and a mask."""
    inputs, result = s.node.inputs, s.work.shape(s.node.output)
    masks = [place for place in (0, 1) if s.work.constant(s.node, place) is not None]
    if len(masks) != 1 or result is None:
        return False
    mask = np.asarray(s.work.constants[inputs[masks[0]]], np.float32)
    x, taken = inputs[1 - masks[0]], np.isneginf(mask)
    left = np.where(taken, np.float32(0), mask)
    if not taken.any() or not np.isfinite(left).all():
        return False
    if left.any():
        x = s.add("Add", [x, s.constant("finite", left)], result)
    stays, nothing = s.constant("stays", ~taken), s.constant("nothing", np.float32(-np.inf))
    s.add("Where", [stays, x, nothing], result)
    return s.end()
