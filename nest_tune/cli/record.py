"""``nest-tune record``: the measurement database, listed, exported, imported, verified."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nest_tune.cli.completion import target_names
from nest_tune.cli.options import AsJson, RecordStorage
from nest_tune.cli.output import print_json, say
from nest_tune.cli.tables import print_table
from nest_tune.study.request.settings import DEFAULT_STORAGE

app = typer.Typer(
    name="record",
    help="The measurement database: every schedule that was measured.",
    epilog="Example: nest-tune record list --storage sqlite:///nest-tune.db",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help answers in half the time
)


@app.command("list", epilog="Example: nest-tune record list --json")
def list_records(storage: RecordStorage = DEFAULT_STORAGE, as_json: AsJson = False) -> None:
    """List what was measured, one row per task, target and lowering version."""
    from nest_tune.api.records import list_records

    found = list_records(storage)
    _warn(found.corrupt, found.storage)
    if as_json:
        print_json("record-list", asdict(found))
        return
    from rich.table import Table

    table = Table("task", "target", "lowering", "records", "failed", "best cycles", box=None)
    for row in found.tasks:
        best = "" if row.best_cycles is None else f"{row.best_cycles:,}"
        numbers = (str(row.lowering), str(row.records), str(row.failed), best)
        table.add_row(row.task, row.target, *numbers)
    print_table(table)
    print(f"{found.records} records, snapshot {found.digest}")


@app.command(epilog="Example: nest-tune record export -o records.jsonl")
def export(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="JSON lines.")],
    storage: RecordStorage = DEFAULT_STORAGE,
) -> None:
    """Write all sound records as JSON lines."""
    from nest_tune.api.records import export_records

    found = export_records(output, storage)
    _warn(found.corrupt, found.storage)
    print(f"{found.records} records written to {output}")


@app.command("import", epilog="Example: nest-tune record import records.jsonl")
def import_records(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines.")],
    storage: RecordStorage = DEFAULT_STORAGE,
    as_json: AsJson = False,
) -> None:
    """Add the records of a file; lines that are wrong are skipped, counted and shown."""
    from nest_tune.api.records import import_records

    found = import_records(file, storage)
    for message in found.reasons[:5]:
        say(f"skipped: {message}", aside=True)
    if as_json:
        counts = {"imported": found.imported, "skipped": found.skipped}
        print_json("record-import", counts)
        return
    print(f"{found.imported} records imported, {found.skipped} lines skipped")


@app.command(epilog="Example: nest-tune record verify --remeasure 20")
def verify(
    storage: RecordStorage = DEFAULT_STORAGE,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            autocompletion=target_names,
            help="Target whose records are measured again.",
        ),
    ] = None,
    remeasure: Annotated[
        int, typer.Option(min=0, help="Records of --target to measure again.")
    ] = 0,
    remove: Annotated[bool, typer.Option("--remove", help="Delete corrupt rows.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check checksums, and cycles of some records; exit 4 says that something does not hold."""
    from compiler_core.errors import CheckError
    from nest_tune.api.records import verify_records

    found = verify_records(storage, target=target, remeasure=remeasure, remove=remove)
    if as_json:
        document = asdict(found)
        del document["storage"]
        print_json("record-verify", document)
    else:
        print(f"{found.records} records sound, {found.corrupt} corrupt")
        for entry in found.different:
            print(f"{entry.schedule}: {entry.recorded} recorded, {entry.measured} measured")
    if found.different:
        raise CheckError(
            f"{len(found.different)} of {remeasure} records have other cycles than measured now"
        )
    if not found.ok:
        raise CheckError(
            f"storage {found.storage}: {found.corrupt} rows are corrupt",
            hint="nest-tune record verify --remove deletes them",
        )


def _warn(corrupt: int, name: str) -> None:
    if corrupt:
        print(f"storage {name}: {corrupt} corrupt rows skipped", file=sys.stderr)
