"""What the demo measured and what its report shows: plain data, filled by the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seit.report.pictures import Picture


@dataclass(frozen=True)
class StoreBytes:
    """Bytes of one token data set on disk, whole files, cut by what they hold.

    Attributes:
        images: images in it.
        payload: coded ids.
        offsets: where each image's payload starts.
        labels: one class number an image.
        names: the side table: names, sizes and hashes of the sources.
        codebook: the used codes' vectors.
        tables: the codec's fitted tables.
        manifest: the manifest and the class names.
        other: what the container adds: headers, padding.
    """

    images: int
    payload: int
    offsets: int
    labels: int
    names: int
    codebook: int
    tables: int
    manifest: int
    other: int = 0

    @property
    def total(self) -> int:
        """All bytes."""
        return self.growing + self.fixed

    @property
    def growing(self) -> int:
        """Bytes that grow with every image: payload, offsets, labels, names."""
        return self.payload + self.offsets + self.labels + self.names

    @property
    def fixed(self) -> int:
        """Bytes that all images share: codebook, tables, manifest, container."""
        return self.codebook + self.tables + self.manifest + self.other

    def json(self) -> dict[str, int]:
        """The parts with their units, and the total."""
        parts = ("payload", "offsets", "labels", "names", "codebook", "tables", "manifest", "other")
        return {"images": self.images, **{f"{p}_bytes": getattr(self, p) for p in parts}, "total_bytes": self.total}


@dataclass(frozen=True)
class TrainedRun:
    """One training run.

    Attributes:
        top1: share (0..1) of held-out images whose first guess is right, at the end of the run.
        steps: optimizer updates.
        seconds: training alone, without evaluation.
        parameters: weights of the classifier.
        curve: (step, top-1 on the held-out images) as they were measured along the way.
        confusion: counts [C][C], true by predicted class; empty to leave it out.
    """

    top1: float
    steps: int
    seconds: float
    parameters: int
    curve: Sequence[tuple[int, float]]
    confusion: Sequence[Sequence[int]] = ()


@dataclass(frozen=True)
class DemoResult:
    """Everything the demo measured; `json()` is the result file.

    Attributes:
        sample: name of the embedded images, e.g. "CIFAR-10".
        train_images: images trained on.
        held_out_images: images that accuracy was measured on, none of them trained on.
        classes: class names.
        grid: (h, w) of the ids of the sample's images.
        photo_grid: (h, w) of the ids of the full-size photos.
        trunk: the timm network of both runs.
        tokens: the run on tokens.
        pixels: the run of the same trunk on the pixels, with the same steps.
        jpeg_bytes_per_image: mean size of the sample's JPEG files (training and held-out).
        jpeg_payload_bytes_per_image: the same without headers and tables: the coded pixels alone.
        store: the sample's token data set.
        photo_jpeg_bytes: JPEG files of the full-size photos, all together.
        photo_jpeg_payload_bytes: the same without headers and tables.
        photo_store: the full-size photos' token data set.
        seconds: wall clock of the whole demo, imports included.
        timings: seconds by step, in order.
        machine: names and values: processor, cores, device, operating system, versions, date.
        commands: (what it does, command) to repeat each step on one's own images.
        notes: (part of `timings` -> what it includes), shown beside it.
    """

    sample: str
    train_images: int
    held_out_images: int
    classes: Sequence[str]
    grid: tuple[int, int]
    photo_grid: tuple[int, int]
    trunk: str
    tokens: TrainedRun
    pixels: TrainedRun
    jpeg_bytes_per_image: float
    jpeg_payload_bytes_per_image: float
    store: StoreBytes
    photo_jpeg_bytes: int
    photo_jpeg_payload_bytes: int
    photo_store: StoreBytes
    seconds: float
    timings: Mapping[str, float]
    machine: Mapping[str, str]
    commands: Sequence[tuple[str, str]]
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def token_bytes_per_image(self) -> float:
        """The sample's token data set over its images, everything counted."""
        return self.store.total / self.store.images

    @property
    def photo_ratio(self) -> float:
        """Token bytes / JPEG bytes of the full-size photos, everything counted on both sides."""
        return self.photo_store.total / self.photo_jpeg_bytes

    @property
    def photo_ratio_growing(self) -> float:
        """The same, counting of the tokens only what grows with every photo."""
        return self.photo_store.growing / self.photo_jpeg_bytes

    def json(self) -> dict[str, Any]:
        """The result file: flat headline keys first, then the details."""
        return {
            "schema": 1,
            "token_top1": self.tokens.top1,
            "pixel_top1": self.pixels.top1,
            "jpeg_bytes_per_image": self.jpeg_bytes_per_image,
            "jpeg_payload_bytes_per_image": self.jpeg_payload_bytes_per_image,
            "token_bytes_per_image": self.token_bytes_per_image,
            "photo_ratio": self.photo_ratio,
            "photo_ratio_without_fixed": self.photo_ratio_growing,
            "seconds": self.seconds,
            "sample": self.sample,
            "train_images": self.train_images,
            "held_out_images": self.held_out_images,
            "trunk": self.trunk,
            "steps": self.tokens.steps,
            "token_train_seconds": self.tokens.seconds,
            "pixel_train_seconds": self.pixels.seconds,
            "store": self.store.json(),
            "photo_store": self.photo_store.json(),
            "photo_jpeg_bytes": self.photo_jpeg_bytes,
            "photo_jpeg_payload_bytes": self.photo_jpeg_payload_bytes,
            "timings_seconds": dict(self.timings),
            "machine": dict(self.machine),
        }


@dataclass(frozen=True)
class Photo:
    """A full-size photo: `original` as it came, `decoded` from its ids alone, showing the same area.

    `token_bytes` is its own payload, offset and label, without what all photos share.
    """

    name: str
    original: Picture
    decoded: Picture
    jpeg_bytes: int
    token_bytes: int


@dataclass(frozen=True)
class Pair:
    """A small image of the sample: original, and decoded from its ids."""

    name: str
    original: Picture
    decoded: Picture


@dataclass(frozen=True)
class Prediction:
    """A held-out image and the token-trained classifier's first guess; `confidence` is its share, 0..1."""

    picture: Picture
    true: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class DemoPictures:
    """What the page shows; how `predictions` were chosen is said in `chosen`."""

    photos: Sequence[Photo]
    pairs: Sequence[Pair]
    predictions: Sequence[Prediction]
    chosen: str = "The first of the held-out images by name, chosen before the run."
