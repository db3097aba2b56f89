"""Names of studies that nobody named: model, target and a number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study_command import plain_name

_LONGEST = 90
"""Letters of what stands before the number: a name has 100 at most."""


def base_name(model: str, target: str) -> str:
    """What the name of a study begins with: letters that names may have, of the names of files."""
    parts = (
        Path(part).stem if part.endswith((".onnx", ".toml")) else part for part in (model, target)
    )
    text = "-".join(map(plain_name, parts))
    return text.strip("-")[:_LONGEST] or "study"


def named(storage: StudyStorage, settings: StudySettings, if_exists: str) -> StudySettings:
    """Settings with a name.

    Args:
        storage: Where the study will be.
        settings: As asked for; the name may be empty.
        if_exists: With ``fail`` the number is the next one; with ``resume`` and ``replace`` it is
            that of the last study of this model and target.
    """
    if settings.name:
        return settings
    base = base_name(settings.model, settings.target)
    last = _last_number(base, (study.name for study in storage.studies()))
    number = last + 1 if if_exists == "fail" else max(last, 1)
    return replace(settings, name=f"{base}-{number}")


def _last_number(base: str, names: Iterable[str]) -> int:
    pattern = re.compile(re.escape(base) + r"-([1-9][0-9]{0,8})")
    found = (pattern.fullmatch(name) for name in names)
    return max((int(match[1]) for match in found if match), default=0)
