"""Options of commands that follow from settings."""

from __future__ import annotations

import inspect
import json
import tomllib
from collections.abc import Callable, Iterator
from typing import Annotated, Any, is_typeddict

import typer

from compiler_core.errors import InputError
from nest_tune.cli import completion
from nest_tune.cli.options import parse_shapes
from nest_tune.setting import ARGUMENTS, VALUES, Setting, settings_of

PARAMETER = "asked"
"""The parameter of a command that the options stand in for."""


def takes(asked: Any, *names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option per setting, in the place of its parameter ``asked``.

    Args:
        asked: A set of settings, see :mod:`nest_tune.setting`: the parameter is made by its method
            ``of``, or of an annotated one is what was said.
        names: Settings; all without.
    """
    known = settings_of(asked)
    chosen = {name: known[name] for name in names or known}
    made: Callable[..., Any] = _said if is_typeddict(asked) else asked.of

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def command(**given: Any) -> None:
            said = {name: _value(item, given.pop(name)) for name, item in chosen.items()}
            function(**given, **{PARAMETER: made(**said)})

        own = inspect.signature(function, eval_str=True)
        parameters = []
        for parameter in own.parameters.values():
            if parameter.name == PARAMETER:
                parameters += list(_parameters(chosen))
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__module__ = function.__module__
        command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {item.name: item.annotation for item in parameters}
        return command

    return decorate


def _said(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _parameters(chosen: dict[str, Setting]) -> Iterator[inspect.Parameter]:
    for name, setting in chosen.items():
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[_type(setting), _option(name, setting)],
        )


def _type(setting: Setting) -> Any:
    if setting.kind in (list, dict):
        return list[str] | None
    return (setting.kind if setting.kind in (int, bool) else str) | None


def _option(name: str, setting: Setting) -> Any:
    offered = getattr(completion, setting.completion) if setting.completion else None
    return typer.Option(
        setting.option or f"--{name.replace('_', '-')}",
        help=setting.help,
        metavar=setting.metavar,
        min=setting.least,
        autocompletion=offered,
    )


def _value(setting: Setting, given: Any) -> Any:
    if given is None:
        return None
    if setting.kind is dict and setting.holds == VALUES:
        return {name: text.split(",") for name, text in map(name_and_value, given)}
    if setting.kind is dict and setting.holds == ARGUMENTS:
        return {name: _literal(text) for name, text in map(_argument, given)}
    if setting.kind is dict:
        return parse_shapes(given)
    if setting.kind is list and setting.default:  # names of a known few, which may share an option
        return [part.strip() for text in given for part in text.split(",") if part.strip()]
    return given


def name_and_value(text: str) -> tuple[str, str]:
    """``NAME=VALUE``; names may hold an equals sign.

    Raises:
        InputError: It reads otherwise.
    """
    name, equals, value = text.rpartition("=")
    if not name or not equals or not value:
        raise InputError(f"{text!r}: NAME=VALUE is needed")
    return name, value


def _argument(text: str) -> tuple[str, str]:
    """``NAME=VALUE``, the name being one of Python's: values may hold equals signs.

    Raises:
        InputError: It reads otherwise.
    """
    name, _, value = text.partition("=")
    if not name.isidentifier() or not value:
        raise InputError(f"{text!r}: NAME=VALUE is needed")
    return name, value


def _literal(text: str) -> Any:
    """What JSON or TOML writes so, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    if text[:1] not in ("{", "["):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError as error:
        raise InputError(f"{text!r} is neither JSON nor a value of TOML: {error}") from error
