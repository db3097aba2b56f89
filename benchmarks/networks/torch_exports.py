"""Networks of the kinds that people export from PyTorch, with random weights, as ONNX files.

Needs ``torch`` (and ``onnxscript`` for the newer exporter). Weights are seeded, batch norms have
seeded statistics, and each network stands for a kind: what matters is its operators and shapes.

Run as ``python benchmarks/networks/torch_exports.py FOLDER [NAME …]``: for each network up to four
files, ``<name>.<exporter>.<fixed or dynamic>.onnx``, and ``<name>.npz`` with eight samples.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

Inputs = dict[str, tuple[int, ...]]


def conv_bn(
    inp: int, out: int, kernel: int, stride: int = 1, groups: int = 1, act: type | None = nn.ReLU
) -> nn.Sequential:
    layers = [
        nn.Conv2d(inp, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, inner: int, gate: type) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.down, self.up = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)
        self.gate = gate()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(self.up(F.relu(self.down(self.pool(x)))))


class InvertedResidual(nn.Module):
    def __init__(self, inp: int, out: int, stride: int, expand: int, act: type, gate: type) -> None:
        super().__init__()
        wide = inp * expand
        self.body = nn.Sequential(
            conv_bn(inp, wide, 1, act=act),
            conv_bn(wide, wide, 3, stride, wide, act=act),
            SqueezeExcite(wide, max(wide // 4, 8), gate),
            conv_bn(wide, out, 1, act=None),
        )
        self.residual = stride == 1 and inp == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.residual else self.body(x)


def mobile_net(act: type, gate: type) -> nn.Module:
    return nn.Sequential(
        conv_bn(3, 16, 3, 2, act=act),
        InvertedResidual(16, 16, 1, 1, nn.ReLU, gate),
        InvertedResidual(16, 24, 2, 4, act, gate),
        InvertedResidual(24, 24, 1, 4, act, gate),
        InvertedResidual(24, 40, 2, 4, act, gate),
        conv_bn(40, 160, 1, act=act),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(160, 128),
        act(),
        nn.Dropout(),
        nn.Linear(128, 10),
    )


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.up, self.down = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.down(F.gelu(self.up(y)))).permute(0, 3, 1, 2)


def conv_next() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 4, 4),
        LayerNorm2d(32),
        ConvNextBlock(32),
        LayerNorm2d(32),
        nn.Conv2d(32, 64, 2, 2),
        ConvNextBlock(64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(64),
        nn.Linear(64, 10),
    )


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.causal = heads, causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5
        if self.causal:
            mask = torch.ones(tokens, tokens).triu(1).bool()
            scores = scores.masked_fill(mask, float("-inf"))
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, width)
        return self.out(y)


class TransformerBlock(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.attention, self.first = Attention(width, heads, causal), nn.LayerNorm(width)
        self.second = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.first(x))
        return x + self.mlp(self.second(x))


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 64, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 64) * 0.02)
        self.position = nn.Parameter(torch.randn(1, 17, 64) * 0.02)
        self.blocks = nn.Sequential(TransformerBlock(64, 4), TransformerBlock(64, 4))
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.blocks(x)[:, 0])


class SwinBlock(nn.Module):
    def __init__(self, width: int, window: int, shift: int) -> None:
        super().__init__()
        self.block, self.window, self.shift = TransformerBlock(width, 4), window, shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, h, w, c = x.shape
        n = self.window
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        y = x.reshape(b, h // n, n, w // n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, n * n, c)
        y = self.block(y).reshape(b, h // n, w // n, n, n, c).permute(0, 1, 3, 2, 4, 5)
        y = y.reshape(b, h, w, c)
        return torch.roll(y, (self.shift, self.shift), (1, 2)) if self.shift else y


class Swin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 4, 4)
        self.blocks = nn.Sequential(SwinBlock(32, 4, 0), SwinBlock(32, 4, 2))
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.patch(x).permute(0, 2, 3, 1))
        return self.head(self.norm(x).mean((1, 2)))


class Yolo(nn.Module):
    """CSP body, SPPF, a two-level head that decodes boxes from bins on a grid."""

    def __init__(self) -> None:
        super().__init__()
        act = nn.SiLU
        self.stem = nn.Sequential(conv_bn(3, 16, 3, 2, act=act), conv_bn(16, 32, 3, 2, act=act))
        self.split, self.inner = conv_bn(32, 32, 1, act=act), conv_bn(16, 16, 3, act=act)
        self.merge = conv_bn(48, 48, 1, act=act)
        self.down = conv_bn(48, 64, 3, 2, act=act)
        self.sppf_in, self.sppf_out = conv_bn(64, 32, 1, act=act), conv_bn(128, 64, 1, act=act)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.up = conv_bn(112, 48, 3, act=act)
        self.boxes = nn.ModuleList([nn.Conv2d(48, 32, 1), nn.Conv2d(64, 32, 1)])
        self.classes = nn.ModuleList([nn.Conv2d(48, 4, 1), nn.Conv2d(64, 4, 1)])
        self.register_buffer("bins", torch.arange(8.0).reshape(1, 8, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.split(self.stem(x)).chunk(2, 1)
        fine = self.merge(torch.cat([a, b, self.inner(b) + b], 1))
        deep = self.sppf_in(self.down(fine))
        first = self.pool(deep)
        second = self.pool(first)
        deep = self.sppf_out(torch.cat([deep, first, second, self.pool(second)], 1))
        wide = F.interpolate(deep, scale_factor=2.0, mode="nearest")
        fine = self.up(torch.cat([wide, fine], 1))
        found = []
        for level, y in enumerate((fine, deep)):
            boxes = self.boxes[level](y)
            n, _, h, w = boxes.shape
            boxes = (boxes.view(n, 4, 8, h * w).transpose(1, 2).softmax(1) * self.bins).sum(1)
            rows = torch.arange(h, dtype=torch.float32).view(h, 1).expand(h, w).reshape(-1) + 0.5
            columns = torch.arange(w, dtype=torch.float32).view(1, w).expand(h, w).reshape(-1) + 0.5
            centre = torch.stack([columns, rows])
            low, high = centre - boxes[:, :2], centre + boxes[:, 2:]
            scores = self.classes[level](y).view(n, 4, h * w).sigmoid()
            found.append(torch.cat([low, high, scores], 1))
        return torch.cat(found, 2)


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv_bn(3, 16, 3), conv_bn(16, 32, 3)
        self.deep = conv_bn(32, 32, 3)
        self.up = nn.ConvTranspose2d(32, 16, 2, 2)
        self.join, self.last = conv_bn(48, 32, 3), nn.ConvTranspose2d(32, 16, 2, 2)
        self.out = nn.Conv2d(32, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.first(x)
        b = self.second(F.max_pool2d(a, 2))
        c = self.deep(F.max_pool2d(b, 2))
        d = self.join(torch.cat([self.up(c), b], 1))
        return self.out(torch.cat([self.last(d), a], 1))


class ShuffleUnit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.body = nn.Sequential(
            conv_bn(half, half, 1), conv_bn(half, half, 3, 1, half, None), conv_bn(half, half, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, 1)
        x = torch.cat([a, self.body(b)], 1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shuffle_net() -> nn.Module:
    body = [conv_bn(3, 32, 3, 2), nn.MaxPool2d(3, 2, 1), ShuffleUnit(32), ShuffleUnit(32)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


class Recurrent(nn.Module):
    def __init__(self, kind: type, bidirectional: bool = False) -> None:
        super().__init__()
        self.cell = kind(40, 64, 2, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(128 if bidirectional else 64, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.cell(x)[0])


class SequenceFirst(nn.Module):
    """Text recognition: convolutions, then a recurrent layer over columns, sequence first."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(1, 32, 3, 2), conv_bn(32, 64, 3, 2))
        self.cell = nn.LSTM(64, 48, bidirectional=True)
        self.head = nn.Linear(96, 37)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x).mean(2).permute(2, 0, 1)
        return self.head(self.cell(y)[0])


class Causal(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.pad = 2 * dilation
        self.conv = nn.Conv1d(channels, channels, 3, dilation=dilation)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + F.relu(self.norm(self.conv(F.pad(x, (self.pad, 0)))))


def temporal() -> nn.Module:
    blocks = [Causal(32, 2**power) for power in range(4)]
    return nn.Sequential(nn.Conv1d(40, 32, 1), *blocks, nn.Conv1d(32, 12, 1))


class TasNet(nn.Module):
    """Learned filter bank, a dilated block with PReLU and global norms, masks, the bank again."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, 64, 16, 8, bias=False)
        self.norm, self.squeeze = nn.GroupNorm(1, 64), nn.Conv1d(64, 32, 1)
        self.block = nn.Sequential(
            nn.Conv1d(32, 64, 1),
            nn.PReLU(),
            nn.GroupNorm(1, 64),
            nn.Conv1d(64, 64, 3, padding=2, dilation=2, groups=64),
            nn.PReLU(),
            nn.Conv1d(64, 32, 1),
        )
        self.mask = nn.Conv1d(32, 128, 1)
        self.decoder = nn.ConvTranspose1d(64, 1, 16, 8, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        coded = F.relu(self.encoder(x))
        y = self.squeeze(self.norm(coded))
        y = self.mask(y + self.block(y))
        masks = y.view(y.shape[0], 2, 64, -1).sigmoid() * coded.unsqueeze(1)
        return self.decoder(masks.reshape(-1, 64, masks.shape[-1])).reshape(x.shape[0], 2, -1)


class MultiHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(64, 4, batch_first=True), nn.Linear(64, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.attention(x, x, x, need_weights=False)[0] + x)


class Gpt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(100, 64), nn.Embedding(16, 64)
        self.blocks = nn.Sequential(TransformerBlock(64, 4, True), TransformerBlock(64, 4, True))
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 100, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.words(tokens) + self.places(torch.arange(tokens.shape[1]))
        return self.head(self.norm(self.blocks(x)))


class ChannelsLast(nn.Module):
    """As Keras exports: images NHWC at the border, transposed around every convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)])
        self.dense = nn.Linear(32 * 8 * 8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            x = F.relu6(conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return self.dense(x.reshape(x.shape[0], -1)).softmax(-1)


IMAGE: Inputs = {"x": (1, 3, 32, 32)}
SPEECH: Inputs = {"x": (1, 50, 40)}

NETWORKS: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {
    "mobilenet_v3": (lambda: mobile_net(nn.Hardswish, nn.Hardsigmoid), {"x": (1, 3, 64, 64)}),
    "efficientnet": (lambda: mobile_net(nn.SiLU, nn.Sigmoid), {"x": (1, 3, 64, 64)}),
    "convnext": (conv_next, IMAGE),
    "vit": (VisionTransformer, IMAGE),
    "swin": (Swin, IMAGE),
    "yolo": (Yolo, {"x": (1, 3, 64, 64)}),
    "unet": (UNet, IMAGE),
    "shufflenet": (shuffle_net, IMAGE),
    "lstm": (lambda: Recurrent(nn.LSTM), SPEECH),
    "bilstm": (lambda: Recurrent(nn.LSTM, True), SPEECH),
    "gru": (lambda: Recurrent(nn.GRU), SPEECH),
    "crnn": (SequenceFirst, {"x": (1, 1, 32, 64)}),
    "tcn": (temporal, {"x": (1, 40, 50)}),
    "tasnet": (TasNet, {"x": (1, 1, 1600)}),
    "mha": (MultiHead, {"x": (1, 12, 64)}),
    "gpt": (Gpt, {"tokens": (1, 16)}),
    "nhwc": (ChannelsLast, {"x": (1, 32, 32, 3)}),
}


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    net = make().eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return net


def samples(inputs: Inputs, count: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    found = {}
    for name, shape in inputs.items():
        if name == "tokens":
            found[name] = random.integers(0, 100, (count, *shape[1:]))
        else:
            found[name] = random.standard_normal((count, *shape[1:])).astype(np.float32)
    return found


def export(name: str, folder: Path) -> list[str]:
    """Writes every form that the exporters manage; returns what they did not."""
    make, inputs = NETWORKS[name]
    net, failed = seeded(make), []
    np.savez(folder / f"{name}.npz", **samples(inputs, 8))
    example = tuple(torch.from_numpy(array) for array in samples(inputs, 1).values())
    more = tuple(torch.from_numpy(array) for array in samples(inputs, 2).values())
    for exporter in ("torchscript", "dynamo"):
        for dynamic in (False, True):
            path = folder / f"{name}.{exporter}.{'dynamic' if dynamic else 'fixed'}.onnx"
            names = list(inputs)
            try:
                if exporter == "torchscript":
                    axes = {key: {0: "batch"} for key in (*names, "out")} if dynamic else None
                    torch.onnx.export(
                        net,
                        example,
                        str(path),
                        dynamo=False,
                        input_names=names,
                        output_names=["out"],
                        dynamic_axes=axes,
                        opset_version=17,
                    )
                else:
                    shapes = [{0: torch.export.Dim("batch")}] * len(names) if dynamic else None
                    torch.onnx.export(
                        net,
                        more if dynamic else example,
                        str(path),
                        dynamo=True,
                        input_names=names,
                        output_names=["out"],
                        external_data=False,
                        dynamic_shapes=shapes,
                        verbose=False,
                    )
            except Exception as error:  # an exporter may refuse a form in many ways
                failed.append(f"{path.name}: {type(error).__name__}: {str(error)[:100]}")
                path.unlink(missing_ok=True)
    return failed


def main() -> None:
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or NETWORKS:
        for line in export(name, folder):
            print("not exported:", line)


if __name__ == "__main__":
    main()
