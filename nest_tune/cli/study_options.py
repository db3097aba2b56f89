"""Options and arguments that several verbs of ``nest-tune study`` take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compiler_core.errors import InputError
from nest_tune.cli.completion import picks, study_names, trial_names

if TYPE_CHECKING:
    from nest_tune.study.store.storage import StudyStorage

StorageUrl = Annotated[
    str | None,
    typer.Option("--storage", metavar="URL", help="Database; default sqlite:///nest-tune.db."),
]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the study.", autocompletion=study_names)
]
NameOfTrial = Annotated[
    str,
    typer.Argument(
        metavar="NAME[:TRIAL]",
        help="Study, and a trial of it by number.",
        autocompletion=trial_names,
    ),
]
Pick = Annotated[
    str | None,
    typer.Option(
        metavar="RULE",
        help="fastest (default with a limit on accuracy), knee, min:METRIC, max:METRIC or "
        "lex:METRIC,METRIC.",
        autocompletion=picks,
    ),
]
EffectCount = Annotated[
    str | None,
    typer.Option(
        "--effects",
        metavar="N|all",
        help="How many decisions are changed back and measured, those about most of the latency "
        "first; default at most 12, fewer on large models and data.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Compile the chosen trial to this folder."),
]
MovedFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="Where it lies now; else where it lay.")
]


def open_storage(url: str | None) -> StudyStorage:
    """The storage by flag, environment or default; its file has to exist."""
    from nest_tune.study.request.settings import storage_url
    from nest_tune.study.store.storage import StudyStorage

    return StudyStorage(storage_url(url, os.environ), create=False)


def place_of(storage: StudyStorage) -> list[str]:
    """Options that commands which are told need, to open this storage and no other one."""
    from nest_tune.study.request.settings import storage_url

    usual = storage_url(None, os.environ)
    return [] if storage.url.reveal() == usual.reveal() else ["--storage", str(storage.url)]


def split_name(text: str, storage: StudyStorage) -> tuple[str, int | None]:
    """``NAME`` or ``NAME:TRIAL``; a study that has the whole of it for its name goes first, for
    viewers give names with colons.

    Raises:
        InputError: The trial is not a number.
    """
    name, colon, number = text.rpartition(":")
    if not colon or storage.get(text) is not None:
        return text, None
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise InputError(f"{text}: NAME:TRIAL with a trial number is needed", hint=f"{name}:0")
    return name, int(number)
