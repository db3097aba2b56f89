"""What every registered runner does."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compiler_core.errors import InputError
from nest_tune.runners.runner import (
    RUNNERS,
    Answer,
    Ending,
    Runner,
    RunnerOptions,
    Setup,
    Work,
    make_runner,
)

MODULE = "work_functions"
NOTHING = Answer(0, Ending.LOST)


CLUSTERS = tuple(name for name in RUNNERS.names() if RUNNERS.get(name).spreads)
PARAMETERS = [
    pytest.param(name, marks=[pytest.mark.slow] if name in CLUSTERS else [])
    for name in RUNNERS.names()
    if RUNNERS.get(name).computes
]


@pytest.fixture(scope="module", params=PARAMETERS)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A runner's name; where it starts a cluster, that is kept for all tests."""
    here = str(Path(__file__).parent)
    found: str = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(here)
        patch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
        held = None
        if found in CLUSTERS:
            held = make_runner(found, Setup(f"{MODULE}:prepare", 0), RunnerOptions(jobs=2))
        yield found
        if held is not None:
            held.close()


@pytest.fixture
def runner(name: str) -> Iterator[Runner]:
    made = make_runner(name, Setup(f"{MODULE}:prepare", 40), RunnerOptions(jobs=2))
    yield made
    made.close()


def call(ticket: int, function: str, payload: object = None, timeout_s: float = 600.0) -> Work:
    return Work(ticket, f"{MODULE}:{function}", payload, timeout_s)


def gather(runner: Runner, count: int) -> dict[int, Answer]:
    answers: dict[int, Answer] = {}
    end = time.monotonic() + 1500
    while len(answers) < count and time.monotonic() < end:
        for answer in runner.wait(1.0):
            assert answer.ticket not in answers
            answers[answer.ticket] = answer
    return answers


def test_calls_are_answered_with_the_state_of_the_setup(runner: Runner) -> None:
    for number in range(6):
        runner.submit(call(number, "add", number))
    answers = gather(runner, 6)
    assert {n: a.value for n, a in answers.items()} == {n: 40 + n for n in range(6)}
    assert {a.ending for a in answers.values()} == {Ending.DONE}
    assert runner.wait(0.1) == []


def test_plain_values_come_back_as_they_went(runner: Runner) -> None:
    value = {"a": [1, 2.5, None, True, "ü", b"\0\xff"], "b": {"c": []}, "big": list(range(50000))}
    runner.submit(call(1, "echo", value))
    assert gather(runner, 1)[1].value == value


def test_errors_are_answers(runner: Runner) -> None:
    runner.submit(call(1, "refuse", "infeasible"))
    runner.submit(call(2, "refuse"))
    runner.submit(call(3, "missing"))
    answers = gather(runner, 3)
    assert (answers[1].ending, answers[1].error) == (Ending.ERROR, "InfeasibleError")
    assert (answers[1].message, answers[1].hint) == ("does not fit", "a larger one")
    assert answers[2].hint == ""
    assert (answers[2].ending, answers[2].error) == (Ending.ERROR, "ZeroDivisionError")
    assert (answers[3].ending, answers[3].error) == (Ending.ERROR, "AttributeError")


def test_what_a_worker_printed_comes_with_its_failure(runner: Runner) -> None:
    runner.submit(call(1, "print_and", "raise"))
    runner.submit(call(3, "print_and", "die"))
    answers = gather(runner, 2)
    timeout_s = 1.0
    while "about to hang" not in (hung := answers.get(2, NOTHING)).log:
        assert hung.ending in (Ending.TIMEOUT, Ending.LOST)
        timeout_s *= 2  # until this machine, however busy, gets as far as that
        runner.submit(call(2, "print_and", "hang", timeout_s=timeout_s))
        answers |= gather(runner, 1)
    runner.submit(call(4, "print_and", "return"))
    assert gather(runner, 1)[4].log == ""
    for number, word in ((1, "raise"), (2, "hang"), (3, "die")):
        assert f"about to {word}" in answers[number].log
        assert len(answers[number].log.splitlines()) <= 30
        assert "about to return" not in answers[number].log
    assert "ZeroDivisionError" in answers[1].log
    assert "Segmentation fault" in answers[3].log  # and where


def test_a_hanging_call_is_given_up_and_the_others_go_on(runner: Runner) -> None:
    runner.submit(call(1, "sleep", 600.0, timeout_s=0.3))
    for number in range(2, 6):
        runner.submit(call(number, "add", number))
    answers = gather(runner, 5)
    assert answers[1].ending is Ending.TIMEOUT
    assert "0.3 s" in answers[1].message
    assert all(answers[n].value == 40 + n for n in range(2, 6))


def test_a_dead_worker_is_noticed_and_replaced(runner: Runner) -> None:
    runner.submit(call(1, "die"))
    runner.submit(call(2, "die"))
    runner.submit(call(3, "add", 2))
    answers = gather(runner, 3)
    assert answers[1].ending is Ending.LOST
    assert answers[2].ending is Ending.LOST
    assert answers[3].value == 42


def test_a_cancelled_call_has_no_answer(runner: Runner) -> None:
    for number in range(1, 5):
        runner.submit(call(number, "sleep", 600.0))
    for number in range(1, 5):
        runner.cancel(number)
    runner.cancel(99)
    runner.submit(call(5, "add", 1))
    assert set(gather(runner, 1)) == {5}


class Ended(BaseException):
    """As a request to end raises it."""


def test_what_a_signal_raises_comes_through(runner: Runner) -> None:
    def end(_number: int, _frame: object) -> None:
        raise Ended

    runner.submit(call(1, "sleep", 600.0))
    before = signal.signal(signal.SIGUSR1, end)
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    try:
        timer.start()
        with pytest.raises(Ended):
            gather(runner, 1)
    finally:
        timer.cancel()
        signal.signal(signal.SIGUSR1, before)
    runner.cancel(1)


def test_closing_ends_running_calls_at_once(runner: Runner, tmp_path: Path) -> None:
    told = tmp_path / "process"
    runner.submit(call(1, "hold", str(told)))
    end = time.monotonic() + 1500
    while not told.exists() and time.monotonic() < end:
        runner.wait(0.1)
    process = int(told.read_text())
    runner.close()
    runner.close()
    assert process == os.getpid() or has_ended(process)


def has_ended(process: int) -> bool:
    """Whether a process is gone before its call would end: on a cluster others have to be told."""
    for _ in range(3000):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_setup_that_fails_answers_the_call(name: str) -> None:
    runner = make_runner(name, Setup(f"{MODULE}:prepare", "broken"), RunnerOptions(jobs=1))
    try:
        runner.submit(call(1, "add", 1))
        answer = gather(runner, 1)[1]
    finally:
        runner.close()
    assert (answer.ending, answer.error) == (Ending.ERROR, "InfeasibleError")


def test_unknown_runners_name_the_nearest() -> None:
    with pytest.raises(InputError, match="'locla' is not known; known are") as caught:
        make_runner("locla", Setup("", None), RunnerOptions())
    assert caught.value.hint == "did you mean 'local'?"
