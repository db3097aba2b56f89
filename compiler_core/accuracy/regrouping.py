"""Which axis of a reshaped tensor holds what an axis of it held before."""

from __future__ import annotations

from collections.abc import Sequence


def regrouped(before: Sequence[int], after: Sequence[int]) -> dict[int, int]:
    """Axes of a tensor by the axes that they come from, where that is one and one.

    A reshape keeps the order of elements, so it cuts both shapes into groups of axes of equal size.
    In a group of one axis each that axis is the same. Where a group was split, its last axis goes
    on in the last one (``[H, W, A·K]`` to ``[H·W·A, K]``: ``K`` of the anchors' values); where
    several axes became one, no axis holds any of them.

    Args:
        before: Shape that was reshaped.
        after: Shape that it got; axes of length 1 take part in neither.

    Returns:
        By axis of ``before`` the axis of ``after``.
    """
    old = [axis for axis, size in enumerate(before) if size != 1]
    new = [axis for axis, size in enumerate(after) if size != 1]
    found: dict[int, int] = {}
    while old and new:
        left, right = [old.pop(0)], [new.pop(0)]
        one, other = before[left[0]], after[right[0]]
        while one != other:
            if one < other and old:
                left.append(old.pop(0))
                one *= before[left[-1]]
            elif one > other and new:
                right.append(new.pop(0))
                other *= after[right[-1]]
            else:
                return found
        last, ending = before[left[-1]], after[right[-1]]
        if last == ending or (last > ending and last % ending == 0):
            found[left[-1]] = right[-1]
    return found
