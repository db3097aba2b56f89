"""Changed files of every kind through the command line: ``python -m tests.fuzz.fuzz --help``.

A case is named ``SEED/KIND/NUMBER`` and is made anew from that name alone. Whatever breaks the
contract (an internal error, a crash, a hang, too much memory, raw control characters) is printed
with its name, and its folder is kept. A run that was broken off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.fuzz.kinds import KINDS, Kind
from tests.fuzz.sandbox import Outcome, Verdict, run_case
from tests.fuzz.seeds import ROOT, make_seeds

_START_S = 20
"""CPU time that an interpreter may take to start and to import what a command needs."""

_BY_NAME = {kind.name: kind for kind in KINDS}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=5000, help="how many in all")
    parser.add_argument("--each", type=int, help="instead: how many of each kind")
    parser.add_argument(
        "--process-every", type=int, default=100, help="every so many is a process of its own"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=sorted(_BY_NAME), action="append", help="only these")
    parser.add_argument("--case", help="only this one, SEED/KIND/NUMBER, and keep its folder")
    parser.add_argument(
        "--share",
        type=share,
        default=(0, 1),
        metavar="INDEX/COUNT",
        help="this part of the cases; the first of two is 0/2, the last 1/2",
    )
    parser.add_argument("--folder", type=Path, default=Path("out/fuzz"))
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _calm()
    seeds = _seeds(folder, _command())
    if options.case:
        seed, kind, number = options.case.split("/")
        command = _process if options.process_every == 1 else _whole
        outcome, kept = _run(
            command, seeds, folder, int(seed), _BY_NAME[kind], int(number), keep=True
        )
        print(f"{kept}\n{_summary(options.case, outcome)}\n{outcome.output}")
        return int(outcome.verdict is not Verdict.FINE)
    return _run_all(options, seeds, folder)


def share(text: str) -> tuple[int, int]:
    """Which part of the cases, from 0, and of how many parts.

    Raises:
        argparse.ArgumentTypeError: there is no such part.
    """
    index, slash, count = text.partition("/")
    if slash and index.isdecimal() and count.isdecimal() and int(index) < int(count):
        return int(index), int(count)
    raise argparse.ArgumentTypeError(
        f"{text!r} is no INDEX/COUNT with an INDEX from 0 to COUNT - 1, such as 0/2 and 1/2"
    )


def _run_all(options: argparse.Namespace, seeds: Path, folder: Path) -> int:
    index, count = options.share
    results = folder / f"results-{index}-of-{count}.jsonl"
    done = (
        {json.loads(line)["case"] for line in results.read_text().splitlines()}
        if results.exists()
        else set()
    )
    kinds = [kind for kind in KINDS if not options.kind or kind.name in options.kind]
    verdicts: Counter[str] = Counter()
    with results.open("a") as stream:
        for position, (kind, number) in enumerate(_cases(kinds, options.cases, options.each)):
            name = f"{options.seed}/{kind.name}/{number}"
            if position % count != index or name in done:
                continue
            alone = options.process_every and position % options.process_every == 0
            command = _process if alone else _whole
            outcome, kept = _run(command, seeds, folder, options.seed, kind, number)
            verdicts[outcome.verdict.value] += 1
            row = {"case": name, "verdict": outcome.verdict.value, "code": outcome.code,
                   "cpu_s": round(outcome.cpu_s, 2), "mib": outcome.growth_bytes >> 20,
                   "process": bool(alone)}  # fmt: skip
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            if outcome.verdict is not Verdict.FINE or options.verbose:
                print(_summary(name, outcome), kept or "", flush=True)
                if outcome.verdict is not Verdict.FINE:
                    print(
                        "    " + "\n    ".join(outcome.output.strip().splitlines()[-4:]), flush=True
                    )
    print(
        ", ".join(f"{verdict} {number}" for verdict, number in verdicts.most_common())
        or "nothing left to do"
    )
    return int(set(verdicts) - {Verdict.FINE.value} != set())


def _cases(kinds: Sequence[Kind], cases: int, each: int | None) -> Iterator[tuple[Kind, int]]:
    """Kinds by weight, spread evenly, so that every beginning of the list holds all of them; or so
    many of each."""
    if each is not None:
        yield from ((kind, number) for number in range(each) for kind in kinds)
        return
    total = sum(kind.weight for kind in kinds)
    made: Counter[str] = Counter()
    for position in range(cases):
        behind = max(kinds, key=lambda kind: (position + 1) * kind.weight / total - made[kind.name])
        yield behind, made[behind.name]
        made[behind.name] += 1


def _run(
    command, seeds: Path, folder: Path, seed: int, kind: Kind, number: int, *, keep: bool = False
) -> tuple[Outcome, Path | None]:  # type: ignore[no-untyped-def]
    name = f"{seed}/{kind.name}/{number}"
    random_ = random.Random(name)
    outer = Path(tempfile.mkdtemp(prefix="case-", dir=folder))
    work = outer / "work"
    work.mkdir()
    kind.prepare(random_, seeds, work)
    arguments = shlex.split(random_.choice(kind.commands))
    (outer / "command.txt").write_text(shlex.join(arguments) + "\n")
    size = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    os.environ["NEST_TUNE_CACHE"] = str(outer / "cache")
    outcome = run_case(
        command, arguments, work, input_bytes=size, start_s=_START_S if command is _process else 0
    )
    if outcome.verdict is Verdict.FINE and not keep:
        shutil.rmtree(outer, ignore_errors=True)
        return outcome, None
    kept = folder / "findings" / name.replace("/", "-").replace(" ", "_")
    shutil.rmtree(kept, ignore_errors=True)
    kept.parent.mkdir(exist_ok=True)
    outer.rename(kept)
    return outcome, kept


def _summary(name: str, outcome: Outcome) -> str:
    return (f"{name}: {outcome.verdict.value}, exit {outcome.code}, {outcome.cpu_s:.1f} s CPU, "
            f"{outcome.growth_bytes >> 20} MiB")  # fmt: skip


def _calm() -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    for name in ("NEST_TUNE_STORAGE", "GITHUB_STEP_SUMMARY", "CI", "GITHUB_ACTIONS"):
        os.environ.pop(name, None)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def _command():  # type: ignore[no-untyped-def]
    """The command line as a function of this process, with what it loads loaded."""
    from nest_tune.cli import app

    def command(arguments: Sequence[str]) -> int:
        code = app._run(list(arguments), debug=True, as_json="--json" in arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        return int(code)

    return command


def _whole(arguments: Sequence[str]) -> int:
    """What the installed script does, but for its start; in a process that ends with it."""
    from nest_tune.cli import main as run

    sys.argv = ["nest-tune", *arguments, "--debug"]
    try:
        run()
    except SystemExit as ended:
        sys.stdout.flush()
        sys.stderr.flush()
        return int(ended.code or 0)


def _process(arguments: Sequence[str]) -> int:
    """The command line in a new interpreter, as a user starts it; the process becomes that."""
    os.environ["PYTHONPATH"] = str(ROOT)
    code = "from nest_tune.cli import main; main()"
    os.execv(sys.executable, [sys.executable, "-c", code, *arguments])


def _seeds(folder: Path, command) -> Path:  # type: ignore[no-untyped-def]
    """The valid files, made once in a folder, and everything that reading them loads."""
    seeds = folder / "seeds"
    if not (seeds / "done").exists():
        shutil.rmtree(seeds, ignore_errors=True)
        seeds.mkdir()
        _inside(seeds, lambda: make_seeds(seeds, command))
        (seeds / "done").touch()
    # Loads modules and compiled kernels before anything forks.
    warm = Path(tempfile.mkdtemp(dir=folder))
    shutil.copytree(seeds, warm / "w")
    _inside(warm / "w", lambda: [command(shlex.split(line)) for line in _WARM])
    shutil.rmtree(warm)
    return seeds


_WARM = (
    "compile model.onnx --target vta --calibration calib.npz -o out",
    "run package --inputs calib.npz --outputs y.npz --check",
    "plan show model.onnx --target vta",
    "profile package",
    "simulate program0.npz --target vta",
    "task measure task.json --target vta --schedule schedule.toml",
    "study start study.toml --dry-run",
    "study show fuzz --storage sqlite:///study.db",
    "cost-model show --storage sqlite:///records.db",
)


def _inside(folder: Path, work) -> None:  # type: ignore[no-untyped-def]
    """Runs ``work`` in a folder, silently."""
    before, out, err = Path.cwd(), os.dup(1), os.dup(2)
    os.chdir(folder)
    os.environ["NEST_TUNE_CACHE"] = str(folder / "cache")
    log = os.open(folder.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.dup2(log, 1), os.dup2(log, 2)
        work()
    finally:
        os.dup2(out, 1), os.dup2(err, 2)
        os.chdir(before)


if __name__ == "__main__":
    sys.exit(main())
