"""``nest-tune measure``: a package measured by a user's own measurer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nest_tune.cli.options import AsJson
from nest_tune.cli.output import print_json

EXAMPLE = "Example: nest-tune measure out --measurer my-board"


def measure(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Folder of the package.")],
    measurer: Annotated[
        str,
        typer.Option(metavar="NAME", help="Entry point of nest_tune.measurers, or module:function"),
    ],
    as_json: AsJson = False,
) -> None:
    """Measure a package with your own measurer, beside the simulator's numbers."""
    from nest_tune.api.measuring import measure as measure_package

    found = measure_package(package, measurer)
    if as_json:
        body = {
            "package": str(package),
            "measurer": found.measurer,
            "measured": dict(found.measured),
            "simulated": dict(found.simulated),
        }
        print_json("measure", body)
        return
    for name, value in found.measured.items():
        simulated = found.simulated[name]
        print(f"{name:<12} {value:.6g} measured, {simulated:.6g} simulated")
