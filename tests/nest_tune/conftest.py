"""A small finished study whose names try to break out of every page and table, and a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest

Run = Callable[..., tuple[int, str, str]]

HOSTILE = "<script>alert('node')</script>&amp;\"|"
"""Name of a node, and of the tensor that it writes."""


@dataclass(frozen=True)
class SmallStudy:
    """A study on the digits network with a hostile name in it.

    Attributes:
        folder: Of all files; the working folder of commands.
        model, calibration, evaluation: Files.
        storage: URL.
        name: Of the study.
    """

    folder: Path
    model: Path
    calibration: Path
    evaluation: Path
    storage: str
    name: str = "small"


def _renamed(model: onnx.ModelProto, old: str) -> None:
    for node in model.graph.node:
        outputs = list(node.output)
        if node.name == old:
            node.name = HOSTILE
            written = outputs[0]
            node.output[0] = f"{HOSTILE} out"
            for reader in model.graph.node:
                for index, name in enumerate(reader.input):
                    if name == written:
                        reader.input[index] = f"{HOSTILE} out"


@pytest.fixture(scope="session")
def hostile_name() -> str:
    """The name that must never be taken for markup."""
    return HOSTILE


@pytest.fixture(scope="session")
def small_study(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    """Nine trials without tuning, a limit that some of them break."""
    from nest_tune.cli.app import _run

    folder = tmp_path_factory.mktemp("small study")
    digits = repository / "examples" / "digits"
    proto = onnx.load(digits / "model.onnx")
    _renamed(proto, "pointwise")
    model = folder / "<img src=x onerror=alert(1)>.onnx"
    onnx.save(proto, model)
    storage = f"sqlite:///{folder}/studies.db"
    words = ["study", "start", "--model", model, "--target", "vta", "--name", "small"]
    words += ["--calibration", digits / "calib.npz", "--evaluation", digits / "eval.npz"]
    words += ["--space", "quantization,partition", "--sampler", "random", "--trials", 17]
    words += ["--constraint", "latency_ms<=0.5", "--storage", storage, "--json"]
    words += ["--launches", "apart"]  # where launches cost, trials differ
    before = os.environ.get("NEST_TUNE_CACHE")
    os.environ["NEST_TUNE_CACHE"] = str(folder / "cache")
    try:
        assert _run([str(word) for word in words], debug=True, as_json=True) == 0
    finally:
        if before is None:
            del os.environ["NEST_TUNE_CACHE"]
        else:
            os.environ["NEST_TUNE_CACHE"] = before
    return SmallStudy(folder, model, digits / "calib.npz", digits / "eval.npz", storage)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``nest-tune`` in this process: exit code, standard output, standard error."""
    from nest_tune.cli.app import _run

    def call(*arguments: object) -> tuple[int, str, str]:
        words = [str(argument) for argument in arguments]
        capsys.readouterr()
        code = _run(words, debug=False, as_json="--json" in words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def nest_tune(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """``run`` with a cache of its own, as on no build server."""
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return run


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shared.db'}"
    found: str = request.getfixturevalue(request.param).url
    return found


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Any]:
    """A running server; skipped where PostgreSQL is not installed."""
    from tests.nest_tune import postgresql_server as module

    folder = module.programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("psycopg", reason="PostgreSQL is not installed: no psycopg")
    server = module.PostgresqlServer(folder)
    yield server
    server.remove()


@pytest.fixture
def postgresql(postgresql_server: Any) -> Any:
    """A running server without any table."""
    postgresql_server.empty()
    return postgresql_server


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[Any]:
    """A running server; skipped where MariaDB is not installed."""
    from tests.nest_tune import mysql_server as module

    found = module.programs()
    if found is None:
        pytest.skip("MariaDB is not installed: no mariadb-install-db, no mariadbd")
    pytest.importorskip("pymysql", reason="MariaDB is not installed: no pymysql")
    server = module.MysqlServer(found)
    yield server
    server.remove()


@pytest.fixture
def mysql(mysql_server: Any) -> Any:
    """A running server without any table."""
    mysql_server.empty()
    return mysql_server
