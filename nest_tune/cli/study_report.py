"""``nest-tune study report``: a study as one HTML page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from compiler_core.files.whole_file import require_writable, write_atomically
from nest_tune.cli.options import AsJson, CmsisNn
from nest_tune.cli.output import print_json, progress
from nest_tune.cli.study_app import app
from nest_tune.cli.study_options import EffectCount, Name, Pick, StorageUrl, open_storage

__all__ = ["app", "report"]


@app.command(epilog="Example: nest-tune study report resnet8-vta -o report.html")
def report(
    name: Name,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="report.html", help="Page to write.")
    ],
    pick: Pick = None,
    effects: EffectCount = None,
    storage: StorageUrl = None,
    cmsis_nn: CmsisNn = None,  # noqa: ARG001
    as_json: AsJson = False,
) -> None:
    """Write one self-contained page: front, timeline, roofline, layers, how to reproduce.

    What it measures is kept in the storage; Ctrl-C writes the page with what is measured so far.
    """
    from nest_tune.report.changes import read_count

    count = read_count(effects, "--effects")
    require_writable(output, "--output")
    from nest_tune.report.collect import collect
    from nest_tune.report.page import page
    from nest_tune.study.request.settings import storage_url
    from nest_tune.study.store.result import load_result

    opened = open_storage(storage)
    url = storage_url(storage, os.environ)
    result = load_result(opened, opened.find(name))
    data = collect(result, pick, storage=url, count=count, kept=opened, progress=progress)
    content = page(data).encode()
    write_atomically(output, lambda stream: stream.write(content))
    for note in data.notes:
        progress(f"note: {note}")
    if data.interrupted:
        progress(f"interrupted: {output} holds what was measured; the same command goes on")
        raise KeyboardInterrupt
    if as_json:
        body = {"study": name, "report": str(output), "chosen": data.chosen}
        print_json("study-report", {**body, "size_bytes": len(content), "notes": data.notes})
        return
    print(f"{output}: {len(content):,} bytes")
