"""The metrics that come along."""

from __future__ import annotations

from compiler_core.accuracy.metric import MetricKind

_FIGURES = "compiler_core.accuracy.figures"

TOP1 = MetricKind(
    "top1",
    "the label has the highest score",
    is_labelled=True,
    counts=True,
    figure=f"{_FIGURES}:top1",
)
TOP5 = MetricKind(
    "top5",
    "the label is among the five highest scores",
    is_labelled=True,
    counts=True,
    best=5,
    figure=f"{_FIGURES}:top5",
)
AGREEMENT = MetricKind(
    "agreement",
    "the output says what that of the float model says",
    compares=True,
    counts=True,
    figure=f"{_FIGURES}:agreeing",
)
SQNR = MetricKind(
    "sqnr_db",
    "power of the float model's values over that of their difference",
    compares=True,
    in_decibels=True,
    figure=f"{_FIGURES}:noisy",
)
KL = MetricKind(
    "kl",
    "divergence from the float model's probabilities, in nats, below zero",
    compares=True,
    figure=f"{_FIGURES}:diverging",
)
COSINE = MetricKind(
    "cosine",
    "mean cosine between the values and those of the float model",
    compares=True,
    figure=f"{_FIGURES}:angles",
)
