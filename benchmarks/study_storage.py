"""What a study costs its storage: CPU time per trial, of views, and of Optuna's own ways beside it.

Run as ``python benchmarks/study_storage.py [--trials 1000] [--decisions 40] [--theirs 60]``. Each
line is one kind of storage, filled with so many trials of two objectives:

- ms of CPU per trial that is proposed and finished, at the end of the study;
- the same of Optuna: a trial by ``ask`` and ``tell`` with its TPE sampler (multivariate, constant
  liar) in the same file, at the same number of trials; ``--theirs`` of them are measured;
- seconds of CPU of whole commands (``study list``, ``show``, ``best``), and of reading all trials
  here and by Optuna.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from nest_tune.study.domain import Domain
from nest_tune.study.request.goals import parse_objective
from nest_tune.study.request.settings import StudySettings, settings_document
from nest_tune.study.store.optuna_study import optuna_study
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Status
from nest_tune.study.trial import Outcome, OuterTrial, Proposal

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = (("study", "list"), ("study", "show", "s"), ("study", "best", "s"))
KINDS = {"SQLite": "sqlite:///{}/n.db", "journal": "journal:///{}/n.log"}
LAST = 100
"""Trials at the end whose cost is given."""


@dataclass(frozen=True)
class Costs:
    """Of one kind of storage.

    Attributes:
        trial_ms: CPU of a proposed and finished trial.
        tpe_ms: Of Optuna's ask and tell.
        commands_s: CPU of each of :data:`COMMANDS`.
        read_s: CPU of reading all trials.
        optuna_read_s: CPU of Optuna for the same.
    """

    trial_ms: float
    tpe_ms: float
    commands_s: tuple[float, ...]
    read_s: float
    optuna_read_s: float


def measure(url: str, trials: int, decisions: int, theirs: int) -> Costs:
    """Fills a storage, and measures."""
    with closing(StudyStorage(url)) as storage:
        study = storage.create("s", _document(url, trials, decisions))
        storage.take(study)
        generator = np.random.default_rng(0)
        spent = 0.0
        for number in range(trials):
            trial = _trial(number, decisions, generator)
            begun = time.process_time()
            storage.propose(study, Proposal(number, trial.point, True))
            storage.finish(study, trial)
            spent += time.process_time() - begun if number >= trials - LAST else 0.0
        storage.release(study, Status.DONE)
        read_s = _cpu(lambda: storage.trials(study))
        seen = optuna_study(storage, "s")
        optuna_read_s = _cpu(lambda: seen.trials)
        commands = tuple(_command(*words, "--storage", url) for words in COMMANDS)
        tpe = _ask_and_tell(seen, Domain(study.document["parameters"]), theirs) if theirs else 0.0
    return Costs(1e3 * spent / min(LAST, trials), tpe, commands, read_s, optuna_read_s)


def _document(url: str, trials: int, decisions: int) -> dict[str, Any]:
    goals = (parse_objective("latency_ms:min"), parse_objective("energy_mj:min"))
    settings = StudySettings("s", "m.onnx", "vta", objectives=goals, limits=(), trials=trials)
    return {
        "settings": {**settings_document(settings), "storage": url},
        "digests": {},
        "records": {"newest": 0, "digest": "", "count": 0},
        "parameters": [[f"partition.conv{n}", ["cpu", "vta", "pair"]] for n in range(decisions)],
    }


def _trial(number: int, decisions: int, generator: np.random.Generator) -> OuterTrial:
    point = tuple(int(index) for index in generator.integers(0, 3, decisions))
    metrics = {
        "latency_ms": 1.0 + float(generator.random()),
        "energy_mj": 1.0 + float(generator.random()),
        "npu_cycles": 150000.0,
        "size_bytes": 7e4,
        "dram_peak_bytes": 6e4,
    }
    return OuterTrial(
        number, point, True, Outcome.COMPLETE, metrics, 0, "ff" * 16, scheme="0" * 32, wall_s=0.5
    )


def _ask_and_tell(study: Any, domain: Domain, count: int) -> float:
    """Milliseconds of CPU per trial."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.sampler = optuna.samplers.TPESampler(
            seed=0, multivariate=True, group=False, constant_liar=True
        )
        spread = domain.distributions()

        def run() -> None:
            for number in range(count):
                trial = study.ask(fixed_distributions=spread)
                study.tell(trial, [1.0 + number % 7, 1.0 + number % 5])

        return 1e3 * _cpu(run) / count


def _cpu(work: Callable[[], Any]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _command(*words: str) -> float:
    """Seconds of CPU of a whole command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "nest_tune", *words],
        check=True,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--decisions", type=int, default=40)
    parser.add_argument("--theirs", type=int, default=60)
    asked = parser.parse_args()
    print(f"{asked.trials} trials of {asked.decisions} decisions, CPU time")
    names = "".join(f"{' '.join(words[:2]):>13}" for words in COMMANDS)
    print(f"{'storage':9}{'trial ms':>10}{'TPE ms':>9}{names}{'read s':>9}{'Optuna s':>10}")
    for kind, url in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = measure(url.format(folder), asked.trials, asked.decisions, asked.theirs)
        commands = "".join(f"{seconds:13.2f}" for seconds in found.commands_s)
        print(
            f"{kind:9}{found.trial_ms:10.1f}{found.tpe_ms:9.1f}{commands}"
            f"{found.read_s:9.2f}{found.optuna_read_s:10.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
