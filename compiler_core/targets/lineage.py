"""Files of targets: where they lie, and which inherits from which."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler_core.errors import InputError
from compiler_core.targets.target_file import (
    FILE_HINT,
    INHERIT,
    NAME,
    Schema,
    TargetFile,
    nearest,
    parse_target_file,
    read_target_file,
    shown,
)
from compiler_core.targets.this_machine import HOST
from compiler_core.units.facets.bundles import bundle_file, bundle_targets

DESCRIPTIONS = Path(__file__).parent / "descriptions"
MAX_LINEAGE = 8


@dataclass(frozen=True)
class RawFile:
    """One file of a lineage as it was parsed, whatever its keys are."""

    label: str
    folder: Path
    table: Mapping[str, Any]


def bundled_targets() -> tuple[str, ...]:
    """Names of the targets that come with the package, sorted."""
    return tuple(sorted(path.stem for path in DESCRIPTIONS.glob("*.toml")))


def locate(name_or_path: str | Path) -> Path:
    """The file that a name, or a path, stands for.

    Raises:
        InputError: No target has that name.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text:
        return Path(name_or_path)
    if text in bundled_targets():
        return DESCRIPTIONS / f"{text}.toml"
    if text in bundle_targets():
        raise sources_refusal(text)
    known = (*bundled_targets(), HOST, *bundle_targets())
    raise InputError(
        f"no target {shown(text)}{nearest(text, known)}; "
        f"known are {', '.join(known)}, ssh://USER@BOARD, or the path of a .toml file",
        hint="nest-tune target list",
    )


def sources_refusal(name: str) -> InputError:
    """What is said where programs are wanted of a target that takes sources."""
    return InputError(
        f"target {shown(name)} is of generated C: there are no plans, programs or joint spaces",
        hint=f"nest-tune compile MODEL --target {name} --calibration calib.npz -o DIR",
    )


def label_of(path: Path) -> str:
    """What errors call a file."""
    return path.name if path.parent == DESCRIPTIONS else str(path)


def real_path(path: Path) -> Path:
    """Where a path leads.

    Raises:
        InputError: Nowhere.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{shown(str(path))}: is no usable path: {error}", hint=FILE_HINT
        ) from error


def raw_lineage(path: Path) -> list[RawFile]:
    """A file and those that it inherits from, the most derived one first, as far as they can be
    read: what is wrong with them is said by :func:`read_lineage`."""
    found: list[RawFile] = []
    following: Path | None = path
    with suppress(InputError):
        while following is not None and len(found) < MAX_LINEAGE:
            label = label_of(following)
            found.append(
                RawFile(label, following.parent, parse_target_file(following, label, None))
            )
            parent = found[-1].table.get(INHERIT)
            following = None
            if isinstance(parent, str):
                following = inherited_path(label, found[-1].folder, INHERIT, parent)
    return found


def read_lineage(path: Path, schema: Schema) -> list[TargetFile]:
    """A file and those that it inherits from, the most derived one first.

    Raises:
        InputError: One is missing, unreadable or wrong, or they inherit in a circle.
    """
    files: list[TargetFile] = []
    seen: list[Path] = []
    following: Path | None = path
    while following is not None:
        resolved = real_path(following)
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
        files.append(read_target_file(following, label_of(following), child, schema))
        parent = files[-1].inherit
        following = None
        if parent is not None:
            following = inherited_path(files[-1].label, files[-1].folder, INHERIT, parent)
    return files


def inherited_path(label: str, folder: Path, key: str, name: str) -> Path:
    """The file that a file names to inherit from.

    Args:
        label, folder: Of the file that names it.
        key: Where it does.
        name: Of a bundled target, or of a file beside it.

    Raises:
        InputError: There is none of that name, or it does not lie in the same folder.
    """
    where = f"{label}: {key} = {shown(name)}"
    if not NAME.fullmatch(name):
        raise InputError(
            f"{where} is not the name of a bundled target or of a .toml file in the same folder; "
            "folders are not allowed",
            hint=FILE_HINT,
        )
    if name.endswith(".toml"):
        path = folder / name
        if real_path(path).parent != real_path(folder):
            raise InputError(f"{where} leads out of the folder", hint=FILE_HINT)
        return path
    if name in bundled_targets():
        return DESCRIPTIONS / f"{name}.toml"
    if name in bundle_targets():
        return bundle_file(name)
    known = (*bundled_targets(), *bundle_targets())
    raise InputError(
        f"{where} is no known target{nearest(name, known)}; known are "
        f"{', '.join(known)}, or a .toml file in the same folder",
        hint="nest-tune target list",
    )
