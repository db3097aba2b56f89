"""Names that would steer a terminal or a page: every command, every text it prints or writes."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest

from nest_tune.cli import app
from nest_tune.terminal import VisibleStream

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
VECTORS = DIGITS.parents[1] / "tests" / "vectors" / "vta"
MARK = "\x1b[31m\x07\x9b\u202e\u2066\u200f\u2028|`*<script>alert(1)</script>&"
RAW = ("\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\u200f", "\u2028")
PAGES = (".svg", ".html", ".xml")
BINARY = (".onnx", ".npz", ".bin", ".db", ".db-wal", ".db-shm", "")

Run = Callable[[str], str]


def _marked(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with marks in the names of its nodes, tensors and graph."""
    kept = {item.name for item in (*model.graph.input, *model.graph.output)}
    model.graph.name += MARK
    for node in model.graph.node:
        node.name = f"{node.op_type}{MARK}{node.name}"
        node.input[:] = [name if name in kept or not name else name + MARK for name in node.input]
        node.output[:] = [name if name in kept else name + MARK for name in node.output]
    for tensor in model.graph.initializer:
        tensor.name += MARK
    return model


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("marks")
    onnx.save(_marked(onnx.load(DIGITS / "model.onnx")), folder / "m.onnx")
    for name in ("calib.npz", "eval.npz"):
        shutil.copy(DIGITS / name, folder)
    (folder / "t.toml").write_text(
        'schema = "nest-tune/target/1"\nname = "mine"\ninherit = "vta"\n'
        'description = "\\u001b[31m\\u202e<script>"\n'
    )
    (folder / "bad.toml").write_text('[plan]\n"\\u001b[31m\\u202e" = "cpu"\n', "utf-8")
    return folder


@pytest.fixture
def run(example: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command in the example's folder; what it printed, checked."""
    monkeypatch.chdir(example)
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))

    def command(line: str) -> str:
        raw = io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", VisibleStream(raw))
            patch.setattr("sys.stderr", VisibleStream(raw))
            code = app._run(shlex.split(line), debug=False, as_json="--json" in line)
        text = raw.getvalue()
        assert code in (0, 1, 2, 3, 4, 5), text
        _check(text, line)
        for path in example.rglob("*"):
            if path.is_file() and path.suffix not in BINARY and path.name != "calib.npz":
                written = path.read_text("utf-8")
                _check(written, f"{line}: {path.name}")
                if path.suffix in PAGES:
                    assert "<script>alert" not in written, path
        return text

    return command


def _check(text: str, where: str) -> None:
    found = [mark for mark in RAW if mark in text]
    assert not found, f"{where}: {found}"


COMMANDS = (
    "compile m.onnx --target vta --calibration calib.npz -o out --emit graph,tensor,commands",
    "compile m.onnx --target vta --calibration calib.npz -o out2 --json",
    "profile out",
    "profile out --by unit",
    "profile out --json --trace trace.json",
    "run out --inputs calib.npz --outputs y.npz --check",
    "evaluate out --data eval.npz --against m.onnx",
    "task list m.onnx --target vta",
    "plan best m.onnx --target vta -o plan.toml --svg best.svg --trace plan.json",
    "plan show m.onnx --target vta --plan plan.toml --svg plan.svg --csv plan.csv",
    "plan check m.onnx --target vta --plan plan.toml",
    "plan check m.onnx --target vta --plan bad.toml --fix fixed.toml",
    "space show m.onnx --target vta",
    "quantize profile m.onnx --calibration calib.npz -o prof",
    "quantize sensitivity m.onnx --target vta --calibration calib.npz --limit 2 --plot s.svg",
    "target show t.toml",
    "target check t.toml",
    "study start --model m.onnx --target vta --calibration calib.npz --evaluation eval.npz "
    "--name n --trials 2 --dry-run",
    "compile '\x1b[31m\u202e.onnx' --target vta -o out3",
    "compile m.onnx --target '\x1b[31m\u202e' -o out3",
    "study show '\x1b[31m\u202e' --storage sqlite:///none.db",
    "record import '\x1b[31m\u202e.jsonl'",
    "\x1b[31m\u202e",
    "compile --\x1b[31m\u202e",
    "ci init github '\x1b[31m\u202e.toml'",
)


@pytest.mark.slow
def test_no_mark_reaches_what_is_printed_or_written(run: Run) -> None:
    printed = {line: run(line) for line in COMMANDS}
    assert "\\x1b[31m" in printed["profile out"]
    assert "\\x1b[31m" in printed[COMMANDS[-2]] + printed[COMMANDS[-3]]


@pytest.mark.slow
def test_no_mark_reaches_a_study_its_report_and_its_checks(run: Run, example: Path) -> None:
    start = (
        "study start --model m.onnx --target vta --calibration calib.npz --evaluation eval.npz "
        "--name n --trials 2 --sampler random --storage sqlite:///s.db --jobs 1"
    )
    for line in (
        start,
        "study show n --storage sqlite:///s.db",
        "study trials n --storage sqlite:///s.db",
        "study best n --storage sqlite:///s.db",
        "study compare n n --storage sqlite:///s.db --format md",
        "study explain n --storage sqlite:///s.db",
        "study export n --storage sqlite:///s.db -o best.toml",
        "study report n --storage sqlite:///s.db -o report.html",
        "ci check best.toml --junit j.xml --format md",
        "ci init github best.toml",
    ):
        run(line)
    assert "\\x1b[31m" in (example / "report.html").read_text("utf-8")


def _mark_texts(database: Path) -> int:
    """Marks in every text of the first row of every table but keys; how many there are now."""
    count = 0
    with closing(sqlite3.connect(database)) as connection, connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall()
        for (table,) in tables:
            for _, column, _, _, _, key in connection.execute(f'PRAGMA table_info("{table}")'):
                if key:
                    continue
                done = connection.execute(
                    f'UPDATE "{table}" SET "{column}" = "{column}" || ? WHERE rowid = '
                    f'(SELECT min(rowid) FROM "{table}") AND typeof("{column}") = \'text\'',
                    (MARK,),
                )
                count += done.rowcount
    return count


@pytest.mark.slow
def test_no_mark_reaches_tasks_records_and_cost_models(run: Run, example: Path) -> None:
    run("task list m.onnx --target t.toml")
    task = min((Path(os.environ["NEST_TUNE_CACHE"]) / "tasks").glob("*.json"))
    shutil.copy(task, example / "task.json")
    tune = "task tune task.json --target t.toml --sampler random"
    run(f"{tune} --trials 24 --storage sqlite:///r.db -o schedule.toml")
    run("task measure task.json --target t.toml --schedule schedule.toml")
    run("task measure task.json --target t.toml --schedule bad.toml")
    run("record export --storage sqlite:///r.db -o clean.jsonl")
    shutil.copy(example / "r.db", example / "marked.db")
    assert _mark_texts(example / "marked.db") >= 3
    for storage in ("r", "marked"):
        for line in (
            "record list",
            "record list --json",
            "record verify",
            "record verify --target t.toml --remeasure 2 --json",
            "record export -o e.jsonl",
            "cost-model show --target t.toml --save cost.json",
            "cost-model eval --target t.toml",
            f"{tune} --trials 26 --json",
        ):
            run(f"{line} --storage sqlite:///{storage}.db")
    lines = (example / "clean.jsonl").read_text().splitlines()
    marked = [_marked_line(line) for line in lines]
    (example / "marked.jsonl.bin").write_text("\n".join(marked), "utf-8")
    run("record import marked.jsonl.bin --storage sqlite:///new.db")
    run("record list --storage sqlite:///new.db")
    document = json.loads(task.read_text())
    document["id"] = document["workload"]["operator" if "operator" in document else "id"] = MARK
    (example / "task.bin.json").write_text(json.dumps(document))
    run("task measure task.bin.json --target t.toml --schedule schedule.toml")
    run("task measure '\x1b[31m\u202e.json' --target t.toml --schedule schedule.toml")
    run("task tune '\x1b[31m\u202e' --target t.toml")
    for verb in ("record list", "record verify", "cost-model show", "record export -o e.jsonl"):
        run(f"{verb} --storage 'sqlite:///\x1b[31m\u202e.db'")
        run(f"{verb} --storage '\x1b[31m\u202e://x'")


def _marked_line(line: str) -> str:
    """A record whose texts all carry marks, as JSON without escapes."""
    document = {
        key: value + MARK if isinstance(value, str) else value
        for key, value in json.loads(line).items()
    }
    return json.dumps(document, ensure_ascii=False)


@pytest.mark.slow
def test_no_mark_reaches_programs_machines_and_schemes(
    run: Run, example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = next(VECTORS.glob("neg_*.npz"))
    shutil.copy(program, example / "p.npz")
    shutil.copy(program, example / "\x1b[31m\u202e.npz")
    with np.load(program) as arrays:
        np.savez(example / "extra.npz", **{**arrays, "\x1b[31m\u202e": np.zeros(3)})
    search = "quantize search m.onnx --target t.toml --calibration calib.npz --data eval.npz"
    shown = "profile-cpu m.onnx --repeats 5 --budget 0 -o cpu.csv"
    for line in (
        "simulate p.npz --target t.toml",
        "simulate p.npz --target vta --json --trace trace2.json",
        "simulate '\x1b[31m\u202e.npz' --target vta",
        "simulate extra.npz --target vta --outputs after.npz",
        "simulate p.npz --target vta --profile '\x1b[31m\u202e'",
        shown,
        "plan show m.onnx --target t.toml --cpu-table cpu.csv",
        f"{search} --uniform --no-gptq -o scheme.toml",
        "dashboard --storage '\x1b[31m\u202e'",
        "dashboard --storage '\x1b[31m\u202e' --port 99999",
        "doctor",
        "doctor --json",
    ):
        run(line)
    (example / "\x1b[31m\u202e.npz").unlink()
    monkeypatch.setenv("NEST_TUNE_STORAGE", "sqlite:///\x1b[31m\u202e.db")
    monkeypatch.setenv("NEST_TUNE_LOG_LEVEL", "\x1b[31m\u202e")
    for line in ("doctor", "record list", "study list"):
        run(line)


def test_a_short_command_shows_marks(run: Run) -> None:
    assert "\\x1b[31m\\u202e" in run("compile '\x1b[31m\u202e.onnx' --target vta -o out3")


def test_tables_of_plans_show_marks(run: Run) -> None:
    run("plan show m.onnx --target vta --csv groups.csv")
    assert "\\x1b[31m" in Path("groups.csv").read_text("utf-8")
