"""Images in: sources of pictures, their decoding, and the square view that a tokenizer sees. No torch.

`open_source(src)` lists a folder, tar, zip or embedded sample as `Image`s, not decoded yet; `decode` and
`to_view` make the uint8 array [H, W, 3]. Tokenizing calls the three in worker processes, so they pickle.
"""

from seit.images.jpeg import jpeg_payload_bytes
from seit.images.sources import EMBEDDED, Image, Source, open_source
from seit.images.view import decode, to_view

__all__ = ["EMBEDDED", "Image", "Source", "decode", "jpeg_payload_bytes", "open_source", "to_view"]
