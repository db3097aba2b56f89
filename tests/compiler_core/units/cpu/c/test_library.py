"""Kernels of CMSIS-NN, with a small stand-in of our own: chosen where faster, refused where not."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import nest_tune
from compiler_core.errors import InputError, MissingDependencyError
from compiler_core.graph.exporter import write_model
from compiler_core.graph.ir import Graph
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import scheduled_bundle, write_bundle
from compiler_core.units.cpu.c.bundles.package import OpenPackage
from compiler_core.units.cpu.c.bundles.targets import load_board
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.library.place import (
    VARIABLE,
    library_in,
    require_library,
    use_library,
)
from compiler_core.units.cpu.c.network import Network
from compiler_core.units.cpu.c.schedules.legality import legal_kernels, units_of, violations
from compiler_core.units.cpu.c.schedules.library import LIBRARY_UNITS, library_kernels
from compiler_core.units.cpu.c.schedules.schedule import PORTABLE, KernelSchedule, KernelUnit
from compiler_core.units.cpu.c.schedules.workload import workload_of
from compiler_core.units.cpu.c.tasks.machine import KernelMachine, kernel_machine
from search_spaces.task_space import task_space
from tests.compiler_core.units.cpu.c.cases import CASES, Model, ranges_of, samples
from tests.compiler_core.units.cpu.c.test_vectors_in_c import everything

STAND_IN = Path(__file__).parent / "stand_in"
MACHINE = KernelMachine("cortex-m4", 1e8, "none")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> str:
    """The stand-in in the environment; which it is."""
    monkeypatch.setenv(VARIABLE, "")  # is taken back in the end
    return use_library(STAND_IN).identity


@cache
def model() -> Graph:
    """A convolution, whose stand-in is slow, and a pool, whose stand-in is fast."""
    m = Model((1, 3, 8, 8))
    found = m.node("Conv", "x0", m.weight(32, 3, 3, 3), m.weight(32), pads=[1, 1, 1, 1])
    return m.graph(m.node("MaxPool", m.node("Relu", found), kernel_shape=[2, 2], strides=[2, 2]))


def network() -> Network:
    return to_network(model(), ranges_of(model()))


def with_library(network: Network, core: str) -> dict[str, KernelSchedule]:
    """Kernels of the library wherever there are some."""
    return {
        item.output: (*library_kernels(network, item, core), PORTABLE)[0]
        for item in network.operators
    }


def require(core: str) -> None:
    if lacking := cores.missing(cores.core_of(core)):
        pytest.skip(f"{lacking[0]} is not installed")


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
def test_calls_give_the_same_bits(core: str, tmp_path: Path) -> None:
    require(core)
    bundle = scheduled_bundle(network(), "called", with_library(network(), core))
    write_bundle(bundle, tmp_path, samples(model(), 2))
    text = (tmp_path / "model.c").read_text()
    assert "arm_convolve_wrapper_s8(" in text
    assert "arm_max_pool_s8(" in text
    assert "2 of 2" in cores.check(cores.core_of(core), tmp_path, tmp_path / "program")
    assert "2 of 2" in cores.check(cores.core_of("c99"), tmp_path, tmp_path / "program")


@pytest.mark.usefixtures("given")
def test_makefile_takes_the_folder(tmp_path: Path) -> None:
    if shutil.which("make") is None or shutil.which("cc") is None:
        pytest.skip("make is not installed")
    bundle = scheduled_bundle(network(), "called", with_library(network(), "cortex-m4"))
    write_bundle(bundle, tmp_path, samples(model(), 2))
    strict = "CFLAGS=-O2 -Wall -Wextra -Wconversion"
    command = ["make", "-C", str(tmp_path), "check", strict]
    without = subprocess.run(command, capture_output=True, text=True)
    assert without.returncode
    assert "CMSIS_NN is not set" in without.stderr
    strict = "CFLAGS=-O2 -Wall -Wextra -Wconversion"
    done = subprocess.run(
        [*command, f"CMSIS_NN={STAND_IN}", strict], capture_output=True, text=True
    )
    assert "2 of 2 samples equal" in done.stdout, done.stderr
    assert "model.c" not in done.stderr  # no warning of it
    assert "CMSIS_NN" in (tmp_path / "model.cmake").read_text()


def test_is_taken_where_it_is_faster(given: str, tmp_path: Path) -> None:
    """The stand-in's pool is, its convolution is not; package and lock file say what they need."""
    require("cortex-m4")
    path, calibration = tmp_path / "model.onnx", tmp_path / "calib.npz"
    path.write_bytes(write_model(model()).SerializeToString())
    rows = [sample["x0"] for sample in samples(model(), 4)]
    np.savez(calibration, x0=np.concatenate(rows))
    folder = tmp_path / "package"
    made = nest_tune.compile_bundle(path, "cortex-m4", folder, calibration=calibration, tune=True)
    text = (folder / "model.c").read_text()
    assert "arm_max_pool_s8(" in text
    assert "arm_convolve_wrapper_s8" not in text
    config = folder / "config.toml"
    assert f'library = "{given}"' in config.read_text()
    assert 'unit = "cmsis-nn-dsp"' in config.read_text()
    assert made.report.flash_bytes is not None
    again = nest_tune.compile_bundle(path, None, tmp_path / "again", config=config)
    assert again.report == made.report
    inputs = {"x0": np.concatenate(rows)}
    opened = OpenPackage(folder)
    for emulated in (False, True):
        ran = opened.run(inputs, emulated=emulated)
        for name, expected in opened.reference(inputs).items():
            np.testing.assert_array_equal(ran[name].reshape(expected.shape), expected)


def test_what_needs_it_is_refused_without(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    shutil.copytree(STAND_IN, other)
    pool = other / "Source" / "PoolingFunctions" / "arm_max_pool_s8.c"
    pool.write_text(pool.read_text() + "/* changed */\n")
    require_library(given, "this")
    require_library("", "this")
    monkeypatch.setenv(VARIABLE, str(other))
    with pytest.raises(MissingDependencyError, match=r"CMSIS-NN V\.19\.1\.0"):
        require_library(given, "package p")
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(MissingDependencyError, match="none is given"):
        require_library(given, "package p")
    bundle = scheduled_bundle(network(), "called", with_library(network(), "cortex-m4"))
    write_bundle(bundle, tmp_path / "b", samples(model(), 1))
    with pytest.raises(MissingDependencyError, match="nothing says where it is"):
        cores.check(cores.core_of("c99"), tmp_path / "b", tmp_path / "program")


def test_without_it_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    board = load_board("cortex-m4")
    assert board.library == ""
    assert units_of("cortex-m4") == (KernelUnit.PORTABLE, KernelUnit.DSP)
    for operator in network().operators:
        kernels = legal_kernels(network(), operator, "cortex-m4")
        assert not any(kernel.unit.is_library for kernel in kernels)
    monkeypatch.setenv(VARIABLE, str(STAND_IN))
    assert load_board("c99").library == ""
    assert load_board("cortex-m4").library == library_in(STAND_IN).identity


def test_it_is_a_choice_of_tasks(given: str) -> None:
    """Of the machine with a library alone; its records have another key."""
    operator = network().operators[0]
    workload = workload_of(network(), operator)
    assert workload is not None
    machine = KernelMachine("cortex-m4", 1e8, "none", library=given)
    assert machine.digest != MACHINE.digest
    called = KernelSchedule(KernelUnit.LIBRARY_DSP)
    assert violations(workload, called, "cortex-m4")
    assert not violations(workload, called, "cortex-m4", library=True)
    for known, there in ((MACHINE, False), (machine, True)):
        space = task_space(workload, known)
        points = [space.decode(p) for part in space.enumerate() for p in part.tolist()]
        assert (called in points) == there
        assert len(points) == len(set(points))
    require("cortex-m4")
    assert kernel_machine(load_board("cortex-m4")).library == given


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("Include/arm_nn_types.h", "there is no Include/arm_nn_types.h"),
        ("Source", "there is no Source"),
        ("V.19.1.0", "is V.6.0.0; V.19.1.0 is needed"),
    ],
)
def test_other_folders_are_refused(damage: str, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "library"
    shutil.copytree(STAND_IN, folder)
    place = folder / damage
    if place.is_dir():
        shutil.rmtree(place)
    elif place.is_file():
        place.unlink()
    else:
        header = folder / "Include" / "arm_nnfunctions.h"
        header.write_text(header.read_text().replace(damage, "V.6.0.0"))
    with pytest.raises(InputError, match=said):
        use_library(folder)


def test_what_it_gets_wrong_is_not_called() -> None:
    """4-bit depthwise kernels on Helium and with odd channels, windows of one row on Helium; and
    what it does not have in these bits."""
    found, _, _ = everything()
    for core, unit in LIBRARY_UNITS.items():
        helium = unit is KernelUnit.LIBRARY_MVE
        called = {i.name for i in found.operators if library_kernels(found, i, core)}
        assert {"conv_s8_0", "dw_s8_0", "fc_s8_0", "add_s8_0", "softmax_s8_0"} <= called
        assert not any("s16" in name for name in called)
        four = {name for name in called if name.startswith("dw_s4")}
        assert (not four) if helium else four
    rows = CASES["conv_row"]()
    one_row = to_network(rows, ranges_of(rows))
    (layer,) = [i for i in one_row.operators if type(i).__name__ == "Convolution"]
    assert library_kernels(one_row, layer, "cortex-m4")
    assert not library_kernels(one_row, layer, "cortex-m55")
    assert not library_kernels(one_row, layer, "c99")
