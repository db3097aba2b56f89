"""Small models, compiled once for the whole run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import load_model, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.targets.load import load_target


@pytest.fixture(scope="session")
def compiled_model(
    synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], CompiledModel]:
    """Compiles a synthetic model with the untuned default."""
    folder = tmp_path_factory.mktemp("synthetic")
    known: dict[str, CompiledModel] = {}

    def compile_(name: str) -> CompiledModel:
        if name not in known:
            path: Path = synthetic.write(name, folder)
            model = load_model(path)
            samples = synthetic.samples(name, 8, seed=1)
            source = quantize_model(model, Configuration(), samples)
            known[name] = compile_model(source, load_target("vta"))
        return known[name]

    return compile_
