"""Whether quantized networks are the same on other machines, bit by bit.

    python benchmarks/machines.py [FOLDER...] [--samples N] [--cpu Haswell]... [--noise 1e-7]

For the digits, a transformer block, and folders with ``model.onnx`` and ``calib.npz``: digests of
every rung of the untuned default's ladder and of GPTQ, here and on machines that are emulated: by
OpenBLAS for others, by NumPy without wide vectors, and whole processors by ``qemu-x86_64``
(``--cpu``, about 50 times slower). ``--noise`` counts instead how many digests change where float
runs differ by so much, as on processors of another kind.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compiler_core.compile.sources import load_model, read_samples
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.ladder import RUNGS
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.reconstruction import reconstruct
from compiler_core.quantize.scheme import WeightRounding
from compiler_core.quantize.text import quantized_digest

DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits"
SCHEMES = {
    **RUNGS,
    "GPTQ": replace(RUNGS["rescaling"], weight_rounding=WeightRounding.GPTQ),
    "GPTQ and split inputs": replace(RUNGS["split inputs"], weight_rounding=WeightRounding.GPTQ),
}
LIBRARIES = {
    "OpenBLAS for Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "OpenBLAS for Sandybridge": {"OPENBLAS_CORETYPE": "Sandybridge"},
    "OpenBLAS for Prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "NumPy without AVX512": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
    "NumPy without AVX2": {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"},
}
Samples = Mapping[str, np.ndarray[Any, Any]]


def block() -> tuple[Graph, Samples]:
    """Attention over 33 positions of 24 features, and a layer behind it, with seeded weights."""
    random = np.random.default_rng(7)
    weights = {
        name: random.standard_normal(shape).astype(np.float32) / 5
        for name, shape in {"q": (24, 24), "k": (24, 24), "v": (24, 24), "w": (24, 48)}.items()
    }
    nodes = [helper.make_node("MatMul", ["x", name], [f"x{name}"]) for name in "qkv"]
    nodes += [
        helper.make_node("Transpose", ["xk"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["xq", "kt"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "xv"], ["mixed"]),
        helper.make_node("Add", ["x", "mixed"], ["sum"]),
        helper.make_node("MatMul", ["sum", "w"], ["wide"]),
        helper.make_node("Gelu", ["wide"], ["y"]),
    ]
    shapes = {"x": [1, 33, 24], "y": [1, 33, 48]}
    x, y = (helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items())
    known = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(
        helper.make_graph(nodes, "block", [x], [y], known), opset_imports=opsets, ir_version=10
    )
    onnx.checker.check_model(model)
    samples = random.standard_normal((12, 33, 24)).astype(np.float32)
    return simplify(import_model(model)), {"x": samples}


def networks(folders: list[Path], most: int) -> dict[str, tuple[Graph, Samples]]:
    """Graphs with their samples, by name."""
    found = {"block": block()}
    for folder in (DIGITS, *folders):
        graph = load_model(folder / "model.onnx").graph
        samples = read_samples(folder / "calib.npz", graph)
        found[folder.name] = graph, {name: array[:most] for name, array in samples.items()}
    return found


def digests(folders: list[Path], most: int) -> dict[str, str]:
    """Digest of the integers by network and scheme."""
    found = {}
    for name, (graph, samples) in networks(folders, most).items():
        profile, places = profile_model(graph, samples), default_assignment(graph)
        for scheme, decisions in SCHEMES.items():
            made = apply_profile(graph, places, profile, decisions, reconstruct).quantized
            found[f"{name}: {scheme}"] = quantized_digest(made)[:16]
    return found


def disturb(size: float, seed: int) -> None:
    """Let float runs of graphs differ by normal noise relative to each value."""
    random, usual = np.random.default_rng(seed), FloatSession.run

    def run(self: FloatSession, *given: Any, **options: Any) -> dict[str, Any]:
        return {
            name: (value * (1 + size * random.standard_normal(value.shape))).astype(value.dtype)
            if isinstance(value, np.ndarray) and value.dtype == np.float32
            else value
            for name, value in usual(self, *given, **options).items()
        }

    FloatSession.run = run  # type: ignore[method-assign]


def elsewhere(command: list[str], **environment: str) -> dict[str, str]:
    """The digests of another process."""
    paths = os.pathsep.join([str(DIGITS.parents[1]), *filter(None, sys.path)])
    own = {**os.environ, "PYTHONPATH": paths, **environment}
    done = subprocess.run(command, env=own, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--cpu", action="append", default=[])
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--digests", action="store_true")
    given = parser.parse_args()
    if given.noise:
        disturb(given.noise, given.seed)
    here = digests(given.folders, given.samples)
    if given.digests:
        print(json.dumps(here))
        return
    own = [sys.executable, __file__, *map(str, given.folders)]
    own += ["--samples", str(given.samples), "--digests"]
    if given.noise:
        others = {"without noise": elsewhere(own)}
    else:
        others = {name: elsewhere(own, **changed) for name, changed in LIBRARIES.items()}
    for cpu in given.cpu:
        others[f"{cpu} by qemu"] = elsewhere(["qemu-x86_64", "-cpu", cpu, *own])
    for name, there in others.items():
        changed = [case for case in here if here[case] != there[case]]
        print(f"{name}: {len(changed)} of {len(here)} differ  {', '.join(changed)}".rstrip())


if __name__ == "__main__":
    main()
