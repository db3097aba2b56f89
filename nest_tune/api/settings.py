"""Keyword arguments that follow from the settings of a study."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from nest_tune.api.values import PathName
from nest_tune.study.request.study_request import Setting, settings

Function = TypeVar("Function", bound=Callable[..., Any])


def takes_settings(function: Function) -> Function:
    """Shows every setting in a function's signature and documentation, in the place of its
    ``**settings``."""
    own = inspect.signature(function)
    shown = [item for item in own.parameters.values() if item.name != "settings"]
    shown += [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(setting)
        )
        for name, setting in settings().items()
    ]
    function.__signature__ = own.replace(parameters=shown)  # type: ignore[attr-defined]
    before, _, after = (function.__doc__ or "").partition(
        "            settings: What the study is asked for:\n"
    )
    function.__doc__ = before + "\n".join(_told()) + "\n" + after
    return function


def _annotation(setting: Setting) -> Any:
    kinds: dict[type, Any] = {
        int: int | None,
        list: Sequence[str] | None,
        dict: Mapping[str, Any] | None,
        bool: bool | None,
    }
    return kinds.get(setting.kind, PathName | float | None)


def _told() -> Iterator[str]:
    for name, setting in settings().items():
        yield from textwrap.wrap(
            f"{name}: {setting.help}",
            100,
            initial_indent=" " * 12,
            subsequent_indent=" " * 16,
        )
