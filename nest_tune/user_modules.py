"""Users' own functions, named ``module:function``: metrics, measurers.

Their modules may lie in the working folder, which comes last on the path of modules: nothing in it
stands in for a module that is installed. Workers take the folder of the process that drives them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any


def working_folder() -> str:
    """Where the modules of this process's user may lie; empty where the folder is gone."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def allow_folder(folder: str) -> None:
    """Puts a folder at the end of the path of modules."""
    if folder and folder not in sys.path:
        sys.path.append(folder)


def load_named(name: str) -> Any:
    """What ``module:name`` or ``module:name.name`` stands for.

    Raises:
        ImportError: There is no such module, or it cannot be imported.
        AttributeError: The module has nothing of that name.
        ValueError: ``name`` reads otherwise.
    """
    module, colon, attributes = name.partition(":")
    if not (module and colon and attributes):
        raise ValueError(f"{name!r}: module:function is needed")
    allow_folder(working_folder())
    found: Any = import_module(module)
    for part in attributes.split("."):
        found = getattr(found, part)
    return found


def module_files(names: Iterable[str]) -> tuple[str, ...]:
    """Files of the working folder that hold what ``names`` stand for: modules, not packages."""
    folder = working_folder()
    if not folder:
        return ()
    modules = {name.partition(":")[0] for name in names if ":" in name}
    paths = [Path(folder) / f"{module}.py" for module in sorted(modules)]
    return tuple(str(path) for path in paths if path.is_file())
