"""Models timed over ssh on loopback, and everything that a board can do wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compiler_core.boards import timing
from compiler_core.boards.address import Address, is_address, parse_addresses
from compiler_core.boards.ssh import CONFIG, arguments, call
from compiler_core.boards.timing import (
    choices_of_boards,
    free_board,
    machine_of_boards,
    time_on_boards,
)
from compiler_core.clock.choices import CPU_PROVIDER, RuntimeChoices, choices_here
from compiler_core.clock.machine import this_machine
from compiler_core.clock.serving import MARK, ShippedPart
from compiler_core.errors import InputError, MissingDependencyError
from tests.compiler_core.boards.conftest import Server, free_port

HOSTILE = (
    "ssh://-oProxyCommand=touch%20x@board",
    "ssh://-oProxyCommand=x",
    "ssh://user@-oProxyCommand=x",
    "ssh://board;reboot",
    "ssh://board$(reboot)",
    "ssh://board`reboot`",
    "ssh://user@board/usr/bin/python3;reboot",
    "ssh://user@board/usr/bin/python3 -c x",
    "ssh://user@board/../../bin/sh",
    "ssh://user@board/./x",
    "ssh://user@board/-x",
    "ssh://user:secret@board",
    "ssh://user@board:0",
    "ssh://user@board:99999",
    "ssh://user@board:22:22",
    "ssh://user@board\nreboot",
    "ssh://user@bo ard",
    "ssh://",
    "ssh://@board",
    "ssh://user@board?x=y",
    "ssh://user@board/x.toml",
    "ssh://user@bö",
    "ssh://a,",
    "ssh://a,ssh://a",
    "http://board",
    ",".join(f"ssh://b{n}" for n in range(65)),
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_addresses_are_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_addresses(text)
    assert "secret" not in caught.value.message
    assert "\n" not in caught.value.message


@given(st.text(max_size=40), st.text(max_size=20))
def test_whatever_is_taken_reaches_no_shell_and_no_option(host: str, path: str) -> None:
    try:
        (found,) = parse_addresses(f"ssh://{host}/{path}")
    except (InputError, ValueError):
        return
    assert re.fullmatch(r"[A-Za-z0-9_.-]*", found.user)
    assert re.fullmatch(r"[A-Za-z0-9:.-]+", found.host)
    assert not found.host.startswith("-")
    assert re.fullmatch(r"[A-Za-z0-9/._+-]*", found.python)


def test_addresses_are_read_and_written() -> None:
    text = "ssh://pi@board.local:2222/home/pi/.venv/bin/python3,ssh://10.0.0.7,ssh://[fe80::1]:22"
    found = parse_addresses(text)
    assert found == (
        Address("pi", "board.local", 2222, "/home/pi/.venv/bin/python3"),
        Address("", "10.0.0.7", None, ""),
        Address("", "fe80::1", 22, ""),
    )
    assert ",".join(one.text for one in found) == text
    assert is_address(text)
    assert not is_address("vta")
    assert not is_address(Path("ssh:/x"))


def test_host_keys_are_checked_and_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/ssh")
    words = arguments(Address("pi", "board", 22, ""))
    assert "StrictHostKeyChecking=yes" in words
    assert "BatchMode=yes" in words
    assert words[-3:-1] == ["--", "board"]
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(MissingDependencyError, match="no ssh on this machine"):
        arguments(Address("pi", "board", 22, ""))


def model(scale: float = 1.0, size: int = 64) -> bytes:
    weight = numpy_helper.from_array(np.full((size, size), scale, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, size])],
        [weight],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString()
    return content


def timed(address: str, **other: Any) -> timing.BoardTimes:
    parts = {
        "ours": [ShippedPart("all", ("x",), ("y",), model())],
        "float": [ShippedPart("all", ("x",), ("y",), model(2.0))],
    }
    given = {"profiled": "ours", "threads": 1, "repeats": 8, "budget_s": 0.5, **other}
    return time_on_boards(address, parts, {"x": np.ones((1, 64), np.float32)}, **given)


def test_models_are_timed_on_a_board(board: Server) -> None:
    found = timed(board.address())
    assert found.timed.machine == this_machine(1)  # loopback
    together = found.timed.together
    assert set(together.samples_us) == {"ours", "float"}
    assert together.rounds == 8
    assert 0 < together.ratio("ours", "float").value < 100
    ((kernel,),) = found.kernels
    assert (kernel.name, kernel.operator) == ("product", "MatMul")
    assert machine_of_boards(board.address()) == this_machine(1)


def test_a_model_that_a_board_cannot_run_is_said(board: Server) -> None:
    parts = {"ours": [ShippedPart("all", ("x",), ("y",), b"no model")]}
    with pytest.raises(InputError, match="cannot run the model"):
        time_on_boards(
            board.address(), parts, {}, profiled="ours", threads=1, repeats=8, budget_s=0.5
        )


def script(folder: Path, text: str) -> str:
    path = folder / f"fake-{abs(hash(text))}"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def refused(run: Callable[[], object], *words: str) -> None:
    with pytest.raises(MissingDependencyError) as caught:
        run()
    for word in words:
        assert word in f"{caught.value.message} {caught.value.hint}", caught.value.message
    assert caught.value.exit_code == 5


def test_boards_that_cannot_be_reached(
    board: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = f"ssh://user@127.0.0.1:{free_port()}"
    refused(lambda: machine_of_boards(closed), "cannot be reached", "refused", "sshd")
    refused(lambda: machine_of_boards("ssh://no-such-board.invalid"), "check the name")
    own = (board.folder / "config").read_text()
    for name, changed, word in (
        ("keys", own.replace("/known", "/none"), "compare its key"),
        ("login", own.replace("/client", "/host"), "ssh-copy-id"),
    ):
        (tmp_path / name).write_text(changed)
        monkeypatch.setenv(CONFIG, str(tmp_path / name))
        refused(lambda: machine_of_boards(board.address()), word)


def test_boards_that_lack_something(board: Server, tmp_path: Path) -> None:
    address = board.address(str(tmp_path / "nothing"))
    refused(lambda: machine_of_boards(address), "has no", "numpy and onnxruntime")
    bare = 'exec /usr/bin/env python3 -S -E -s "$@"'
    text = f'case "$2" in *) {bare};; esac'
    address = board.address(script(tmp_path, text))
    refused(lambda: machine_of_boards(address), "lacks", "pip install")
    address = board.address(script(tmp_path, "cat > /dev/null; exit 9"))
    refused(lambda: machine_of_boards(address), "code 9")


def test_boards_that_answer_nonsense(board: Server, tmp_path: Path) -> None:
    for text in ("cat > /dev/null; echo hello", "exec 0<&-; exit 0", "echo 'nest-tune-board/1 ['"):
        address = board.address(script(tmp_path, text))
        refused(lambda: machine_of_boards(address), "answer")  # noqa: B023
    endless = board.address(script(tmp_path, "yes | head -c 50000000"))
    refused(lambda: machine_of_boards(endless), "board")


def test_a_board_that_does_not_answer_is_given_up(board: Server, tmp_path: Path) -> None:
    (address,) = parse_addresses(board.address(script(tmp_path, "sleep 20")))
    refused(lambda: call(address, b"x" * (1 << 22), 1.5), "no answer within")


def test_a_board_that_is_lost_is_told(board: Server, tmp_path: Path) -> None:
    """The connection breaks while the board works."""
    mark = tmp_path / "begun"
    text = f"cat > /dev/null; echo begun > {mark}; sleep 20"
    (address,) = parse_addresses(board.address(script(tmp_path, text)))

    def cut() -> None:
        while not mark.exists():
            time.sleep(0.05)
        for process in descendants(board.process.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    thread = threading.Thread(target=cut)
    thread.start()
    refused(lambda: call(address, b"x", 15.0), "cannot be reached, or was lost")
    thread.join()


def descendants(parent: int) -> list[int]:
    """Processes that a process has started, and those have."""
    path = Path(f"/proc/{parent}/task/{parent}/children")
    own = [int(word) for word in path.read_text().split()] if path.exists() else []
    return [*own, *(inner for one in own for inner in descendants(one))]


GOOD = {
    "machine": {
        "model": "A", "architecture": "x", "flags": "", "cores": 1, "runtime": "o", "threads": 1
    },
    "samples_us": {"ours": [1.0, 2.0], "float": [2.0, 2.0]},
    "conditions": {
        "wall_s": 1.0, "cpu_share": 1.0, "switches_per_s": None, "others": None, "load": None,
        "threads": 1, "cores": 1,
    },
    "restless": ["ours", "other"],
    "kernels": [[{"name": "n", "operator": "o", "us": 1.0}]],
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"machine": None},
        {"machine": {**GOOD["machine"], "cores": "many"}},  # type: ignore[dict-item]
        {"samples_us": {"ours": [1.0]}},
        {"samples_us": {"ours": [1.0], "float": [1.0, 2.0]}},
        {"samples_us": {"ours": [], "float": []}},
        {"samples_us": {"ours": [0.0], "float": [1.0]}},
        {"samples_us": {"ours": ["1"], "float": [1.0]}},
        {"samples_us": {"ours": [float("inf")], "float": [1.0]}},
        {"samples_us": {"ours": 1, "float": [1.0]}},
        {"conditions": {}},
        {"kernels": []},
        {"kernels": [[{"name": 1}]]},
        {"restless": 7},
    ],
)
def test_wrong_answers_are_refused(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(document: Any) -> None:
        text = f"motd\n{MARK}{json.dumps(document)}\n".encode()
        monkeypatch.setattr(timing, "call", lambda *_: text)

    answers(GOOD)
    found = timed("ssh://board")
    assert found.timed.together.restless == ("ours",)
    answers({**GOOD, **change})
    refused(lambda: timed("ssh://board"), "no usable")


def test_boards_of_a_study_have_to_be_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(address: Address, *_: Any) -> bytes:
        machine = {**GOOD["machine"], "model": address.host}  # type: ignore[dict-item]
        return f"{MARK}{json.dumps({'machine': machine})}".encode()

    monkeypatch.setattr(timing, "call", answer)
    assert machine_of_boards("ssh://a").model == "a"
    with pytest.raises(InputError, match="not alike"):
        machine_of_boards("ssh://a,ssh://b")


def test_each_board_measures_one_thing_at_a_time() -> None:
    boards = parse_addresses("ssh://one.invalid,ssh://two.invalid")
    with free_board(boards) as first, free_board(boards) as second:
        assert {first.host, second.host} == {"one.invalid", "two.invalid"}
        taken: list[str] = []
        waiting = threading.Thread(target=lambda: _take(boards, taken))
        waiting.start()
        time.sleep(0.2)
        assert not taken
    waiting.join(10)
    assert len(taken) == 1


def _take(boards: tuple[Address, ...], taken: list[str]) -> None:
    with free_board(boards) as found:
        taken.append(found.host)


def test_a_board_says_what_its_runtime_leaves_to_choose(board: Server) -> None:
    assert choices_of_boards(board.address()) == choices_here()


CHOICES = {"threads": [1, 2], "optimizations": ["all", "basic"], "providers": [CPU_PROVIDER]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"threads": []},
        {"threads": [2, 1]},
        {"threads": [1, 1]},
        {"threads": ["1"]},
        {"optimizations": ["basic"]},
        {"optimizations": ["all", "most"]},
        {"providers": ["Other"]},
        {"providers": [CPU_PROVIDER, CPU_PROVIDER]},
        {"providers": [CPU_PROVIDER, "a; reboot"]},
        {"more": 1},
    ],
)
def test_wrong_choices_of_a_board_are_refused(
    wrong: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "_asked", lambda *_: {"choices": {**CHOICES, **wrong}})
    with pytest.raises(MissingDependencyError, match="no usable choices of its runtime"):
        choices_of_boards("ssh://a")


def test_several_boards_leave_what_all_of_them_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"threads": [1, 2, 4], "optimizations": ["all"], "providers": [CPU_PROVIDER, "Own"]}
    answers = {"a": CHOICES, "b": other}
    monkeypatch.setattr(timing, "_asked", lambda at: {"choices": answers[at.host]})
    assert choices_of_boards("ssh://a,ssh://b") == RuntimeChoices((1, 2), ("all",), (CPU_PROVIDER,))
