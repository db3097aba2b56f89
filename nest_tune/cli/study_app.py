"""``nest-tune study``: the command that the verbs belong to."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="study",
    help="Search for the best configurations of a model on a target.",
    epilog="Example: nest-tune study start study.toml --output best",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help answers in half the time
)
