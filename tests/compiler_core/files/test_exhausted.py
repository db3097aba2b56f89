"""What a machine lacks is told apart from wrong files and from defects."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler_core.accuracy.own_metric import load_own_metric
from compiler_core.errors import InputError, ResourceError
from compiler_core.files.exhausted import cannot_be_read, cannot_be_written, lack_of
from compiler_core.files.file_digest import file_digest
from compiler_core.files.npz import read_npz
from compiler_core.files.small_file import read_small_file
from compiler_core.files.whole_file import write_atomically
from compiler_core.graph.importer import import_onnx
from compiler_core.package.reader import read_package
from compiler_core.plugins.registry import load
from compiler_core.targets.target_file import parse_target_file


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENOMEM, "memory"),
    ],
)
def test_a_lack_is_named_with_what_helps(number: int, hint: str) -> None:
    found = lack_of(OSError(number, os.strerror(number), "y.npz"))
    assert found is not None
    assert found.exit_code == 5
    assert found.message == f"y.npz: {os.strerror(number)}"
    assert hint in str(found.hint)
    for cannot in (cannot_be_written, cannot_be_read):
        made = cannot("y.npz", OSError(number, "no"))
        assert isinstance(made, ResourceError)
        assert made.hint == found.hint


def test_a_wrong_file_is_its_authors_matter() -> None:
    for error in (PermissionError(errno.EACCES, "no"), FileNotFoundError(errno.ENOENT, "no", "a")):
        assert lack_of(error) is None
        assert isinstance(cannot_be_written("a", error), InputError)
        assert cannot_be_read("a", error, "look there").hint == "look there"
    assert lack_of(ValueError("no file at all")) is None


def test_no_temporary_folder_is_a_lack() -> None:
    error = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
    assert "TMPDIR" in str(getattr(lack_of(error), "hint", None))


def test_a_working_folder_that_is_gone_is_a_lack(tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    program = (
        "import os\n"
        "from compiler_core.files.exhausted import lack_of\n"
        f"os.rmdir({str(folder)!r})\n"
        "try:\n    os.getcwd()\nexcept OSError as error:\n    print(lack_of(error))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.stdout == "the working folder no longer exists\n"


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "y"
    path.write_bytes(b"before")

    def write(stream: object) -> None:
        assert stream
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ResourceError, match="y: cannot be written: No space left on device"):
        write_atomically(path, write)
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["y"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
@pytest.mark.parametrize(
    "read",
    [
        import_onnx,
        read_npz,
        file_digest,
        read_package,
        lambda path: read_small_file(path, 10),
        lambda path: parse_target_file(path, "a", None),
    ],
)
def test_files_that_the_machine_cannot_read_are_not_their_authors_matter(
    number: int,
    read: Callable[[Path], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "a"
    if read is read_package:
        path.mkdir()
        (path / "package.json").write_text("{}")
    else:
        path.write_bytes(b"something")

    def fails(self: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "open", fails)
    with pytest.raises(ResourceError, match="cannot be read") as error:
        read(path)
    assert error.value.exit_code == 5


def test_a_part_that_the_machine_cannot_load_is_a_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import os\nraise OSError(24, os.strerror(24), 'x.py')\n"
    (tmp_path / "part_without_files.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ResourceError, match="Too many open files"):
        load("part_without_files:PART", "unit kind 'x'")
    with pytest.raises(ResourceError, match="Too many open files"):
        load_own_metric("part_without_files:metric")
