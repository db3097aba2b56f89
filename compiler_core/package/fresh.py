"""Folders that are written beside an older one and take its place when they are whole."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from compiler_core.files.exhausted import cannot_be_written
from compiler_core.package.replace import replace_folder


class FreshFolder:
    """A folder beside another, which takes its place where it is kept.

    Args:
        folder: The other; it may be absent.

    Attributes:
        path: Where to write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder

    def __enter__(self) -> FreshFolder:
        parent = self._folder.absolute().parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            made = tempfile.mkdtemp(prefix=f".{self._folder.name}.", dir=parent)
        except OSError as error:
            raise cannot_be_written(f"folder {self._folder}", error) from error
        self.path = Path(made)
        self.path.chmod(0o755)
        return self

    def keep(self) -> None:
        """Puts the fresh folder in the place of the old one."""
        try:
            replace_folder(self.path, self._folder)
        except OSError as error:
            raise cannot_be_written(f"folder {self._folder}", error) from error

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
