"""Users' metrics: whatever they do wrong is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler_core.accuracy.own_metric import load_own_metric
from compiler_core.errors import InputError

SOURCE = """
import sys
import numpy as np
VALUE = 3
def good(outputs, labels): return np.float32(0.5)
def whole(outputs, labels): return 1
def raising(outputs, labels): raise ValueError("my own\\nmetric broke")
def key(outputs, labels): return outputs["boxes"]
def none(outputs, labels): return None
def array(outputs, labels): return np.array([0.5])
def scalar_array(outputs, labels): return np.array(0.5)
def text(outputs, labels): return "0.9"
def nan(outputs, labels): return float("nan")
def infinite(outputs, labels): return -float("inf")
def huge(outputs, labels): return 10**400
def longer(outputs, labels): return 10**5000
class Odd(float):
    def __float__(self): raise RuntimeError("no number")
def odd(outputs, labels): return Odd(1)
def leaving(outputs, labels): sys.exit(3)
def one(outputs): return 1.0
def mutating(outputs, labels):
    outputs["y"][:] = 0
    labels[:] = 0
    return 1.0
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metrics_of_a_user.py").write_text(SOURCE)
    (tmp_path / "broken_of_a_user.py").write_text("import no_such_module\n")
    (tmp_path / "leaving_of_a_user.py").write_text("import sys\nsys.exit(4)\n")
    (tmp_path / "syntax_of_a_user.py").write_text("def (\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("good", 0.5), ("whole", 1.0)])
def test_numbers(name: str, value: float) -> None:
    found = load_own_metric(f"metrics_of_a_user:{name}")({"y": np.ones(3)}, None)
    assert found == value
    assert type(found) is float


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raising", "raised ValueError: my own metric broke"),
        ("key", "raised KeyError: 'boxes'"),
        ("none", "returned None"),
        ("array", r"returned an array float64\[1\]"),
        ("scalar_array", r"returned an array float64\[\]"),
        ("text", "returned '0.9'"),
        ("nan", "returned nan"),
        ("infinite", "returned -inf"),
        ("huge", "returned 1000"),
        ("longer", "returned an int too long to show"),
        ("odd", "returned"),
        ("leaving", "raised SystemExit: 3"),
        ("one", "raised TypeError: one"),
    ],
)
def test_what_is_wrong_is_named(name: str, words: str) -> None:
    measure = load_own_metric(f"metrics_of_a_user:{name}")
    with pytest.raises(InputError, match=f"'metrics_of_a_user:{name}' {words}"):
        measure({"y": np.ones(3)}, np.zeros(3, int))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_module_of_a_user:f", "No module named"),
        ("metrics_of_a_user:missing", "no attribute 'missing'"),
        ("broken_of_a_user:f", "no_such_module"),
        ("syntax_of_a_user:f", "SyntaxError"),
        ("leaving_of_a_user:f", "SystemExit: 4"),
        ("metrics_of_a_user:VALUE", "is int, no function"),
    ],
)
def test_what_cannot_be_imported(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_own_metric(name)


def test_it_gets_copies() -> None:
    outputs, labels = {"y": np.ones(3)}, np.ones(3)
    assert load_own_metric("metrics_of_a_user:mutating")(outputs, labels) == 1.0
    assert outputs["y"].sum() == labels.sum() == 3
