"""Makes a small decoder with a key/value cache as ONNX, and token data for it.

    python examples/decoder/make.py decoder

One run decodes one token: it reads the token, the cache of each layer and how many tokens there
have been, and gives scores of the next token, the caches and the count. The cache has a fixed
length, so that each output fits the input that it is fed back to; ``states.txt`` holds the options
that say so (``--state present.0.key=past.0.key`` …). In a window all tokens move up by one and the
oldest goes; in a ring (``--ring``) the new one takes its place, so that nothing else is moved.

The layers have random weights; the head is fitted to texts of a random grammar by least squares, so
that the model predicts them far better than chance and what quantization takes from it can be seen.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder."""

    vocabulary: int = 2048
    width: int = 192
    layers: int = 4
    heads: int = 6
    hidden: int = 512
    window: int = 32
    ring: bool = False

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def states(self) -> dict[str, str]:
        """Input by the output that is fed back to it."""
        parts = [f"{layer}.{part}" for layer in range(self.layers) for part in ("key", "value")]
        return {"next_count": "count", **{f"present.{part}": f"past.{part}" for part in parts}}


class Builder:
    """Nodes and weights of a decoder, one operator after another."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape = shape
        self.generator = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, npt.NDArray[Any]] = {}

    def op(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        self.weights[name] = np.asarray(values, dtype)
        return name

    def product(self, source: str, name: str, rows: int, columns: int) -> str:
        weight = self.generator.standard_normal((rows, columns)) / np.sqrt(rows)
        return self.op("MatMul", [source, self.constant(f"{name}.weight", weight)], name)

    def normalized(self, source: str, name: str) -> str:
        width = self.shape.width
        ends = [
            self.constant(f"{name}.scale", np.ones(width)),
            self.constant(f"{name}.bias", np.zeros(width)),
        ]
        return self.op("LayerNormalization", [source, *ends], name, axis=-1)

    def attention(self, source: str, name: str, layer: int, mask: str) -> str:
        """Attention over the cache, in which the new token is the last."""
        s = self.shape
        split = self.constant(f"{name}.split", [1, 1, s.heads, s.head_width], np.int64)
        found = {}
        for part in ("query", "key", "value"):
            flat = self.product(source, f"{name}.{part}", s.width, s.width)
            apart = self.op("Reshape", [flat, split], f"{name}.{part}.apart")
            found[part] = self.op("Transpose", [apart], f"{name}.{part}.heads", perm=[0, 2, 1, 3])
        for part in ("key", "value"):
            cache = f"past.{layer}.{part}", f"present.{layer}.{part}"
            found[part] = self.updated(*cache, found[part], f"{name}.{part}")
        turned = self.op("Transpose", [found["key"]], f"{name}.turned", perm=[0, 1, 3, 2])
        scores = self.op("MatMul", [found["query"], turned], f"{name}.scores")
        scale = self.constant(f"{name}.scale", 1 / np.sqrt(s.head_width))
        scaled = self.op("Mul", [scores, scale], f"{name}.scaled")
        masked = self.op("Add", [scaled, mask], f"{name}.masked")
        shares = self.op("Softmax", [masked], f"{name}.shares", axis=-1)
        mixed = self.op("MatMul", [shares, found["value"]], f"{name}.mixed")
        back = self.op("Transpose", [mixed], f"{name}.back", perm=[0, 2, 1, 3])
        whole = self.constant(f"{name}.whole", [1, 1, s.width], np.int64)
        joined = self.op("Reshape", [back, whole], f"{name}.joined")
        return self.product(joined, f"{name}.output", s.width, s.width)

    def updated(self, past: str, present: str, token: str, name: str) -> str:
        """A cache with the token of this run."""
        s = self.shape
        if s.ring:
            return self.op("ScatterElements", [past, "place", token], present, axis=2)
        ends = [
            self.constant(f"{name}.{word}", [value], np.int64)
            for word, value in (("first", 1), ("end", s.window), ("axis", 2))
        ]
        kept = self.op("Slice", [past, *ends], f"{name}.kept")
        return self.op("Concat", [kept, token], present, axis=2)

    def ring_mask(self) -> str:
        """The same as :meth:`mask` for a ring, and where the token goes in it."""
        s = self.shape
        one = self.constant("mask.one", [1], np.int64)
        self.op("Add", ["count", one], "next_count")
        window = self.constant("mask.window", [s.window], np.int64)
        place = self.op("Mod", ["count", window], "place.one")
        sizes = self.constant("place.sizes", [1, s.heads, 1, s.head_width], np.int64)
        self.op("Expand", [place, sizes], "place")
        slots = self.constant("mask.slots", np.arange(s.window), np.int64)
        since = self.op("Sub", ["count", slots], "mask.since")
        ago = self.op("Mod", [since, window], "mask.ago")
        known = self.op("LessOrEqual", [ago, "count"], "mask.known")
        real = self.op("Cast", [ago], "mask.real", to=int(TensorProto.FLOAT))
        slopes = -(2.0 ** -np.arange(1, s.heads + 1, dtype=np.float32))
        slope = self.constant("mask.slopes", slopes[None, :, None, None])
        bias = self.op("Mul", [slope, real], "mask.bias")
        never = self.constant("mask.never", -1e4)
        return self.op("Where", [known, bias, never], "mask.scores")

    def mask(self) -> str:
        """Scores are lower the longer ago a token was, and lowest where none was yet."""
        s = self.shape
        if s.ring:
            return self.ring_mask()
        ago = np.arange(s.window)[::-1].astype(np.float32)
        slopes = 2.0 ** -np.arange(1, s.heads + 1, dtype=np.float32)
        bias = self.constant("mask.bias", -slopes[None, :, None, None] * ago)
        one = self.constant("mask.one", [1], np.int64)
        count = self.op("Add", ["count", one], "next_count")
        known = self.op("Less", [self.constant("mask.ago", ago, np.int64), count], "mask.known")
        never = self.constant("mask.never", -1e4)
        return self.op("Where", [known, bias, never], "mask.scores")

    def model(self, head: Floats | None = None) -> onnx.ModelProto:
        """The decoder; without a head it gives the features that a head would read."""
        s = self.shape
        table = self.generator.standard_normal((s.vocabulary, s.width))
        flow = self.op("Gather", [self.constant("embedding.weight", table), "token"], "embedding")
        mask = self.mask()
        for layer in range(s.layers):
            name = f"layers.{layer}"
            before = self.normalized(flow, f"{name}.norm1")
            mixed = self.attention(before, f"{name}.attention", layer, mask)
            flow = self.op("Add", [flow, mixed], f"{name}.residual1")
            inner = self.normalized(flow, f"{name}.norm2")
            gate = self.product(inner, f"{name}.gate", s.width, s.hidden)
            up = self.product(inner, f"{name}.up", s.width, s.hidden)
            half = self.op("Sigmoid", [gate], f"{name}.sigmoid")
            silu = self.op("Mul", [gate, half], f"{name}.silu")
            product = self.op("Mul", [silu, up], f"{name}.gated")
            down = self.product(product, f"{name}.down", s.hidden, s.width)
            flow = self.op("Add", [flow, down], f"{name}.residual2")
        features = self.normalized(flow, "norm")
        output, width = features, s.width
        if head is not None:
            weight = self.constant("head.weight", head)
            self.op("MatMul", [features, weight], "head")
            output, width = "head", s.vocabulary
        cache = [1, s.heads, s.window, s.head_width]
        value = helper.make_tensor_value_info
        inputs = [value("token", TensorProto.INT64, [1, 1])]
        outputs = [value(output, TensorProto.FLOAT, [1, 1, width])]
        for given, name in s.states.items():
            kind = TensorProto.INT64 if name == "count" else TensorProto.FLOAT
            shape = [1] if name == "count" else cache
            inputs.append(value(name, kind, shape))
            outputs.append(value(given, kind, shape))
        graph = helper.make_graph(
            self.nodes,
            "decoder",
            inputs,
            outputs,
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        opset = [helper.make_opsetid("", 17)]
        made = helper.make_model(graph, opset_imports=opset, ir_version=8)
        onnx.checker.check_model(made)
        return made


def texts(vocabulary: int, length: int, seed: int, grammar: int = 0) -> npt.NDArray[np.int64]:
    """Tokens of a random grammar: after each token come four, the first of them most often."""
    follow = np.random.default_rng(grammar).integers(0, vocabulary, (vocabulary, 4))
    generator = np.random.default_rng(seed)
    draws = generator.choice(4, length, p=[0.7, 0.15, 0.1, 0.05])
    tokens = np.empty(length, np.int64)
    tokens[0] = generator.integers(vocabulary)
    for at in range(1, length):
        tokens[at] = follow[tokens[at - 1], draws[at]]
    return tokens


def features_of(model: onnx.ModelProto, tokens: npt.NDArray[np.int64], shape: Shape) -> Floats:
    """What the head reads after each token."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    cache = (1, shape.heads, shape.window, shape.head_width)
    state: dict[str, Any] = {name: np.zeros(cache, np.float32) for name in shape.states.values()}
    state["count"] = np.zeros(1, np.int64)
    names = [item.name for item in session.get_outputs()]
    rows = []
    for token in tokens:
        results = session.run(None, {"token": token.reshape(1, 1), **state})
        found = dict(zip(names, results, strict=True))
        rows.append(found["norm"].reshape(-1))
        state = {name: found[given] for given, name in shape.states.items()}
    return np.array(rows, np.float32)


def fitted_head(features: Floats, following: npt.NDArray[np.int64], vocabulary: int) -> Floats:
    """Least squares for which token follows, as scores of about a logit's size."""
    width = features.shape[1]
    squares = features.T @ features + 1e-1 * len(features) * np.eye(width, dtype=np.float32)
    sums = np.zeros((width, vocabulary), np.float32)
    np.add.at(sums.T, following, features)
    head: Floats = np.linalg.solve(squares, sums)
    scores = features[:256] @ head
    return (head * (6.0 / scores.max(axis=1).mean())).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=Shape.layers)
    parser.add_argument("--width", type=int, default=Shape.width)
    parser.add_argument("--vocabulary", type=int, default=Shape.vocabulary)
    parser.add_argument("--window", type=int, default=Shape.window, help="tokens that it sees")
    parser.add_argument("--ring", action="store_true", help="a new token takes the oldest's place")
    parser.add_argument("--texts", type=int, default=8192, help="tokens that the head is fitted to")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    shape = Shape(
        asked.vocabulary,
        asked.width,
        asked.layers,
        asked.width // 32,
        8 * asked.width // 3,
        asked.window,
        asked.ring,
    )
    asked.folder.mkdir(parents=True, exist_ok=True)
    tokens = texts(shape.vocabulary, asked.texts + 1, seed=1)
    features = features_of(Builder(shape, asked.seed).model(), tokens[:-1], shape)
    head = fitted_head(features, tokens[1:], shape.vocabulary)
    model = Builder(shape, asked.seed).model(head)
    onnx.save(model, asked.folder / "decoder.onnx")
    for name, seed, length in (("calib", 2, 64), ("eval", 3, 256)):
        own = texts(shape.vocabulary, length + 1, seed)
        path = asked.folder / f"{name}.npz"
        np.savez_compressed(path, token=own[:-1].reshape(-1, 1), y=own[1:].reshape(-1, 1))
    (asked.folder / "states.txt").write_text(
        " ".join(f"--state {given}={name}" for given, name in shape.states.items()) + "\n"
    )
    count = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    print(f"{asked.folder / 'decoder.onnx'}: {count:,} parameters")


if __name__ == "__main__":
    main()
