"""Files given where another kind is wanted: what they are and the command that takes them."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nest_tune.cli import app
from nest_tune.cli.file_kinds import FileKind, kind_of_file


@pytest.fixture
def files(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One file of every kind, in the working folder."""
    monkeypatch.chdir(tmp_path)
    digits = repository / "examples" / "digits"
    for name in ("model.onnx", "calib.npz", "study.toml"):
        shutil.copy(digits / name, tmp_path)
    shutil.copy(repository / "examples" / "conv.npz", tmp_path / "program.npz")
    np.savez(tmp_path / "profile", manifest=np.zeros(3, np.uint8))
    (tmp_path / "profile.npz").rename(tmp_path / "profile")
    for name in ("config", "plan", "target"):
        (tmp_path / f"{name}.toml").write_text(f'schema = "nest-tune/{name}/1"\n')
    for name in ("task", "cost-model"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"schema": f"nest-tune/{name}/1"}))
    (tmp_path / "schedule.toml").write_text("tile_height = 1\n")
    (tmp_path / "scheme.toml").write_text('granularity = "channel"\n')
    (tmp_path / "records.jsonl").write_text('{"checksum":"1","schedule_values":{}}\n')
    (tmp_path / "cpu.csv").write_text("operator,signature,count\n")
    (tmp_path / "study.db").write_bytes(b"SQLite format 3\0" + bytes(84))
    (tmp_path / "keras.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "package.json").write_text('{"schema": "nest-tune/package/1"}')
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.bin").write_bytes(bytes(range(256)))
    return tmp_path


_KINDS = {
    "model.onnx": FileKind.MODEL,
    "calib.npz": FileKind.DATA,
    "study.toml": FileKind.STUDY,
    "program.npz": FileKind.PROGRAM,
    "profile": FileKind.PROFILE,
    "config.toml": FileKind.LOCK,
    "plan.toml": FileKind.PLAN,
    "target.toml": FileKind.TARGET,
    "task.json": FileKind.TASK,
    "cost-model.json": FileKind.COST_MODEL,
    "schedule.toml": FileKind.SCHEDULE,
    "scheme.toml": FileKind.SCHEME,
    "records.jsonl": FileKind.RECORDS,
    "cpu.csv": FileKind.CPU_TABLE,
    "study.db": FileKind.DATABASE,
    "keras.h5": FileKind.FOREIGN,
    "model.pt": FileKind.FOREIGN,
    "package": FileKind.PACKAGE,
    "package/package.json": FileKind.MANIFEST,
    "empty": FileKind.FOLDER,
    "other.bin": None,
    "absent": None,
}


@pytest.mark.usefixtures("files")
def test_kinds_are_told_apart() -> None:
    assert {name: kind_of_file(Path(name)) for name in _KINDS} == _KINDS


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        (
            "study start calib.npz",
            "MODEL calib.npz: is an .npz file of arrays; a study file is needed",
            "nest-tune study start --calibration calib.npz",
        ),
        ("study start config.toml", "is a lock file", "nest-tune study start --config config.toml"),
        ("study start package", "is a package", "nest-tune run package --inputs x.npz"),
        (
            "compile calib.npz --target vta --calibration model.onnx -o out",
            "MODEL calib.npz: is an .npz file of arrays; an ONNX model is needed",
            "nest-tune compile --calibration calib.npz",
        ),
        (
            "compile model.onnx --target plan.toml --calibration calib.npz -o out",
            "--target plan.toml: is a plan; a target description is needed",
            "nest-tune compile --plan plan.toml",
        ),
        (
            "compile model.onnx --target vta --calibration package -o out",
            "--calibration package: is a package; an .npz file of arrays is needed",
            "nest-tune run package",
        ),
        ("compile model.pt --target vta -o out", "is a model of another format", "torch.onnx"),
        ("compile keras.h5 --target vta -o out", "is a model of another format", "tf2onnx"),
        ("compile empty --target vta -o out", "is a folder that is no package", "compile --help"),
        (
            "compile model.onnx --target vta --profile calib.npz -o out",
            "--profile calib.npz: is an .npz file of arrays; a profile of activations is needed",
            "nest-tune compile --calibration calib.npz",
        ),
        ("run model.onnx --inputs calib.npz --outputs y.npz", "a package", "compile model.onnx"),
        (
            "run package/package.json --inputs calib.npz --outputs y.npz",
            "PACKAGE package/package.json: is the manifest of a package",
            "/package",
        ),
        ("ci check package", "a lock file is needed", "nest-tune ci check package/config.toml"),
        ("ci check study.toml", "is a study file", "nest-tune study start study.toml"),
        ("simulate calib.npz --target vta", "a raw program is needed", "--calibration calib.npz"),
        ("simulate model.onnx --target vta", "is an ONNX model", "nest-tune compile model.onnx"),
        ("task tune schedule.toml --target vta", "a task is needed", "--schedule schedule.toml"),
        ("task list study.toml --target vta", "an ONNX model is needed", "study start study.toml"),
        ("plan check model.onnx --target vta --plan config.toml", "a plan is needed", "--config"),
        ("record import study.db", "exported records is needed", "sqlite:///study.db"),
        ("study show study.toml", "the name of a study is needed", "study start study.toml"),
        ("study resume study.db", "is a database of studies", "--storage sqlite:///study.db"),
        ("target check cpu.csv", "is a cost table of the CPU", "--cpu-table cpu.csv"),
        ("cost-model show --model model.onnx", "a cost model is needed", "compile model.onnx"),
    ],
)
@pytest.mark.usefixtures("files")
def test_what_was_meant_is_said(
    line: str, message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app._run(line.split(), debug=False, as_json=False) == 2
    error, said, *rest = capsys.readouterr().err.strip().splitlines()[-2:]
    assert message in error
    assert hint in said
    assert not rest


@pytest.mark.usefixtures("files")
def test_other_faults_keep_their_words(capsys: pytest.CaptureFixture[str]) -> None:
    Path("model.onnx").write_bytes(Path("model.onnx").read_bytes()[:-7])
    line = "compile model.onnx --target vta --calibration calib.npz -o out"
    assert app._run(line.split(), debug=False, as_json=False) == 2
    assert "truncated" in capsys.readouterr().err
    assert app._run(["bundle", "--name", "study.toml"], debug=False, as_json=False) == 2
    assert "is needed" not in capsys.readouterr().err


@pytest.mark.usefixtures("files")
def test_a_study_takes_its_model_by_itself(
    nest_tune: Callable[..., tuple[int, str, str]],
) -> None:
    more = ["--target", "vta", "--calibration", "calib.npz", "--trials", "1", "--dry-run"]
    for words in (["model.onnx"], ["--model", "model.onnx"]):
        code, out, err = nest_tune("study", "start", *words, *more)
        assert code == 0, err
        assert "model.onnx" in out
    code, _, err = nest_tune("study", "start", "model.onnx", "--model", "other.onnx", *more)
    assert code == 2
    assert "two models are given: model.onnx and --model other.onnx" in err
