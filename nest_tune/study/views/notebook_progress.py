"""Live progress of a study in a notebook: a bar below the cell that started it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from html import escape
from typing import Any

from compiler_core.files.visible import visible
from nest_tune.study.request.goals import Objective
from nest_tune.study.running.observer import Observer
from nest_tune.study.views.progress_state import Progress

_DRAW_EVERY_S = 0.5


class NotebookBar(Progress):
    """A bar, the bests and what happens now, drawn anew in place.

    Args:
        objectives, metric: Of the study.
        display: IPython's function of that name, for a handle that can be updated.
    """

    def __init__(self, objectives: Sequence[Objective], metric: str, display: Any) -> None:
        super().__init__(objectives, metric)
        self._display = display
        self._handle: Any = None
        self._next_s = 0.0

    def show(self, *, urgent: bool) -> None:
        now = time.monotonic()
        if not urgent and now < self._next_s:
            return
        self._next_s = now + _DRAW_EVERY_S
        bundle = {"text/html": self.html(), "text/plain": self.text()}
        if self._handle is None:
            self._handle = self._display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def html(self) -> str:
        """The bar and the lines below it."""
        rows = "<br>".join(escape(line) for line in self._lines())
        return f'<progress max="1" value="{self.share_done:.4f}"></progress> {rows}'

    def text(self) -> str:
        """The same for a front end that shows no HTML."""
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        bests = (f"{name}: {text}" for name, text in self.best_lines())
        return [visible(line) for line in (self.counts_text(), *bests, self.doing_text())]


def notebook_observer(objectives: Sequence[Objective], metric: str) -> Observer:
    """The bar where a notebook's kernel runs this process, else an observer that is silent."""
    if "ipykernel" not in sys.modules:
        return Observer()
    from IPython import get_ipython
    from IPython.display import display

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return Observer()
    return NotebookBar(objectives, metric, display)
