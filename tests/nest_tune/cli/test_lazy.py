"""The list of commands says what the commands say of themselves."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import typer.main

from nest_tune.cli.app import COMMANDS, app


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_what_the_list_says(name: str) -> None:
    command = typer.main.get_command(app).commands[name]
    assert command.name == name
    assert (command.help or "").partition("\n")[0] == COMMANDS[name].help
    assert "Example: nest-tune " + name in command.epilog


def test_every_command_is_listed(repository: Path) -> None:
    stems = sorted(path.stem for path in (repository / "nest_tune" / "cli").glob("[a-z]*.py"))
    modules = [import_module(f"nest_tune.cli.{stem}") for stem in stems if stem != "app"]
    listed = [getattr(import_module(c.module), c.attribute) for c in COMMANDS.values()]
    groups = [module.app for module in modules if hasattr(module, "app")]
    assert all(any(group is found for found in listed) for group in groups)
    in_groups = {command.callback for group in groups for command in group.registered_commands}
    reached = {found.__module__ for found in [*listed, *in_groups] if callable(found)}
    assert {module.__name__ for module in modules if hasattr(module, "EXAMPLE")} <= reached
