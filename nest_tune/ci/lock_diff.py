"""What two lock files measured: the change of every number, by layer and in the whole model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from compiler_core.configuration.configuration import read_configuration
from compiler_core.configuration.lock import Lock, LockedLayer
from compiler_core.errors import InputError
from nest_tune.ci.difference import Difference, Value
from nest_tune.ci.result import TOTALS
from nest_tune.ci.source_lock import is_source_lock, read_source_lock
from nest_tune.markdown import cell

_MOST_ROWS = 50
_LAYER_NUMBERS = ("cycles", "latency_ms", "energy_mj", "instructions", "dram_bytes")
_DECISIONS = ("unit", "schedule")


@dataclass(frozen=True)
class LockDiff:
    """How a lock file differs from another.

    Attributes:
        old, new: Files.
        totals: Of the whole model; equal numbers are left out.
        layers: Of the layers, and those that one lacks, the largest change of time first.
    """

    old: Path
    new: Path
    totals: tuple[Difference, ...]
    layers: tuple[Difference, ...]

    @property
    def differences(self) -> tuple[Difference, ...]:
        """All of them."""
        return (*self.totals, *self.layers)


def lock_diff(old: Path, new: Path) -> LockDiff:
    """Compares what two lock files measured; nothing is compiled.

    Args:
        old, new: Lock files, of any target each.

    Raises:
        InputError: One of them is no lock file.
    """
    (before, one), (now, other) = _read(old), _read(new)
    totals = _changes(before, now, TOTALS)
    by_layer = {
        name: _of_layer(one.layers.get(name), other.layers.get(name), name)
        for name in {**one.layers, **other.layers}
    }
    order = sorted(by_layer, key=lambda name: -_moved(one.layers.get(name), other.layers.get(name)))
    return LockDiff(old, new, totals, tuple(item for name in order for item in by_layer[name]))


def headline(found: LockDiff) -> str:
    """The comparison in one sentence."""
    if not found.differences:
        return f"{found.new}: every number is as in {found.old}"
    layers = len({item.where for item in found.layers})
    return (
        f"{found.new}: {len(found.totals)} numbers of the whole model and {layers} layers differ "
        f"from {found.old}"
    )


def markdown(found: LockDiff) -> str:
    """A section for a pull request."""
    lines = ["### nest-tune: what changes", "", cell(headline(found)), ""]
    for title, rows in (("whole model", found.totals), ("layer", found.layers)):
        if not rows:
            continue
        lines += [f"| {title} | metric | before | after | change |", "|---|---|---:|---:|---:|"]
        for item in rows[:_MOST_ROWS]:
            where = "" if item.where == TOTALS else item.where
            cells = (where, item.metric, *item.texts(), item.change)
            lines.append(f"| {' | '.join(map(cell, cells))} |")
        if len(rows) > _MOST_ROWS:
            lines += ["", f"and {len(rows) - _MOST_ROWS} more"]
        lines.append("")
    return "\n".join(lines)


def _read(path: Path) -> tuple[Mapping[str, float], Lock]:
    if is_source_lock(path):
        found = read_source_lock(path)
        return found.measured, found.lock
    configuration = read_configuration(path)
    if configuration.lock is None:
        raise InputError(
            f"{path}: a configuration without [lock]: it holds no numbers to compare",
            hint="nest-tune study export NAME -o best.toml writes one",
        )
    return configuration.measured, configuration.lock


def _changes(
    before: Mapping[str, float], now: Mapping[str, float], where: str
) -> tuple[Difference, ...]:
    found = (
        Difference(name, before.get(name), now.get(name), where)
        for name in dict.fromkeys((*before, *now))
    )
    return tuple(item for item in found if item.expected != item.measured)


def _of_layer(
    old: LockedLayer | None, new: LockedLayer | None, name: str
) -> tuple[Difference, ...]:
    if old is None or new is None:
        one, other = (None if layer is None else layer.operator for layer in (old, new))
        return (Difference("layer", one, other, name),)
    found: list[Difference] = []
    for item in fields(LockedLayer):
        pair: tuple[Value, Value] = getattr(old, item.name), getattr(new, item.name)
        if item.name in (*_DECISIONS, *_LAYER_NUMBERS) and pair[0] != pair[1]:
            found.append(Difference(item.name, *pair, name))
    return tuple(found)


def _moved(old: LockedLayer | None, new: LockedLayer | None) -> float:
    """How much a layer's time, or its instructions where none is timed, changed."""
    times = [0.0 if layer is None else layer.latency_ms for layer in (old, new)]
    if not any(times):
        times = [0.0 if layer is None else float(layer.instructions) for layer in (old, new)]
    return abs(times[1] - times[0])
