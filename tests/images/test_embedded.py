"""The embedded sample and photos are what NOTICE says: counted, balanced, disjoint, decodable, small."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import seit
from seit.images import EMBEDDED, decode, jpeg_payload_bytes, open_source

FOLDER = Path(seit.__file__).parent / "images"
NOTICE = Path(__file__).parents[2] / "NOTICE"


def test_the_sample_has_600_training_and_100_held_out_images_of_each_class():
    source = open_source("sample")
    assert source.splits == {"train": 6000, "val": 1000}
    assert source.classes == [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    for split, each in (("train", 600), ("val", 100)):
        labels = source.labels[list(source.split(split))]
        assert Counter(labels.tolist()) == dict.fromkeys(range(10), each)
    assert source.split_rule == "folders"
    assert source.name == "sample"


def test_no_picture_of_the_sample_is_there_twice():
    digests = Counter(hashlib.sha256(image.read()).digest() for image in open_source("sample"))
    assert set(digests.values()) == {1}


def test_every_seventieth_picture_of_the_sample_decodes_to_32_pixels():
    source = open_source("sample")
    for index in range(0, len(source), 70):
        assert decode(source[index].read(), source[index].name).size == (32, 32)


def test_the_samples_first_picture_is_cifar10s_first_frog():
    """Its top left pixel is (59, 62, 63) in the public archive; JPEG moves it a little."""
    source = open_source("sample")
    frog = source[source.names.index("train/frog/00000.jpg")]
    corner = np.asarray(decode(frog.read(), frog.name))[:2, :2].mean((0, 1))
    assert np.abs(corner - [29.5, 32, 32.25]).max() < 12


def test_the_photos_are_full_size_unlabelled_jpegs_of_about_an_imagenet_photos_weight():
    photos = open_source("photos")
    sizes = [len(photo.read()) for photo in photos]
    assert len(photos) == 14
    assert set(photos.labels.tolist()) == {-1}
    assert photos.split_rule.startswith("none")
    assert 100_000 < np.mean(sizes) < 130_000  # ImageNet's mean is 110 kB
    for photo in photos:
        data = photo.read()
        assert 450 <= max(decode(data, photo.name).size) <= 640
        assert 0.8 < jpeg_payload_bytes(data) / len(data) < 1


@pytest.mark.skipif(not NOTICE.exists(), reason="NOTICE lies in the repository only")
def test_notice_names_every_photo_and_no_other():
    listed = [line.split()[0] for line in NOTICE.read_text().splitlines() if line[:3] == "   " and ".jpg  " in line]
    assert sorted(listed) == sorted(open_source("photos").names)


def test_embedded_images_stay_below_eight_megabytes():
    files = [FOLDER / "sample.zip", *(FOLDER / "photos").iterdir()]
    assert sum(file.stat().st_size for file in files) < 8_000_000
    assert set(EMBEDDED.values()) == {"sample.zip", "photos"}
