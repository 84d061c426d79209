"""Makes the embedded full-size photos, src/seit/images/photos/, from packages that may be redistributed.

    pip install scikit-image==0.26.0 scikit-learn==1.9.1
    apt-get download lomiri-wallpapers-16.04 && dpkg-deb -x lomiri-wallpapers-16.04_*.deb wallpapers
    python scripts/make_photos.py wallpapers/usr/share/backgrounds src/seit/images/photos

JPEG originals of up to 640 pixels are copied byte for byte. Larger ones and PNG files become JPEGs of at most
500 pixels, of quality 96 and with full colour resolution, as most ImageNet photos are (their mean is 110 kB).
NOTICE tells each photo's author and licence.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from PIL import Image

LONG_SIDE = 500
COPIED_SIDE = 640
# What two thirds of ImageNet's own files have (335 of 500 counted), and how they keep colour.
QUALITY, SUBSAMPLING = 96, "4:4:4"
# Our name -> (package or "wallpapers", path inside it)
PHOTOS = {
    "astronaut.jpg": ("skimage", "data/astronaut.png"),
    "cat.jpg": ("skimage", "data/chelsea.png"),
    "coffee.jpg": ("skimage", "data/coffee.png"),
    "rocket.jpg": ("skimage", "data/rocket.jpg"),
    "dahlia.jpg": ("sklearn", "datasets/images/flower.jpg"),
    "pavilion.jpg": ("sklearn", "datasets/images/china.jpg"),
    "brushes.jpg": ("wallpapers", "Picture_1A_by_freespace.jpg"),
    "dandelion.jpg": ("wallpapers", "seeding_by_Clements_Engelhardt.jpg"),
    "dogs.jpg": ("wallpapers", "friends_by_Aitzol_Berasategi.jpg"),
    "drum.jpg": ("wallpapers", "Wine_by_Jakkub_Mede.jpg"),
    "fig.jpg": ("wallpapers", "Picture_0B_by_freespace.jpg"),
    "meadow.jpg": ("wallpapers", "aitzgorri_by_Aitzol_Berasategi.jpg"),
    "mountain.jpg": ("wallpapers", "picosdeeuropa_by_Aitzol_Berasategi.jpg"),
    "stream.jpg": ("wallpapers", "life_by_Aitzol_Berasategi.jpg"),
}


def original(origin: str, path: str, wallpapers: Path) -> Path:
    """Returns where an original lies, without importing the package that holds it."""
    if origin == "wallpapers":
        return wallpapers / path
    found = importlib.util.find_spec(origin)
    if found is None or found.origin is None:
        sys.exit(f"{origin} is not installed; see --help")
    return Path(found.origin).parent / path


def write_photo(source: Path, out: Path) -> None:
    """Copies a small JPEG, or writes a small JPEG of anything else."""
    with Image.open(source) as picture:
        if picture.format == "JPEG" and max(picture.size) <= COPIED_SIDE:
            out.write_bytes(source.read_bytes())
            return
        small = picture.convert("RGB")
    small.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    small.save(out, "JPEG", quality=QUALITY, subsampling=SUBSAMPLING, optimize=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wallpapers", type=Path, help="folder of the extracted Debian package's photos")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, (origin, path) in PHOTOS.items():
        write_photo(original(origin, path, arguments.wallpapers), arguments.out / name)
    total = sum((arguments.out / name).stat().st_size for name in PHOTOS)
    print(f"wrote {arguments.out}: {len(PHOTOS)} photos, {total} bytes")


if __name__ == "__main__":
    main()
