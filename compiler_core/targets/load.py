"""Reads target descriptions: TOML files that inherit from one another.

Each number states its origin, either itself, ``{ value = 16, origin = "measured", source = "…" }``,
or through ``origin`` and ``source`` of its table, which hold for the plain numbers written in that
table and the tables below it *in the same file*: a file that overrides a number says where its own
number comes from.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from compiler_core.errors import InputError
from compiler_core.targets.host import HOST, host_description, require_npu
from compiler_core.targets.schema import TARGET_SCHEMA, TargetSections
from compiler_core.targets.target import (
    CpuTable,
    Origin,
    OriginKind,
    Quantity,
    Target,
    TargetDescription,
)

DESCRIPTIONS = Path(__file__).parent / "descriptions"
_LIKE_HOST = "vta"
MAX_FILE_BYTES = 16 * 1024
"""Six times the largest bundled file; the TOML reader is quadratic in the depth of dotted keys."""

MAX_LINEAGE = 8

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_HEADER = ("schema", "name", "inherit", "description")
_FILE_HINT = "docs/targets.md says how a target is written"
_KEYS_HINT = "nest-tune target show vta lists all keys"
_ORIGIN_KINDS = ", ".join(kind.value for kind in OriginKind)
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


@dataclass(frozen=True)
class _Leaf:
    """A value of one file; numbers have an origin, texts have none."""

    value: int | float | str
    origin: Origin | None
    file: str


@dataclass(frozen=True)
class _File:
    label: str
    folder: Path
    name: str
    description: str | None
    inherit: str | None
    leaves: dict[tuple[str, ...], _Leaf]


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
    lineage = _lineage(_locate(name_or_path))
    leaves: dict[tuple[str, ...], _Leaf] = {}
    for file in reversed(lineage):
        leaves |= file.leaves
    newest = lineage[0]
    sections = _validate(leaves, newest.label)
    description = next((f.description for f in lineage if f.description is not None), "")
    target = sections.target(newest.name, description)
    path = _table_path(lineage)
    if path is not None:
        table = _cpu_table(path)
        text = f"{target.digest}\n{table.digest}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        target = replace(target, digest=digest, cpu_table=table)
    return TargetDescription(
        target=target,
        quantities=tuple(_quantities(leaves)),
        lineage=tuple(file.name for file in lineage),
    )


def _table_path(lineage: list[_File]) -> Path | None:
    """The cost table that the most derived file names: a file beside it."""
    for file in lineage:
        leaf = file.leaves.get(("cpu", "cost_table"))
        if leaf is not None:
            return file.folder / str(leaf.value)
    return None


def _cpu_table(path: Path) -> CpuTable:
    # Only targets that name a table pay for what reading one imports.
    from compiler_core.system.cpu_table import read_cpu_table

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
        f"no target {_shown(text)}{_nearest(text, bundled_targets())}; "
        f"known are {', '.join(bundled_targets())}, {HOST}, or the path of a .toml file",
        hint="nest-tune target list",
    )


def _lineage(path: Path) -> list[_File]:
    files: list[_File] = []
    seen: list[Path] = []
    following: Path | None = path
    while following is not None:
        resolved = _resolve(following)
        if resolved in seen:
            names = [file.name for file in files[seen.index(resolved) :]]
            raise InputError(
                f"{files[-1].label}: inherit goes in a circle: {' -> '.join([*names, names[0]])}",
                hint=_FILE_HINT,
            )
        if len(files) == MAX_LINEAGE:
            raise InputError(
                f"{files[0].label}: inherits through more than the {MAX_LINEAGE} files allowed",
                hint=_FILE_HINT,
            )
        seen.append(resolved)
        files.append(_read(following, files[-1] if files else None))
        following = _parent(files[-1])
    return files


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{_shown(str(path))}: is no usable path: {error}", hint=_FILE_HINT
        ) from error


def _parent(file: _File) -> Path | None:
    if file.inherit is None:
        return None
    if not _NAME.fullmatch(file.inherit):
        raise InputError(
            f"{file.label}: inherit = {_shown(file.inherit)} is not the name of a bundled "
            "target or of a .toml file in the same folder; folders are not allowed",
            hint=_FILE_HINT,
        )
    if file.inherit.endswith(".toml"):
        path = file.folder / file.inherit
        if _resolve(path).parent != _resolve(file.folder):
            raise InputError(
                f"{file.label}: inherit = {_shown(file.inherit)} leads out of the folder",
                hint=_FILE_HINT,
            )
        return path
    if file.inherit in bundled_targets():
        return DESCRIPTIONS / f"{file.inherit}.toml"
    raise InputError(
        f"{file.label}: inherit = {_shown(file.inherit)} is no known target"
        f"{_nearest(file.inherit, bundled_targets())}; known are {', '.join(bundled_targets())}, "
        "or a .toml file in the same folder",
        hint="nest-tune target list",
    )


def _read(path: Path, child: _File | None) -> _File:
    label = path.name if path.parent == DESCRIPTIONS else str(path)
    table = _parse(path, label, child)
    schema = table.get("schema")
    if schema != TARGET_SCHEMA:
        seen = "is missing" if schema is None else f"= {_shown(schema)}"
        raise InputError(
            f'{label}: schema {seen}; this version reads schema = "{TARGET_SCHEMA}"',
            hint=_FILE_HINT,
        )
    for key in _HEADER:
        if not isinstance(table.get(key, ""), str):
            raise InputError(
                f"{label}: {key} = {_shown(table[key])} must be a text", hint=_KEYS_HINT
            )
    name = table.get("name", "")
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{label}: name = {_shown(name)} must be at most 64 "
            "lower-case letters, digits, '.', '_' and '-'",
            hint=_KEYS_HINT,
        )
    body = {key: value for key, value in table.items() if key not in _HEADER}
    leaves = dict(_leaves(body, TargetSections, (), None, _Context(label, name)))
    return _File(label, path.parent, name, table.get("description"), table.get("inherit"), leaves)


def _parse(path: Path, label: str, child: _File | None) -> dict[str, Any]:
    wanted_by = f" (inherited by {child.label})" if child else ""
    try:
        if not path.is_file():
            kind = "is not a file" if path.exists() else "does not exist"
            raise InputError(
                f"{label}: {kind}{wanted_by}; a target is a .toml file",
                hint="nest-tune target list",
            )
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{_shown(label)}: cannot be read{wanted_by}: {error}", hint=_FILE_HINT
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(
            f"{label}: larger than the {MAX_FILE_BYTES} bytes allowed{wanted_by}", hint=_FILE_HINT
        )
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise InputError(f"{label}: not a TOML file: {reason}", hint=_FILE_HINT) from error


@dataclass(frozen=True)
class _Context:
    label: str
    name: str


def _leaves(
    table: dict[str, Any],
    model: type[BaseModel],
    place: tuple[str, ...],
    origin: Origin | None,
    context: _Context,
) -> Iterator[tuple[tuple[str, ...], _Leaf]]:
    """Flattens one file against the schema, giving each number its origin."""
    origin = _origin(table, origin, place, context)
    for key, value in table.items():
        if key in ("origin", "source"):
            continue
        inner = (*place, key)
        where = f"{context.label}: {'.'.join(inner)}"
        if key not in model.model_fields:
            known = tuple(model.model_fields)
            raise InputError(
                f"{context.label}: unknown key {_shown(key)} in {_table(place)}"
                f"{_nearest(key, known)}; known are {', '.join(known)}",
                hint=_KEYS_HINT,
            )
        section = model.model_fields[key].annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            if not isinstance(value, dict):
                raise InputError(f"{where} = {_shown(value)} must be a table", hint=_KEYS_HINT)
            yield from _leaves(value, section, inner, origin, context)
            continue
        own = origin
        if isinstance(value, dict):
            wrong = sorted(value.keys() - {"value", "origin", "source"})
            if wrong or "value" not in value:
                raise InputError(
                    f"{where} has {_shown(wrong[0]) if wrong else 'no value'}; "
                    "allowed are value, origin and source",
                    hint=_KEYS_HINT,
                )
            own = _origin(value, origin, inner, context)
            value = value["value"]
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InputError(
                f"{where} = {_shown(value)} must be a number or a text", hint=_KEYS_HINT
            )
        if isinstance(value, str):
            own = None
        elif own is None:
            raise InputError(
                f"{where} = {_shown(value)} does not say where it comes from",
                hint=f"add origin ({_ORIGIN_KINDS}) and source to {_table(place)} or to the number",
            )
        yield inner, _Leaf(value, own, context.label)


def _origin(
    table: dict[str, Any], outer: Origin | None, place: tuple[str, ...], context: _Context
) -> Origin | None:
    if "origin" not in table and "source" not in table:
        return outer
    where = f"{context.label}: {_table(place)}"
    kind, source = table.get("origin"), table.get("source")
    if kind not in {known.value for known in OriginKind}:
        raise InputError(
            f"{where}: origin = {_shown(kind)}; allowed are {_ORIGIN_KINDS}", hint=_KEYS_HINT
        )
    if not isinstance(source, str) or not source.strip():
        raise InputError(
            f"{where}: source = {_shown(source)} must be a text that says where the number is from",
            hint=_KEYS_HINT,
        )
    return Origin(OriginKind(kind), source, context.name)


def _validate(leaves: dict[tuple[str, ...], _Leaf], label: str) -> TargetSections:
    tree: dict[str, Any] = {}
    for place, leaf in leaves.items():
        node = tree
        for key in place[:-1]:
            node = node.setdefault(key, {})
        node[place[-1]] = leaf.value
    try:
        return TargetSections.model_validate(tree)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        place = tuple(str(key) for key in first["loc"])
        found = leaves.get(place)
        reason = str(first["msg"]).removeprefix("Value error, ")
        if found is not None:
            message = f"{found.file}: {'.'.join(place)} = {_shown(found.value)}: {reason}"
        elif first["type"] == "missing":
            message = f"{label}: {'.'.join(place)} is missing, here and in what it inherits from"
        else:
            message = f"{label}: {_table(place)}: {reason}"
        if others:
            message += f" (and {len(others)} more)"
        raise InputError(message, hint="nest-tune target show vta") from error


def _quantities(leaves: dict[tuple[str, ...], _Leaf]) -> Iterator[Quantity]:
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


def _table(place: tuple[str, ...]) -> str:
    return f"[{'.'.join(place)}]" if place else "the file"


def _nearest(key: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f" (nearest: {close[0]})" if close else ""


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return "a number of more than 64 bits"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
