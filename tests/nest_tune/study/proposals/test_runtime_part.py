"""Decisions of the runtime in studies on this machine."""

from __future__ import annotations

from itertools import product

import pytest

from compiler_core.clock.choices import CPU_PROVIDER, RuntimeChoices, choices_here
from compiler_core.configuration.runtime import Runtime, read_runtime
from compiler_core.errors import InputError
from nest_tune.study.proposals.runtime_part import RuntimePart


@pytest.fixture
def part() -> RuntimePart:
    levels = choices_here().optimizations
    return RuntimePart(RuntimeChoices((1, 2, 4), levels, (CPU_PROVIDER, "Other")))


def test_points_are_tables_of_configurations(part: RuntimePart) -> None:
    assert read_runtime(part.decode(part.default), "here") == Runtime()
    sizes = [range(len(parameter)) for parameter in part.parameters]
    legal = [point for point in product(*sizes) if part.is_legal(point)]
    found = {read_runtime(part.decode(point), "here") for point in legal}
    assert len(found) == len(legal)
    assert all(item.spinning or item.threads > 1 for item in found)
    assert {part.point(read_runtime(part.decode(point), "here")) for point in legal} == set(legal)
    with pytest.raises(InputError, match="threads: 3; the space holds 1, 2, 4"):
        part.point(Runtime(threads=3))
    assert Runtime(4, False, "basic") in found
    assert Runtime(provider="Other") in found
    assert Runtime(optimization="basic", provider="Other") not in found


def test_guesses_are_all_cores_and_other_kernels(part: RuntimePart) -> None:
    found = [read_runtime(part.decode(point), "here") for point in part.guesses()]
    assert found == [Runtime(threads=4), Runtime(provider="Other")]
    assert all(part.is_legal(point) for point in part.guesses())


def test_one_core_leaves_no_choice_of_threads() -> None:
    part = RuntimePart(RuntimeChoices((1,), choices_here().optimizations))
    assert [parameter.name for parameter in part.parameters] == ["optimization"]
    assert part.point(Runtime()) == (0,)
    with pytest.raises(InputError, match="threads: 2; the machine leaves no choice of it"):
        part.point(Runtime(threads=2))
