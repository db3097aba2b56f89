"""Segments of a kind of unit in packages, and as text: the facet ``parts``, which kinds have that
run parts of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from compiler_core.quantize.ir import IntegerOperator
from compiler_core.units.facets.programs import Units, UnitSegment
from compiler_core.units.registry import unit_kind


@dataclass(frozen=True)
class SegmentEntry:
    """What a package says of a segment beside the kind's own files; checked.

    Attributes:
        name: For people and file names.
        inputs, outputs: Tensors that enter and leave.
        operators: The integer operators.
        shapes: ``(N, C, H, W)`` of every integer tensor of the package.
        memory_bytes: Size of the memory.
        units: What runs it.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: tuple[IntegerOperator, ...]
    shapes: Mapping[str, tuple[int, int, int, int]]
    memory_bytes: int
    units: Units


@runtime_checkable
class Parts(Protocol):
    """Segments as files, and back, and as text."""

    def files(self, segment: Any) -> Mapping[str, bytes]:
        """Everything but its operators, by path in the segment's folder."""
        ...

    def read(self, entry: SegmentEntry, files: Mapping[str, bytes], where: str) -> UnitSegment:
        """The inverse, of a package whose author is not trusted.

        Args:
            entry: What the package says of it.
            files: As :meth:`files` gave them; maybe with others.
            where: The segment, as errors name it.

        Raises:
            InputError: A file does not fit the others, or something lies outside the memory.
            KeyError: A file is missing.
        """
        ...

    def tensors(self, segment: Any) -> Iterator[str]:
        """Where its tensors lie, a line each."""
        ...

    def commands(self, segment: Any, launch: Any) -> Iterator[str]:
        """The programs of a launch, line by line."""
        ...


def parts_of(kind: str) -> Parts:
    """How segments of a kind are written and read.

    Raises:
        InputError: They are not, or the kind is not known.
    """
    found: Parts = unit_kind(kind).facet("parts", Parts)
    return found
