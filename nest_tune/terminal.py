"""Standard output and error as they may reach a terminal or the log of a CI job.

Everything that a command prints passes here: characters that would steer a terminal are shown as
escapes, and under CI a line of text from outside cannot begin a command of the service
(``::error::``, ``##[…]``, ``##vso[…]``). Secrets are masked.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

from compiler_core.files.visible import visible, visible_lines
from nest_tune.redaction import redact

if TYPE_CHECKING:
    from rich.console import Console

_SERVICES = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION")
_COMMAND = re.compile(r"##(?=\[|[a-z]+\[)")
_BEGINNING = re.compile(r"(?m)^([^\S\n]*):(?=:)")


def shown(text: str) -> str:
    """Lines as they may be printed."""
    text = redact(visible_lines(text))
    begins = "::" in text or "##" in text
    if begins and any(name in os.environ for name in _SERVICES):
        text = _BEGINNING.sub(r"\1\\x3a", _COMMAND.sub(r"\\x23#", text))
    return text


class VisibleStream:
    """A text stream that shows control characters instead of writing them.

    Args:
        stream: Where the text goes; everything but writing is its own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes text; returns how many characters were given."""
        text_shown = shown(text)
        try:
            self._stream.write(text_shown)
        except UnicodeEncodeError:  # a terminal of few characters
            encoding = self._stream.encoding or "ascii"
            self._stream.write(text_shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes texts one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "rich_proxied_file":
            # Consoles show text themselves, and colours of theirs have to reach a terminal.
            return self._stream
        return getattr(self._stream, name)


def show_streams() -> None:
    """Puts standard output and error behind :class:`VisibleStream`, once."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, VisibleStream):
            setattr(sys, name, VisibleStream(stream))


def visible_console(**options: Any) -> Console:
    """A console whose text is shown: cells before they are measured, and all else as it leaves.

    Args:
        options: Of :class:`rich.console.Console`.
    """
    from rich.console import Console
    from rich.segment import Segment

    class VisibleConsole(Console):
        def render_str(self, text: str, **given: Any) -> Any:
            return super().render_str(visible(text), **given)

        def render(self, renderable: Any, options: Any = None) -> Any:
            for segment in super().render(renderable, options):
                text = segment.text if segment.control else shown(segment.text)
                # Cells of a table come by once for each level that they are in.
                yield segment if text == segment.text else Segment(text, segment.style)

    return VisibleConsole(**options)
