"""Decisions of a trial changed back to the default, each alone, and measured: those first that are
about most of the latency, as many as were asked for, and none twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from compiler_core.accuracy.metric import shown_name
from compiler_core.accuracy.score import Score
from compiler_core.errors import InfeasibleError, InputError
from compiler_core.files.brief import brief
from compiler_core.files.plain import to_plain
from compiler_core.quantize.sensitivity import layer_macs
from compiler_core.sums import float_sum
from nest_tune.figures import duration
from nest_tune.report.kept import Kept
from nest_tune.study.execution.benches import bench_of
from nest_tune.study.execution.examined import Costs
from nest_tune.study.execution.scoring import accuracy_metrics
from nest_tune.study.execution.source_bench import SourceBench
from nest_tune.study.proposals.evidence import trial_score
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import OuterTrial

Progress = Callable[[str], None]

MOST = 12
"""Decisions that are measured where nobody says how many."""

MOST_LAYER_RUNS = 1_000_000
"""Layers times samples of all of these together."""

MOST_MACS = 3e11
"""Their multiplications."""

_FEWEST_TIMED = 3
"""Measurements after which the time left is told: the first one pays for the start."""

NOT_MEASURED, INTERRUPTED = "not measured", "not measured: interrupted"


@dataclass(frozen=True)
class Effect:
    """One decision changed back to the default, everything else kept.

    Attributes:
        decision: Name of the parameter, ``tiling``, or ``tiling of TASK``.
        value, default: Of the trial and of the default.
        metrics: What was measured with the default; empty where that is not possible.
        untuned: Tasks that occur only then and have no tuned schedule: they count as untuned.
        message: Why nothing was measured.
        breaks: Limits that would not hold, as written.
        score: Accuracy that was measured, with single samples.
        intervals: 95 % intervals of what was measured by the clock.
        left_out: Whether nothing was measured because that takes long, or was interrupted.
    """

    decision: str
    value: str
    default: str
    metrics: Mapping[str, float]
    untuned: int = 0
    message: str = ""
    breaks: tuple[str, ...] = ()
    score: Score | None = None
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    left_out: bool = False


def read_count(text: str | int | None, where: str = "effects") -> int | str | None:
    """How many decisions to measure, as :class:`Changes` takes it.

    Args:
        text: What was asked for.
        where: Name of the argument or option, for the message.

    Raises:
        InputError: It is neither a number nor ``all``.
    """
    if text is None or text == "all":
        return text
    if isinstance(text, int) or (text.isascii() and text.isdigit()):
        count = int(text)
        if count >= 0:
            return count
    raise InputError(
        f"{where}: {brief(text)} is no number of decisions",
        hint="5 measures the five that matter most, all every one, 0 none",
    )


def changed_back(point: tuple[int, ...], index: int, default: int) -> tuple[int, ...]:
    """A point with one decision as in the default."""
    return (*point[:index], default, *point[index + 1 :])


def shares_of_latency(latencies_ms: Mapping[str, float]) -> dict[str, float]:
    """Of each layer, by its name; nothing where no layer takes time."""
    total = float_sum(latencies_ms.values())
    return {name: ms / total for name, ms in latencies_ms.items()} if total else {}


@dataclass(frozen=True)
class _Asked:
    """A decision that takes a measurement."""

    index: int
    point: tuple[int, ...]
    decisions: Mapping[str, Any]
    costs_key: str
    accuracy_key: str


class Changes:
    """Changes of a trial, one decision each.

    Args:
        ground: What the study stands on.
        result: The study.
        trial: A measured one, with its accuracy on all samples.
        kept: What was measured before.
        progress: Told what is being measured.
        count: How many decisions are measured, or ``all``; ``None`` for those that matter most
            within bounds of work. What is known already takes no measurement.
        shares: Of the latency, by layer.
    """

    def __init__(
        self,
        ground: Ground,
        result: StudyResult,
        trial: OuterTrial,
        kept: Kept,
        progress: Progress,
        *,
        count: int | str | None = None,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        self._ground, self._result, self._trial = ground, result, trial
        self._kept, self._progress, self._count = kept, progress, count
        self._shares = dict(shares or {})
        self._bench = bench_of(ground.subjects)
        self._evaluates = ground.settings.evaluation is not None
        self.interrupted = False

    def all(self, *, each_task: bool) -> tuple[Effect, ...]:
        """What every change does, in the order of the parameters; tilings come last.

        Who interrupts gets what was measured until then: :attr:`interrupted` says so.
        """
        found = self._decisions()
        tilings: list[Effect] = []
        if not self.interrupted and self._count != 0:
            try:
                for effect in self._tilings(each_task=each_task):
                    tilings.append(effect)
            except KeyboardInterrupt:
                self.interrupted = True
        return (*found, *tilings)

    def _decisions(self) -> list[Effect]:
        space, trial = self._ground.space, self._trial
        effects: dict[int, Effect] = {}
        asked: list[_Asked] = []
        for index, parameter in enumerate(space.parameters):
            value, default = trial.point[index], space.default[index]
            if value == default:
                continue
            shown = [str(to_plain(parameter.values[index])) for index in (value, default)]
            effect = Effect(parameter.name, shown[0], shown[1], {})
            point = changed_back(trial.point, index, default)
            known = self._known(point)
            if known is not None:
                effect = self._of_trial(effect, known)
            elif not space.is_legal(point):
                message = "the default is not legal beside the other decisions"
                effect = replace(effect, message=message)
            else:
                effect = replace(effect, message=NOT_MEASURED, left_out=True)
                asked.append(self._asked(index, point))
            effects[index] = effect
        self._kept.look([key for one in asked for key in (one.costs_key, one.accuracy_key)])
        ranked = sorted(asked, key=lambda one: (-self._share(one.index), one.index))
        wanted = ranked[: self._most(len(ranked))]
        known_ones = [one for one in ranked if self._is_kept(one)]
        for one in known_ones:
            effects[one.index] = self._measured(effects[one.index], one)
        effects |= self._in_turn(effects, [one for one in wanted if one not in known_ones])
        return [effects[index] for index in sorted(effects)]

    def _in_turn(
        self, effects: Mapping[int, Effect], asked: Sequence[_Asked]
    ) -> Iterator[tuple[int, Effect]]:
        """Measures one after the other, until somebody interrupts."""
        began = time.monotonic()
        for done, one in enumerate(asked):
            name = self._ground.space.parameters[one.index].name
            left = ""
            if done >= _FEWEST_TIMED:
                seconds = (time.monotonic() - began) / done * (len(asked) - done)
                left = f", about {duration(seconds)} left"
            try:
                self._progress(f"changing back {done + 1} of {len(asked)}: {name}{left}")
                yield one.index, self._measured(effects[one.index], one)
            except KeyboardInterrupt:
                self.interrupted = True
                for other in asked[done:]:
                    yield other.index, replace(effects[other.index], message=INTERRUPTED)
                return

    def _share(self, index: int) -> float:
        """Of the latency that a decision is about: of all of it, where it is of no one layer."""
        name = self._ground.space.parameters[index].name
        layer = name.partition(".")[2]
        for node in self._ground.model.graph.nodes:
            if node.name and (layer == node.name or layer.endswith(f".{node.name}")):
                return self._shares.get(node.name, 0.0)
        return 1.0

    def _most(self, changed: int) -> int:
        """How many of the changed decisions may be measured: by counts, never by the clock, so that
        the same study has the same page."""
        if self._count == "all":
            return changed
        if self._count is not None:
            return int(self._count)
        macs = layer_macs(self._ground.model.graph)
        samples = self._bench.samples if self._evaluates else 1
        by_layers = MOST_LAYER_RUNS // max(len(self._ground.model.graph.nodes) * samples, 1)
        by_macs = MOST_MACS // max(sum(macs.values()) * samples, 1)
        return int(min(MOST, by_layers, by_macs))

    def _known(self, point: tuple[int, ...]) -> OuterTrial | None:
        """The trial that has measured a point already, tuned as the trial is."""
        for other in self._result.trials:
            if other.point == point and other.tuned == self._trial.tuned:
                return other if other.outcome.is_measured and other.settled else None
        return None

    def _of_trial(self, effect: Effect, known: OuterTrial) -> Effect:
        kept = replace(effect, intervals=known.intervals, score=trial_score(known))
        return self._judged(replace(kept, metrics=dict(known.metrics)))

    def _asked(self, index: int, point: tuple[int, ...]) -> _Asked:
        decisions = self._ground.space.decode(point)
        return _Asked(
            index,
            point,
            decisions,
            self._costs_key(decisions, tuned=self._trial.tuned),
            self._kept.key("accuracy", {"decisions": decisions}),
        )

    def _costs_key(self, decisions: Mapping[str, Any], *, tuned: bool, without: str = "") -> str:
        tasks = self._result.tasks if tuned or self._ground.are_sources else {}
        schedules = {name: to_plain(task.schedule) for name, task in sorted(tasks.items())}
        of = {"decisions": decisions, "schedules": schedules, "tuned": tuned, "without": without}
        return self._kept.key("costs", of)

    def _is_kept(self, one: _Asked) -> bool:
        return one.costs_key in self._kept and (
            not self._evaluates or one.accuracy_key in self._kept
        )

    def _measured(self, effect: Effect, one: _Asked) -> Effect:
        effect = replace(effect, message="", left_out=False)
        try:
            found = self._kept.get(one.costs_key, lambda: self._costs_of(one.decisions))
            if "message" in found:
                return replace(effect, message=found["message"])
            effect = replace(effect, intervals=found["intervals"], untuned=found["untuned"])
            metrics = dict(found["metrics"])
            if self._evaluates:
                own, floats, default = self._scores(one)
                metrics |= accuracy_metrics(self._ground.settings.metric, own, floats, default)
                effect = replace(effect, score=own)
        except (InfeasibleError, InputError) as error:
            return replace(effect, message=error.message)
        return self._judged(replace(effect, metrics=metrics))

    def _scores(self, one: _Asked) -> tuple[Score, Score, Score | None]:
        """Of a change, of the float model and of the default, on all samples."""
        bench, default = self._bench, self._result.default
        own = self._score(one.accuracy_key, lambda: bench.accuracy(one.decisions, 0))
        floats = self._score(self._kept.key("float", {}), lambda: bench.float_accuracy(0))
        if default is None or not default.outcome.is_measured:
            return own, floats, None
        return own, floats, Score(default.metrics["accuracy"], own.samples)

    def _score(self, key: str, measure: Callable[[], Score]) -> Score:
        return Score(**self._kept.get(key, lambda: to_plain(measure())))

    def _costs_of(self, decisions: Mapping[str, Any]) -> Any:
        """Plain costs of a candidate with the tuned schedules of the study, or why it has none."""
        try:
            untuned = 0
            schedules = self._schedules(decisions, tuned=self._trial.tuned)
            if self._trial.tuned:
                untuned = len(self._tasks(decisions)) - len(schedules)
            costs = self._costs(decisions, schedules)
        except InfeasibleError as error:
            return {"message": error.message}
        return {**_plain(costs), "untuned": untuned}

    def _tilings(self, *, each_task: bool) -> Iterator[Effect]:
        trial = self._trial
        if not trial.tuned:
            return
        decisions = self._ground.space.decode(trial.point)
        key = self._costs_key(decisions, tuned=False)
        self._kept.look([key])
        if key not in self._kept:
            self._progress("changing back tiling")

        def untuned() -> Any:
            return _plain(self._costs(decisions, self._schedules(decisions, tuned=False)))

        whole = Effect("tiling", "tuned", "untuned", self._kept.get(key, untuned)["metrics"])
        yield self._judged(self._with_accuracy(whole))
        if not each_task:
            return
        schedules = self._schedules(decisions)
        tasks = [
            name
            for name, tuned in self._result.tasks.items()
            if name in schedules and tuned.cycles != tuned.default_cycles
        ]
        for number, name in enumerate(tasks, 1):
            self._progress(f"changing back {number} of {len(tasks)}: tiling of {name}")
            key = self._costs_key(decisions, tuned=True, without=name)
            found = self._kept.get(key, partial(self._without, decisions, schedules, name))
            one = Effect(f"tiling of {name}", "tuned", "untuned", found["metrics"])
            yield self._judged(self._with_accuracy(one))

    def _without(
        self, decisions: Mapping[str, Any], schedules: Mapping[str, object], name: str
    ) -> Any:
        """Plain costs with the schedule of one task as in the default."""
        others = {task: schedule for task, schedule in schedules.items() if task != name}
        if isinstance(self._bench, SourceBench):
            usual = self._schedules(decisions, tuned=False)
            others = {**others, name: usual[name]}
        return _plain(self._costs(decisions, others))

    def _costs(self, decisions: Mapping[str, object], schedules: Mapping[str, object]) -> Costs:
        """What a candidate costs."""
        if isinstance(self._bench, SourceBench):
            return self._bench.measure(decisions, schedules)[0]
        compiled = self._bench.compiled(decisions, schedules)
        return self._bench.costs(compiled)

    def _tasks(self, decisions: Mapping[str, object]) -> list[str]:
        if isinstance(self._bench, SourceBench):
            return list({task.name: None for task in self._bench.candidate(decisions).tasks})
        return list(self._bench.tasks(decisions)[0])

    def _schedules(
        self, decisions: Mapping[str, object], *, tuned: bool = True
    ) -> dict[str, object]:
        """Tuned schedules of the study for the tasks of a candidate; of generated sources, where
        every operator has to be measured, of all of them, tuned or not."""
        known = self._result.tasks
        if isinstance(self._bench, SourceBench):
            found = {name: task.schedule for name, task in known.items()}
            return self._bench.schedules(decisions, found, tuned=tuned)
        if not tuned:
            return {}
        return {name: known[name].schedule for name in self._tasks(decisions) if name in known}

    def _with_accuracy(self, effect: Effect) -> Effect:
        """The trial's own: schedules never change a bit of the results."""
        kept = {n: v for n, v in self._trial.metrics.items() if n.startswith("accuracy")}
        return replace(effect, metrics={**effect.metrics, **kept})

    def _judged(self, effect: Effect) -> Effect:
        broken = tuple(
            f"{shown_name(limit.metric.value, self._result.settings.metric)} {limit.text}"
            for limit in self._result.settings.limits
            if limit.metric.value in effect.metrics
            and limit.excess(effect.metrics[limit.metric.value]) > 0
        )
        return replace(effect, breaks=broken)


def _plain(costs: Costs) -> Any:
    return {"metrics": dict(costs.metrics), "intervals": to_plain(costs.intervals)}
