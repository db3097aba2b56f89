"""The notebooks of the examples run from top to bottom, and are stored without output.

`make docs` runs them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.ipynb"))

RUN = """
import json, sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=1500, kernel_name="python3").execute()
nbformat.validate(notebook)
outputs = [cell["outputs"] for cell in notebook.cells if cell.cell_type == "code"]
json.dump(outputs, open(sys.argv[2], "w"))
"""


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(notebook: Path, repository: Path, tmp_path: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(repository),
        "NEST_TUNE_CACHE": str(tmp_path / "cache"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(notebook), str(tmp_path / "outputs.json")],
        capture_output=True,
        text=True,
        cwd=notebook.parent,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs = json.loads((tmp_path / "outputs.json").read_text())
    # tqdm says on standard error that it has no widgets for its bars; nothing else is printed.
    kinds = {
        output["output_type"]
        for cell in outputs
        for output in cell
        if "TqdmWarning" not in output.get("text", "")
    }
    assert kinds == {"execute_result", "display_data"}
    bars = [o for cell in outputs for o in cell if o["output_type"] == "display_data"]
    assert len(bars) == 1  # a study's progress, drawn in place
    assert '<progress max="1" value="1.0000">' in bars[0]["data"]["text/html"]
    shown = json.dumps(outputs)
    assert "<svg" in shown
    assert "latency_ms" in shown


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_output(notebook: Path) -> None:
    cells = [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]
    assert cells
    for cell in cells:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
