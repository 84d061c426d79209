"""Images in: sources of pictures, their decoding, and the square views that a tokenizer sees. No torch.

`open_source(src)` lists a folder, archive, table, list or embedded sample as `Image`s, not decoded yet; `decode`
and `to_view` make the uint8 array [H, W, 3]; `prepare` does both for the views of many, in worker processes as
well.
"""

from seit.images.jpeg import jpeg_payload_bytes
from seit.images.prepare import Bad, Facts, Preparation, prepare, source_hash, view_of
from seit.images.sources import EMBEDDED, Image, Source, open_source
from seit.images.view import decode, to_rgb, to_view
from seit.images.views import Views

__all__ = [
    "EMBEDDED",
    "Bad",
    "Facts",
    "Image",
    "Preparation",
    "Source",
    "Views",
    "decode",
    "jpeg_payload_bytes",
    "open_source",
    "prepare",
    "source_hash",
    "to_rgb",
    "to_view",
    "view_of",
]
