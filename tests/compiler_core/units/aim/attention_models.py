"""Attention of few tokens over a key-value cache, in the forms that caches have in ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh

STATES = {"new_keys": "keys", "new_values": "values"}
INT64 = onnx.TensorProto.INT64


@dataclass(frozen=True)
class Attention:
    """A cache and what reads it.

    Attributes:
        form: ``elements``, ``nd``, ``window``.
        heads, tokens, size: Of the cache.
        rows: New tokens of a run, which are those that ask.
        tokens_first: Whether the cache is ``[1, tokens, heads, size]``.
        peeked: Whether something else reads the new keys.
        shared: Heads of queries that read each head of the cache.
    """

    form: str = "elements"
    heads: int = 3
    tokens: int = 20
    size: int = 24
    rows: int = 1
    tokens_first: bool = False
    peeked: bool = False
    shared: int = 1

    @property
    def cache(self) -> tuple[int, ...]:
        sizes = (1, self.heads, self.tokens, self.size)
        return (1, self.tokens, self.heads, self.size) if self.tokens_first else sizes

    @property
    def axis(self) -> int:
        return 1 if self.tokens_first else 2

    @property
    def token(self) -> tuple[int, ...]:
        found = list(self.cache)
        found[self.axis] = self.rows
        return tuple(found)

    def feeds(self, random: np.random.Generator, count: int) -> dict[str, Any]:
        """Inputs of a run in which ``count`` tokens went before, but for the states."""
        heads = self.heads * self.shared
        query = random.normal(size=(1, heads, self.rows, self.size)).astype(np.float32)
        found = {"query": query}
        for name in ("key", "value"):
            found[name] = random.normal(size=self.token).astype(np.float32)
        at = (count + np.arange(self.rows)) % self.tokens
        if self.form == "elements":
            shape = [1, 1, 1, 1]
            shape[self.axis] = self.rows
            found["place"] = np.broadcast_to(at.reshape(shape), self.token).astype(np.int64)
        elif self.form == "nd":
            lead = self.token[: self.axis + 1]
            grid = np.indices(lead)
            grid[self.axis] = at.reshape([-1 if n == self.axis else 1 for n in range(len(lead))])
            found["place"] = np.moveaxis(grid, 0, -1).astype(np.int64)
        return found

    def model(self) -> Any:
        nodes, weights = [], {}
        for name in ("key", "value"):
            nodes += self._update(f"{name}s", name, f"new_{name}s", weights)
        turns = {"key": [0, 2, 3, 1], "value": [0, 2, 1, 3]}
        keys, values, source = "turned", "new_values", "new_keys"
        if self.shared > 1 and self.heads > 1:
            for name in ("keys", "values"):
                nodes += self._repeat(f"new_{name}", f"all_{name}", weights)
            values, source = "all_values", "all_keys"
        if self.tokens_first:
            values = "apart"
            nodes.append(oh.make_node("Transpose", ["new_values"], [values], perm=turns["value"]))
        perm = turns["key"] if self.tokens_first else [0, 1, 3, 2]
        nodes += [
            oh.make_node("Transpose", [source], [keys], "turn", perm=perm),
            oh.make_node("MatMul", ["query", keys], ["scores"], "ask"),
            oh.make_node("Softmax", ["scores"], ["shares"], "share", axis=-1),
            oh.make_node("MatMul", ["shares", values], ["y"], "mix"),
        ]
        outputs = {"y": (1, self.heads * self.shared, self.rows, self.size)}
        outputs |= dict.fromkeys(STATES, self.cache)
        if self.peeked:
            nodes.append(oh.make_node("Tanh", ["new_keys"], ["peek"], "peeking"))
            outputs["peek"] = self.cache
        inputs = {
            name: (INT64 if value.dtype == np.int64 else 1, value.shape)
            for name, value in self.feeds(np.random.default_rng(0), 0).items()
        }
        inputs |= dict.fromkeys(STATES.values(), (1, self.cache))
        graph = oh.make_graph(
            nodes,
            "attention",
            [oh.make_tensor_value_info(name, *own) for name, own in inputs.items()],
            [oh.make_tensor_value_info(name, 1, shape) for name, shape in outputs.items()],
            [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
        )
        made = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(made)
        return made

    def _repeat(self, cache: str, name: str, weights: dict[str, Any]) -> list[Any]:
        """Each head of the cache for all heads of queries that share it."""
        sizes = (1, self.heads, self.shared, self.tokens, self.size)
        weights |= {
            f"{name}.axis": np.array([2], np.int64),
            f"{name}.many": np.array(sizes, np.int64),
            f"{name}.whole": np.array([1, sizes[1] * sizes[2], *sizes[3:]], np.int64),
        }
        return [
            oh.make_node("Unsqueeze", [cache, f"{name}.axis"], [f"{name}.one"], f"{name}.1"),
            oh.make_node("Expand", [f"{name}.one", f"{name}.many"], [f"{name}.each"], f"{name}.2"),
            oh.make_node("Reshape", [f"{name}.each", f"{name}.whole"], [name], f"{name}.3"),
        ]

    def _update(self, past: str, token: str, present: str, weights: dict[str, Any]) -> list[Any]:
        if self.form == "window":
            ends = [f"{past}.{word}" for word in ("first", "end", "axis")]
            values = (self.rows, self.tokens, self.axis)
            weights |= {n: np.array([v], np.int64) for n, v in zip(ends, values, strict=True)}
            return [
                oh.make_node("Slice", [past, *ends], [f"{past}.kept"], f"{past}.cut"),
                oh.make_node(
                    "Concat", [f"{past}.kept", token], [present], f"{past}.put", axis=self.axis
                ),
            ]
        kind = "ScatterElements" if self.form == "elements" else "ScatterND"
        axis = {"axis": self.axis} if self.form == "elements" else {}
        return [oh.make_node(kind, [past, "place", token], [present], f"{past}.put", **axis)]
