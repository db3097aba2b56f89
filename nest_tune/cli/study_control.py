"""``nest-tune study stop``, ``cancel``, ``delete``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from compiler_core.errors import InputError
from nest_tune.cli.study_options import Name, StorageUrl, open_storage, place_of
from nest_tune.cli.study_views import app
from nest_tune.study_command import study_command

__all__ = ["app", "cancel", "delete", "stop"]


@app.command(epilog="Example: nest-tune study stop resnet8-vta")
def stop(name: Name, storage: StorageUrl = None) -> None:
    """Let the running trials of a study finish, and end it."""
    _ask(name, storage, cancel=False)


@app.command(epilog="Example: nest-tune study cancel resnet8-vta")
def cancel(name: Name, storage: StorageUrl = None) -> None:
    """End the running trials of a study now."""
    _ask(name, storage, cancel=True)


def _ask(name: str, url: str | None, *, cancel: bool) -> None:
    from nest_tune.study.store.selection import require_running
    from nest_tune.study.store.stored_study import Request

    storage = open_storage(url)
    study = require_running(storage.find(name))
    storage.ask(study, Request.CANCEL if cancel else Request.STOP)
    if cancel:
        print(f"asked {study.owner} to cancel study {name}")
        return
    print(f"asked {study.owner} to stop study {name}, once the trials that it has begun are done")
    print(f"not to wait for them: {study_command('cancel', study.name, *place_of(storage))}")


@app.command(epilog="Example: nest-tune study delete resnet8-vta --yes")
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    storage: StorageUrl = None,
) -> None:
    """Delete a study with its trials; measurements of tasks stay."""
    from nest_tune.study.store.selection import require_idle

    opened = open_storage(storage)
    is_damaged = name in opened.scan()[1]
    study = None if is_damaged else require_idle(opened.find(name))
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(f"study {name!r}: nobody to ask about it", hint="add --yes")
        typer.confirm(f"Delete study {name} with all its trials?", abort=True)
    if study is None:
        opened.drop(name)
    else:
        opened.delete(study)
    print(f"deleted study {name}")
