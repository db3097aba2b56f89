"""``nest-tune study enqueue``: configurations that a study tries before all others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compiler_core.errors import InputError
from nest_tune.cli.setting_options import name_and_value
from nest_tune.cli.study_app import app
from nest_tune.cli.study_options import Name, StorageUrl, open_storage

__all__ = ["app", "enqueue"]


@app.command(epilog="Example: nest-tune study enqueue resnet8-vta --config best.toml")
def enqueue(
    name: Name,
    config: Annotated[
        Path | None,
        typer.Option(metavar="best.toml", help="Lock file: its scheme and plan."),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(metavar="plan.toml", help="Plan: where its nodes run.")
    ] = None,
    decisions: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="DECISION=VALUE", help="One decision; repeatable."),
    ] = None,
    storage: StorageUrl = None,
) -> None:
    """Have a study try a configuration next; what is not said of it is as by default."""
    from nest_tune.study.store.enqueued import enqueue as ask_for
    from nest_tune.study.store.result import load_result
    from nest_tune.study.store.selection import ground_of
    from nest_tune.study.store.wished import wished_point

    if config is None and plan is None and not decisions:
        raise InputError(
            f"study enqueue {name}: nothing is asked for",
            hint="--config best.toml, --plan plan.toml or --set DECISION=VALUE",
        )
    opened = open_storage(storage)
    study = opened.find(name)
    result = load_result(opened, study)
    ground = ground_of(result)
    wanted = dict(map(name_and_value, decisions or []))
    point = wished_point(ground, config=config, plan=plan, decisions=wanted)
    for trial in result.trials:
        if trial.point == point and trial.tuned == ground.problem.tuned:
            print(f"study {name}: trial {trial.number} has tried this configuration")
            return
    place = ask_for(opened, study, point)
    print(f"study {name}: configuration {place} of those asked for will be tried next")
