"""How much of a JPEG file is picture: its entropy-coded bytes without headers and tables."""

from __future__ import annotations

from seit.errors import ImageError

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA


def jpeg_payload_bytes(data: bytes) -> int:
    """Counts the bytes of a JPEG's entropy-coded scans.

    What is left out could be shared by all pictures of a data set or dropped: quantisation and Huffman
    tables, frame and scan headers, EXIF, colour profiles, thumbnails. Stuffed zero bytes and restart markers
    inside a scan are counted, for a decoder needs them there. On 32-pixel JPEGs headers are about half of the
    file, so a fair comparison with tokens, whose codebook is shared, must give this number too.

    Args:
        data: a whole JPEG file; a cut-off one is counted up to its end.

    Returns:
        The payload in bytes.

    Raises:
        ImageError: `data` does not start like a JPEG.
    """
    if data[:2] != b"\xff\xd8":
        raise ImageError("not a JPEG", "jpeg_payload_bytes", "count a JPEG file's bytes")
    position, payload = 2, 0
    while position + 4 <= len(data):
        position = data.find(b"\xff", position)  # libjpeg, too, skips stray bytes before a marker
        if not 0 <= position < len(data) - 3:
            break
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte before a marker
            position += 1
        elif marker == _END:
            break
        elif marker == _START or marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a segment
            position += 2
        else:
            position += 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
            if marker == _SCAN:
                end = _scan_end(data, position)
                payload += max(0, end - position)
                position = end
    return payload


def _scan_end(data: bytes, position: int) -> int:
    """Finds the first marker after `position` that is neither a stuffed zero nor a restart."""
    while 0 <= (position := data.find(b"\xff", position)) < len(data) - 1:
        following = data[position + 1]
        if following == 0xFF:
            position += 1
        elif following == 0 or 0xD0 <= following <= 0xD7:
            position += 2
        else:
            return position
    return len(data)
