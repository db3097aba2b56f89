"""The package folder: deterministic, whole or absent, and nothing in it is believed unread."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import load_model, quantize_model
from compiler_core.configuration.configuration import Configuration, read_configuration
from compiler_core.errors import InputError, NestTuneError, ResourceError
from compiler_core.executable import profile
from compiler_core.executable.backends import Reference, Simulator
from compiler_core.executable.runner import PackageRunner
from compiler_core.package import writer
from compiler_core.package.reader import read_package
from compiler_core.package.seal import sealed_bytes
from compiler_core.package.text import Level, level_text
from compiler_core.package.writer import package_files, write_package
from compiler_core.targets.load import load_target
from compiler_core.units.vta.link.model import memory_image

Compile = Callable[[str], CompiledModel]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def package(compiled_model: Compile, tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    write_package(compiled_model("mixed"), folder, {})
    return folder


@pytest.mark.parametrize("name", ["concat", "mixed", "float_only", "two_inputs"])
def test_compiling_again_gives_the_same_bytes(
    compiled_model: Compile, synthetic: ModuleType, tmp_path: Path, name: str
) -> None:
    first = compiled_model(name)
    write_package(first, tmp_path / "first", {})
    model = load_model(synthetic.write(name, tmp_path))
    samples = synthetic.samples(name, 8, seed=1)
    again = compile_model(quantize_model(model, Configuration(), samples), load_target("vta"))
    write_package(again, tmp_path / "again", {})
    # The lock file holds the exponents, so that nothing needs to be calibrated any more.
    locked = read_configuration(tmp_path / "first" / "config.toml")
    third = compile_model(quantize_model(model, locked, None), load_target("vta"))
    write_package(third, tmp_path / "third", {})
    assert tree(tmp_path / "again") == tree(tmp_path / "first")
    assert tree(tmp_path / "third") == tree(tmp_path / "first")


@pytest.mark.parametrize("name", ["residual", "concat", "mixed", "batch_of_two", "two_inputs"])
def test_a_package_that_was_read_runs_like_the_compiled_model(
    compiled_model: Compile, synthetic: ModuleType, tmp_path: Path, name: str
) -> None:
    compiled = compiled_model(name)
    write_package(compiled, tmp_path / "package", {})
    package = read_package(tmp_path / "package")
    assert package.configuration == compiled.configuration
    assert package.manifest.metrics == compiled.metrics
    assert package.report == compiled.report
    assert package.executable.target == compiled.executable.target
    inputs = synthetic.samples(name, 4)
    expected = PackageRunner(compiled.executable, Simulator(compiled.executable)).run(inputs)
    for backend in (Simulator(package.executable), Reference(package.executable)):
        results = PackageRunner(package.executable, backend).run(inputs)
        assert {n: a.tobytes() for n, a in results.items()} == {
            n: a.tobytes() for n, a in expected.items()
        }


def test_the_folder_holds_what_the_contract_names(package: Path) -> None:
    files = set(tree(package))
    assert {
        "package.json",
        "model.qdq.onnx",
        "config.toml",
        "report.json",
        "segments/01-cpu.onnx",
        "segments/00-vta/layout.json",
        "segments/00-vta/dram.bin",
        "segments/00-vta/launch-000/core-0/instructions.bin",
    } <= files
    manifest = json.loads((package / "package.json").read_bytes())
    assert next(iter(manifest)) == "schema"
    assert manifest["schema"] == "nest-tune/package/1"
    assert set(manifest["files"]) == files - {"package.json"}
    for name, entry in manifest["files"].items():
        content = (package / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert len(content) == entry["size_bytes"]
    for name, content in tree(package).items():
        assert str(package).encode() not in content, name
        assert b"/tmp" not in content, name


def test_the_first_image_is_dram_from_address_zero(compiled_model: Compile, tmp_path: Path) -> None:
    write_package(compiled_model("residual"), tmp_path / "package", {})
    folder = tmp_path / "package" / "segments" / "00-vta"
    layout = json.loads((folder / "layout.json").read_bytes())
    image = np.fromfile(folder / "dram.bin", np.uint8)
    assert layout["image_address"] == 0
    executable = compiled_model("residual").executable
    memory = memory_image(list(executable.npu_segments), executable.dram_bytes)
    assert np.array_equal(image, memory)
    for tensor in layout["tensors"].values():
        assert tensor["address"] >= 0x1000
        assert not image[tensor["address"] : tensor["address"] + tensor["bytes"]].any()


def test_the_qdq_model_runs_in_onnxruntime(
    package: Path, compiled_model: Compile, synthetic: ModuleType
) -> None:
    onnx.checker.check_model(onnx.load(package / "model.qdq.onnx"))
    session = onnxruntime.InferenceSession(package / "model.qdq.onnx")
    inputs = synthetic.samples("mixed", 4)
    executable = compiled_model("mixed").executable
    ours = PackageRunner(executable, Simulator(executable)).run(inputs)["y"]
    (theirs,) = session.run(["y"], inputs)
    assert np.abs(ours - theirs).max() < 0.05


def test_texts_of_all_levels_are_stable_and_name_every_layer(compiled_model: Compile) -> None:
    compiled = compiled_model("residual")
    texts = {level: level_text(compiled, level) for level in Level}
    assert "Conv" in texts[Level.GRAPH]
    for layer in compiled.report.layers:
        if layer.unit == "vta":
            assert layer.name in texts[Level.TENSOR]
            assert f"({layer.task})" in texts[Level.COMMANDS]
    assert texts[Level.COMMANDS].count("finish") == compiled.metrics.launches
    assert texts == {level: level_text(compiled, level) for level in Level}


def test_writing_replaces_packages_and_nothing_else(
    compiled_model: Compile, tmp_path: Path
) -> None:
    compiled = compiled_model("float_only")
    folder = tmp_path / "out"
    folder.mkdir()
    write_package(compiled, folder, {})
    (folder / "stray").write_text("goes with the old package")
    write_package(compiled, folder, {})
    assert not (folder / "stray").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("precious")
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(folder)
    for path in (other, tmp_path / "file", tmp_path / "link"):
        with pytest.raises(InputError, match="exists and is"):
            write_package(compiled, path, {})
    with pytest.raises(InputError, match="there is no folder"):
        write_package(compiled, tmp_path / "none" / "out", {})
    assert (other / "thesis.tex").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "other", "out"]


def test_a_failure_leaves_no_half_package(
    compiled_model: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = compiled_model("float_only")
    write_package(compiled, tmp_path / "old", {})
    before = tree(tmp_path / "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_fill", fail)
    for name in ("old", "new"):
        with pytest.raises(ResourceError, match="No space left"):
            write_package(compiled, tmp_path / name, {})
    assert tree(tmp_path / "old") == before
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_what_onnxruntime_refuses_is_not_written(tmp_path: Path) -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,2] x) => (float[1,2] y) '
        "{ text = Cast<to: int = 8>(x) wrong = Softmax(text) y = Cast<to: int = 1>(wrong) }"
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "text.onnx")
    source = quantize_model(load_model(tmp_path / "text.onnx"), Configuration(), None)
    with pytest.raises(InputError, match=r"segment 00-cpu: .*tensor\(string\).*Softmax"):
        write_package(compile_model(source, load_target("vta")), tmp_path / "out", {})
    assert [path.name for path in tmp_path.iterdir()] == ["text.onnx"]


def test_every_changed_or_missing_file_is_found(package: Path) -> None:
    for name in tree(package):
        if name == "package.json":
            continue
        path = package / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(InputError, match=f"file '{name}': was changed"):
            read_package(package)
        path.write_bytes(content + b"\0")
        with pytest.raises(InputError, match=f"file '{name}': has {len(content) + 1} bytes"):
            read_package(package)
        path.unlink()
        with pytest.raises(InputError, match=f"file '{name}': is missing"):
            read_package(package)
        path.write_bytes(content)
    read_package(package)
    manifest = package / "package.json"
    document = json.loads(manifest.read_bytes())
    document["configuration"]["measured"]["npu_cycles"] += 1
    manifest.write_bytes(sealed_bytes(document))
    with pytest.raises(InputError, match=r"configuration differs from config\.toml"):
        read_package(package)


def test_every_changed_field_of_the_manifest_is_found(package: Path) -> None:
    manifest = package / "package.json"
    original = json.loads(manifest.read_bytes())
    manifest.write_text(json.dumps(original))
    read_package(package)
    top = [(key,) for key in original]
    inner = [(key, name) for key in ("model", "metrics") for name in original[key]]
    for path in top + inner:
        document = changed(json.loads(json.dumps(original)), path, "another")
        manifest.write_text(json.dumps(document))
        with pytest.raises(InputError, match=r"package\.json: (was changed|schema)"):
            read_package(package)
    manifest.write_text(json.dumps(changed(original, ("manifest_sha256",), DELETED)))
    with pytest.raises(InputError, match="manifest_sha256 is None; a digest is needed"):
        read_package(package)


def test_paths_stay_inside_the_package(package: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"abc")
    entry = {"sha256": hashlib.sha256(b"abc").hexdigest(), "size_bytes": 3}
    manifest = json.loads((package / "package.json").read_bytes())
    (package / "link").symlink_to(secret)
    for name, words in (
        ("../secret", "not a path inside"),
        (str(secret), "not a path inside"),
        ("link", "symbolic link"),
        ("a\\b", "not a path inside"),
    ):
        manifest["files"][name] = entry
        (package / "package.json").write_bytes(sealed_bytes(manifest))
        with pytest.raises(InputError, match=words):
            read_package(package)
        del manifest["files"][name]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_no_manifest_is_no_package(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_package(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file; a package is a folder"):
        read_package(tmp_path / "file")
    with pytest.raises(InputError, match="not a package"):
        read_package(tmp_path)
    (tmp_path / "package.json").write_bytes(content)
    with pytest.raises(InputError, match=r"package\.json"):
        read_package(tmp_path)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every leaf and node of a document."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, member in items:
        found += places(member, (*path, key))
    return found


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    if value is DELETED:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return document


DELETED = object()


def reseal(folder: Path, name: str, document: Any) -> None:
    """Writes a forged document with right digests."""
    content = json.dumps(document).encode()
    if name == "package.json":
        content = sealed_bytes(document)
    (folder / name).write_bytes(content)
    if name != "package.json":
        manifest = json.loads((folder / "package.json").read_bytes())
        entry = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        manifest["files"][name] = entry
        (folder / "package.json").write_bytes(sealed_bytes(manifest))


SIGNED = {"exponent", "clip_min", "clip_max", "shift"}


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("package.json", ("metrics", "target", "files", "dram_bytes", "integers")),
        ("report.json", ("layers",)),
        ("segments/00-vta/layout.json", ("image_address", "image_bytes", "tensors")),
        ("segments/00-vta/operators.json", ("operators",)),
    ],
)
def test_no_size_address_or_count_is_negative(
    package: Path, name: str, tables: tuple[str, ...]
) -> None:
    original = json.loads((package / name).read_bytes())
    numbers = [
        path
        for path in places(original)
        if path[0] in tables
        and path[-1] not in SIGNED
        and type(changed_value(original, path)) in (int, float)
    ]
    assert numbers
    for path in numbers:
        reseal(package, name, changed(json.loads(json.dumps(original)), path, -1))
        with pytest.raises(InputError):
            read_package(package)


def test_a_negative_size_takes_nothing_off_the_limit(package: Path) -> None:
    manifest = json.loads((package / "package.json").read_bytes())
    manifest["files"]["more.bin"] = {"sha256": "", "size_bytes": -(1 << 40)}
    reseal(package, "package.json", manifest)
    with pytest.raises(InputError, match=r"more\.bin\.size_bytes: -\d+; 0 or more is needed"):
        read_package(package)


def changed_value(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


HOSTILE = st.sampled_from(
    [DELETED, None, True, -1, 0, 1, 7, 2**31, 2**70, 1.5, "", "x", "../x", [], {}, [1], [[]]]
)


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_hostile_documents_with_right_digests_are_read_or_refused(
    data: st.DataObject, package: Path, synthetic: ModuleType
) -> None:
    """A forger recomputes digests, so that the digests protect nothing here."""
    forged = package.parent / "forged"
    shutil.rmtree(forged, ignore_errors=True)
    shutil.copytree(package, forged)
    name = data.draw(
        st.sampled_from(
            [
                "package.json",
                "segments/00-vta/layout.json",
                "segments/02-vta/layout.json",
                "segments/00-vta/operators.json",
                "report.json",
            ]
        )
    )
    document = json.loads((forged / name).read_bytes())
    path = data.draw(st.sampled_from(places(document)))
    document = changed(document, path, data.draw(HOSTILE))
    content = json.dumps(document).encode()
    if name == "package.json" and data.draw(st.booleans()):
        content = sealed_bytes(document)
    (forged / name).write_bytes(content)
    if name != "package.json":
        manifest = json.loads((forged / "package.json").read_bytes())
        manifest["files"][name] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_bytes": len(content),
        }
        (forged / "package.json").write_bytes(sealed_bytes(manifest))
    try:
        forged_package = read_package(forged)
        inputs = synthetic.samples("mixed", 1)
        for backend in (Simulator, Reference):
            executable = forged_package.executable
            PackageRunner(executable, backend(executable)).run(inputs)
        report = forged_package.report
        profile.by_unit(report), profile.by_instruction(executable)
        list(profile.trace_slices(executable, report))
        [profile.roofline(layer, executable.target) for layer in report.layers]
    except NestTuneError:
        pass


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("segment", "x", r"layers\[\d+\]: unit 'vta' runs no segment 'x' of the package"),
        ("unit", "y", r"layers\[\d+\]: unit 'y' runs no segment '\d\d-vta' of the package"),
        ("unit", "cpu", r"segment '\d\d-vta' has \d+ launches and \d+ layers"),
    ],
)
def test_layers_of_a_report_are_launches_of_the_package(
    package: Path, key: str, value: str, message: str
) -> None:
    report = json.loads((package / "report.json").read_bytes())
    next(layer for layer in report["layers"] if layer["unit"] == "vta")[key] = value
    reseal(package, "report.json", report)
    with pytest.raises(InputError, match=message):
        read_package(package)


@pytest.mark.parametrize("name", ["mixed", "float_only", "two_inputs"])
@pytest.mark.parametrize("size", [0, -1, -(1 << 40)])
def test_inputs_of_no_samples_are_refused(
    compiled_model: Compile, tmp_path: Path, name: str, size: int
) -> None:
    folder = tmp_path / "package"
    write_package(compiled_model(name), folder, {})
    manifest = json.loads((folder / "package.json").read_bytes())
    manifest["ports"][manifest["inputs"][0]]["shape"][0] = size
    (folder / "package.json").write_bytes(sealed_bytes(manifest))
    with pytest.raises(InputError, match=r"port|view"):
        read_package(folder)


def test_instructions_of_a_forger_do_not_leave_memory(package: Path, synthetic: ModuleType) -> None:
    random = np.random.default_rng(3)
    name = "segments/00-vta/launch-000/core-0/instructions.bin"
    code = (package / name).read_bytes()
    for _ in range(40):
        raw = np.frombuffer(code, np.uint8).copy()
        raw[random.integers(0, raw.size, 3)] = random.integers(0, 256, 3)
        (package / name).write_bytes(raw.tobytes())
        manifest = json.loads((package / "package.json").read_bytes())
        manifest["files"][name]["sha256"] = hashlib.sha256(raw.tobytes()).hexdigest()
        (package / "package.json").write_bytes(sealed_bytes(manifest))
        try:
            executable = read_package(package).executable
            PackageRunner(executable, Simulator(executable)).run(synthetic.samples("mixed", 1))
        except NestTuneError:
            pass


def test_files_are_as_readable_as_any_other(package: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert package.stat().st_mode & 0o777 == 0o777 & ~mask
    assert (package / "package.json").stat().st_mode & 0o777 == 0o666 & ~mask


def test_metrics_are_those_of_the_report(compiled_model: Compile) -> None:
    compiled = compiled_model("mixed")
    files = package_files(compiled, {})
    code = [content for name, content in files.items() if name.endswith("instructions.bin")]
    models = [
        content
        for name, content in files.items()
        if name.startswith("segments/") and name.endswith(".onnx")
    ]
    metrics = compiled.metrics
    assert metrics.launches == len(code)
    assert metrics.instructions == sum(map(len, code)) // 16
    shipped = metrics.dram_constant_bytes + sum(map(len, code)) + sum(map(len, models))
    assert metrics.size_bytes == shipped
    assert metrics.npu_cycles == sum(layer.cycles for layer in compiled.report.layers)
    assert metrics.dram_peak_bytes == compiled.executable.dram_bytes - 4096
