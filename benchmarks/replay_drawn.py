"""How far the order that other models teach holds on tables of other kinds, drawn from one.

Run: ``python benchmarks/replay_drawn.py TABLE.csv [--float SqueezeNet=53.80] [--draws 40]``.

TABLE as for ``replay_quantization.py``, whose counts these are: geometric means over models and
draws of the trials to the best row and to one within a point of float, for ``transfer`` and
``random``, and the part of draws in which transfer takes more trials than random. Kinds of draws:

- *all rows*: the table itself;
- *half the rows*: of each model a half of its own, so that no model has measured what others have;
- *few lessons*: a fifth of the rows of those that teach;
- *one value less*: a value of a knob that has more than one left out, for all models;
- *one knob less*: configurations that differ in a knob alone are one, with their mean accuracy;
- *300 samples*: accuracies as 300 samples would show them, on either side;
- *other objective*: accuracy less a price of each value of each knob, up to 3 points, drawn, the
  same for all models;
- *stranger among them*: one of the models that teach has its rows in a random order.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.replay_quantization import Model, read_table, trials_to

Models = list[Model]
Draw = Callable[[Models, Model, np.random.Generator], Models]


def all_rows(models: Models, _own: Model, _random: np.random.Generator) -> Models:
    """As they are."""
    return models


def half_the_rows(models: Models, _own: Model, random: np.random.Generator) -> Models:
    """Each model with a half of its rows."""
    return [_kept(model, len(model.accuracy) // 2, random) for model in models]


def few_lessons(models: Models, own: Model, random: np.random.Generator) -> Models:
    """A fifth of the rows of all but one model."""
    return [m if m is own else _kept(m, len(m.accuracy) // 5, random) for m in models]


def one_value_less(models: Models, _own: Model, random: np.random.Generator) -> Models:
    """A value of a knob left out."""
    many = [n for n in range(len(models[0].knobs)) if len(_values(models, n)) > 1]
    knob = int(random.choice(many))
    value = random.choice(_values(models, knob))
    return [_with(m, {c: v for c, v in m.accuracy.items() if c[knob] != value}) for m in models]


def one_knob_less(models: Models, _own: Model, random: np.random.Generator) -> Models:
    """Without one knob, with the mean over its values."""
    knob = int(random.integers(len(models[0].knobs)))
    found = []
    for model in models:
        rows: dict[tuple[object, ...], list[float]] = {}
        for config, value in model.accuracy.items():
            rows.setdefault(config[:knob] + config[knob + 1 :], []).append(value)
        means = {config: float(np.mean(values)) for config, values in rows.items()}
        knobs = model.knobs[:knob] + model.knobs[knob + 1 :]
        found.append(replace(_with(model, means), knobs=knobs))
    return found


def few_samples(models: Models, _own: Model, random: np.random.Generator) -> Models:
    """Accuracies as 300 samples show them."""
    return [
        _with(
            model,
            {c: float(random.binomial(300, v / 100) / 3) for c, v in model.accuracy.items()},
        )
        for model in models
    ]


def other_objective(models: Models, _own: Model, random: np.random.Generator) -> Models:
    """Accuracy less a price of values."""
    prices = [
        {v: float(random.uniform(0, 3)) for v in _values(models, n)}
        for n in range(len(models[0].knobs))
    ]
    return [
        _with(
            model,
            {
                c: v - sum(price[x] for price, x in zip(prices, c, strict=True))
                for c, v in model.accuracy.items()
            },
        )
        for model in models
    ]


def stranger(models: Models, own: Model, random: np.random.Generator) -> Models:
    """One of the others in a random order."""
    others = [n for n, m in enumerate(models) if m is not own]
    if not others:
        return models
    found, at = list(models), int(random.choice(others))
    values = random.permutation(list(models[at].accuracy.values())).tolist()
    found[at] = _with(models[at], dict(zip(models[at].accuracy, values, strict=True)))
    return found


DRAWS: dict[str, Draw] = {
    "all rows": all_rows,
    "half the rows": half_the_rows,
    "few lessons": few_lessons,
    "one value less": one_value_less,
    "one knob less": one_knob_less,
    "300 samples": few_samples,
    "other objective": other_objective,
    "stranger among them": stranger,
}


def drawn(models: Models, own: Model, kind: str, seed: int) -> tuple[Model, Models]:
    """A model and those that teach, of one draw; what is near float is near the best row where the
    values are no accuracies."""
    found = DRAWS[kind](models, own, np.random.default_rng([seed, len(kind)]))
    at = models.index(own)
    return found[at], found[:at] + found[at + 1 :]


def _kept(model: Model, count: int, random: np.random.Generator) -> Model:
    rows = list(model.accuracy)
    chosen = sorted(random.permutation(len(rows))[: max(1, count)].tolist())
    return _with(model, {rows[n]: model.accuracy[rows[n]] for n in chosen})


def _values(models: Models, knob: int) -> list[str]:
    return sorted({str(config[knob]) for model in models for config in model.accuracy})


def _with(model: Model, accuracy: dict[tuple[object, ...], float]) -> Model:
    """The model with other rows; float no better than what is near its best row then."""
    found = replace(model, accuracy=accuracy)
    return replace(found, reference=min(model.reference, found.best)) if accuracy else found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--float", action="append", default=[], metavar="MODEL=PERCENT")
    arguments = parser.parse_args()
    named = [text.rpartition("=") for text in arguments.float]
    models = read_table(arguments.table, {name: float(value) for name, _, value in named})
    head = "".join(f"{name:>12}{'random':>9}" for name in ("to the best", "to a point"))
    print(f"{'kind':22}{head}  more than random in")
    for kind in DRAWS:
        counts: dict[str, list[tuple[int, int]]] = {"transfer": [], "random": []}
        for seed in range(arguments.draws):
            for model in models:
                own, others = drawn(models, model, kind, seed)
                if own.accuracy:
                    for name, found in counts.items():
                        found.append(trials_to(own, others, name, seed))
        table = {name: np.array(found, np.float64) for name, found in counts.items()}
        means = {name: np.exp(np.log(found).mean(axis=0)) for name, found in table.items()}
        line = "".join(
            f"{means['transfer'][column]:12.2f}{means['random'][column]:9.2f}" for column in (0, 1)
        )
        worse = (table["transfer"] > table["random"]).mean(axis=0)
        print(f"{kind:22}{line}  {worse[0]:.0%}, {worse[1]:.0%}", flush=True)


if __name__ == "__main__":
    main()
