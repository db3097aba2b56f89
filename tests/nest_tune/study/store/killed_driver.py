"""Drives studies in forked processes, and kills them.

Run as ``python killed_driver.py URL drive NAME TRIALS`` for a study to its end, or as ``python
killed_driver.py URL kill NAME TRIALS KILLS SEED``: a driver is begun again and again and killed so
often, at any moment from its first statement on; a study that ended between is deleted. What
imports take is paid once, so that moments fall into the work and not into the start of Python.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable

from nest_tune.records.database import RecordDatabase
from nest_tune.records.record import MeasurementOutcome, Record
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Status
from nest_tune.study.trial import Outcome, OuterTrial, Proposal

WINDOW = 4


def point(number: int) -> tuple[int, ...]:
    return tuple((number >> (n % 5)) & 1 for n in range(40))


def drive(url: str, name: str, trials: int) -> None:
    """All that a driver stores, of trials whose results follow from their numbers."""
    storage, records = StudyStorage(url), RecordDatabase(url)
    study = storage.get(name) or storage.create(
        name, {"parameters": [[f"unit.{n}", ["cpu", "npu"]] for n in range(40)]}
    )
    storage.take(study)
    done = {trial.number for trial in storage.trials(study)}
    for number in range(trials):
        for ahead in range(number, min(number + WINDOW, trials)):
            if ahead not in done:
                storage.propose(study, Proposal(ahead, point(ahead), ahead > 0, {"seen": number}))
                done.add(ahead)
                break
        storage.beat(study)
        if number in {trial.number for trial in storage.trials(study)}:
            continue
        text = f'{{"n":{number}}}'
        key = (f"{name}-{number}", f"{number:016x}", "t", 1)
        record = Record(*key, MeasurementOutcome.CORRECT, number + 1, 8, text, text)
        records.add([record.sealed()])
        storage.add_tasks(study, {f"task-{number}": {"n": number}})
        storage.add_result(f"{name}-{number}", [number] * 50)
        metrics = {"latency_ms": 1.0 + number / 8}
        storage.finish(
            study, OuterTrial(number, point(number), number > 0, Outcome.COMPLETE, metrics)
        )
    storage.release(study, Status.DONE)
    storage.close()


def delete(url: str, name: str) -> None:
    storage = StudyStorage(url)
    storage.delete(storage.find(name))
    storage.close()


def forked(work: Callable[[], None]) -> int:
    """The process id of a child that does something and ends."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def ended(child: int) -> None:
    """Waits for a child that nobody kills."""
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise SystemExit(f"a driver ended with {status}")


def killed(child: int, seconds: float) -> bool:
    """Whether a child was killed after some seconds; ``False`` where it had ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            if status != 0:
                raise SystemExit(f"a driver ended with {status}")
            return False
        time.sleep(min(0.001, seconds / 8))
    os.kill(child, signal.SIGKILL)  # waited for by nobody but us: it is still ours
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def kill_again_and_again(url: str, name: str, trials: int, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    span_s = 0.1
    done = whole = 0
    while done < kills:
        if killed(forked(lambda: drive(url, name, trials)), chance.random() * span_s):
            done, span_s = done + 1, span_s * 1.1  # so that one in some ends, on any machine
        else:
            whole, span_s = whole + 1, span_s / 2
            ended(forked(lambda: delete(url, name)))
    ended(forked(lambda: drive(url, name, trials)))
    print(f"{done} kills, {whole} ended between")


def main() -> None:
    url, verb, name, trials, *more = sys.argv[1:]
    if verb == "drive":
        drive(url, name, int(trials))
    else:
        kill_again_and_again(url, name, int(trials), *map(int, more))


if __name__ == "__main__":
    main()
