"""The command line as a process: output, exit codes, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler_core.units.vta.tool.advice import ADVICE

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def source_tree(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes find the packages without an installation too."""
    monkeypatch.setenv("PYTHONPATH", str(repository))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs ``nest-tune`` in an empty folder."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "nest_tune", *map(str, arguments)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return call


@pytest.fixture
def example(repository: Path) -> Path:
    return repository / "examples" / "conv.npz"


def document(run: subprocess.CompletedProcess[str], schema: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(run.stdout)
    assert next(iter(parsed)) == "schema"
    assert parsed["schema"] == f"nest-tune/{schema}/1"
    return parsed


def test_simulate_writes_memory_trace_and_summary(run: Run, example: Path, tmp_path: Path) -> None:
    done = run("simulate", example, "--target", "vta", "--outputs", "a.npz", "--trace", "t.json")
    assert done.returncode == 0, done.stderr
    assert "cycles" in done.stdout
    assert done.stderr == ""
    with np.load(tmp_path / "a.npz") as after, np.load(example) as program:
        assert after.files == ["dram"]
        start, length = int(program["post_addr"][0]), int(program["post_len"][0])
        assert np.array_equal(after["dram"][start : start + length], program["post_data"])
    assert (tmp_path / "a.npz").stat().st_mode & 0o777 == 0o666 & ~current_umask()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "t.json"]


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_simulate_json_accounts_for_every_cycle(run: Run, example: Path) -> None:
    done = run("simulate", example, "--target", "vta", "--json")
    result = document(done, "simulate")
    assert done.returncode == 0
    assert result["error"] is None
    assert result["dram_size_bytes"] == 0x5000
    assert result["profile"] == "rtl-pipelined"
    for module in result["modules"].values():
        assert sum(module.values()) == result["cycles"]
    assert result["time_ms"] == pytest.approx(result["cycles"] / 100e6 * 1e3)
    assert result["energy_mj"] == pytest.approx(sum(result["energy_pj"].values()) * 1e-9)
    assert result["traffic"]["out"]["data_bytes"] == 14 * 14 * 16


@pytest.mark.parametrize(
    ("profile", "key"), [("rtl2020", "cycles_rtl2020"), ("rtl-pipelined", "cycles_pipelined")]
)
@pytest.mark.parametrize("name", ["conv3_16x28_to32_0", "finish_only", "random_3"])
def test_profile_gives_the_cycles_of_the_rtl(
    run: Run, vta_vectors: Path, name: str, profile: str, key: str
) -> None:
    manifest = json.loads((vta_vectors / "manifest.json").read_text())
    entry = next(program for program in manifest["programs"] if program["name"] == name)
    path = vta_vectors / entry["file"]
    result = document(
        run("simulate", path, "--target", "vta-pynq", "--profile", profile, "--json"), "simulate"
    )
    assert result["cycles"] == entry[key]
    assert result["profile"] == profile
    assert result["dram_size_bytes"] == entry["dram_size"]


def test_wrong_program_is_exit_1_with_its_class(
    run: Run, vta_vectors: Path, tmp_path: Path
) -> None:
    path = vta_vectors / "neg_deadlock_pop.npz"
    options = ("--target", "vta", "--outputs", "after.npz", "--trace", "t.json", "--json")
    done = run("simulate", path, *options)
    result = document(done, "simulate")
    assert done.returncode == 1
    assert result["cycles"] is None
    assert result["error"]["class"] == "deadlock"
    assert done.stderr.splitlines()[-1] == "hint: " + ADVICE["deadlock"]
    assert result["error"]["message"]
    assert isinstance(result["error"]["instruction"], int)
    assert "deadlock" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulate"], ["PROGRAM.npz", "hint: nest-tune simulate --help"]),
        (["simulate", "gone.npz", "--target", "vta"], ["gone.npz", "nest-tune simulate --help"]),
        (["simulate", "/dev/null", "--target", "vta"], ["/dev/null", "no regular file"]),
        (["simulate", "gone.npz", "--target", "vtb"], ["'vtb'", "hint: nest-tune target list"]),
        (["simulate", "gone.npz", "--target", "vta", "--profile", "x"], ["rtl2020"]),
        (["simulate", "gone.npz", "--target", "vta", "--dram-size", "4k"], ["'4k'", "0x10000"]),
        (["simulate", "{example}", "--target", "vta", "--dram-size", "-5"], ["-5", "allowed"]),
        (["simulate", "{example}", "--target", "vta", "--trace", "no/t.json"], ["no folder no"]),
        (["simulate", "{example}", "--target", "vta", "--outputs", "."], ["is a folder"]),
        (["simulate", "{example}", "--target", "vta", "--trace", "/dev/null"], ["is a device"]),
        (["simulate", "{example}", "--target", "vta", "--outputs", "{example}"], ["same file"]),
        (["target", "show", "vta-pinq"], ["vta-pynq"]),
        (["target", "check", "gone.toml"], ["gone.toml", "does not exist"]),
        (["targe"], ["target"]),
        (["target", "show"], ["hint: nest-tune target show --help"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_use_is_exit_2_with_one_message(
    run: Run, example: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    given = [argument.format(example=example) for argument in arguments]
    before = example.read_bytes()
    done = run(*given)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert all(word in done.stderr for word in words)
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
    assert list(tmp_path.iterdir()) == []
    assert example.read_bytes() == before


def test_error_with_json_is_one_document_too(run: Run) -> None:
    done = run("simulate", "gone.npz", "--target", "vta", "--json")
    assert done.returncode == 2
    assert document(done, "error")["error"]["message"] in done.stderr


def test_traceback_only_with_debug(run: Run) -> None:
    assert "Traceback" not in run("target", "show", "vtb").stderr
    done = run("target", "show", "vtb", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert run("--debug", "target", "list").returncode == 0


def test_target_list_names_the_bundled_targets(run: Run) -> None:
    listed = {
        target["name"]: target
        for target in document(run("target", "list", "--json"), "target-list")["targets"]
    }
    text = run("target", "list").stdout
    assert {"vta-pynq", "host"} <= listed.keys()
    assert all(name in text for name in listed)
    assert listed["vta-pynq"]["kinds"] == ["cpu", "vta"]
    assert listed["vta-pynq"]["origin"] == "assumed"
    assert [unit["name"] for unit in listed["vta-x4"]["units"]] == ["vta"]
    assert listed["host"]["kinds"] == ["cpu"]
    assert listed["host"]["units"] == []


def test_target_show_gives_unit_and_origin(run: Run) -> None:
    shown = document(run("target", "show", "vta-pynq", "--json"), "target-show")
    by_key = {quantity["key"]: quantity for quantity in shown["quantities"]}
    assert by_key["npu.clock_hz"]["value"] == 100e6
    assert by_key["npu.clock_hz"]["unit"] == "Hz"
    assert by_key["npu.timing.costs.gemm.fixed"]["unit"] == "cycles"
    assert by_key["npu.geometry.buffer_depth.wgt"]["unit"] == "elements"
    assert by_key["npu.timing.costs.gemm.fixed"]["origin"] == "measured"
    assert by_key["cpu.float_macs_per_cycle"]["origin"] == "assumed"
    text = run("target", "show", "vta-pynq").stdout
    for key, quantity in by_key.items():
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{key} "))
        assert quantity["origin"] in line
        assert quantity["unit"] in line


def test_target_check_accepts_a_file(run: Run, tmp_path: Path) -> None:
    text = 'schema = "nest-tune/target/1"\nname = "mine"\ninherit = "vta"\n'
    (tmp_path / "mine.toml").write_text(text)
    done = run("target", "check", "mine.toml")
    assert done.returncode == 0
    assert "mine: correct, 46 numbers" in done.stdout


def test_text_of_a_description_is_shown_as_it_stands(run: Run, tmp_path: Path) -> None:
    text = 'schema = "nest-tune/target/1"\nname = "mine"\ninherit = "vta"\n'
    text += 'description = "[/red] :smile: [b]"\n[cpu]\nname = "[/x]"\n'
    (tmp_path / "mine.toml").write_text(text)
    done = run("target", "show", "mine.toml")
    assert done.returncode == 0, done.stderr
    assert "mine: [/red] :smile: [b]" in done.stdout
    assert "[/x]" in done.stdout


def test_pipe_for_a_file_is_refused_at_once(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    done = run("simulate", "pipe.npz", "--target", "vta")
    assert done.returncode == 2
    assert "no regular file" in done.stderr


def test_result_goes_where_a_link_leads(run: Run, example: Path, tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to("real.json")
    done = run("simulate", example, "--target", "vta", "--trace", "link.json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_bytes())["traceEvents"]


def test_link_in_a_circle_is_one_error(run: Run, example: Path, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for arguments in (["a", "--target", "vta"], [example, "--target", "vta", "--outputs", "a"]):
        done = run("simulate", *arguments)
        assert done.returncode in (0, 2), done.stderr
        assert "internal" not in done.stderr


def test_dram_size_may_be_hexadecimal(run: Run, example: Path) -> None:
    done = run("simulate", example, "--target", "vta", "--dram-size", "0x6000", "--json")
    assert document(done, "simulate")["dram_size_bytes"] == 0x6000


@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "text"])
def test_full_disk_under_the_output_is_one_error(example: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "nest_tune", "simulate", str(example), "--target", "vta"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*command, *options],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output cannot be written")
    assert "Traceback" not in done.stderr


def test_damaged_package_is_a_missing_dependency(
    run: Run, example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('libgone.so: no such file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    done = run("simulate", example, "--target", "vta")
    assert done.returncode == 5
    assert "libgone.so" in done.stderr
    assert "hint: nest-tune doctor" in done.stderr


def test_unwritable_result_is_one_error(run: Run, example: Path, tmp_path: Path) -> None:
    # A name of 255 characters is legal, but leaves no room for the temporary file's.
    done = run("simulate", example, "--target", "vta", "--json", "--outputs", "n" * 255)
    assert done.returncode == 2
    assert "cannot be written" in document(done, "error")["error"]["message"]
    assert list(tmp_path.iterdir()) == []


def test_doctor_runs_a_program(run: Run) -> None:
    done = run("doctor", "--json")
    report = document(done, "doctor")
    assert done.returncode == 0, done.stdout
    assert report["ok"]
    checks = {check["name"]: check for check in report["checks"]}
    assert "bytes equal" in checks["simulator"]["detail"]
    assert {"numpy", "targets", "storage", "python", "ray", "xgboost"} <= checks.keys()
    assert "4 samples bit-exact" in checks["compiler"]["detail"]
    assert "not there yet" in checks["storage"]["detail"]


def test_doctor_reads_the_storage_that_studies_go_to(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEST_TUNE_STORAGE", f"sqlite:///{tmp_path / 'n.db'}")
    (tmp_path / "n.db").write_bytes(b"this is no database" * 100)
    done = run("doctor")
    assert done.returncode == 5
    (line,) = [line for line in done.stdout.splitlines() if "FAILED" in line]
    assert line.startswith("storage")


def test_doctor_says_what_is_missing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnx_ir.py").write_text("raise ModuleNotFoundError('gone', name='onnx_ir')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    done = run("doctor")
    assert done.returncode == 5
    failed = [line for line in done.stdout.splitlines() if "FAILED" in line]
    assert [line.split()[0] for line in failed] == ["onnx-ir"]


def test_no_command_shows_help_and_is_wrong_use(run: Run) -> None:
    done = run()
    assert done.returncode == 2
    assert done.stdout.startswith("Usage: nest-tune")


def test_closed_output_is_no_crash() -> None:
    command = f"{sys.executable} -m nest_tune target show vta | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_signal_ends_with_its_code(tmp_path: Path, number: signal.Signals, code: int) -> None:
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    program = (
        "import sys, time\n"
        "import compiler_core.targets.load as load\n"
        "def wait(name):\n"
        f"    open({str(fifo)!r}, 'w').close()\n"
        "    time.sleep(600)\n"
        "load.load_description = wait\n"
        "sys.argv = ['nest-tune', 'target', 'show', 'vta']\n"
        "from nest_tune.cli import main\n"
        "main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True
    ) as child:
        with fifo.open():
            time.sleep(0.1)
        child.send_signal(number)
        _, errors = child.communicate()
    assert child.returncode == code
    assert "Traceback" not in errors
    assert errors.startswith("error: ")
