"""Targets by name or file, resolved and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from compiler_core.boards.address import is_address
from compiler_core.errors import InputError
from compiler_core.targets.derived import MEMORIES, NPU, DerivedTarget, Place, derive
from compiler_core.targets.lineage import (
    DESCRIPTIONS,
    bundled_targets,
    locate,
    sources_refusal,
)
from compiler_core.targets.schema import CpuSection, MemorySection, TargetSections
from compiler_core.targets.source_kinds import generates_sources
from compiler_core.targets.target import (
    CpuTable,
    Quantity,
    Target,
    TargetDescription,
    require_names,
)
from compiler_core.targets.target_file import FILE_HINT, UNITS, Leaf, TargetFile
from compiler_core.targets.this_machine import (
    HOST,
    board_description,
    host_description,
    require_npu,
)
from compiler_core.targets.unit_table import unit_table
from compiler_core.targets.validation import refusal, values_below
from compiler_core.units.names import CPU
from compiler_core.units.registry import unnamed_kind

__all__ = ["DESCRIPTIONS", "bundled_targets", "load_description", "load_npu_target", "load_target"]

_LIKE_HOST = "vta"
_UNITS = {
    "_hz": "Hz",
    "_bytes": "bytes",
    "_cycles": "cycles",
    "_pj": "pJ",
    "_us": "µs",
    "bytes_per_s": "bytes/s",
    "_per_cycle": "per cycle",
    "per_micro_op": "cycles",
    "fixed": "cycles",
    "no_operation": "cycles",
    "finish": "cycles",
    "_beats": "beats",
}


def load_target(name_or_path: str | Path) -> Target:
    """Loads a target by the name of a bundled one, by the path of a ``.toml`` file, as ``host``, or
    by the addresses of boards (``ssh://pi@board``).

    Raises:
        InputError: The name is unknown, or a file of its lineage is missing, unreadable or wrong.
    """
    return load_description(name_or_path).target


def load_npu_target(name_or_path: str | Path) -> Target:
    """Loads a target that has an NPU; see :func:`load_target`.

    Raises:
        InputError: It has none, or cannot be loaded.
    """
    return require_npu(load_target(name_or_path))


def load_description(name_or_path: str | Path) -> TargetDescription:
    """Loads a target with the origin of each number; see :func:`load_target`."""
    if name_or_path == HOST:
        return host_description(load_description(_LIKE_HOST))
    if is_address(name_or_path):
        return board_description(load_description(_LIKE_HOST), str(name_or_path))
    path = locate(name_or_path)
    if generates_sources(path):
        raise sources_refusal(str(name_or_path))
    found = derive(path)
    newest = found.lineage[0]
    sections = _validated(found)
    description = next((f.description for f in found.lineage if f.description is not None), "")
    machines = {
        name: unit_table(section.kind).machine(section)
        for name, section in sections.named().items()
    }
    try:
        target = sections.target(newest.name, description, machines)
    except InputError as error:
        raise InputError(
            f"{newest.label}: {error.message}", hint=error.hint or FILE_HINT
        ) from error
    costs_path = _table_path(found.lineage)
    if costs_path is not None:
        costs = _cpu_table(costs_path)
        text = f"{target.digest}\n{costs.digest}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        target = replace(target, digest=digest, cpu_table=costs)
    return TargetDescription(
        target=target,
        quantities=tuple(_quantities(found.leaves)),
        lineage=tuple(file.name for file in found.lineage),
    )


def _table_path(lineage: Sequence[TargetFile]) -> Path | None:
    """The cost table that the most derived file names: a file beside it."""
    for file in lineage:
        leaf = file.leaves.get((CPU, "cost_table"))
        if leaf is not None:
            return file.folder / str(leaf.value)
    return None


def _cpu_table(path: Path) -> CpuTable:
    # Only targets that name a table pay for what reading one imports.
    from compiler_core.units.facets.host import host_costs

    if not path.is_file():
        raise InputError(
            f"cpu.cost_table: {path} cannot be read: no such file",
            hint="nest-tune profile-cpu MODEL -o cpu.csv makes one; it lies beside the target file",
        )
    try:
        return host_costs().read_table(path)
    except InputError as error:
        raise InputError(f"cpu.cost_table: {error}", hint=error.hint) from error


def _validated(found: DerivedTarget) -> TargetSections:
    """The sections of a target.

    Raises:
        InputError: A key is missing or has a value that is not allowed, or names clash.
    """
    label = found.lineage[0].label
    own = any(place[:1] == (UNITS,) for place in found.kinds)
    kinds = dict(found.kinds) if own else {(NPU,): unnamed_kind().name, **found.kinds}
    models: dict[Place, type[BaseModel]] = {
        place: unit_table(kind).section for place, kind in kinds.items()
    }
    models[(CPU,)] = CpuSection
    models |= {(MEMORIES, name): MemorySection for name in found.memories}
    sections: dict[Place, Any] = {}
    errors: list[tuple[Place, Any]] = []
    for place, model in models.items():
        tree = values_below(found.leaves, place)
        if tree is None and place[0] == MEMORIES:
            tree = {}
        if tree is None:
            errors.append((place, {"type": "missing", "msg": "Field required"}))
            continue
        try:
            sections[place] = model.model_validate(tree)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                errors.append(((*place, *(str(key) for key in item["loc"])), item))
    if errors:
        raise refusal(errors, found.leaves, label)
    result = TargetSections(
        sections.get((NPU,)),
        {place[1]: section for place, section in sections.items() if place[0] == UNITS},
        {place[1]: section for place, section in sections.items() if place[0] == MEMORIES},
        sections[CPU,],
    )
    _check_names(result, label)
    return result


def _check_names(sections: TargetSections, label: str) -> None:
    npu = sections.npu
    if npu is not None and npu.kind in sections.units:
        raise InputError(
            f"{label}: the unit of [{NPU}] and [{UNITS}.{npu.kind}] have one name: that of a kind "
            f"is the name of [{NPU}]",
            hint=f"give [{UNITS}.{npu.kind}] another name, or change [{NPU}]",
        )
    try:
        require_names(MEMORIES, list(sections.memories))
    except InputError as error:
        raise InputError(f"{label}: {error.message}", hint=FILE_HINT) from error


def _quantities(leaves: Mapping[Place, Leaf]) -> Iterator[Quantity]:
    for place, leaf in leaves.items():
        if leaf.origin is not None and not isinstance(leaf.value, str):
            yield Quantity(".".join(place), leaf.value, _unit(place), leaf.origin)


def _unit(place: Place) -> str:
    if "buffer_depth" in place:
        return "elements"
    for key in reversed(place[-2:]):
        for suffix, unit in _UNITS.items():
            if key.endswith(suffix):
                return unit
    return ""
