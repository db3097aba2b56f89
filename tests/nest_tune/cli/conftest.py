"""Commands run in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nest_tune.cli.app import _run

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``nest-tune`` in this process: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        words = [str(argument) for argument in arguments]
        code = _run(words, debug=False, as_json="--json" in words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
