"""Other quantizers, each in an environment of its own, which is made where there is none.

``benchmarks/host.py`` calls :func:`quantized`; what runs in the environment is this file as a
script, with NumPy, onnx and the quantizer alone:

    ENVIRONMENT/bin/python benchmarks/host_peers.py WAY model.onnx calib.npz out.onnx

| way | what it is |
|---|---|
| ``nncf`` | ``nncf.quantize`` with its defaults: int8 static, biases corrected |
| ``inc`` | static quantization of onnx-neural-compressor with its defaults, as QDQ |
| ``inc per channel`` | the same with uint8 activations and int8 weights per channel |

A model that its runtime cannot read (a newer operator set or file version) ends the way with its
reason; nothing else stops.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_PACKAGES = {
    "nncf": ("nncf==3.4.0", "onnx", "onnxruntime"),
    # Of 2024: it needs runtimes of its time, and modules that it does not ask for.
    "inc": (
        "onnx-neural-compressor==1.0", "onnx==1.16.2", "onnxruntime==1.18.1",
        "transformers<4.45", "setuptools<80", "prettytable", "psutil", "py-cpuinfo", "pydantic",
        "scipy",
    ),
}  # fmt: skip
WAYS = {"nncf": "nncf", "inc": "inc", "inc per channel": "inc"}
"""Environment of each."""
_INSTALL_S, _QUANTIZE_S = 600, 300


@dataclass(frozen=True)
class Quantized:
    """What a quantizer made of a model, and the seconds that it took, imports apart."""

    content: bytes
    seconds: float


def quantized(
    way: str, model: Path, calibration: Path, environments: Path, scratch: Path
) -> Quantized | str:
    """A model by another quantizer, or why there is none.

    Args:
        way: See above.
        model, calibration: Files; samples by input.
        environments: Folder that holds, or gets, the environments.
        scratch: Folder for the result.
    """
    python = _environment(WAYS[way], environments)
    if isinstance(python, str):
        return python
    out = scratch / "peer.onnx"
    out.unlink(missing_ok=True)
    command = [str(python), __file__, way, str(model), str(calibration), str(out)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_QUANTIZE_S)
    except subprocess.TimeoutExpired:
        return f"did not end within {_QUANTIZE_S} s"
    if done.returncode or not out.is_file():
        return (done.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
    return Quantized(out.read_bytes(), json.loads(done.stdout.splitlines()[-1])["seconds"])


def _environment(name: str, folder: Path) -> Path | str:
    """The interpreter of an environment, or why there is none."""
    own, failed = folder / name, folder / f"{name}.failed"
    python = own / "bin" / "python"
    if python.is_file() and not failed.exists():
        return python
    folder.mkdir(parents=True, exist_ok=True)
    failed.write_text("it was not finished")
    uv = shutil.which("uv")
    make = [uv, "venv", "-q", "--clear"] if uv else [sys.executable, "-m", "venv", "--clear"]
    pip = [uv, "pip", "install", "-q"] if uv else [str(python), "-m", "pip", "install", "-q"]
    into = ["--python", str(python)] if uv else []
    for command in ([*make, str(own)], [*pip, *into, *_PACKAGES[name]]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S)
        except subprocess.TimeoutExpired:
            return f"its environment was not made within {_INSTALL_S} s"
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            return f"its environment cannot be made: {last[:160]}"
    failed.unlink()
    return python


# In the environment -------------------------------------------------------------------------------


def _main() -> None:
    import numpy as np

    way, model, calibration, out = sys.argv[1:5]
    samples = dict(np.load(calibration))
    count = len(next(iter(samples.values())))
    feeds = [{k: v[i : i + 1] for k, v in samples.items()} for i in range(count)]
    make = _nncf if way == "nncf" else _inc
    seconds = make(model, feeds, out, way.endswith("per channel"))
    print(json.dumps({"seconds": seconds}))


def _nncf(model: str, feeds: list, out: str, per_channel: bool) -> float:  # type: ignore[type-arg]
    del per_channel
    import nncf  # type: ignore[import-not-found]
    import onnx

    start = time.perf_counter()
    found = nncf.quantize(onnx.load(model), nncf.Dataset(feeds), subset_size=len(feeds))
    onnx.save(found, out)
    return time.perf_counter() - start


def _inc(model: str, feeds: list, out: str, per_channel: bool) -> float:  # type: ignore[type-arg]
    from onnx_neural_compressor.quantization import (  # type: ignore[import-not-found]
        QuantFormat,
        QuantType,
        config,
        quantize,
    )

    class Reader:
        def __init__(self) -> None:
            self.rewind()

        def rewind(self) -> None:
            self._left = iter(feeds)

        def get_next(self):  # type: ignore[no-untyped-def]
            return next(self._left, None)

    options = {"quant_format": QuantFormat.QDQ, "calibration_sampling_size": len(feeds)}
    if per_channel:
        options |= {
            "per_channel": True,
            "activation_type": QuantType.QUInt8,
            "weight_type": QuantType.QInt8,
        }
    import onnx

    start = time.perf_counter()
    quantize(model, out, config.StaticQuantConfig(Reader(), **options))
    seconds = time.perf_counter() - start
    whole = onnx.load(out)  # weights lie in a file beside it
    onnx.save(whole, out)
    return seconds


if __name__ == "__main__":
    _main()
