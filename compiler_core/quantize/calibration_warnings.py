"""What calibration data cannot say: warnings about samples that leave ranges unknown."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compiler_core.graph.ir import Graph
from compiler_core.quantize.profile import Profile


def calibration_warnings(graph: Graph, profile: Profile) -> tuple[str, ...]:
    """One line for each thing that makes ranges doubtful, the most important first.

    Args:
        graph: The float graph, simplified.
        profile: Of its calibration data.
    """
    return tuple(_warnings(graph, profile))


def _warnings(graph: Graph, profile: Profile) -> Iterator[str]:
    ranges, count = profile.ranges(), profile.samples
    samples = "the only calibration sample" if count == 1 else f"all {count} calibration samples"
    dead = 0
    for name in graph.inputs:
        known = ranges.get(name)
        if known is None:
            continue
        if known.absmax == 0:
            dead += 1
            yield f"input {name!r} is 0 throughout {samples}: its range is unknown"
        elif known.low == known.high:
            yield f"input {name!r} is {known.low:g} throughout {samples}: its range is unknown"
    silent = [
        name
        for name, known in ranges.items()
        if known.absmax == 0 and name not in graph.inputs and not dead
    ]
    if len(silent) == 1:
        yield f"tensor {silent[0]!r} is 0 throughout {samples}: its range is unknown"
    elif silent:
        yield (
            f"{len(silent)} of {len(ranges)} tensors are 0 throughout {samples}, first "
            f"{silent[0]!r}: their ranges are unknown"
        )
    if count == 1:
        yield "there is one calibration sample: every range is that of this sample alone"
    elif _all_equal(profile):
        yield f"{samples} are equal: every range is that of one sample"


def _all_equal(profile: Profile) -> bool:
    if not profile.inputs:
        return False
    return all(
        len(array) > 1 and bool((np.asarray(array) == np.asarray(array)[:1]).all())
        for array in profile.inputs.values()
    )
