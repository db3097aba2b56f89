"""Trains the example network on scikit-learn's digits and writes model.onnx, calib.npz and eval.npz
beside it.

Needs torch and scikit-learn, which nothing else here does: the files it writes are kept in the
repository. The data are the handwritten digits of E. Alpaydin and C. Kaynak (UCI, CC BY 4.0) as
scikit-learn bundles them: 1,797 images of 8x8 pixels, scaled to 0..1.

    python examples/digits/train.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import nn

FOLDER = Path(__file__).resolve().parent
TRAINING_IMAGES = 1197
CALIBRATION_IMAGES = 64
EPOCHS = 80


class Digits(nn.Module):
    """A stem, a depthwise-separable pair, a residual block and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.pointwise = nn.Conv2d(16, 32, 1)
        self.first = nn.Conv2d(32, 32, 3, padding=1)
        self.second = nn.Conv2d(32, 32, 3, padding=1)
        self.classifier = nn.Linear(32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(images))
        x = torch.relu(self.pointwise(torch.relu(self.depthwise(x))))
        x = nn.functional.max_pool2d(x, 2)
        x = torch.relu(x + self.second(torch.relu(self.first(x))))
        return self.classifier(x.mean(dim=(2, 3)))


def load() -> tuple[np.ndarray, np.ndarray]:
    """All images ``float32[n, 1, 8, 8]`` in a fixed random order, and their labels ``int64[n]``."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = (digits.images / 16.0).astype(np.float32)[:, None]
    return images[order], digits.target.astype(np.int64)[order]


def train(images: np.ndarray, labels: np.ndarray) -> Digits:
    """Trains with Adam and small random shifts of the images."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(64):
            row, column = torch.randint(0, 3, (2,)).tolist()
            padded = nn.functional.pad(x[batch], (1, 1, 1, 1))
            shifted = padded[:, :, row : row + 8, column : column + 8]
            loss = nn.functional.cross_entropy(model(shifted), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return model


def export(model: Digits, path: Path) -> None:
    """Writes the network as ONNX with a symbolic batch axis."""
    constants = {name: value.detach().numpy() for name, value in model.named_parameters()}

    def conv(name: str, source: str, target: str, **attributes: object) -> onnx.NodeProto:
        inputs = [source, f"{name}.weight", f"{name}.bias"]
        return helper.make_node("Conv", inputs, [target], name=name, **attributes)

    nodes = [
        conv("stem", "image", "stem_out", pads=[1] * 4),
        helper.make_node("Relu", ["stem_out"], ["stem_relu"], name="stem_activation"),
        conv("depthwise", "stem_relu", "depthwise_out", pads=[1] * 4, group=16),
        helper.make_node(
            "Relu", ["depthwise_out"], ["depthwise_relu"], name="depthwise_activation"
        ),
        conv("pointwise", "depthwise_relu", "pointwise_out"),
        helper.make_node(
            "Relu", ["pointwise_out"], ["pointwise_relu"], name="pointwise_activation"
        ),
        helper.make_node(
            "MaxPool",
            ["pointwise_relu"],
            ["pooled"],
            name="pool",
            kernel_shape=[2, 2],
            strides=[2, 2],
        ),
        conv("first", "pooled", "first_out", pads=[1] * 4),
        helper.make_node("Relu", ["first_out"], ["first_relu"], name="first_activation"),
        conv("second", "first_relu", "second_out", pads=[1] * 4),
        helper.make_node("Add", ["pooled", "second_out"], ["sum"], name="residual"),
        helper.make_node("Relu", ["sum"], ["sum_relu"], name="residual_activation"),
        helper.make_node("GlobalAveragePool", ["sum_relu"], ["average"], name="average"),
        helper.make_node("Flatten", ["average"], ["features"], name="flatten"),
        helper.make_node(
            "Gemm",
            ["features", "classifier.weight", "classifier.bias"],
            ["logits"],
            name="classifier",
            transB=1,
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def main() -> None:
    images, labels = load()
    model = train(images[:TRAINING_IMAGES], labels[:TRAINING_IMAGES])
    test, truth = images[TRAINING_IMAGES:], labels[TRAINING_IMAGES:]
    with torch.no_grad():
        accuracy = (model(torch.from_numpy(test)).argmax(dim=1).numpy() == truth).mean()
    export(model, FOLDER / "model.onnx")
    np.savez_compressed(FOLDER / "calib.npz", x=images[:CALIBRATION_IMAGES])
    np.savez_compressed(FOLDER / "eval.npz", x=test, y=truth)
    print(f"top-1 on {len(truth)} images: {accuracy:.4f}")


if __name__ == "__main__":
    main()
