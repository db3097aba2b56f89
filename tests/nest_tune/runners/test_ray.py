"""The Ray runner: against clusters that are there, are not, are of other code, or fall apart."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from compiler_core.errors import InputError, MissingDependencyError
from nest_tune.runners.runner import (
    Answer,
    Ending,
    Needs,
    Runner,
    RunnerOptions,
    Setup,
    Work,
    make_runner,
)

MODULE = "work_functions"
MARK = "PYTHON_MARK_OF_RAY_TESTS"
"""Workers inherit it, as all that begins so."""
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
Environment = dict[str, str]


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    """Of workers, so that they find the functions of these tests."""
    paths = [str(HERE), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("NEST_TUNE_STORAGE", "postgresql+psycopg://user:secret@host/db")
        patch.setenv(MARK, str(uuid.uuid4()))
        patch.delenv("RAY_ADDRESS", raising=False)
        yield dict(os.environ)


@pytest.fixture
def runner(environment: Environment) -> Iterator[Runner]:
    assert environment[MARK]
    made = make_runner("ray", Setup(f"{MODULE}:prepare", 40), RunnerOptions(jobs=2))
    yield made
    made.close()


def call(ticket: int, function: str, payload: object = None, **others: Any) -> Work:
    return Work(ticket, f"{MODULE}:{function}", payload, others.pop("timeout_s", 600.0), **others)


def gather(runner: Runner, count: int, within_s: float = 1500.0) -> dict[int, Answer]:
    answers: dict[int, Answer] = {}
    end = time.monotonic() + within_s
    while len(answers) < count and time.monotonic() < end:
        for answer in runner.wait(0.5):
            assert answer.ticket not in answers
            answers[answer.ticket] = answer
    assert len(answers) == count
    return answers


def test_a_cluster_of_this_machine(runner: Runner, capfd: pytest.CaptureFixture[str]) -> None:
    """One start for many questions: it takes seconds."""
    for number in range(100):
        runner.submit(call(number, "add", number))
    assert {n: a.value for n, a in gather(runner, 100).items()} == {n: 40 + n for n in range(100)}

    # One deadly and one endless call among cheap ones, in the same batches.
    for number in range(40):
        runner.submit(call(number, "add", number))
    runner.submit(call(40, "die"))
    runner.submit(call(41, "sleep", 600.0, timeout_s=0.5))
    answers = gather(runner, 42)
    assert answers.pop(40).ending is Ending.LOST
    assert answers.pop(41).ending is Ending.TIMEOUT
    assert {answer.ending for answer in answers.values()} == {Ending.DONE}

    # Neither output nor credentials travel.
    runner.submit(call(1, "shout"))
    runner.submit(call(2, "variable", "NEST_TUNE_STORAGE"))
    assert os.environ["NEST_TUNE_STORAGE"].endswith("/db")
    assert gather(runner, 2)[2].value is None
    assert "shouting" not in "".join(capfd.readouterr())

    # What no node can hold is refused with what was asked and what there is.
    runner.submit(call(3, "add", 1, needs=Needs(cpus=64)))
    with pytest.raises(InputError, match=r"needs 64 CPUs .* largest of 1 nodes have 2 CPUs"):
        runner.wait(5.0)


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("somewhere", InputError, "auto, host:port or ray://host:port is needed"),
        ("ray://host:0", InputError, "'0' is not a port"),
        ("host:port", InputError, "'port' is not a port"),
        (":6379", InputError, "not a port of a host"),
    ],
)
def test_wrong_addresses_are_refused(address: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_runner("ray", Setup("a:b", None), RunnerOptions(address=address))


@pytest.mark.parametrize("address", ["local", "127.0.0.1:1"])
def test_a_request_to_end_is_the_drivers_while_ray_starts(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray_cluster = importlib.import_module("nest_tune.runners.ray_cluster")
    ray = ray_cluster.ray

    class EndedError(BaseException):
        pass

    def end(_number: int, _frame: object) -> None:
        raise EndedError

    def init(**_given: object) -> None:
        ray._private.utils.set_sigterm_handler(lambda number, _frame: sys.exit(number))
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ray, "init", init)
    before = signal.signal(signal.SIGTERM, end)
    taking = ray._private.utils.set_sigterm_handler
    try:
        with pytest.raises(EndedError):
            ray_cluster._start({"address": address}, attempts=2)
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ray._private.utils.set_sigterm_handler is taking


def test_a_request_to_end_while_ray_is_imported_waits(tmp_path: Path) -> None:
    """A stand-in for the library asks for the end when it has taken the signal, as it does."""
    program = """
import os, signal, sys, types
def end(number, frame): raise SystemExit(99)
signal.signal(signal.SIGTERM, end)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "ray":
            sys.meta_path.remove(self)
            signal.signal(signal.SIGTERM, lambda number, frame: os._exit(15))
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Finder())
import nest_tune.runners.ray_cluster
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
    assert result.returncode == 99


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_where_nothing_listens_is_soon_known(scheme: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(MissingDependencyError, match="no Ray cluster answers at") as caught:
            make_runner("ray", Setup("a:b", None), RunnerOptions(address=address))
    assert caught.value.exit_code == 5
    assert "ray start --head" in str(caught.value.hint)


def test_passwords_do_not_reach_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql+psycopg://user:secret@host/db"
    monkeypatch.setattr(sys, "argv", ["nest-tune", "study", "start", "--storage", url])
    with pytest.raises(InputError, match="password") as caught:
        make_runner("ray", Setup("a:b", None), RunnerOptions())
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    assert "NEST_TUNE_STORAGE" in str(caught.value.hint)


# Several nodes.


@pytest.fixture
def cluster(environment: Environment) -> Iterator[Any]:
    """Three nodes of two CPUs, one of them the head; joined by address."""
    assert environment[MARK]
    from ray.cluster_utils import Cluster

    import nest_tune.runners.ray  # noqa: F401  sets what ray reads at import

    node = {"num_cpus": 2, "object_store_memory": 80 << 20}
    made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    made.nodes = [made.add_node(**node) for _ in range(2)]
    yield made
    made.shutdown()


@pytest.fixture
def connected(cluster: Any) -> Iterator[Callable[..., Runner]]:
    opened: list[Runner] = []

    def open_runner(setup: Setup | None = None, jobs: int = 0) -> Runner:
        made = make_runner(
            "ray",
            setup or Setup(f"{MODULE}:prepare", 40),
            RunnerOptions(jobs=jobs, address=cluster.address),
        )
        opened.append(made)
        return made

    yield open_runner
    for made in opened:
        made.close()


@pytest.mark.slow
def test_nodes_that_leave_and_join(
    cluster: Any, connected: Callable[..., Runner], tmp_path: Path
) -> None:
    path = tmp_path / "ranges.txt"
    path.write_text("kept")
    setup = Setup(f"{MODULE}:prepare_file", {"path": str(path)}, {"path": (str(path),)})
    runner = connected(setup)
    for number in range(3):
        runner.submit(call(number, "read"))
    for answer in gather(runner, 3).values():
        text, where = answer.value
        assert text == "kept"
        assert where != str(path)  # a copy, as on a machine without the file

    # Six calls at once fill three nodes; those of the lost node are made again elsewhere.
    for number in range(6):
        runner.submit(call(number, "until", str(tmp_path / "open")))
    assert runner.wait(1.0) == []
    cluster.remove_node(cluster.nodes[0], allow_graceful=False)
    (tmp_path / "open").touch()
    assert {a.ending for a in gather(runner, 6).values()} == {Ending.DONE}

    cluster.add_node(num_cpus=4, object_store_memory=80 << 20)
    for number in range(8):
        runner.submit(call(number, "sleep", 2.0))
    gather(runner, 8)


@pytest.mark.slow
def test_workers_with_other_code_are_refused(
    connected: Callable[..., Runner],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from nest_tune.runners import remote

    here = remote.identity()
    monkeypatch.setattr(remote, "identity", lambda: {**here, "nest-tune code": "feedfeedfeedfeed"})
    runner = connected()
    runner.submit(call(1, "add", 1))
    with pytest.raises(MissingDependencyError) as caught:
        gather(runner, 1)
    assert f"nest-tune code is {here['nest-tune code']}, the driver's is feedfeed" in str(
        caught.value
    )
    assert len([r for r in caplog.records if "is not used" in r.message]) == 3


@pytest.mark.slow
def test_a_cluster_of_another_version_is_not_joined(
    cluster: Any, connected: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(ray, "__version__", "2.0.1")
    with pytest.raises(MissingDependencyError, match=r"2\.0\.1") as caught:
        connected()
    assert caught.value.exit_code == 5
    assert "versions of Ray" in str(caught.value.hint)
    assert cluster.address


@pytest.mark.slow
def test_a_cluster_that_shrinks_to_nothing_is_waited_for_and_can_be_left(
    environment: Environment, studies: Studies
) -> None:
    assert environment[MARK]
    from ray.cluster_utils import Cluster

    import nest_tune.runners.ray  # noqa: F401  sets what ray reads at import

    node = {"object_store_memory": 80 << 20}
    cluster = Cluster(
        initialize_head=True, head_node_args={**node, "num_cpus": 0, "include_dashboard": False}
    )
    only = cluster.add_node(num_cpus=2, **node)
    try:
        process = studies.popen("s", "--runner", "ray", "--ray-address", cluster.address)
        studies.wait_for_trials(process, 1)
        cluster.remove_node(only, allow_graceful=False)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1500)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        assert "no nodes with CPUs: waiting" in err
        assert "saved; go on with: nest-tune study resume s" in err
        assert process.returncode == 130
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_one_node_without_the_project_is_left_alone(
    cluster: Any, connected: Callable[..., Runner], tmp_path: Path, environment: Environment
) -> None:
    blocking = tmp_path / "compiler_core"
    blocking.mkdir()
    (blocking / "__init__.py").write_text("raise ImportError('not installed here')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]]))
        cluster.add_node(num_cpus=8, object_store_memory=80 << 20)
    runner = connected()
    for number in range(24):
        runner.submit(call(number, "sleep", 0.3))
    assert {a.ending for a in gather(runner, 24).values()} == {Ending.DONE}


@pytest.mark.slow
def test_a_cluster_without_workers_is_waited_for(
    environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    assert environment[MARK]
    from ray.cluster_utils import Cluster

    import nest_tune.runners.ray  # noqa: F401  sets what ray reads at import

    node = {"object_store_memory": 80 << 20}
    head = {**node, "num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    options = RunnerOptions(address=cluster.address)
    runner = make_runner("ray", Setup(f"{MODULE}:prepare", 40), options)
    try:
        runner.submit(call(1, "add", 2))
        assert runner.wait(3.0) == []
        assert "no nodes with CPUs: waiting" in caplog.text
        cluster.add_node(num_cpus=1, **node)
        assert gather(runner, 1)[1].value == 42
    finally:
        runner.close()
        cluster.shutdown()


# Studies.


class Studies:
    """Studies of a small model from the command line."""

    def __init__(self, folder: Path, model: Path, environment: Environment) -> None:
        self.folder, self.model = folder, model
        cache = str(folder / "cache")
        self.environment = {**environment, "NEST_TUNE_CACHE": cache}
        self.environment.pop("NEST_TUNE_STORAGE")

    def popen(self, name: str, *options: str) -> subprocess.Popen[str]:
        files = f"--model {self.model.name} --target vta --calibration c.npz --evaluation e.npz"
        spaces = f"--space quantization,partition --sampler tpe --trials 17 --storage {self.url}"
        command = [sys.executable, "-m", "nest_tune", "study", "start", "--name", name, "--json"]
        return subprocess.Popen(
            [*command, *files.split(), *spaces.split(), *options],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    url = "sqlite:///nest-tune.db"

    def digest(self, name: str, count: int = 17, url: str = "sqlite:///nest-tune.db") -> str:
        from nest_tune.study.store.storage import StudyStorage
        from tests.nest_tune.trials_digest import trials_digest

        storage = StudyStorage(f"sqlite:///{self.folder / url.removeprefix('sqlite:///')}")
        trials = storage.trials(storage.find(name))
        storage.close()
        assert len(trials) == count
        return trials_digest(trials)

    def stored(self) -> int:
        """Trials in storage, all studies together; read without touching the schema."""
        path = self.folder / "nest-tune.db"
        if not path.exists():
            return 0
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            ended = "SELECT count(*) FROM trial_user_attributes WHERE key = 'nest_tune'"
            count: int = connection.execute(ended).fetchone()[0]
        except sqlite3.OperationalError:  # it is being made
            return 0
        finally:
            connection.close()
        return count

    def wait_for_trials(self, process: subprocess.Popen[str], count: int) -> None:
        end = time.monotonic() + 1500
        while self.stored() < count and time.monotonic() < end:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        assert self.stored() >= count

    def forget_results(self) -> None:
        """Lets the next study compute everything again."""
        with sqlite3.connect(self.folder / "nest-tune.db") as connection:
            connection.execute("DELETE FROM nest_tune_result")


@pytest.fixture
def studies(tmp_path: Path, synthetic: ModuleType, environment: Environment) -> Studies:
    model = synthetic.write("residual", tmp_path)
    labels = np.random.default_rng(1).integers(0, 7, 300)
    np.savez(tmp_path / "c.npz", x=synthetic.samples("residual", 8)["x"])
    np.savez(tmp_path / "e.npz", x=synthetic.samples("residual", 300, 3)["x"], y=labels)
    return Studies(tmp_path, model, environment)


@pytest.mark.slow
def test_a_study_on_three_nodes_one_killed_equals_the_local_one(
    studies: Studies, cluster: Any
) -> None:
    out, err = (local := studies.popen("local", "--jobs", "2")).communicate()
    assert local.returncode == 0, err
    studies.forget_results()
    process = studies.popen("ray", "--runner", "ray", "--ray-address", cluster.address)
    studies.wait_for_trials(process, 17 + 3)
    cluster.remove_node(cluster.nodes[1], allow_graceful=False)
    ray_out, ray_err = process.communicate()
    assert process.returncode == 0, ray_err
    assert studies.digest("ray") == studies.digest("local")
    assert json.loads(ray_out)["chosen"] == json.loads(out)["chosen"]


@pytest.mark.slow
def test_schedules_measured_on_workers_are_those_measured_here(
    studies: Studies, cluster: Any
) -> None:
    options = ("--space", "quantization,partition,tiling", "--sampler", "random", "--trials", "9")
    _, err = (local := studies.popen("local", *options, "--jobs", "2")).communicate()
    assert local.returncode == 0, err
    known = studies.url
    studies.url = "sqlite:///other.db"
    process = studies.popen("ray", *options, "--runner", "ray", "--ray-address", cluster.address)
    _, err = process.communicate()
    assert process.returncode == 0, err
    rows = []
    for url, name in ((known, "local"), (studies.url, "ray")):
        with sqlite3.connect(studies.folder / url.removeprefix("sqlite:///")) as connection:
            query = "SELECT task, document FROM nest_tune_study_task ORDER BY task"
            rows.append(connection.execute(query).fetchall())
        connection.close()
        assert len(rows[-1]) > 2
        assert studies.digest(name, 9, url) == studies.digest("local", 9, known)
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_a_killed_driver_leaves_nothing_and_its_study_is_resumed(
    studies: Studies, cluster: Any, gate: Any
) -> None:
    options = (*gate.options, "--runner", "ray", "--ray-address", cluster.address)
    gate.close(2)
    process = studies.popen("s", *options)
    studies.wait_for_trials(process, 2)
    stray = workers_of(studies.environment)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 2 <= studies.stored() < 17
    assert stray
    end = time.monotonic() + 1500
    while (left := workers_of(studies.environment)) and time.monotonic() < end:
        time.sleep(0.5)
    assert not left
    gate.open()
    again = studies.popen("s", "--if-exists", "resume", "--jobs", "2", *gate.options)
    _, err = again.communicate()
    assert again.returncode == 0, err
    studies.forget_results()
    whole = studies.popen("whole", "--jobs", "2", *gate.options)
    _, err = whole.communicate()
    assert whole.returncode == 0, err
    assert studies.digest("s") == studies.digest("whole")


def workers_of(environment: Environment) -> list[int]:
    """Processes that measure, on any node of these tests; also those whose parents are gone."""
    mark = f"{MARK}={environment[MARK]}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes()
            if mark in (path / "environ").read_bytes() and b"multiprocessing.spawn" in command:
                found.append(int(path.name))
        except OSError:  # it has just ended, or is somebody else's
            continue
    return found
