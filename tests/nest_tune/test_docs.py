"""Commands and Python of the README and of docs run as printed; reference pages cover the code.

`make docs` runs all of them, the slow ones, too.
"""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

NestTune = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Step:
    """Something that a page says to do.

    Attributes:
        kind: ``console``: a command; ``python``: a program; ``file``: a file to write.
        text: The command without ``$ nest-tune``, the program, or the file's content.
        expected: What the command prints; ``...`` stands for anything.
    """

    kind: str
    text: str
    expected: str = ""


def pages() -> list[Path]:
    """Every page that shows a command or a program."""
    found = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((DOCS / "howto").glob("*.md"))]
    return [page for page in found if steps(page)]


def steps(page: Path) -> list[Step]:
    """What a page says to do, in order. Files are blocks that begin with ``# file: NAME``."""
    found = []
    for language, block in FENCE.findall(page.read_text()):
        if block.startswith("# file: "):
            found.append(Step("file", block))
        elif language == "python":
            found.append(Step("python", block))
        elif language == "console":
            for part in re.split(r"^\$ nest-tune ", block, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                found.append(Step("console", command, output))
    return found


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT).with_suffix(""))


@pytest.mark.slow
@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_page_runs_as_printed(
    page: Path,
    nest_tune: NestTune,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One step after another in one folder, as a reader does."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # this tree's packages; nothing of the page's
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    monkeypatch.setenv("NEST_TUNE_STORAGE", f"sqlite:///{tmp_path}/nest-tune.db")
    for step in steps(page):
        if step.kind == "file":
            name = step.text.partition("\n")[0].removeprefix("# file: ")
            (tmp_path / name).write_text(step.text)
        elif step.kind == "python":
            run_program(step.text)
        else:
            code, out, err = nest_tune(*shlex.split(step.text))
            assert code == 0, f"nest-tune {step.text}\n{out}{err}"
            printed = doctest.OutputChecker().check_output(step.expected, out, FLAGS)
            assert not step.expected or printed, f"nest-tune {step.text}\n{out}"


def run_program(text: str) -> None:
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The module that writes the reference pages."""
    spec = importlib.util.spec_from_file_location("generate_docs", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_covers_commands_targets_keys_and_errors(generate: ModuleType) -> None:
    from compiler_core.targets.load import bundled_targets
    from nest_tune.cli.app import COMMANDS
    from nest_tune.study.request.study_file import StudyFile

    commands = "\n".join(generate.commands())
    for name in COMMANDS:
        assert f"# nest-tune {name}\n" in commands
    assert "#### nest-tune study start\n" in commands or "### nest-tune study start\n" in commands
    assert commands.count("Usage: nest-tune") == commands.count("```text")
    targets = "\n".join(generate.targets())
    for name in bundled_targets():
        assert f"## {name}\n" in targets
    keys = "\n".join(generate.study_file())
    for section, known in StudyFile.model_fields.items():
        assert f"## [{section}]" in keys
        for key in getattr(known.annotation, "model_fields", {}):
            assert f"| `{key}` |" in keys
    errors = "\n".join(generate.errors())
    assert "| 3 | `InfeasibleError` |" in errors
    assert "| 130 |" in errors


@pytest.mark.parametrize("page", ["schemes", "formats"])
def test_every_field_of_the_reference_has_a_meaning(generate: ModuleType, page: str) -> None:
    lines = list(getattr(generate, page)())
    rows = [line for line in lines if line.startswith("| `") and line.count(" | ") >= 3]
    assert len(rows) > 10
    assert not [row for row in rows if row.endswith("|  |")]


def test_attributes_that_share_a_line_share_their_text(generate: ModuleType) -> None:
    class Example:
        """A thing.

        Attributes:
            one, two: Of ``both``,
                see :class:`a.b.Name`.
            three: Alone.

        Not an attribute: this.
        """

    assert generate.attribute_texts(Example) == {
        "one": "Of `both`, see `Name`.",
        "two": "Of `both`, see `Name`.",
        "three": "Alone.",
    }


def test_no_page_has_a_name_that_the_build_writes_itself() -> None:
    """Sphinx writes these pages last, over ours."""
    own = {"search", "genindex", "modindex", "py-modindex"}
    assert not [page for page in DOCS.rglob("*.md") if page.stem in own]


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *DOCS.glob("*.md"), *(DOCS / "howto").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:\s]+\.md)\b[^)]*\)", page.read_text()):
            is_built = link.startswith(("generated/", "../generated/"))
            assert is_built or (page.parent / link).is_file(), f"{page.name}: {link}"


def test_every_page_is_reachable() -> None:
    """From the index, or as an explanation, which are listed by the build."""
    index = (DOCS / "index.md").read_text()
    for page in sorted((DOCS / "howto").glob("*.md")):
        assert str(page.relative_to(DOCS).with_suffix("")) in index
