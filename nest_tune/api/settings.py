"""Keyword arguments that follow from settings."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, is_typeddict

from nest_tune.api.values import PathName
from nest_tune.setting import Setting, settings_of, types_of

Function = TypeVar("Function", bound=Callable[..., Any])


def takes_settings(asked: type) -> Callable[[Function], Function]:
    """Shows every setting of a set in a function's signature and documentation, in the place of its
    keyword arguments of any name."""

    def decorate(function: Function) -> Function:
        own = inspect.signature(function)
        (rest,) = (p for p in own.parameters.values() if p.kind is p.VAR_KEYWORD)
        shown = [item for item in own.parameters.values() if item is not rest]
        shown += list(_parameters(asked))
        function.__signature__ = own.replace(parameters=shown)  # type: ignore[attr-defined]
        line = re.search(rf"^( +){rest.name}:.*\n", function.__doc__ or "", re.MULTILINE)
        assert line is not None, f"{function.__qualname__} does not document {rest.name}"
        told = "\n".join(_told(asked, line[1])) + "\n"
        function.__doc__ = line.string[: line.start()] + told + line.string[line.end() :]
        return function

    return decorate


def _parameters(asked: type) -> Iterator[inspect.Parameter]:
    types = types_of(asked) if is_typeddict(asked) else {}
    for name, setting in settings_of(asked).items():
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=setting.default if types else None,
            annotation=types.get(name) or _annotation(setting),
        )


def _annotation(setting: Setting) -> Any:
    kinds: dict[type, Any] = {
        int: int | None,
        list: Sequence[str] | None,
        dict: Mapping[str, Any] | None,
        bool: bool | None,
    }
    return kinds.get(setting.kind, PathName | float | None)


def _told(asked: type, indent: str) -> Iterator[str]:
    for name, setting in settings_of(asked).items():
        yield from textwrap.wrap(
            f"{name}: {setting.help}",
            100,
            initial_indent=indent,
            subsequent_indent=f"{indent}    ",
        )
