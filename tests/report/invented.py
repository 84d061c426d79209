"""Invented demo data: synthetic small images, scikit-image's photos, numbers that no run produced."""

from __future__ import annotations

import numpy as np
from PIL import Image

from seit.report.demo import DemoPictures, DemoResult, Pair, Photo, Prediction, StoreBytes, TrainedRun

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
HOSTILE = "<img src=x onerror=alert(1)>\"'&\u202eexe\x1b[31m\udc80`c` {{7*7}} --> \n"


def small(seed: int) -> np.ndarray:
    """A smooth 32-pixel picture with an edge, uint8 [32, 32, 3]."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    picture = np.array(coarse.resize((32, 32), Image.Resampling.BICUBIC))
    picture[8:24, rng.integers(4, 12) : rng.integers(18, 28)] = rng.integers(0, 256, 3)
    return picture


def rough(picture: Image.Image | np.ndarray, size: int) -> Image.Image:
    """Something like a decoded picture: a square with its finest detail gone."""
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    tiny = image.convert("RGB").resize((size // 2, size // 2), Image.Resampling.BOX)
    return tiny.resize((size, size), Image.Resampling.BICUBIC)


def run(top1: float, seed: int) -> TrainedRun:
    rng = np.random.default_rng(seed)
    steps = np.arange(100, 2001, 100)
    curve = top1 - (top1 - 0.1) * np.exp(-steps / 500) + rng.normal(0, 0.006, 20)
    table = rng.integers(0, 8, (10, 10)) + np.diag(rng.integers(50, 95, 10))
    curve[-1] = top1
    return TrainedRun(top1, 2000, 74.2, 5_362_762, list(zip(steps.tolist(), curve, strict=True)), table.tolist())


def result(sample: str = "CIFAR-10", classes: list[str] | None = None) -> DemoResult:
    return DemoResult(
        sample=sample,
        train_images=4000,
        held_out_images=1000,
        classes=classes or CLASSES,
        grid=(8, 8),
        photo_grid=(32, 32),
        trunk="vit_tiny_patch16_224",
        tokens=run(0.587, 1),
        pixels=run(0.571, 2),
        jpeg_bytes_per_image=1243.4,
        jpeg_payload_bytes_per_image=618.0,
        store=StoreBytes(5000, 312_100, 10_000, 5000, 92_000, 16_384, 9_200, 2_310, 1_480),
        photo_jpeg_bytes=1_612_331,
        photo_jpeg_payload_bytes=1_603_200,
        photo_store=StoreBytes(12, 12_210, 24, 12, 900, 16_384, 512, 1_900, 800),
        seconds=247.3,
        timings={
            "install check": 0.4,
            "tokenize": 22.8,
            "write store": 3.1,
            "train on tokens": 74.2,
            "train on pixels": 118.9,
            "evaluate": 14.5,
            "decode pictures": 2.2,
        },
        machine={
            "processor": "2 cores of an invented CPU",
            "device": "cpu",
            "system": "Linux 6.1",
            "Python": "3.12.4",
            "torch": "2.14.0",
            "timm": "1.0.31",
            "seed": "0",
            "finished": "2026-01-02 03:04",
        },
        commands=[
            ("Turn a folder of class folders into tokens", "seit tokenize photos/ tokens/ --tokenizer patch8"),
            ("See what was kept", "seit info tokens/\nseit show tokens/ --out sheet.png"),
            ("Train", "seit train tokens/ --out run/"),
            ("Measure and predict", "seit eval run/ --tokens tokens/\nseit predict run/ photo.jpg"),
        ],
        notes={"tokenize": "5,000 small images and 12 photos", "train on tokens": "2,000 steps of 128"},
    )


def pictures(name: str = "") -> DemoPictures:
    from skimage import data

    photos = []
    for photo in ("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry", "retina"):
        original = Image.fromarray(getattr(data, photo)())
        photos.append(Photo(name or f"{photo}.jpg", original, rough(original, 256), 134_361, 1_021))
    pairs = [Pair(name or f"val/{CLASSES[i % 10]}/{i}.jpg", small(i), rough(small(i), 32)) for i in range(20)]
    rng = np.random.default_rng(0)
    guesses = []
    for i in range(40):
        true = name or CLASSES[i % 10]
        guess = true if rng.random() < 0.6 else CLASSES[rng.integers(10)]
        guesses.append(Prediction(small(100 + i), true, guess, float(rng.uniform(0.3, 1))))
    return DemoPictures(photos, pairs, guesses)
