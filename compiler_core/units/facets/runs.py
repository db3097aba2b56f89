"""What launches that continue one another wait for: the first of them for all that any needs, and
whoever needs one of them for the last."""

from __future__ import annotations

from collections.abc import Sequence


def run_ends(continued: Sequence[bool]) -> list[int]:
    """The last step of each one's run; of a step that nothing continues, itself.

    Args:
        continued: Whether each step continues the one before it.
    """
    ends = list(range(len(continued)))
    for step in range(len(continued) - 2, -1, -1):
        if continued[step + 1]:
            ends[step] = ends[step + 1]
    return ends


def joined_after(
    after: Sequence[Sequence[int]], continued: Sequence[bool]
) -> list[tuple[int, ...]]:
    """What each step waits for.

    Args:
        after: If every step began for itself; all smaller than its own position, and for those of
            a run outside it smaller than that of its first.
        continued: Whether each step continues the one before it.
    """
    ends = run_ends(continued)
    found: list[set[int]] = []
    head = 0
    for step, sources in enumerate(after):
        head = head if continued[step] else step
        found.append({step - 1} if continued[step] else set())
        found[head] |= {ends[source] for source in sources if source < head}
    return [tuple(sorted(sources)) for sources in found]
