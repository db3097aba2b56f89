"""Whether compiles and studies take as long as in another revision.

Run as ``python benchmarks/against.py BEFORE [FOLDER...] [--after REVISION] [--rounds N]
[--work compile,study] [--target T] [--after-compile="--launches apart"]``. BEFORE and REVISION are
revisions of this repository, or folders with a tree of it; without ``--after`` this tree is
compared as it stands. A folder holds ``model.onnx``, ``calib.npz`` and, for studies, ``eval.npz``;
without one, it is that of the digits. Both run with the libraries that are installed here, in turn;
each command is a process of its own, and what counts is the CPU time of all that it starts. One
round before those that count fills the caches of kernels and byte code.

A ratio is that of the medians; the range beside it holds 95 % of those of resampled rounds. A
revision against itself (``--after BEFORE``) tells how much of it is noise.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIGITS = ROOT / "examples" / "digits"
RESAMPLES = 2000


@dataclass(frozen=True)
class Tree:
    """A revision that can be run.

    Attributes:
        environment: With it, this Python imports the revision and finds its entry points.
    """

    environment: dict[str, str]

    @classmethod
    def of(cls, source: Path, beside: Path) -> Tree:
        """Describes the tree in a folder, with its metadata written into another one."""
        project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
        groups = project.get("entry-points", {}) | {"console_scripts": project["scripts"]}
        info = beside / "nest_tune-0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nest-tune\nVersion: 0\n")
        (info / "entry_points.txt").write_text(
            "".join(
                f"[{group}]\n" + "".join(f"{name} = {made}\n" for name, made in points.items())
                for group, points in groups.items()
            )
        )
        path = os.pathsep.join((str(beside), str(source)))
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return cls({**kept, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"})

    def cpu_seconds(self, arguments: Sequence[str], folder: Path) -> float:
        """Runs a command in a folder; returns the CPU time that it and its children take.

        Raises:
            SystemExit: It ends with an error, which is shown.
        """
        command = (sys.executable, "-m", "nest_tune", *arguments)
        log = folder / "log"
        with log.open("wb") as told:
            running = subprocess.Popen(
                command, cwd=folder, env=self.environment, stdout=told, stderr=told
            )
            _, status, used = os.wait4(running.pid, 0)
            running.returncode = os.waitstatus_to_exitcode(status)
        if running.returncode:
            sys.exit(f"{shlex.join(command)}\nends with {running.returncode}:\n{log.read_text()}")
        return used.ru_utime + used.ru_stime


@contextmanager
def checked_out(name: str, parent: Path, label: str) -> Iterator[Tree]:
    """A tree of a revision, or that of a folder; a revision's is removed afterwards."""
    if Path(name).is_dir():
        yield Tree.of(Path(name).resolve(), parent / f"{label}-metadata")
        return
    tree = parent / label
    git = ("git", "-C", str(ROOT), "worktree")
    subprocess.run((*git, "add", "--quiet", "--detach", str(tree), name), check=True)
    try:
        yield Tree.of(tree, parent / f"{label}-metadata")
    finally:
        subprocess.run((*git, "remove", "--force", str(tree)), check=True)


def compilation(folder: Path, target: str) -> list[str]:
    """The command that compiles the model of a folder."""
    asked = ["compile", str(folder / "model.onnx"), "--target", target, "-o", "package"]
    samples = folder / "calib.npz"
    return [*asked, "--calibration", str(samples)] if samples.exists() else asked


def study(folder: Path, target: str) -> list[str]:
    """The command that runs a small study of it."""
    return [
        *("study", "start", "--model", str(folder / "model.onnx"), "--target", target),
        *("--calibration", str(folder / "calib.npz"), "--evaluation", str(folder / "eval.npz")),
        *("--trials", "6", "--seed", "1", "--jobs", "1", "--name", "s"),
    ]  # fmt: skip


WORK: dict[str, Callable[[Path, str], list[str]]] = {"compile": compilation, "study": study}


def ratio(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """The ratio of medians, and where 95 % of those of resampled rounds lie.

    Rounds are drawn as pairs: what runs beside one command runs beside its neighbour, too.
    """
    draw, count = random.Random(0), len(before)
    found = []
    for _ in range(RESAMPLES):
        rounds = [draw.randrange(count) for _ in range(count)]
        medians = [statistics.median(times[i] for i in rounds) for times in (before, after)]
        found.append(medians[1] / medians[0])
    found.sort()
    cut = RESAMPLES // 40
    return statistics.median(after) / statistics.median(before), found[cut], found[-cut - 1]


def interleaved(
    trees: Sequence[Tree], commands: Sequence[list[str]], rounds: int
) -> list[list[float]]:
    """CPU seconds of every tree, round by round; who begins changes from round to round."""
    times: list[list[float]] = [[] for _ in trees]
    for number in range(rounds + 1):
        order = range(len(trees)) if number % 2 else reversed(range(len(trees)))
        for position in order:
            with tempfile.TemporaryDirectory() as folder:
                seconds = trees[position].cpu_seconds(commands[position], Path(folder))
            if number:
                times[position].append(seconds)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before")
    parser.add_argument("folders", nargs="*", type=Path, default=[DIGITS])
    parser.add_argument("--after", default=str(ROOT))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", default=",".join(WORK))
    parser.add_argument("--target", default="vta")
    for name in WORK:
        parser.add_argument(f"--after-{name}", default="", help="what only the second one is told")
    given = parser.parse_intermixed_args()
    print(f"{'CPU seconds':28} {'before':>8} {'after':>8}   after / before")
    logs = []
    with tempfile.TemporaryDirectory() as parent, ExitStack() as opened:
        trees = [
            opened.enter_context(checked_out(name, Path(parent), label))
            for name, label in ((given.before, "before"), (given.after, "after"))
        ]
        for folder, name in product(given.folders, given.work.split(",")):
            command = WORK[name](folder.resolve(), given.target)
            more = shlex.split(getattr(given, f"after_{name}"))
            times = interleaved(trees, (command, [*command, *more]), given.rounds)
            found, low, high = ratio(*times)
            logs.append(math.log(found))
            medians = " ".join(f"{statistics.median(seen):8.2f}" for seen in times)
            title = f"{folder.resolve().name} {name}"
            print(f"{title:28} {medians}   {found:.3f} [{low:.3f}, {high:.3f}]", flush=True)
    print(f"geometric mean {math.exp(statistics.fmean(logs)):.3f}")


if __name__ == "__main__":
    main()
