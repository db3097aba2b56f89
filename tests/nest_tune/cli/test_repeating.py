"""Commands that are told open the storage that the command at hand was given."""

from __future__ import annotations

import pytest

from nest_tune.cli.repeating import at_the_storage

URL = "sqlite:///a b.db"


@pytest.mark.parametrize(
    "given", [["--storage", "sqlite:///a b.db"], ["--storage=sqlite:///a b.db"]]
)
@pytest.mark.parametrize(
    ("hint", "said"),
    [
        ("nest-tune study list", "nest-tune study list --storage 'sqlite:///a b.db'"),
        (
            "nest-tune study resume s, or another --name",
            "nest-tune study resume --storage 'sqlite:///a b.db' s, or another --name",
        ),
        ("nest-tune study show --help", "nest-tune study show --help"),
        ("nest-tune study start --dry-run", "nest-tune study start --dry-run"),
        ("did you mean 's'?", "did you mean 's'?"),
        (
            "nest-tune study list --storage sqlite:///x.db",
            "nest-tune study list --storage sqlite:///x.db",
        ),
    ],
)
def test_hints_name_the_storage(given: list[str], hint: str, said: str) -> None:
    assert at_the_storage(hint, ["study", "show", "s", *given]) == said
    assert at_the_storage(hint, ["study", "show", "s"]) == hint


def test_passwords_are_left_out() -> None:
    arguments = ["study", "show", "s", "--storage", "postgresql+psycopg://u:secret@h/db"]
    assert "secret" not in at_the_storage("nest-tune study list", arguments)
    assert "--storage" in at_the_storage("nest-tune study list", arguments)
