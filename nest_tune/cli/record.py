"""``nest-tune record``: the measurement database, listed, exported, imported, verified."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from compiler_core.files.whole_file import require_writable, write_atomically
from nest_tune.cli.completion import target_names
from nest_tune.cli.options import AsJson, RecordStorage
from nest_tune.cli.output import console, print_json, say
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
    from nest_tune.records.database import RecordDatabase

    with closing(RecordDatabase(storage)) as database:
        snapshot = database.snapshot()
    groups: dict[tuple[str, str, int], dict[str, Any]] = {}
    for record in snapshot.records:
        key = (record.task, record.target, record.lowering)
        row = groups.setdefault(
            key,
            {
                "task": record.task,
                "target": record.target,
                "lowering": record.lowering,
                "records": 0,
                "failed": 0,
                "best_cycles": None,
            },
        )
        row["records"] += 1
        if record.cycles is None:
            row["failed"] += 1
        elif row["best_cycles"] is None or record.cycles < row["best_cycles"]:
            row["best_cycles"] = record.cycles
    _warn(snapshot.corrupt, database.name)
    if as_json:
        document = {
            "storage": database.name,
            "records": len(snapshot.records),
            "corrupt": snapshot.corrupt,
            "digest": snapshot.digest,
            "tasks": list(groups.values()),
        }
        print_json("record-list", document)
        return
    from rich.table import Table

    table = Table("task", "target", "lowering", "records", "failed", "best cycles", box=None)
    for row in groups.values():
        best = "" if row["best_cycles"] is None else f"{row['best_cycles']:,}"
        numbers = (str(row["lowering"]), str(row["records"]), str(row["failed"]), best)
        table.add_row(row["task"], row["target"], *numbers)
    console().print(table)
    print(f"{len(snapshot.records)} records, snapshot {snapshot.digest}")


@app.command(epilog="Example: nest-tune record export -o records.jsonl")
def export(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="JSON lines.")],
    storage: RecordStorage = DEFAULT_STORAGE,
) -> None:
    """Write all sound records as JSON lines."""
    require_writable(output, "--output")

    from nest_tune.records.database import RecordDatabase
    from nest_tune.records.jsonl import write_records

    with closing(RecordDatabase(storage)) as database:
        snapshot = database.snapshot()
    _warn(snapshot.corrupt, database.name)
    write_atomically(output, lambda stream: write_records(snapshot.records, stream))
    print(f"{len(snapshot.records)} records written to {output}")


@app.command("import", epilog="Example: nest-tune record import records.jsonl")
def import_records(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines.")],
    storage: RecordStorage = DEFAULT_STORAGE,
    as_json: AsJson = False,
) -> None:
    """Add the records of a file; lines that are wrong are skipped, counted and shown."""
    from compiler_core.errors import InputError
    from nest_tune.records.database import RecordDatabase
    from nest_tune.records.jsonl import read_records

    sound, wrong = [], []
    for _, entry in read_records(file):
        if isinstance(entry, InputError):
            wrong.append(entry.message)
        else:
            sound.append(entry)
    for message in wrong[:5]:
        say(f"skipped: {message}", aside=True)
    if wrong and not sound:
        raise InputError(f"{file}: none of {len(wrong)} lines is a record")
    with closing(RecordDatabase(storage)) as database:
        database.add(sound)
    if as_json:
        print_json("record-import", {"imported": len(sound), "skipped": len(wrong)})
        return
    print(f"{len(sound)} records imported, {len(wrong)} lines skipped")


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
    from compiler_core.errors import CheckError, InputError
    from nest_tune.records.database import RecordDatabase

    if remeasure and target is None:
        raise InputError("--remeasure: --target is needed, too")
    with closing(RecordDatabase(storage)) as database:
        snapshot = database.snapshot()
        removed = database.remove_corrupt() if remove else 0
    different = _different(snapshot, target, remeasure) if target is not None else []
    if as_json:
        document = {
            "records": len(snapshot.records),
            "corrupt": snapshot.corrupt,
            "removed": removed,
            "different": different,
        }
        print_json("record-verify", document)
    else:
        print(f"{len(snapshot.records)} records sound, {snapshot.corrupt} corrupt")
        for entry in different:
            print(
                f"{entry['schedule']}: {entry['recorded']} recorded, {entry['measured']} measured"
            )
    if different:
        raise CheckError(
            f"{len(different)} of {remeasure} records have other cycles than measured now"
        )
    if snapshot.corrupt > removed:
        raise CheckError(
            f"storage {database.name}: {snapshot.corrupt} rows are corrupt",
            hint="nest-tune record verify --remove deletes them",
        )


def _different(snapshot: Any, target: str, count: int) -> list[dict[str, Any]]:
    from compiler_core.targets.load import load_npu_target
    from compiler_core.units.registry import kind_of_machine
    from nest_tune.records.record import machine_digest
    from nest_tune.tuning.measure import measure

    core = load_npu_target(target).npu
    key = (machine_digest(core), kind_of_machine(core).lowering_version)
    ours = [r for r in snapshot.records if (r.target, r.lowering) == key and r.cycles is not None]
    different = []
    for record in ours[:: max(1, len(ours) // count)][:count] if count and ours else []:
        again = measure(record.task_value().workload, record.schedule_value(), core)
        if again.cycles != record.cycles:
            entry = {"task": record.task, "schedule": record.schedule}
            different.append({**entry, "recorded": record.cycles, "measured": again.cycles})
    return different


def _warn(corrupt: int, name: str) -> None:
    if corrupt:
        print(f"storage {name}: {corrupt} corrupt rows skipped", file=sys.stderr)
