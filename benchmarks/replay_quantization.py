"""Trials until the best quantization of a measured table, leaving one model out at a time.

Run: ``python benchmarks/replay_quantization.py TABLE.csv [--float SqueezeNet=53.80] [--seeds 20]``.

The table has a column ``model``, then the knobs, then ``top1_accuracy_percent``; what follows
describes the network and is the same in all of its rows. Each sampler searches one model's rows
without replacement; a prior learns from the rows of the other models alone. Two counts: trials to
the best row, and to one within 1 point of the float accuracy (of the best row where ``--float``
does not name the model; the best row where none comes that near). Means are geometric, over models
and seeds, with 95 % bootstrap intervals over seeds. Seeds decide no more than ties for
``transfer``, which has nothing random in it: the order in which a study tries schemes that studies
of other models have tried.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import numpy.typing as npt
import optuna

from compiler_core.errors import InputError, NestTuneError
from nest_tune.samplers.schedules.optuna_bridge import tpe
from nest_tune.samplers.transfer import Configuration, taught_order

VALUE = "top1_accuracy_percent"
_WITHIN = 1.0
_BOOTSTRAPS = 2000
_ASKS = 100
"""Proposals of TPE per configuration of the table; then the rest is drawn at random."""


@dataclass(frozen=True)
class Model:
    """Measured configurations of one model, accuracies in percent."""

    name: str
    knobs: tuple[str, ...]
    accuracy: dict[Configuration, float]
    reference: float

    @property
    def best(self) -> float:
        """Accuracy of the best row."""
        return max(self.accuracy.values())

    @property
    def near(self) -> float:
        """Accuracy within a point of float, or the nearest to it that there is."""
        return min(self.reference - _WITHIN, self.best)


def read_table(path: Path, floats: dict[str, float]) -> list[Model]:
    """Models of a table.

    Raises:
        InputError: It is not of the format, with the line.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    rows = list(csv.reader(text.splitlines()))
    header = rows[0] if rows else []
    if not header or header[0] != "model" or VALUE not in header[2:]:
        raise InputError(f"{path}: line 1: columns model, knobs, {VALUE} are needed: {header}")
    value = header.index(VALUE)
    found: dict[str, dict[Configuration, float]] = {}
    for line, row in enumerate(rows[1:], 2):
        try:
            accuracy = float(row[value]) if len(row) == len(header) else float("nan")
        except ValueError:
            accuracy = float("nan")
        if not 0 <= accuracy <= 100:
            raise InputError(f"{path}: line {line}: {len(header)} columns, {VALUE} 0 to 100: {row}")
        if tuple(row[1:value]) in found.setdefault(row[0], {}):
            raise InputError(f"{path}: line {line}: measured twice: {row}")
        found[row[0]][tuple(row[1:value])] = accuracy
    for name in floats:
        if name not in found:
            raise InputError(f"--float: no model {name!r}; the table has {', '.join(found)}")
    if not found:
        raise InputError(f"{path}: no rows")
    return [
        Model(name, tuple(header[1:value]), rows, floats.get(name, max(rows.values())))
        for name, rows in found.items()
    ]


def random_order(model: Model, _others: list[Model], seed: int) -> Iterator[Configuration]:
    """All rows, shuffled."""
    rows = list(model.accuracy)
    for number in np.random.default_rng([seed, 1]).permutation(len(rows)):
        yield rows[number]


def transfer_order(model: Model, others: list[Model], seed: int) -> Iterator[Configuration]:
    """What the other models teach, as studies begin."""
    rows = list(model.accuracy)
    ties = np.random.default_rng([seed, 0x7A5F]).random(len(rows))
    yield from (rows[n] for n in taught_order(rows, [o.accuracy for o in others], ties.tolist()))


def tpe_order(model: Model, others: list[Model], seed: int) -> Iterator[Configuration]:
    """Optuna's TPE; rows that the table lacks, and rows proposed again, are no trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=tpe(seed), direction="maximize")
    values = [list(dict.fromkeys(c[i] for c in model.accuracy)) for i in range(len(model.knobs))]
    seen: set[Configuration] = set()
    for _ in range(_ASKS * len(model.accuracy)):
        if len(seen) == len(model.accuracy):
            return
        trial = study.ask()
        row = tuple(
            trial.suggest_categorical(k, v) for k, v in zip(model.knobs, values, strict=True)
        )
        if row not in model.accuracy:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        if row not in seen:
            seen.add(row)
            yield row
        study.tell(trial, model.accuracy[row])
    yield from (row for row in random_order(model, others, seed) if row not in seen)


SAMPLERS: dict[str, Callable[[Model, list[Model], int], Iterator[Configuration]]] = {
    "transfer": transfer_order,
    "tpe": tpe_order,
    "random": random_order,
}


def trials_to(model: Model, others: list[Model], order: str, seed: int) -> tuple[int, int]:
    """Trials to the best row, and to one within a point of float."""
    near = 0
    for number, row in enumerate(SAMPLERS[order](model, others, seed), 1):
        if not near and model.accuracy[row] >= model.near:
            near = number
        if model.accuracy[row] == model.best:
            return number, near
    raise AssertionError("a sampler ended before the best row")


def geometric(counts: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Geometric mean of ``[models, seeds]`` and its interval."""
    generator = np.random.default_rng(0)
    of_seed = np.log(counts).mean(axis=0)
    draws = generator.integers(0, len(of_seed), (_BOOTSTRAPS, len(of_seed)))
    low, high = np.exp(np.quantile(of_seed[draws].mean(axis=1), [0.025, 0.975])).tolist()
    return float(np.exp(of_seed.mean())), low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--float", action="append", default=[], metavar="MODEL=PERCENT")
    arguments = parser.parse_args()
    named = [text.rpartition("=") for text in arguments.float]
    try:
        floats = {name: float(value) for name, _, value in named}
    except ValueError:
        parser.error(f"--float takes MODEL=PERCENT, not {arguments.float}")
    try:
        models = read_table(arguments.table, floats)
    except NestTuneError as error:
        parser.error(str(error))
    for model in models:
        near = sum(value >= model.near for value in model.accuracy.values())
        print(
            f"{model.name}: {len(model.accuracy)} rows, best {model.best:.2f}; "
            f"{near} rows from {model.near:.2f} up count as near float"
        )
    rates: dict[str, list[float]] = {}
    for name in arguments.samplers.split(","):
        counts = np.array(
            [
                [
                    trials_to(model, [m for m in models if m is not model], name, seed)
                    for seed in range(arguments.seeds)
                ]
                for model in models
            ],
            np.float64,
        )
        rates[name] = []
        for column, goal in enumerate(("the best", "within 1 point of float")):
            mean, low, high = geometric(counts[:, :, column])
            rates[name].append(mean)
            each = ", ".join(
                f"{m.name} {np.exp(np.log(c).mean()):.1f}"
                for m, c in zip(models, counts[:, :, column], strict=True)
            )
            ratio = mean / rates[next(iter(rates))][column]
            print(
                f"{name:9} trials to {goal:24} {mean:6.2f} [{low:.2f}, {high:.2f}] "
                f"{ratio:5.1f}x ({each})",
                flush=True,
            )


if __name__ == "__main__":
    main()
