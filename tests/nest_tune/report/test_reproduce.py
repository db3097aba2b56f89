"""Every command of a report runs as it is printed, in the folder that the study was started in."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.slow

FILE = """\
[study]
name = "file"
[model]
path = "../data/model.onnx"
[target]
name = "vta"
[data]
calibration = "../data/calib.npz"
evaluation = "../data/eval.npz"
[constraints]
accuracy_drop = "<= 0.2"
[spaces]
partition = false
tiling = false
[sampler]
name = "random"
"""


class Blocks(HTMLParser):
    """Texts of the blocks of commands of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "pre" and ("class", "try") not in attrs:
            self._inside = True
            self.blocks.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.blocks[-1] += data


def commands(page: Path) -> list[list[str]]:
    """Words of each command of a page."""
    blocks = Blocks(page.read_text()).blocks
    assert len(blocks) == 2
    found = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert all(words[0] == "nest-tune" for words in found)
    return [words[1:] for words in found]


@pytest.fixture
def workplace(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with model and data in a folder with a blank in its name."""
    shutil.copytree(repository / "examples" / "digits", tmp_path / "my data")
    (tmp_path / "data").symlink_to("my data")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "study.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEST_TUNE_STORAGE", raising=False)
    return tmp_path


FLAGS = [
    "--model", "my data/model.onnx", "--target", "vta", "--calibration", "my data/calib.npz",
    "--evaluation", "my data/eval.npz", "--metric", "top5", "--objective", "energy_mj:min",
    "--objective", "accuracy:max", "--constraint", "latency_ms<=0.5", "--space", "quantization",
    "--sampler", "random", "--name", "flags", "--holdout", "0.2", "--risk", "40%",
]  # fmt: skip
NOISE = [
    *FLAGS[:8], "--metric", "sqnr_db", "--judged-output", "logits", "--max-accuracy-drop", "3dB",
    "--constraint", "accuracy>=10dB", "--space", "quantization", "--sampler", "random",
    "--name", "noise",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words", "storage"),
    [
        ("file", ["studies/study.toml"], []),
        # A flag goes before the file: the file alone would be another search.
        ("file", ["studies/study.toml", "--metric", "agreement"], []),
        ("flags", FLAGS, ["--storage", "sqlite:///out/mine.db"]),
        # Limits with their unit, and the output that is judged.
        ("noise", NOISE, []),
    ],
    ids=["file", "file-and-flag", "flags", "noise"],
)
def test_commands_of_a_report_run_as_printed(
    nest_tune: Run, workplace: Path, name: str, words: list[str], storage: list[str]
) -> None:
    start = ("study", "start", *words, "--trials", "4", "--seed", "3", *storage, "--json")
    code, text, err = nest_tune(*start)
    assert code == 0, err
    first = json.loads(text)
    # A scheme that takes the calibration data again, so that somebody has to know where they are.
    code, _, err = nest_tune("study", "report", name, "-o", "report.html", *storage)
    assert code == 0, err
    printed = commands(workplace / "report.html")
    verbs = [words[:2] for words in printed]
    assert verbs[1][0] == "compile"
    assert ["ci", "check"] in verbs
    assert ["study", "start"] in verbs
    for line in printed:
        code, out, err = nest_tune(*line)
        assert code == 0, f"nest-tune {shlex.join(line)}\n{out}{err}"
    # The package is the chosen trial's, and the second search found what the first one did.
    manifest = json.loads((workplace / f"{name}-package" / "package.json").read_text())
    chosen = first["chosen"]["metrics"]
    assert manifest["metrics"]["latency_ms"] == chosen["latency_ms"]
    again = ("study", "trials", name, "--json")
    trials = [
        json.loads(nest_tune(*again, *place)[1])["trials"]
        for place in (storage, ("--storage", f"sqlite:///{name}-again.db"))
    ]
    assert trials[0] == trials[1]


@pytest.mark.parametrize("target", ["vta-x2", "vta-aim", "vta-duo", "host", "c99", "cortex-m4"])
def test_commands_run_on_every_class_of_target(
    nest_tune: Run, workplace: Path, target: str
) -> None:
    start = ["study", "start", *FLAGS[:2], "--target", target, *FLAGS[4:8], "--max-accuracy-drop",
             "90%", "--trials", "2", "--seed", "1", "--name", "classes"]  # fmt: skip
    code, out, err = nest_tune(*start)
    assert code == 0, f"{out}{err}"
    code, _, err = nest_tune("study", "report", "classes", "-o", "report.html")
    assert code == 0, err
    printed = commands(workplace / "report.html")
    assert {words[0] for words in printed} >= {"compile", "ci", "study"}
    for line in printed:
        code, out, err = nest_tune(*line)
        # What is timed by the clock may be over a limit of its lock on another try.
        assert code == 0 or (target in ("host", "c99") and line[:2] == ["ci", "check"]), (
            f"nest-tune {shlex.join(line)}\n{out}{err}"
        )


@pytest.fixture
def locked(nest_tune: Run, workplace: Path) -> Path:
    """The lock file of a trial whose scheme takes the calibration data again."""
    (workplace / "locks").mkdir()
    code, _, err = nest_tune("study", "start", "studies/study.toml", "--trials", "5")
    assert code == 0, err
    for number in range(5):
        lock = workplace / "locks" / "best.toml"
        code, _, err = nest_tune("study", "export", f"file:{number}", "-o", lock)
        assert code == 0, err
        if "[scheme.decisions]" in lock.read_text():
            return lock
    raise AssertionError("no trial decides anything that takes data")


def test_a_lock_file_knows_model_target_and_data(
    nest_tune: Run, locked: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = locked.read_text()
    for line in (
        'model = "../my data/model.onnx"',
        'calibration = "../my data/calib.npz"',
        'evaluation_file = "../my data/eval.npz"',
    ):
        assert line in text
    monkeypatch.chdir("/")  # paths lead from the lock file
    package = workplace / "package"
    code, _, err = nest_tune("compile", "--config", locked, "-o", package)
    assert code == 0, err
    code, text, err = nest_tune("evaluate", package, "--config", locked, "--json")
    assert code == 0, err
    found = json.loads(text)
    code, text, err = nest_tune("ci", "check", locked, "--json")
    assert code == 0, text + err
    checked = json.loads(text)
    assert checked["ok"]
    with_accuracy = checked["compared"]
    assert found["samples"] == 600
    assert found["float_accuracy"] is not None
    code, text, _ = nest_tune("ci", "check", locked, "--without-data", "--json")
    assert code == 0
    assert json.loads(text)["compared"] == with_accuracy - 2
    code, text, err = nest_tune(
        "study", "start", "--config", locked, "--space", "quantization", "--trials", "1",
        "--name", "again", "--storage", f"sqlite:///{workplace}/x.db", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(text)["default"]["metrics"]["accuracy"] > 0.9


@pytest.mark.parametrize("file", ["model.onnx", "calib.npz", "eval.npz"])
def test_a_moved_file_of_a_lock_is_asked_for(
    nest_tune: Run, locked: Path, workplace: Path, file: str
) -> None:
    option = {"model.onnx": "--model", "calib.npz": "--calibration", "eval.npz": "--data"}[file]
    moved = workplace / f"moved-{file}"
    (workplace / "my data" / file).rename(moved)
    code, _, err = nest_tune("ci", "check", locked)
    assert code == 2
    assert f"{file}: there is no such file" in err
    assert f"hint: say where it is now: {option} FILE" in err
    code, out, err = nest_tune("ci", "check", locked, option, moved)
    assert code == 0, out + err
    if option != "--data":
        words = ("compile", "--config", locked, "-o", workplace / "p")
        code, _, err = nest_tune(*words)
        assert code == 2
        assert "there is no such file" in err
        given = [moved] if option == "--model" else [option, moved]
        code, _, err = nest_tune(*words, *given)
        assert code == 0, err


def test_changed_data_of_a_lock_are_refused(nest_tune: Run, locked: Path, workplace: Path) -> None:
    data = workplace / "my data"
    shutil.copy(data / "eval.npz", data / "calib.npz")
    for words in (("ci", "check", locked), ("compile", "--config", locked, "-o", "p")):
        code, _, err = nest_tune(*words)
        assert code == 2
        assert "calib.npz with digest" in err
        assert "hint: give the unchanged file: --calibration FILE" in err


def test_a_study_knows_its_files_from_any_folder(
    nest_tune: Run, locked: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del locked  # its study is meant
    elsewhere = workplace / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    storage = ("--storage", f"sqlite:///{workplace}/nest-tune.db")
    code, _, err = nest_tune("compile", "--study", "file:0", "-o", "p", *storage)
    assert code == 0, err
    code, _, err = nest_tune("evaluate", "p", "--study", "file", *storage)
    assert code == 0, err
    code, _, err = nest_tune("study", "export", "file:1", "-o", "best.toml", *storage)
    assert code == 0, err
    assert 'model = "../my data/model.onnx"' in Path("best.toml").read_text()
    moved = elsewhere / "calib.npz"
    (workplace / "my data" / "calib.npz").rename(moved)
    code, _, err = nest_tune("study", "export", "file:1", "-o", "best.toml", *storage)
    assert code == 2
    assert "study 'file' names the calibration data" in err
    assert "hint: say where it is now: nest-tune study resume file --calibration FILE" in err
    code, _, err = nest_tune("compile", "--study", "file:0", "--calibration", moved, "-o", "p",
                             *storage)  # fmt: skip
    assert code == 0, err
    code, _, err = nest_tune("study", "resume", "file", "--calibration", moved, *storage)
    assert code == 0, err
    code, _, err = nest_tune("study", "export", "file:1", "-o", "best.toml", *storage)
    assert code == 0, err
    shutil.copy(workplace / "my data" / "eval.npz", moved)
    code, _, err = nest_tune("study", "export", "file:1", "-o", "best.toml", *storage)
    assert code == 2
    assert "with digest" in err
