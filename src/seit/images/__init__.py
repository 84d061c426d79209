"""Images in: sources of pictures, their decoding, and the square views that a tokenizer sees. No torch.

`open_source(src)` lists a folder, archive, table, list or embedded sample as `Image`s, not decoded yet, and its
`account` says what was left out; `decode` and `to_view` make the uint8 array [H, W, 3]; `prepare` does both for the
views of many, in worker processes as well; `readable` leaves out what cannot be read.
"""

from seit.images.jpeg import jpeg_payload_bytes
from seit.images.listed import Image, Source
from seit.images.prepare import Bad, Facts, Preparation, prepare, source_hash, view_of
from seit.images.quarantine import Quarantine, readable
from seit.images.sources import EMBEDDED, open_source
from seit.images.view import decode, to_rgb, to_view
from seit.images.views import Views

__all__ = [
    "EMBEDDED",
    "Bad",
    "Facts",
    "Image",
    "Preparation",
    "Quarantine",
    "Source",
    "Views",
    "decode",
    "jpeg_payload_bytes",
    "open_source",
    "prepare",
    "readable",
    "source_hash",
    "to_rgb",
    "to_view",
    "view_of",
]
