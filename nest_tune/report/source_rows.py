"""What a report says of generated sources, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceRow:
    """An operator of the chosen trial.

    Attributes:
        name, shape: For people.
        precision: Of its weights; empty where it has none to choose.
        kernel: For people.
        cost, default_cost: Instructions, or nanoseconds by the clock; ``None`` where nobody
            measured them.
    """

    name: str
    shape: str
    precision: str
    kernel: str
    cost: float | None
    default_cost: float | None


@dataclass(frozen=True)
class SizeRow:
    """A memory: what is taken, and what there is (``None`` for as much as is needed)."""

    name: str
    used_bytes: int
    limit_bytes: int | None


@dataclass(frozen=True)
class SourcePart:
    """What there is to say of generated sources.

    Attributes:
        rows: In the order in which operators run.
        unit: Of their costs.
        sizes: Flash and RAM.
        arena: What lies where in the arena, a picture.
        cycles: What cycles follow from, for people.
    """

    rows: tuple[SourceRow, ...] = ()
    unit: str = ""
    sizes: tuple[SizeRow, ...] = ()
    arena: str = ""
    cycles: str = ""
