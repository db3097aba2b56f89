"""Going on with a study: what may change since its start, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler_core.errors import InputError
from nest_tune.records.storage_url import StorageUrl
from nest_tune.study.request.settings import (
    PLACES,
    StudySettings,
    differences,
    read_settings_document,
)
from nest_tune.study.request.study_file import file_document
from nest_tune.study.store.stored_study import StoredStudy

if TYPE_CHECKING:
    from nest_tune.study.store.ground import Ground


def stored_settings(study: StoredStudy) -> StudySettings:
    """What a study was started with; relative paths lead from the folder that it was started in,
    where they lead nowhere from this one. Its
    name is that which it has by now."""
    settings = read_settings_document(study.fixed("settings"))
    folder = study.document.get("folder", "")
    found: dict[str, Any] = {}
    for name in (*PLACES, "plan", "file"):
        path = getattr(settings, name)
        if not path or (name == "target" and not path.endswith(".toml")):
            continue
        there = Path(folder) / path
        if folder and not Path(path).exists() and there.exists():
            found[name] = str(there)
    return replace(settings, name=study.name, **found)


def check_file(study: StoredStudy) -> None:
    """Refuses to go on where the study file says something else by now.

    Raises:
        InputError: Shows what differs.
    """
    path, old = stored_settings(study).file, study.document.get("file")
    if path is None or old is None or not Path(path).is_file():
        return
    new = file_document(Path(path))
    changed = [
        f"{name}: {old.get(name)!r} -> {new.get(name)!r}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if changed:
        raise InputError(
            f"{path} has changed since study {study.name!r} was started: {'; '.join(changed)}",
            hint="undo that, or start it under another name",
        )


def check_unchanged(study: StoredStudy, ground: Ground) -> None:
    """Refuses to go on with another search under the same name.

    Raises:
        InputError: Shows what differs.
    """
    changed = differences(stored_settings(study), ground.settings)
    stored = study.fixed("digests")
    for name, now in ground.digests.items():
        if stored.get(name) != now:
            changed.append(f"{name}: digest {str(stored.get(name))[:16]} -> {now[:16]}")
    if changed:
        raise InputError(
            f"study {study.name!r} has changed since it was started: {'; '.join(changed)}",
            hint="start it under another --name, or with --if-exists replace to begin anew",
        )


def resumed_settings(
    study: StoredStudy, storage: StorageUrl, *, trials: str | None = None, **changes: Any
) -> StudySettings:
    """Settings of a resume: ``trials`` is a number, or ``+50`` for so many more.

    Args:
        study: As stored, without secrets.
        storage: Where it was found, which goes before what was stored of it.
        trials, changes: What is asked for.

    Raises:
        InputError: ``trials`` reads otherwise.
    """
    settings = replace(stored_settings(study), storage=storage)
    if trials is not None:
        number = trials.removeprefix("+")
        if not number.isascii() or not number.isdigit() or not 0 < int(number) < 1_000_000:
            raise InputError(f"--trials {trials}: a number, or +N for N more, is needed")
        total = int(number) + (settings.trials if trials.startswith("+") else 0)
        settings = replace(settings, trials=total)
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(settings, **given)
