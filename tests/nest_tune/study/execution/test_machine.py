"""Times by the clock belong to one machine: a worker on another one is refused."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from compiler_core.clock.machine import this_machine
from compiler_core.errors import InputError
from compiler_core.files.plain import to_plain
from nest_tune.study.execution.subjects import Subjects
from nest_tune.study.execution.worker import prepare


def test_workers_of_other_machines_are_refused(synthetic: ModuleType, tmp_path: Path) -> None:
    synthetic.write("residual", tmp_path)
    path = str(tmp_path / "residual.onnx")
    own = Subjects(path, "host", machine=this_machine().digest)
    assert prepare(to_plain(own)).target.by_clock
    with pytest.raises(InputError, match="another machine") as caught:
        prepare(to_plain(Subjects(path, "host", machine=this_machine(99).digest)))
    assert "ssh://" in (caught.value.hint or "")
