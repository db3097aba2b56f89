"""``nest-tune study import`` and ``verify``: studies of older versions, and what was damaged."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from nest_tune.cli.completion import study_names
from nest_tune.cli.options import AsJson
from nest_tune.cli.output import print_json, say
from nest_tune.cli.study_app import app
from nest_tune.cli.study_options import StorageUrl, open_storage
from nest_tune.study_command import study_command

__all__ = ["app", "import_studies", "verify"]


@app.command("import", epilog="Example: nest-tune study import old.db")
def import_studies(
    source: Annotated[
        str, typer.Argument(metavar="OLD", help="Database file, journal, or URL of a database.")
    ],
    storage: StorageUrl = None,
    as_json: AsJson = False,
) -> None:
    """Take over the studies of an earlier version, whose trials were in tables of its own.

    The old ones stay as they are. Trials, tuned tasks, results and measurements come along; a
    study whose name is taken is left.
    """
    from nest_tune.study.request.settings import storage_url
    from nest_tune.study.store.importing import import_old
    from nest_tune.study.store.storage import StudyStorage

    found = import_old(source, StudyStorage(storage_url(storage, os.environ)))
    if as_json:
        print_json(
            "study-import",
            {
                "studies": dict(found.studies),
                "skipped": dict(found.skipped),
                "records": found.records,
            },
        )
        return
    for name, why in found.skipped.items():
        say(f"skipped: study {name}: {why}", aside=True)
    for name, trials in found.studies.items():
        print(f"study {name}: {trials} trials")
    print(f"{len(found.studies)} studies imported, {found.records} records")


@app.command(epilog="Example: nest-tune study verify resnet8-vta --repair")
def verify(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Study; all without.", autocompletion=study_names),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Let go of what is damaged; a resume makes it again.")
    ] = False,
    storage: StorageUrl = None,
    as_json: AsJson = False,
) -> None:
    """Check that studies are stored as they were written; exit 4 says that something is damaged."""
    from compiler_core.errors import CheckError
    from nest_tune.study.store.verify import verify_studies

    found = verify_studies(open_storage(storage), name, repair=repair)
    if as_json:
        print_json(
            "study-verify",
            {
                "studies": dict(found.studies),
                "damage": {study: list(texts) for study, texts in found.damage.items()},
                "repaired": found.repaired,
            },
        )
    else:
        for study, trials in found.studies.items():
            state = "damaged" if study in found.damage else "sound"
            print(f"study {study}: {trials} trials, {state}")
        for study, texts in found.damage.items():
            for text in texts:
                print(f"{f'study {study}' if study else found.storage}: {text}")
    if found.damage and not found.repaired:
        gone = next((study for study in found.damage if study and study not in found.studies), "")
        raise CheckError(
            f"storage {found.storage}: something is damaged",
            hint=study_command("delete", gone)
            if gone
            else "nest-tune study verify --repair lets go of it; a resume makes it again",
        )
