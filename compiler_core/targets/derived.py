"""A target file laid over what it inherits from: whole files, and units that are derived from those
of other targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.targets.lineage import (
    MAX_LINEAGE,
    RawFile,
    inherited_path,
    label_of,
    raw_lineage,
    read_lineage,
    real_path,
)
from compiler_core.targets.schema import CpuSection, MemorySection, UnitSection
from compiler_core.targets.target import UNIT_NAME
from compiler_core.targets.target_file import (
    FILE_HINT,
    INHERIT,
    UNITS,
    Leaf,
    Schema,
    TargetFile,
    shown,
)
from compiler_core.targets.unit_table import kinds_with_table, unit_table
from compiler_core.units.names import CPU
from compiler_core.units.registry import unnamed_kind

NPU, MEMORIES = "npu", "memories"
MOST_UNITS = 16

Place = tuple[str, ...]
"""Keys from the outermost table inwards."""


@dataclass(frozen=True)
class DerivedTarget:
    """A target file with all that it inherits.

    Attributes:
        lineage: The files, the most derived one first.
        leaves: Every value.
        kinds: Of its units, by the place of their tables.
        memories: Names of its memories.
    """

    lineage: tuple[TargetFile, ...]
    leaves: Mapping[Place, Leaf]
    kinds: Mapping[Place, str]
    memories: tuple[str, ...]


def derive(path: Path) -> DerivedTarget:
    """Lays a file over all that it inherits from.

    Raises:
        InputError: A file is missing, unreadable or wrong, or a unit is of a kind that is not
            known or not that of the unit from which it is derived.
    """
    return _Derivation().target(path, ())


class _Derivation:
    def __init__(self) -> None:
        self._known: dict[Path, DerivedTarget] = {}

    def target(self, path: Path, within: tuple[Path, ...]) -> DerivedTarget:
        """The target of a file; ``within`` are the files with units that are derived from it."""
        resolved = real_path(path)
        if resolved in within or len(within) > MAX_LINEAGE:
            raise InputError(
                f"{label_of(path)}: a unit is derived from itself, or through more than the "
                f"{MAX_LINEAGE} targets allowed",
                hint=FILE_HINT,
            )
        if resolved not in self._known:
            self._known[resolved] = self._lay(path, (*within, resolved))
        return self._known[resolved]

    def _lay(self, path: Path, within: tuple[Path, ...]) -> DerivedTarget:
        files, label = raw_lineage(path), label_of(path)
        places = list(dict.fromkeys(at for file in reversed(files) for at, _ in _units(file)))
        if len(places) > MOST_UNITS:
            raise InputError(
                f"{label}: {len(places)} units; at most {MOST_UNITS} are allowed", hint=FILE_HINT
            )
        kinds: dict[Place, str] = {}
        leaves: dict[Place, Leaf] = {}
        for place in places:
            inherited = self._inherited(place, files, within)
            if inherited is not None:
                leaves |= {(*place, *rest): leaf for rest, leaf in inherited[1].items()}
            kinds[place] = _kind(place, files, inherited and inherited[0], label)
        memories = dict.fromkeys(name for file in files for name, _ in _members(file, MEMORIES))
        lineage = read_lineage(path, _schema(kinds, memories))
        for file in reversed(lineage):
            leaves |= file.leaves
        return DerivedTarget(tuple(lineage), leaves, kinds, tuple(memories))

    def _inherited(
        self, place: Place, files: Sequence[RawFile], within: tuple[Path, ...]
    ) -> tuple[str, dict[Place, Leaf]] | None:
        """Kind and values of the unit from which a unit is derived, if it is."""
        found = _stated(place, INHERIT, files)
        if place[0] != UNITS or found is None:
            return None
        file, name = found
        key = f"{'.'.join(place)}.{INHERIT}"
        other = self.target(inherited_path(file.label, file.folder, key, name), within)
        candidates = list(other.kinds)
        if len(candidates) > 1:
            candidates = [at for at in other.kinds if _name(at, other.kinds) == place[1]]
        if not candidates:
            names = ", ".join(_name(at, other.kinds) for at in other.kinds)
            raise InputError(
                f"{file.label}: {key} = {shown(name)}: that target has the units "
                f"{names or 'none'}; the one of the same name is meant, and none is called "
                f"{place[1]!r}",
                hint=FILE_HINT,
            )
        (source,) = candidates[:1]
        depth = len(source)
        leaves = {at[depth:]: leaf for at, leaf in other.leaves.items() if at[:depth] == source}
        return other.kinds[source], leaves


def _name(place: Place, kinds: Mapping[Place, str]) -> str:
    return place[1] if place[0] == UNITS else kinds[place]


def _units(file: RawFile) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Tables of the units of a file, empty where they are none."""
    if NPU in file.table:
        yield (NPU,), _table(file.table[NPU])
    for name, unit in _members(file, UNITS):
        yield (UNITS, name), _table(unit)


def _members(file: RawFile, key: str) -> Iterator[tuple[str, Any]]:
    for name, value in _table(file.table.get(key)).items():
        if name not in ("origin", "source"):
            yield name, value


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _stated(place: Place, key: str, files: Sequence[RawFile]) -> tuple[RawFile, str] | None:
    """The text that the most derived file has under a key of a unit, and that file."""
    for file in files:
        value = dict(_units(file)).get(place, {}).get(key)
        if isinstance(value, dict):
            value = value.get("value")
        if isinstance(value, str):
            return file, value
    return None


def _kind(place: Place, files: Sequence[RawFile], inherited: str | None, label: str) -> str:
    if place[0] == UNITS and (not UNIT_NAME.fullmatch(place[1]) or place[1] == CPU):
        raise InputError(
            f"{label}: [{UNITS}] has {shown(place[1])}: a unit's name has at most 32 small "
            f"letters, digits and dashes, begins with a letter and is not {CPU!r}",
            hint=FILE_HINT,
        )
    key, stated = f"{'.'.join(place)}.kind", _stated(place, "kind", files)
    if stated is None:
        if inherited is None and place[0] == UNITS:
            raise InputError(
                f"{label}: {key} is missing, here and in what it inherits from",
                hint=f"allowed are {', '.join(kinds_with_table())}",
            )
        return inherited or unnamed_kind().name
    file, kind = stated
    if inherited is not None and kind != inherited:
        raise InputError(
            f"{file.label}: {key} = {shown(kind)}: the unit from which it is derived is of kind "
            f"{inherited!r}",
            hint=f"remove kind, or {INHERIT}, from [{'.'.join(place)}]",
        )
    try:
        unit_table(kind)
    except InputError as error:
        known = kinds_with_table()
        raise InputError(
            f"{file.label}: {key} = {shown(kind)}: {error}; allowed here are {', '.join(known)}",
            hint=did_you_mean(kind, known) or error.hint,
        ) from error
    return kind


def _schema(kinds: Mapping[Place, str], memories: Iterable[str]) -> Schema:
    sections = {place: unit_table(kind).section for place, kind in kinds.items()}
    units = {place[1]: section for place, section in sections.items() if place[0] == UNITS}
    npu = sections.get((NPU,), UnitSection)
    tables = dict.fromkeys(memories, MemorySection)
    return {NPU: npu, CPU: CpuSection, UNITS: units, MEMORIES: tables}
