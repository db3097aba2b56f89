"""Targets by name or file: what files inherit from one another, laid together and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.targets.schema import TargetSections
from compiler_core.targets.target import CpuTable, Quantity, Target, TargetDescription
from compiler_core.targets.target_file import (
    FILE_HINT,
    NAME,
    Leaf,
    TargetFile,
    nearest,
    parse_target_file,
    read_target_file,
    shown,
    table_name,
)
from compiler_core.targets.this_machine import HOST, host_description, require_npu
from compiler_core.targets.unit_table import UnitTable, kinds_with_table, sections_with, unit_table
from compiler_core.units.registry import unnamed_kind

DESCRIPTIONS = Path(__file__).parent / "descriptions"
_LIKE_HOST = "vta"
MAX_LINEAGE = 8
_UNITS = {
    "_hz": "Hz",
    "_bytes": "bytes",
    "_cycles": "cycles",
    "_pj": "pJ",
    "_us": "µs",
    "_per_cycle": "per cycle",
    "per_micro_op": "cycles",
    "fixed": "cycles",
    "no_operation": "cycles",
    "finish": "cycles",
    "_beats": "beats",
}


def bundled_targets() -> tuple[str, ...]:
    """Names of the targets that come with the package, sorted."""
    return tuple(sorted(path.stem for path in DESCRIPTIONS.glob("*.toml")))


def load_target(name_or_path: str | Path) -> Target:
    """Loads a target by the name of a bundled one, by the path of a ``.toml`` file, or ``host``.

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
    path = _locate(name_or_path)
    table = _table(path)
    schema = sections_with(table.section)
    lineage = _lineage(path, schema)
    leaves: dict[tuple[str, ...], Leaf] = {}
    for file in reversed(lineage):
        leaves |= file.leaves
    newest = lineage[0]
    sections = _validate(leaves, newest.label, schema)
    machine = table.machine(sections.npu)
    description = next((f.description for f in lineage if f.description is not None), "")
    target = sections.target(newest.name, description, machine)
    costs_path = _table_path(lineage)
    if costs_path is not None:
        costs = _cpu_table(costs_path)
        text = f"{target.digest}\n{costs.digest}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        target = replace(target, digest=digest, cpu_table=costs)
    return TargetDescription(
        target=target,
        quantities=tuple(_quantities(leaves)),
        lineage=tuple(file.name for file in lineage),
    )


def _table_path(lineage: list[TargetFile]) -> Path | None:
    """The cost table that the most derived file names: a file beside it."""
    for file in lineage:
        leaf = file.leaves.get(("cpu", "cost_table"))
        if leaf is not None:
            return file.folder / str(leaf.value)
    return None


def _cpu_table(path: Path) -> CpuTable:
    # Only targets that name a table pay for what reading one imports.
    from compiler_core.units.cpu.cost_table import read_cpu_table

    if not path.is_file():
        raise InputError(
            f"cpu.cost_table: {path} cannot be read: no such file",
            hint="nest-tune profile-cpu MODEL -o cpu.csv makes one; it lies beside the target file",
        )
    try:
        return read_cpu_table(path)
    except InputError as error:
        raise InputError(f"cpu.cost_table: {error}", hint=error.hint) from error


def _locate(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text:
        return Path(name_or_path)
    if text in bundled_targets():
        return DESCRIPTIONS / f"{text}.toml"
    raise InputError(
        f"no target {shown(text)}{nearest(text, bundled_targets())}; "
        f"known are {', '.join(bundled_targets())}, {HOST}, or the path of a .toml file",
        hint="nest-tune target list",
    )


def _lineage(path: Path, sections: type[TargetSections]) -> list[TargetFile]:
    files: list[TargetFile] = []
    seen: list[Path] = []
    following: Path | None = path
    while following is not None:
        resolved = _resolve(following)
        if resolved in seen:
            names = [file.name for file in files[seen.index(resolved) :]]
            raise InputError(
                f"{files[-1].label}: inherit goes in a circle: {' -> '.join([*names, names[0]])}",
                hint=FILE_HINT,
            )
        if len(files) == MAX_LINEAGE:
            raise InputError(
                f"{files[0].label}: inherits through more than the {MAX_LINEAGE} files allowed",
                hint=FILE_HINT,
            )
        seen.append(resolved)
        child = files[-1] if files else None
        files.append(read_target_file(following, _label(following), child, sections))
        following = _parent(files[-1])
    return files


def _table(path: Path) -> UnitTable:
    """The table of the kind of unit that a file, or one that it inherits from, names. Whatever else
    is wrong with them is said when they are read.

    Raises:
        InputError: The kind is not known.
    """
    following: Path | None = path
    kind, label = unnamed_kind().name, ""
    with suppress(InputError):
        for _ in range(MAX_LINEAGE):
            if following is None or label:
                break
            file = parse_target_file(following, _label(following), None)
            unit, inherit = file.get("npu"), file.get("inherit")
            named = unit.get("kind") if isinstance(unit, dict) else None
            if isinstance(named, dict):
                named = named.get("value")
            if isinstance(named, str):
                kind, label = named, _label(following)
            parent = inherit if isinstance(inherit, str) else None
            following = _parent(TargetFile("", following.parent, "", None, parent, {}))
    try:
        return unit_table(kind)
    except InputError as error:
        known = kinds_with_table()
        raise InputError(
            f"{label}: npu.kind = {shown(kind)}: {error}; allowed here are {', '.join(known)}",
            hint=did_you_mean(kind, known) or error.hint,
        ) from error


def _label(path: Path) -> str:
    return path.name if path.parent == DESCRIPTIONS else str(path)


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{shown(str(path))}: is no usable path: {error}", hint=FILE_HINT
        ) from error


def _parent(file: TargetFile) -> Path | None:
    if file.inherit is None:
        return None
    if not NAME.fullmatch(file.inherit):
        raise InputError(
            f"{file.label}: inherit = {shown(file.inherit)} is not the name of a bundled "
            "target or of a .toml file in the same folder; folders are not allowed",
            hint=FILE_HINT,
        )
    if file.inherit.endswith(".toml"):
        path = file.folder / file.inherit
        if _resolve(path).parent != _resolve(file.folder):
            raise InputError(
                f"{file.label}: inherit = {shown(file.inherit)} leads out of the folder",
                hint=FILE_HINT,
            )
        return path
    if file.inherit in bundled_targets():
        return DESCRIPTIONS / f"{file.inherit}.toml"
    raise InputError(
        f"{file.label}: inherit = {shown(file.inherit)} is no known target"
        f"{nearest(file.inherit, bundled_targets())}; known are {', '.join(bundled_targets())}, "
        "or a .toml file in the same folder",
        hint="nest-tune target list",
    )


def _validate(
    leaves: dict[tuple[str, ...], Leaf], label: str, schema: type[TargetSections]
) -> TargetSections:
    tree: dict[str, Any] = {}
    for place, leaf in leaves.items():
        node = tree
        for key in place[:-1]:
            node = node.setdefault(key, {})
        node[place[-1]] = leaf.value
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        place = tuple(str(key) for key in first["loc"])
        found = leaves.get(place)
        reason = str(first["msg"]).removeprefix("Value error, ")
        if found is not None:
            message = f"{found.file}: {'.'.join(place)} = {shown(found.value)}: {reason}"
        elif first["type"] == "missing":
            message = f"{label}: {'.'.join(place)} is missing, here and in what it inherits from"
        else:
            message = f"{label}: {table_name(place)}: {reason}"
        if others:
            message += f" (and {len(others)} more)"
        raise InputError(message, hint="nest-tune target show vta") from error


def _quantities(leaves: dict[tuple[str, ...], Leaf]) -> Iterator[Quantity]:
    for place, leaf in leaves.items():
        if leaf.origin is not None and not isinstance(leaf.value, str):
            yield Quantity(".".join(place), leaf.value, _unit(place), leaf.origin)


def _unit(place: tuple[str, ...]) -> str:
    if "buffer_depth" in place:
        return "elements"
    for key in reversed(place[-2:]):
        for suffix, unit in _UNITS.items():
            if key.endswith(suffix):
                return unit
    return ""
