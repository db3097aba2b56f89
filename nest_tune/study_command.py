"""Commands about a study as a shell takes them: viewers give names with spaces, or with a dash in
front."""

from __future__ import annotations

import re
import shlex

_FREE = re.compile(r"[^A-Za-z0-9._-]+")


def study_command(verb: str, name: str, *options: object) -> str:
    """``nest-tune study VERB NAME OPTION…``; what would pass for an option comes last, behind a
    ``--``.

    Args:
        verb: Of ``nest-tune study``.
        name: Of the study, with ``:NUMBER`` for one of its trials.
        options: Behind the name.
    """
    words = [name, *map(str, options)]
    if name.startswith("-"):
        words = [*words[1:], "--", name]
    return shlex.join(["nest-tune", "study", verb, *words])


def plain_name(text: str) -> str:
    """A text as the name of a study or file: letters, digits, ``.``, ``_`` and ``-``, the first one
    a letter or digit; empty where it has none of them."""
    return _FREE.sub("-", text).strip("-._")
