"""Seeded stand-ins for what people feed to networks: rendered text, sounds, bytes, sentences."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Floats = npt.NDArray[np.float32]

_TEXT = (
    "the quick brown fox jumps over lazy dogs while seven wizards pack dark boxes of liquor jugs "
    "Total 1280 EUR invoice 2024-03-17 Platform 9 Gate B42 Exit North Station Market Street 118 "
    "open daily from 10 to 18 fragile handle with care made in recycled paper volume 33 cl"
)
_WORDS = _TEXT.split()
_IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def text_lines(count: int, height: int, width: int, seed: int) -> Floats:
    """``float32[count, 3, height, width]`` in -1 to 1: one line of words each."""
    random = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        words = " ".join(random.choice(_WORDS, 8))
        paper, ink = int(random.integers(180, 256)), int(random.integers(0, 90))
        image = Image.new("RGB", (width, height), (paper, paper, paper - 10))
        font = ImageFont.load_default(size=int(height * random.uniform(0.55, 0.75)))
        draw = ImageDraw.Draw(image)
        while draw.textlength(words, font=font) > width - 8 and " " in words:
            words = words.rpartition(" ")[0]
        draw.text((4, height * 0.1), words, fill=(ink, ink, ink + 20), font=font)
        images.append(np.asarray(image.filter(ImageFilter.GaussianBlur(0.6)), np.float32))
    return _channels_first(np.stack(images) / 127.5 - 1)


def text_pages(count: int, height: int, width: int, seed: int) -> Floats:
    """``float32[count, 3, height, width]``, normalized as ImageNet's: pages with lines of text."""
    random = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        paper = int(random.integers(150, 250))
        image = Image.new("RGB", (width, height), (paper, paper - 8, paper - 20))
        draw = ImageDraw.Draw(image)
        row = float(random.uniform(8, 30))
        while row < height - 24:
            size = int(random.uniform(12, 30))
            words = " ".join(random.choice(_WORDS, int(random.integers(2, 6))))
            draw.text(
                (random.uniform(4, width / 4), row),
                words,
                fill=tuple(int(v) for v in random.integers(0, 100, 3)),
                font=ImageFont.load_default(size=size),
            )
            row += size * random.uniform(1.3, 3.0)
        images.append(np.asarray(image.filter(ImageFilter.GaussianBlur(0.5)), np.float32))
    mean, deviation = _IMAGENET
    return _channels_first((np.stack(images) / 255 - mean) / deviation)


def scenes(count: int, height: int, width: int, seed: int) -> Floats:
    """``float32[count, 3, height, width]`` in 0 to 1: shapes before a gradient."""
    random = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        ends = random.integers(0, 256, (2, 3))
        ramp = np.linspace(0, 1, height)[:, None, None]
        ground = ends[0] * (1 - ramp) + ends[1] * ramp + np.zeros((height, width, 3))
        image = Image.fromarray(ground.astype(np.uint8))
        draw = ImageDraw.Draw(image)
        for _ in range(int(random.integers(3, 9))):
            left, top = random.uniform(0, width * 0.8), random.uniform(0, height * 0.8)
            box = (
                left,
                top,
                left + random.uniform(9, width / 2),
                top + random.uniform(9, height / 2),
            )
            color = tuple(int(v) for v in random.integers(0, 256, 3))
            (draw.ellipse if random.random() < 0.6 else draw.rectangle)(box, fill=color)
        images.append(np.asarray(image.filter(ImageFilter.GaussianBlur(1)), np.float32))
    return _channels_first(np.stack(images) / 255)


def sounds(count: int, samples: int, seed: int, rate: int = 16000) -> Floats:
    """``float32[count, samples]``: stretches of one recording of voiced syllables and pauses."""
    random = np.random.default_rng(seed)
    total = count * samples
    time = np.arange(total) / rate
    pitch = 110 + 40 * np.sin(2 * np.pi * 0.7 * time + random.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(n * phase) / n for n in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * time + random.uniform(0, 6)) + 0.2, 0, 1)
    talking = np.repeat(random.random(-(-total // (rate // 4))) < 0.7, rate // 4)[:total]
    noise = random.standard_normal(total)
    recording = 0.08 * voice * syllables * talking + 0.003 * noise
    return recording.astype(np.float32).reshape(count, samples)


def documents(count: int, length: int, seed: int) -> npt.NDArray[np.int32]:
    """``int32[count, length]``: heads and tails of files of the standard library, 256 after."""
    random = np.random.default_rng(seed)
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    rows = np.full((count, length), 256, np.int32)
    for row in rows:
        content = files[int(random.integers(len(files)))].read_bytes().strip()
        half = length // 2
        head, tail = content[:half], content[-half:]
        row[: len(head)] = np.frombuffer(head, np.uint8)
        row[length - len(tail) :] = np.frombuffer(tail, np.uint8)
    return rows


def sentences(count: int, length: int, words: int, seed: int) -> dict[str, npt.NDArray[Any]]:
    """Token numbers of sentences of several lengths, with masks, as a BERT is fed."""
    random = np.random.default_rng(seed)
    tokens = np.zeros((count, length), np.int64)
    mask = np.zeros((count, length), np.int64)
    for row, kept in zip(tokens, mask, strict=True):
        used = int(random.integers(length // 2, length + 1))
        row[:used] = np.minimum(1000 + random.zipf(1.2, used), words - 1)
        row[0], row[used - 1], kept[:used] = 101, 102, 1
    return {
        "input_ids": tokens,
        "attention_mask": mask,
        "token_type_ids": np.zeros_like(tokens),
    }


def _channels_first(images: npt.NDArray[Any]) -> Floats:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2).astype(np.float32))
