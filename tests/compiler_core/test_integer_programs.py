"""Integer programs print nothing of HiGHS, and everything of others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint

from compiler_core.integer_programs import solve

ROOT = Path(__file__).resolve().parents[2]
PRINTS = """
import ctypes, sys
import scipy.optimize
from compiler_core.integer_programs import solve

libc = ctypes.CDLL(None)

def milp(cost, **problem):
    libc.puts(b"HighsMipSolverData::transformNewIntegerFeasibleSolution tmpSolver.run();")
    libc.puts(b"a line of somebody else")
    libc.fflush(None)
    print("a line of Python", flush=True)
    return cost

scipy.optimize.milp = milp
print("before")
print(solve(7))
"""


def test_a_knapsack_is_solved() -> None:
    found = solve(
        np.array([-3.0, -4.0, -5.0]),
        integrality=np.ones(3),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(np.array([[2.0, 3.0, 4.0]]), -np.inf, 5.0),
    )
    assert found.x == pytest.approx([1, 1, 0])


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_highs_prints_for_its_developers_is_left_out() -> None:
    found = run(PRINTS)
    assert found.returncode == 0
    lines = ["before", "a line of somebody else", "a line of Python", "7"]
    assert found.stdout.splitlines() == lines


def test_a_closed_output_is_no_fault() -> None:
    found = run(
        "import os, scipy.optimize\n"
        "from compiler_core.integer_programs import solve\n"
        "scipy.optimize.milp = lambda cost, **problem: cost\n"
        "os.close(1)\n"
        "assert solve(7) == 7\n"
    )
    assert found.returncode == 0, found.stderr
