"""Which layers of a compile follow one another in one program."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from compiler_core.errors import InputError
from compiler_core.executable.report import LayerReport
from compiler_core.files.nearest import did_you_mean
from compiler_core.sums import float_sum

_FOUND_ANEW = "remove [launches.borders] and lowering to have them found anew"


def require_joinable(
    given: Collection[str],
    names: Sequence[str],
    misfit: Callable[[Collection[str]], str | None] = lambda _: None,
) -> None:
    """Refuses layers that cannot continue the one before.

    Args:
        given: Their names.
        names: Of those that can.
        misfit: The first of some that cannot beside the others.

    Raises:
        InputError: There is one; names some that can.
    """
    for name in given:
        if name not in names:
            known = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
            raise InputError(
                f"launches.borders.{name}: no layer that can continue the one before it; those are "
                f"{known or 'none'}",
                hint=did_you_mean(name, list(names)) or _FOUND_ANEW,
            )
    wrong = misfit(given)
    if wrong is not None:
        raise InputError(
            f"launches.borders.{wrong}: it reads what is not there when its program begins, which "
            "the layers before it make long",
            hint=f"remove launches.borders.{wrong}, or {_FOUND_ANEW}",
        )


def slower_runs(
    apart: Sequence[LayerReport], joined: Sequence[LayerReport], borders: Collection[str]
) -> set[str]:
    """Layers that are joined to programs which take longer than one launch after another.

    Args:
        apart: Layers with a launch each.
        joined: The same with some joined.
        borders: Names of those that continue the one before.
    """
    found: set[str] = set()
    first = 0
    while first < len(joined):
        stop = first + 1
        while stop < len(joined) and joined[stop].name in borders:
            stop += 1
        before = float_sum(layer.latency_ms for layer in apart[first:stop])
        if float_sum(layer.latency_ms for layer in joined[first:stop]) > before:
            found |= {layer.name for layer in joined[first + 1 : stop]}
        first = stop
    return found


def runs_of(layers: Sequence[str], borders: Collection[str]) -> list[list[str]]:
    """Layers by the programs that they are in.

    Args:
        layers: Names, in order of launch.
        borders: Of those that continue the one before.
    """
    runs: list[list[str]] = []
    for name in layers:
        if runs and name in borders:
            runs[-1].append(name)
        else:
            runs.append([name])
    return runs
