"""Live progress of a study on standard error: a panel on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from compiler_core.files.visible import visible
from nest_tune.study.request.goals import Objective
from nest_tune.study.views.progress_state import Progress
from nest_tune.terminal import visible_console

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

__all__ = ["Lines", "Panel", "Progress", "make_progress"]

_LINE_EVERY_S = 5.0
_LINE_SHARE = 0.05
"""Of the time that has passed, until the next line: long studies leave short logs."""
_DRAW_EVERY_S = 0.2
_BAR_WIDTH = 40


class Lines(Progress):
    """A line now and then, where there is no terminal; bests are told again where they changed."""

    _next_s = 0.0
    _told: Mapping[str, str] = MappingProxyType({})

    def show(self, *, urgent: bool) -> None:
        now = time.monotonic()
        if not urgent and now < self._next_s:
            return
        self._next_s = now + max(_LINE_EVERY_S, _LINE_SHARE * (now - self._began_s))
        bests = dict(self.best_lines())
        told = [n for n, text in bests.items() if urgent or self._told.get(n) != text]
        self._told = bests
        parts = [self.counts_text(), *(f"{name}: {bests[name]}" for name in told)]
        if self.is_verbose and (quality := self.quality_text()):
            parts.append(f"cost model: {quality}")
        line = visible("; ".join([*parts, self.doing_text()]))
        print(line, file=sys.stderr, flush=True)


class Panel(Progress):
    """A table with a bar that is drawn anew, on a terminal."""

    _live: Live | None = None
    _next_s = 0.0

    def show(self, *, urgent: bool) -> None:
        if self._live is None:
            from rich.live import Live

            self._live = Live(
                console=visible_console(stderr=True), auto_refresh=False, transient=False
            )
            self._live.start()
        now = time.monotonic()
        if urgent or now >= self._next_s:
            self._next_s = now + _DRAW_EVERY_S
            self._live.update(self.table(), refresh=True)

    def close(self) -> None:
        """Leaves the last table standing."""
        if self._live is not None:
            self._live.stop()

    def table(self) -> Table:
        """What the terminal shows now."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table(show_header=False, box=None)
        table.add_row("", ProgressBar(total=1.0, completed=self.share_done, width=_BAR_WIDTH))
        rows = [("study", self.counts_text()), *self.best_lines(), ("tasks", self.tasks_text())]
        if self.is_verbose and (quality := self.quality_text()):
            rows.append(("cost model", quality))
        for name, text in (*rows, ("now", self.doing_text())):
            table.add_row(name, Text(text))
        return table


def make_progress(
    objectives: Sequence[Objective], metric: str = "top1", *, verbose: bool = False
) -> Progress:
    """The kind that standard error can show."""
    kind = Panel if sys.stderr.isatty() else Lines
    return kind(objectives, metric, verbose=verbose)
