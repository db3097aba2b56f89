"""Commands that are imported and built when they are asked for, not at every start.

Building all commands takes nearly half of the time that ``--help`` would need.
"""

from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
import typer.core
import typer.main


@dataclass(frozen=True)
class LazyCommand:
    """Where a command is, and its line in the list of commands.

    Attributes:
        module: Module that defines it.
        attribute: Function of one command, or Typer application of a group. A function's module
            has its epilog as ``EXAMPLE``.
        help: First sentence of its help.
    """

    module: str
    attribute: str
    help: str


class _Commands(UserDict[str, Any]):
    """Commands by name, each built when it is first looked up."""

    def __init__(self, lazy: dict[str, LazyCommand]) -> None:
        super().__init__(lazy)

    def __getitem__(self, name: str) -> Any:
        found = self.data[name]
        if isinstance(found, LazyCommand):
            found = self.data[name] = _build(name, found)
        return found


def _build(name: str, command: LazyCommand) -> Any:
    module = import_module(command.module)
    found = getattr(module, command.attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(name, epilog=module.EXAMPLE)(found)
    return typer.main.get_command(alone)


def lazy_group(lazy: dict[str, LazyCommand]) -> type[typer.core.TyperGroup]:
    """The class of a group that has these commands, in this order."""

    class LazyGroup(typer.core.TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands = _Commands(lazy)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            del ctx
            with formatter.section("Commands"):
                formatter.write_dl([(name, command.help) for name, command in lazy.items()])

    return LazyGroup
