"""Number formats found by the clock, beside float, integers throughout and what onnxruntime's own
quantizer gives, interleaved on this machine.

    python benchmarks/host.py --data FOLDER [--networks resnet8_cifar10,kwt1_kws,encoder]
    python benchmarks/host.py --networks fire,bottlenecks --models any.onnx

FOLDER holds trained models as ``../shared/data/prepare.py`` writes them; ResNet-18, the encoder and
the others of :mod:`benchmarks.networks.random_networks` have random weights and count for latency
alone, as do files of ``--models``, which get random inputs. What loses how much is judged on one
half of the evaluation data and reported on the other; the limit is one point.

For each network one table: every variant with the median and its 95 % interval, its ratio to float
and to the fastest full int8 that keeps the limit, what it loses, and the seconds that it took to
get there, with nothing known and, in the second column, from records. Rows:

| row | what it is |
|---|---|
| ``float32`` | the model as it is, in onnxruntime |
| ``ort static …`` | ``quantize_static`` of onnxruntime with its defaults, and with uint8 \
activations and int8 weights: per tensor, of 7 bits (``reduce_range``), per channel with each way \
to calibrate |
| ``ort dynamic`` | ``quantize_dynamic`` |
| ``nncf``, ``inc …`` | with ``--environments``: NNCF and onnx-neural-compressor, each in an \
environment of its own in that folder, made where there is none (:mod:`benchmarks.host_peers`) |
| ``int8 throughout`` | the same by our scales |
| ``nest-tune`` | the plan that was found |

With ``--exhaustive``, networks of at most ten operators are run in every combination of the formats
that were kept, 3,000 at most, and the plan is compared with the fastest of them; ``small`` is one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import numpy.typing as npt
import onnxruntime

from benchmarks import host_peers
from benchmarks.networks import random_networks
from compiler_core.accuracy.samples import read_evaluation
from compiler_core.clock.machine import this_machine
from compiler_core.clock.pinning import pinned
from compiler_core.clock.together import Together, measure_together
from compiler_core.compile.sources import FloatModel, load_model, read_samples
from compiler_core.graph.exporter import export_onnx
from compiler_core.precision.proposals import FULL_INT8
from compiler_core.precision.search import PrecisionChoice
from compiler_core.precision.table import PrecisionTable
from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.precision_lowering import lower_precisions
from compiler_core.quantize.precisions import precisions_of, timed_as
from compiler_core.quantize.profile import Profile, profile_model
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.units.names import CPU
from nest_tune.stores.measured_formats import measured_formats

TRAINED = ("resnet8_cifar10", "mobilenet_v1_025_224", "squeezenet_v1_1", "kwt1_kws")
ALL = (*TRAINED, *random_networks.NETWORKS)
LIMIT = 0.01
OURS = "nest-tune"
_MOST_COMBINATIONS = 3000
_SECOND_LOOK, _LAST_LOOK = 150, 15
"""Combinations that are timed longer, and together at last."""
_EVALUATED = 400
_RANDOM = 16
"""Random inputs of a file."""
_SAMPLES = 64
"""Of the calibration data that others get."""

Feeds = Mapping[str, npt.NDArray[Any]]


@dataclass
class Subject:
    """A network with its data, loaded.

    Attributes:
        name: Of the network.
        model, profile: Imported, calibrated.
        path: Of the ONNX file.
        calibration: Samples by input.
        choosing, reporting: Inputs and labels; no labels for random weights.
    """

    name: str
    model: FloatModel
    profile: Profile
    path: Path
    calibration: Feeds
    choosing: tuple[Feeds, npt.NDArray[Any] | None]
    reporting: tuple[Feeds, npt.NDArray[Any] | None]

    @property
    def is_trained(self) -> bool:
        return self.choosing[1] is not None


@dataclass
class Variant:
    """A model to be timed: its bytes, the seconds that it took, and those with records."""

    content: bytes
    seconds: float = 0.0
    again_seconds: float | None = None


def load_file(path: Path) -> Subject:
    """Any model, with random inputs."""
    model = load_model(path)
    random = np.random.default_rng(5)
    samples = {
        name: random.normal(size=(_RANDOM, *(size or 1 for size in (known.shape or ())[1:])))
        for name in model.graph.inputs
        if (known := model.graph.types[name]).dtype == "float32"
    }
    feeds = {name: value.astype(np.float32) for name, value in samples.items()}
    profile = profile_model(model.graph, feeds)
    return Subject(path.stem, model, profile, path, feeds, (feeds, None), (feeds, None))


def load(name: str, data: Path, scratch: Path) -> Subject:
    folder = data / name if name in TRAINED else random_networks.write(name, scratch)
    model = load_model(folder / "model.onnx")
    calibration = read_samples(folder / "calib.npz", model.graph)
    found = read_evaluation(folder / "eval.npz", model.graph)
    order = np.random.default_rng(0).permutation(found.samples)[: 2 * _EVALUATED]
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    labels = found.labels if name in TRAINED else None
    parts = [
        (
            {key: value[rows] for key, value in found.inputs.items()},
            None if labels is None else labels[rows],
        )
        for rows in halves
    ]
    profile = profile_model(model.graph, calibration)
    return Subject(name, model, profile, folder / "model.onnx", calibration, parts[0], parts[1])


def accuracy(run: Callable[[Feeds], npt.NDArray[Any]], data: tuple[Feeds, Any]) -> float:
    """Share of samples with the right label."""
    inputs, labels = data
    hits = [
        int(np.argmax(run({k: v[i : i + 1] for k, v in inputs.items()}))) == int(labels[i])
        for i in range(len(labels))
    ]
    return float(np.mean(hits))


def run_of(content: bytes) -> Callable[[Feeds], npt.NDArray[Any]]:
    session = session_of(content)
    names = [item.name for item in session.get_inputs()]

    def run(feeds: Feeds) -> npt.NDArray[Any]:
        # Quantizers may rename nothing, but a simplified graph keeps the model's names, too.
        found: npt.NDArray[Any] = session.run(None, {name: feeds[name] for name in names})[0]
        return found

    return run


def session_of(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


# What users would do ------------------------------------------------------------------------------


def peers(
    subject: Subject, scratch: Path, environments: Path | None
) -> Iterator[tuple[str, Variant]]:
    """onnxruntime's quantizer in its ways, and others where there may be environments for them."""
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = scratch / f"{subject.name}.prepared.onnx"
    start = time.perf_counter()
    try:
        quant_pre_process(str(subject.path), str(prepared))
    except Exception as error:
        print(f"quant_pre_process: {str(error)[:100]}", file=sys.stderr)
        prepared = subject.path
    before = time.perf_counter() - start
    per_tensor = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    per_channel = {**per_tensor, "per_channel": True}
    ways: dict[str, dict[str, Any]] = {
        "ort static, defaults": {},
        "ort static u8s8t MinMax": per_tensor,
        "ort static u8s7t MinMax": {**per_tensor, "reduce_range": True},
        "ort static u8s7c MinMax": {**per_channel, "reduce_range": True},
    }
    for method in ("MinMax", "Entropy", "Percentile"):
        options = {**per_channel, "calibrate_method": getattr(CalibrationMethod, method)}
        ways[f"ort static u8s8c {method}"] = options
    for name, options in ways.items():
        start = time.perf_counter()
        content = _static(subject, prepared, scratch, options)
        if content is not None:
            yield name, Variant(content, before + time.perf_counter() - start)
    start = time.perf_counter()
    target = scratch / "dynamic.onnx"
    try:
        quantize_dynamic(str(prepared), str(target), weight_type=QuantType.QInt8)
        session_of(target.read_bytes())
        yield "ort dynamic", Variant(target.read_bytes(), before + time.perf_counter() - start)
    except Exception as error:
        print(f"ort dynamic: {str(error)[:100]}", file=sys.stderr)
    if environments is not None:
        yield from _others(subject, scratch, environments)


class _Reader:
    """Calibration samples as onnxruntime's quantizer reads them."""

    def __init__(self, samples: Feeds) -> None:
        count = len(next(iter(samples.values())))
        self._feeds = iter({k: v[i : i + 1] for k, v in samples.items()} for i in range(count))

    def get_next(self) -> Feeds | None:
        return next(self._feeds, None)


def _static(
    subject: Subject, prepared: Path, scratch: Path, options: Mapping[str, Any]
) -> bytes | None:
    from onnxruntime.quantization import quantize_static

    target = scratch / "static.onnx"
    most = {name: value[:_SAMPLES] for name, value in subject.calibration.items()}
    try:
        quantize_static(str(prepared), str(target), _Reader(most), **options)
        content = target.read_bytes()
        session_of(content)
    except Exception as error:
        print(f"ort static {dict(options)}: {str(error)[:100]}", file=sys.stderr)
        return None
    return content


def _others(subject: Subject, scratch: Path, environments: Path) -> Iterator[tuple[str, Variant]]:
    samples = scratch / "samples.npz"
    np.savez(samples, **{name: value[:_SAMPLES] for name, value in subject.calibration.items()})
    for way in host_peers.WAYS:
        found = host_peers.quantized(way, subject.path, samples, environments, scratch)
        reason = found if isinstance(found, str) else _refusal(found.content)
        if isinstance(found, str) or reason:
            print(f"{way}: {reason}", file=sys.stderr)
            continue
        yield way, Variant(found.content, found.seconds)


def _refusal(content: bytes) -> str:
    """Why onnxruntime does not open a model; empty where it does."""
    try:
        session_of(content)
    except Exception as error:
        return " ".join(str(error).split())[:160]
    return ""


# What is found ------------------------------------------------------------------------------------


def search(subject: Subject, float_accuracy: float) -> tuple[PrecisionChoice, float]:
    """The plan, and the seconds that it took."""

    def is_good(places: Mapping[str, str], scheme: QuantizationScheme) -> bool:
        if not subject.is_trained:
            return True
        content = written(subject, places, scheme)
        return float_accuracy - accuracy(run_of(content), subject.choosing) <= LIMIT + 1e-9

    start = time.perf_counter()
    found = measured_formats(subject.model, subject.profile, is_good=is_good, progress=_told)
    return found, time.perf_counter() - start


def _told(text: str) -> None:
    print(f"  {text}", file=sys.stderr)


def written(subject: Subject, places: Mapping[str, str], scheme: QuantizationScheme) -> bytes:
    """A plan as plain ONNX."""
    graph = subject.model.graph
    units = {node.name: CPU for node in graph.nodes} | dict(places)
    applied = apply_profile(graph, units, subject.profile, scheme)
    content: bytes = qdq_model(applied.quantized).SerializeToString()
    return content


# Tables -------------------------------------------------------------------------------------------


def feeds_of(subject: Subject) -> Feeds:
    return {name: value[:1] for name, value in subject.calibration.items()}


def timed(contents: Mapping[str, bytes], feeds: Feeds, rounds: int, budget_s: float) -> Together:
    with pinned(1):
        runs = {}
        for name, content in contents.items():
            session = session_of(content)
            names = [item.name for item in session.get_inputs()]
            own = {key: feeds[key] for key in names}
            runs[name] = lambda session=session, own=own: session.run(None, own)
        return measure_together(runs, repeats=rounds, budget_s=budget_s)


def benchmark(subject: Subject, scratch: Path, options: argparse.Namespace) -> None:
    variants = {"float32": Variant(subject.path.read_bytes())}
    base = 0.0
    if subject.is_trained:
        base = accuracy(run_of(variants["float32"].content), subject.choosing)
    variants |= dict(peers(subject, scratch, options.environments))
    choice, seconds = search(subject, base)
    _, again = search(subject, base)
    full, found = choice.named(FULL_INT8), choice.chosen
    variants[FULL_INT8] = Variant(written(subject, full.plan.places, full.scheme), seconds)
    variants[OURS] = Variant(written(subject, found.plan.places, found.scheme), seconds, again)
    kept = {}
    for name, variant in variants.items():
        drop = None
        if subject.is_trained:
            drop = base - accuracy(run_of(variant.content), subject.choosing)
        kept[name] = drop
    contents = {name: variant.content for name, variant in variants.items()}
    together = timed(contents, feeds_of(subject), options.rounds, options.budget)
    _print_table(subject, variants, kept, together)
    if options.exhaustive and len(subject.model.graph.nodes) <= 10:
        _print_exhaustive(subject, choice, options)


def _print_table(
    subject: Subject,
    variants: Mapping[str, Variant],
    drops: Mapping[str, float | None],
    together: Together,
) -> None:
    def is_full(name: str) -> bool:
        drop = drops[name]
        usual = "static" in name or name in (FULL_INT8, *host_peers.WAYS)
        return usual and (drop is None or drop <= LIMIT)

    full = [name for name in variants if is_full(name)]
    best = min(full, key=lambda n: together.latency_us(n).value, default="float32")
    print(f"\n## {subject.name}: {len(subject.model.graph.nodes)} operators\n")
    print(
        "| variant | ms [95 %] | to float | to full int8 | lost, chosen on | lost, reported | s |"
    )
    print("|---|---|---|---|---|---|---|")
    theirs = 0.0
    if subject.is_trained:
        theirs = accuracy(run_of(variants["float32"].content), subject.reporting)
    for name, variant in variants.items():
        own, ratio = together.latency_us(name), together.ratio(name, "float32")
        against, drop = together.ratio(name, best), drops[name]
        reported = ""
        if subject.is_trained:
            mine = accuracy(run_of(variant.content), subject.reporting)
            reported = f"{100 * (theirs - mine):+.2f}"
        spent = f"{variant.seconds:.1f}"
        if variant.again_seconds is not None:
            spent += f" / {variant.again_seconds:.1f}"
        mark = " (full int8)" if name == best else ""
        print(
            f"| {name}{mark} | {own.value / 1e3:.4f} [{own.low / 1e3:.4f}, {own.high / 1e3:.4f}] "
            f"| {ratio.value:.3f} | {against.value:.3f} [{against.low:.3f}, {against.high:.3f}] "
            f"| {'' if drop is None else f'{100 * drop:+.2f}'} | {reported} | {spent} |"
        )
    for warning in together.warnings:
        print(f"\nwarning: {warning}")
    sys.stdout.flush()


def _print_exhaustive(
    subject: Subject, choice: PrecisionChoice, options: argparse.Namespace
) -> None:
    """The plan beside the fastest of all combinations, whatever they lose."""
    names, kept = list(choice.table.kept), _most_combinations(choice.table)
    count = prod(len(places) for places in kept.values())
    ranges, feeds = subject.profile.ranges(), feeds_of(subject)

    def content(places: Mapping[str, str]) -> bytes:
        asked = precisions_of(places)
        graph = lower_precisions(subject.model.graph, asked, ranges, choice.scheme)
        found: bytes = export_onnx(graph).SerializeToString()
        return found

    def least(places: Mapping[str, str], times: int) -> float:
        run, spent = run_of(content(places)), []
        for _ in range(times):
            start = time.perf_counter()
            run(feeds)
            spent.append(time.perf_counter() - start)
        return min(spent)

    every = [
        {n: p for n, p in zip(names, chosen, strict=True) if p != CPU}
        for chosen in product(*(kept[name] for name in names))
    ]
    with pinned(1):
        for left, times in ((_SECOND_LOOK, 4), (_LAST_LOOK, 40)):
            taken = {number: least(places, times) for number, places in enumerate(every)}
            every = [every[number] for number in sorted(taken, key=lambda n: taken[n])[:left]]
    nearest = {f"combination {n}": places for n, places in enumerate(every)}
    contents = {name: content(places) for name, places in nearest.items()}
    contents[OURS] = content(_nearest(choice))
    together = timed(contents, feeds, options.rounds, options.budget)
    best = min(nearest, key=lambda name: together.latency_us(name).value)
    ratio = together.ratio(OURS, best)
    print(
        f"\nexhaustive: {count} combinations; the plan takes {ratio.value:.3f} "
        f"[{ratio.low:.3f}, {ratio.high:.3f}] of the fastest"
    )


def _nearest(choice: PrecisionChoice) -> dict[str, str]:
    """The plan with weights rounded to nearest, as all combinations have them: rounding takes no
    time."""
    return {name: timed_as(place) for name, place in choice.chosen.plan.places.items()}


def _most_combinations(table: PrecisionTable) -> dict[str, list[str]]:
    """Kept places by operator; where they make too many combinations, without those that take most
    beside the fastest of their operator."""
    found = {name: list(places) for name, places in table.kept.items()}

    def lost(item: tuple[str, str]) -> float:
        name, place = item
        return table.singles[name][place] - min(table.singles[name][p] for p in found[name])

    while prod(len(places) for places in found.values()) > _MOST_COMBINATIONS:
        pairs = [(n, p) for n, places in found.items() if len(places) > 1 for p in places]
        name, place = max(pairs, key=lost)
        found[name].remove(place)
        print(f"exhaustive: {name} at {place} is left out", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, help="folder of trained models")
    parser.add_argument("--networks", default=",".join(ALL), help=f"of {', '.join(ALL)}")
    parser.add_argument("--models", nargs="*", type=Path, default=[], help="other ONNX files")
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--budget", type=float, default=15.0, help="seconds of the last timing")
    parser.add_argument("--environments", type=Path, help="folder for those of other quantizers")
    parser.add_argument("--exhaustive", action="store_true")
    options = parser.parse_args()
    names = [name for name in options.networks.split(",") if name]
    for name in names:
        if name not in ALL:
            parser.error(f"--networks: {name!r}; allowed are {', '.join(ALL)}")
        if name in TRAINED and (options.data is None or not (options.data / name).is_dir()):
            parser.error(f"--data: no folder of {name!r}; ../shared/data/prepare.py writes it")
    print(f"# {this_machine().text}")
    with tempfile.TemporaryDirectory(prefix="nest-tune-") as folder:
        os.environ["NEST_TUNE_CACHE"] = str(Path(folder) / "cache")
        loads = [partial(load, name, options.data or Path(), Path(folder)) for name in names]
        for make in (*loads, *(partial(load_file, path) for path in options.models)):
            start = time.perf_counter()
            benchmark(make(), Path(folder), options)
            print(f"\n{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
