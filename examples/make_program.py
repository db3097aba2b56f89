"""Writes examples/conv.npz, a 3×3 convolution as a VTA program, in the vector file format.

Usage: python examples/make_program.py [FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from compiler_core.units.vta.machine.sample_program import sample_program

if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "conv.npz"
    np.savez_compressed(path, allow_pickle=False, **sample_program())
    print(f"{path}: {path.stat().st_size} bytes")
