"""Every kind of file that the tool reads: how to change one, and the commands that read it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fuzz.memory_seeds import PROGRAMS
from tests.fuzz.mutate_bytes import mutate_bytes
from tests.fuzz.mutate_npz import mutate_npz
from tests.fuzz.mutate_text import mutate_json, mutate_program, mutate_toml
from tests.fuzz.prepare import (
    EXAMPLE,
    Prepare,
    changed_cache,
    changed_cell,
    changed_database,
    changed_file,
    changed_journal,
    changed_lines,
    changed_manifest,
    changed_model,
    changed_package,
    memory_package,
    other_data,
    other_model,
    other_package,
)


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: Of the kind.
        weight: How many of a hundred cases are of it.
        prepare: Writes a changed file into the case's folder.
        commands: Command lines that read it, one of which is run.
    """

    name: str
    weight: int
    prepare: Prepare
    commands: tuple[str, ...]


_STUDY_COMMANDS = (
    "study list --storage {s}", "study show fuzz --storage {s}", "study trials fuzz --storage {s}",
    "study best fuzz --storage {s}", "study show fuzz:1 --storage {s} --json",
    "study export fuzz --storage {s} -o best.toml", "study resume fuzz --storage {s} --trials 2",
    "study report fuzz --storage {s} -o r.html", "study explain fuzz --storage {s}",
    "study compare fuzz fuzz --storage {s} --format md", "study verify fuzz --storage {s}",
    "compile --study fuzz model.onnx --target vta --storage {s} --calibration calib.npz -o out",
)  # fmt: skip


def _stored(url: str) -> tuple[str, ...]:
    return tuple(command.format(s=url) for command in _STUDY_COMMANDS)


_CALIBRATION = "--calibration any.npz"
_START = "study start --target vta --name n --trials 2 --dry-run"

KINDS: tuple[Kind, ...] = (
    Kind(
        "model",
        34,
        changed_model,
        (
            f"compile f.onnx --target vta {_CALIBRATION} -o out",
            f"compile f.onnx --target vta {_CALIBRATION} -o out --emit graph,tensor,commands",
            f"compile f.onnx --target vta-x2 {_CALIBRATION} -o out --json",
            "task list f.onnx --target vta",
            "plan show f.onnx --target vta --svg p.svg",
            "plan best f.onnx --target vta --time-limit 1 -o p.toml",
            "space show f.onnx --target vta",
            f"quantize profile f.onnx {_CALIBRATION} -o prof",
            f"{_START} --model f.onnx {_CALIBRATION} --evaluation any.npz",
        ),
    ),
    Kind(
        "target",
        8,
        changed_file(
            "f.toml",
            mutate_toml,
            "full.toml",
            "short.toml",
            beside=("full.toml", "model.onnx", "program0.npz"),
        ),
        (
            "target check f.toml",
            "target show f.toml",
            "simulate program0.npz --target f.toml",
            "task list model.onnx --target f.toml",
            "plan show model.onnx --target f.toml",
        ),
    ),
    Kind(
        "study",
        8,
        changed_file("f.toml", mutate_toml, "study.toml", beside=EXAMPLE),
        (
            "study start f.toml --dry-run",
            "study start f.toml --dry-run --json",
        ),
    ),
    Kind(
        "plan",
        4,
        changed_file("f.toml", mutate_toml, "plan.toml", beside=EXAMPLE),
        (
            "plan check model.onnx --target vta --plan f.toml --fix fixed.toml",
            "plan show model.onnx --target vta --plan f.toml",
            "compile model.onnx --target vta --plan f.toml --calibration calib.npz -o out",
        ),
    ),
    Kind(
        "configuration",
        8,
        changed_file("f.toml", mutate_toml, "package/config.toml", "lock.toml", beside=EXAMPLE),
        (
            "compile model.onnx --target vta --config f.toml --calibration calib.npz -o out",
            "ci check f.toml",
            "ci check f.toml --data eval.npz --junit j.xml --format md",
            "plan show model.onnx --target vta --config f.toml",
            "task list model.onnx --target vta --config f.toml",
            "ci init github f.toml",
        ),
    ),
    Kind(
        "data",
        8,
        changed_file(
            "f.npz",
            mutate_npz,
            "calib.npz",
            "eval.npz",
            "any.npz",
            beside=("model.onnx", "calib.npz", "package"),
        ),
        (
            "compile model.onnx --target vta --calibration f.npz -o out",
            "run package --inputs f.npz --outputs y.npz",
            "run package --inputs f.npz --outputs y.npz --check",
            "evaluate package --data f.npz",
            "evaluate package --data f.npz --against model.onnx",
            "evaluate package --data f.npz --metric sqnr_db --against model.onnx --output logits",
            "quantize sensitivity model.onnx --target vta --calibration calib.npz --data f.npz "
            "--limit 2",
            f"{_START} --model model.onnx --calibration calib.npz --evaluation f.npz",
        ),
    ),
    Kind(
        "program",
        7,
        changed_file("f.npz", mutate_npz, *(f"program{i}.npz" for i in range(8))),
        (
            "simulate f.npz --target vta",
            "simulate f.npz --target vta --outputs after.npz --trace t.json",
            "simulate f.npz --target vta --profile rtl2020 --json",
        ),
    ),
    Kind(
        "package",
        8,
        changed_package,
        (
            "run p --inputs calib.npz --outputs y.npz",
            "run p --inputs calib.npz --outputs y.npz --check --dump-launches d",
            "profile p",
            "profile p --by instruction --trace t.json",
            "evaluate p --data eval.npz",
        ),
    ),
    Kind(
        "schedule",
        3,
        changed_file("f.toml", mutate_toml, "schedule.toml", beside=("task.json",)),
        ("task measure task.json --target vta --schedule f.toml",),
    ),
    Kind(
        "task",
        2,
        changed_file("f.json", mutate_json, "task.json", beside=("schedule.toml",)),
        (
            "task measure f.json --target vta --schedule schedule.toml",
            "task tune f.json --target vta --trials 2 --sampler random --storage sqlite:///r.db",
        ),
    ),
    Kind(
        "profile",
        3,
        changed_file("f", mutate_npz, "profile", beside=EXAMPLE),
        (
            "compile model.onnx --target vta --profile f -o out",
            "quantize sensitivity model.onnx --target vta --profile f --data eval.npz --limit 2",
        ),
    ),
    Kind(
        "records",
        2,
        changed_file("f.jsonl", changed_lines, "records.jsonl"),
        (
            "record import f.jsonl --storage sqlite:///new.db",
            "record import f.jsonl --storage journal:///new.log",
        ),
    ),
    Kind(
        "cost table",
        1,
        changed_file("f.csv", mutate_bytes, "cpu.csv", beside=EXAMPLE),
        ("plan show model.onnx --target vta --cpu-table f.csv",),
    ),
    Kind(
        "cost model",
        1,
        changed_file("f.json", mutate_json, "cost.json"),
        ("cost-model show --model f.json",),
    ),
    Kind(
        "record database",
        2,
        changed_database("records.one.db"),
        (
            "record list --storage sqlite:///f.db",
            "record verify --storage sqlite:///f.db",
            "record export --storage sqlite:///f.db -o e.jsonl",
            "cost-model show --storage sqlite:///f.db",
        ),
    ),
    Kind("study database", 3, changed_database("study.one.db"), _stored("sqlite:///f.db")),
    Kind(
        "study journal",
        2,
        changed_journal,
        _stored("journal:///f.log"),
    ),
    Kind(
        "other model",
        10,
        other_model,
        (
            f"compile f.onnx --target vta {_CALIBRATION} -o out",
            f"compile f.onnx --target vta-x2 {_CALIBRATION} -o out --emit graph,tensor,commands",
            f"compile f.onnx --target host {_CALIBRATION} -o out",
            "task list f.onnx --target vta",
            "plan show f.onnx --target vta --svg p.svg",
            "profile-cpu f.onnx --repeats 5 --budget 0 -o cpu.csv",
            f"quantize profile f.onnx {_CALIBRATION} -o prof",
            f"{_START} --model f.onnx {_CALIBRATION} --evaluation any.npz",
        ),
    ),
    Kind(
        "other data",
        8,
        other_data,
        (
            "compile model.onnx --target vta --calibration f.npz -o out",
            "run package --inputs f.npz --outputs y.npz",
            "run package --inputs f.npz --outputs y.npz --check",
            "evaluate package --data f.npz --against model.onnx",
            "evaluate package --data f.npz --against model.onnx --metric cosine --json",
            "quantize profile model.onnx --calibration f.npz -o prof",
            f"{_START} --model model.onnx --calibration calib.npz --evaluation f.npz",
        ),
    ),
    Kind(
        "other package",
        6,
        other_package,
        (
            "run p --inputs any.npz --outputs y.npz --check",
            "evaluate p --data any.npz --against model.onnx",
            "profile p --by unit",
            "profile p --json --trace t.json",
        ),
    ),
    Kind(
        "scheme",
        1,
        changed_file("f.toml", mutate_toml, "scheme.toml", beside=(*EXAMPLE, "profile")),
        (
            "quantize sensitivity model.onnx --target vta --profile profile --data eval.npz "
            "--limit 1 --scheme f.toml",
        ),
    ),
    Kind(
        "program manifest",
        1,
        changed_manifest,
        ("simulate f.npz --target vta", "simulate f.npz --target vta --outputs after.npz --json"),
    ),
    Kind(
        "record journal",
        2,
        changed_file("f.log.records", changed_lines, "records.log.records", beside=("task.json",)),
        (
            "record list --storage journal:///f.log",
            "record verify --storage journal:///f.log",
            "record export --storage journal:///f.log -o e.jsonl",
            "cost-model show --storage journal:///f.log",
            "task tune task.json --target vta --trials 2 --sampler random "
            "--storage journal:///f.log",
        ),
    ),
    Kind(
        "cache",
        3,
        changed_cache,
        (
            "compile model.onnx --target vta --calibration calib.npz -o out",
            "quantize profile model.onnx --calibration calib.npz -o prof",
            "task measure conv2d-8b9ed0f4da9a1609 --target vta --schedule schedule.toml",
            "task tune conv2d --target vta --trials 2 --sampler random --storage sqlite:///r.db",
            "plan best model.onnx --target vta --time-limit 1 -o p.toml",
        ),
    ),
    Kind(
        "memory program",
        2,
        changed_file("f.npz", mutate_npz, *(f"memory{i}.npz" for i in range(PROGRAMS))),
        (
            "simulate f.npz --target aim-gddr6",
            "simulate f.npz --target aim-gddr6 --outputs after.npz --trace t.json --json",
        ),
    ),
    Kind(
        "memory program text",
        3,
        changed_file("f.txt", mutate_program, *(f"memory{i}.txt" for i in range(PROGRAMS))),
        (
            "simulate f.txt --target aim-gddr6",
            "simulate f.txt --target aim-gddr6 --outputs after.npz --trace t.json --json",
            "simulate f.txt --target vta-aim --unit aim",
        ),
    ),
    Kind(
        "memory package",
        3,
        memory_package,
        (
            "run p --inputs cell.npz --outputs y.npz --check --dump-launches d",
            "run p --inputs cell.npz --outputs y.npz --state h=h0",
            "profile p --by instruction --trace t.json",
            "evaluate p --data cell.npz --against cell.onnx",
        ),
    ),
    Kind(
        "memory task",
        1,
        changed_file("f.json", mutate_json, "memory-task.json"),
        (
            "task tune f.json --target aim-gddr6 --trials 2 --sampler random "
            "--storage sqlite:///r.db",
            "task tune f.json --target vta-aim --trials 2 --sampler xgb --storage sqlite:///r.db",
        ),
    ),
    Kind(
        "memory model",
        2,
        changed_file("f.onnx", changed_cell, "cell.onnx", beside=("cell.npz",)),
        (
            "compile f.onnx --target aim-gddr6 -o out",
            "compile f.onnx --target vta-aim --calibration cell.npz -o out",
            "plan best f.onnx --target vta-aim --time-limit 1 -o p.toml",
            "task list f.onnx --target aim-gddr6",
        ),
    ),
)
