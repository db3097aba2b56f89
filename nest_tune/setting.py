"""What can be said of a piece of work, each setting written once.

From a setting follow the option of the command line (:mod:`nest_tune.cli.setting_options`) and the
keyword argument of the Python interface (:mod:`nest_tune.api.settings`); of a study also the key of
its file (:mod:`nest_tune.study.request.study_file`).

A set of settings is a frozen dataclass whose fields carry them, or a ``TypedDict`` whose keys are
annotated with them: functions take the latter as ``**asked: Unpack[TheSet]``, so that checkers know
the arguments, too.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, ForwardRef, TypeVar, cast, get_args, get_origin, is_typeddict

Asked = TypeVar("Asked")

SHAPES, VALUES, ARGUMENTS = "shapes", "values", "arguments"


@dataclass(frozen=True)
class Setting:
    """One setting, as its ways in have it.

    Attributes:
        help: What it is, in one sentence; that of the option, the keyword and the key.
        kind: Of its value: ``str``, ``int``, ``bool``, ``list`` (of texts), or ``dict``.
        holds: What a ``dict`` has by name: :data:`SHAPES`, :data:`VALUES` or :data:`ARGUMENTS`.
        place: ``table.key`` in a study file; empty where files do not have it, or have it in
            another form.
        default: Where nobody says it.
        least, most: Bounds of numbers.
        metavar: What the option shows for its value.
        option: Of the command line, where it is not the name with dashes.
        completion: Name of what a shell offers, in :mod:`nest_tune.cli.completion`.
        pair: Of a list that may be given as a table, like a study file has it: how a name and its
            value are one text.
    """

    help: str
    kind: type = str
    place: str = ""
    default: Any = None
    least: int | None = None
    most: int | None = None
    metavar: str | None = None
    option: str = ""
    completion: str = ""
    holds: str = SHAPES
    pair: str = ""


def settings_of(asked: type) -> dict[str, Setting]:
    """The settings of a set by name, in order."""
    if is_typeddict(asked):
        return {name: _annotated(hint)[1] for name, hint in asked.__annotations__.items()}
    return {item.name: item.metadata["setting"] for item in fields(asked)}


def types_of(asked: type) -> dict[str, Any]:
    """What the keys of an annotated set hold, by name."""
    return {name: _annotated(hint)[0] for name, hint in asked.__annotations__.items()}


def settled(asked: type[Asked], given: Asked) -> Asked:
    """What was said, with the defaults of what was not.

    Args:
        asked: An annotated set.
        given: Keyword arguments of a function.

    Raises:
        TypeError: One is no setting of the set, as Python says it of arguments.
    """
    said = cast("dict[str, Any]", given)
    for name in said:
        if name not in settings_of(asked):
            raise TypeError(f"got an unexpected keyword argument {name!r}")
    defaults = {name: setting.default for name, setting in settings_of(asked).items()}
    return cast("Asked", defaults | said)


def _annotated(hint: Any) -> tuple[Any, Setting]:
    assert get_origin(hint) is Annotated
    kind, setting = get_args(hint)
    return (kind.__forward_arg__ if isinstance(kind, ForwardRef) else kind), setting
