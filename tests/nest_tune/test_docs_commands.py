"""Every command that a page shows, run by a test or not, names what there is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from nest_tune.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"))
    if "generated" not in page.parts and page.name != "CHANGELOG.md"
)
CODE = re.compile(r"^```\w*\n(.*?)^```|^((?: {4,}\S.*\n)+)|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
BEFORE = r"(?:^\s*|[;&|(]\s*|['\"])(?:\$ )?(?:[A-Z_]+=\S+ |uvx |srun [^\n]*)*"
"""What may stand before a command: a prompt, variables, what starts it."""
COMMAND = re.compile(BEFORE + r"nest-tune ([^\n]+)", re.MULTILINE)
ENDS = {"|", "&&", "||", ";", ">", ">>", "2>", "…", "..."}
OPTION = re.compile(r"--?[a-z][a-z-]*$")
ARGUMENT = re.compile(r"add_argument\(\s*\"(--[a-z-]+)\"")
"""An option of a benchmark."""


def pieces(text: str) -> Iterator[str]:
    """Code of a page: blocks, and what stands in a line."""
    for found in CODE.finditer(text):
        yield re.sub(r"\\\n", " ", next(part for part in found.groups() if part is not None))


def shown(code: str, names: set[str]) -> Iterator[list[str]]:
    """Words behind ``nest-tune`` of each command, as far as they are its own; of a piece in a line
    also where it begins with a command's name and has an option."""
    commands = [found[1] for found in COMMAND.finditer(code)]
    first = code.split(" ")[0]
    if not commands and "\n" not in code and first in names and " -" in code:
        commands = [code]
    for command in commands:
        try:
            words = shlex.split(command, comments=True)
        except ValueError:  # a sentence with an apostrophe
            words = command.split()
        own = []
        for word in words:
            if word in ENDS:
                break
            own.append(word)
        yield own


def options(command: Any) -> set[str]:
    """Options of a command."""
    names = {name for item in command.params for name in (*item.opts, *item.secondary_opts)}
    return names | {"--help", "-h", "--debug"}


def unknown(words: list[str], command: Any) -> list[str]:
    """What of a command there is not: sub-commands and options."""
    left = list(words)
    while left and hasattr(command, "commands") and not left[0].startswith("-"):
        following = command.get_command(None, left[0])
        if following is None:
            return [left[0]] if re.fullmatch("[a-z-]+", left[0]) else []
        command, left = following, left[1:]
    known = options(command)
    asked = [word.partition("=")[0].rstrip(".,;:)") for word in left if word.startswith("-")]
    return [name for name in asked if OPTION.match(name) and name not in known]


def all_options(command: Any) -> set[str]:
    """Those of a command and of all below it."""
    found = options(command)
    for name in getattr(command, "commands", {}):
        found |= all_options(command.get_command(None, name))
    return found


@pytest.fixture(scope="module")
def root() -> Any:
    return typer.main.get_command(app)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_name_what_there_is(page: Path, root: Any) -> None:
    wrong = {
        " ".join(words): found
        for code in pieces(page.read_text("utf-8"))
        for words in shown(code, set(root.commands))
        if (found := unknown(words, root))
    }
    assert not wrong


def test_options_that_stand_alone_are_some_command_s(root: Any) -> None:
    known = all_options(root)
    for program in ROOT.glob("benchmarks/**/*.py"):
        known.update(ARGUMENT.findall(program.read_text("utf-8")))
    wrong = {
        (page.name, code)
        for page in PAGES
        for code in pieces(page.read_text("utf-8"))
        if re.match(r"--[a-z]", code) and re.split(r"[ =|]", code)[0] not in known
    }
    assert not wrong


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`nest-tune study start --model a --no-such x`", ["--no-such"]),
        ("`study best mine --pick-one knee`", ["--pick-one"]),
        ("text\n\n    $ nest-tune study begin my.onnx --model a\n", ["begin"]),
        ("```\nnest-tune ci check a.toml \\\n    --dta b | tee --x\n```", ["--dta"]),
        ("```sh\nnest-tune compile m.onnx --target vta -o p  # --never\n```", []),
    ],
)
def test_what_there_is_not_is_found(text: str, found: list[str], root: Any) -> None:
    (code,) = pieces(text)
    (words,) = shown(code, set(root.commands))
    assert unknown(words, root) == found
