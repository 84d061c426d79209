"""How numbers and names are written for people; no HTML here.

Bytes are exact integers in tables and use decimal units (1 kB = 1000 B) where they are rounded.
"""

from __future__ import annotations

import math
import unicodedata

_NARROW = "\u00a0"  # keeps a number and its unit on one line
_MISSING = "\u2013"


def clean(text: str) -> str:
    """Makes any string safe to show: control characters and lone surrogates become visible escapes.

    File names are bytes on Linux, so a name may hold an escape sequence, a half of a surrogate pair (which
    UTF-8 cannot carry) or a mark that turns the text around it.

    Args:
        text: anything a file system or a user may call a file or a class.

    Returns:
        The text, with each such character as `\\x1b` or `\\u202e`; newlines and tabs as spaces.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in "\n\t\r":
        return " "
    code = ord(character)
    # Cc control, Cf format (direction marks, zero width), Cs surrogates, Co private use, Cn unassigned.
    # The zero-width joiners stay: emoji and several scripts need them.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") and character not in "\u200c\u200d":
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    return character


def shorten(text: str, limit: int = 40) -> str:
    """Cuts the middle out of a long name: its start names the folder, its end the file.

    Args:
        text: the name.
        limit: most characters kept, the ellipsis among them.
    """
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}\u2026{text[len(text) - (limit - 1 - head) :]}"


def number(value: float | int | None, digits: int = 3) -> str:
    """Writes a number with thousands separators: integers whole, others to `digits` significant ones.

    Args:
        value: the number; None and not-a-number are written as a dash.
        digits: significant digits below 1000 (above it, the integer part is kept whole).
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return _MISSING
    if isinstance(value, float) and math.isinf(value):
        return "\u221e" if value > 0 else "\u2212\u221e"
    if abs(value) < 1000:
        value = float(f"{value:.{digits}g}")  # before its places are counted: 999.9 rounds to 1000
    if value == int(value):
        return f"{int(value):,}".replace("-", "\u2212")
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}".replace("-", "\u2212")


def short(value: float) -> str:
    """Writes a number for an axis, with k, M or G: `85k`, `1.3M`."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= unit:
            scale = 1e3 if name == "k" else unit
            return f"{value / scale:.3g}{name}".replace("-", "\u2212")
    return number(float(value))


def size(count: float) -> str:
    """Writes bytes in decimal units, `1.11 kB`; exact below 1000."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if abs(value) < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{number(value)}{_NARROW}{unit}"


def percent(share: float | None, digits: int = 1) -> str:
    """Writes a share (0..1) as a percentage, `73.1%`; None as a dash."""
    if share is None or math.isnan(share):
        return _MISSING
    return f"{100 * share:.{digits}f}%".replace("-", "\u2212")


def duration(seconds: float) -> str:
    """Writes a time for people: `12 ms`, `0.84 s`, `1 min 15 s`, `2 h 05 min`."""
    if seconds < 0.0995:
        return f"{number(seconds * 1000, 2)}{_NARROW}ms"
    if seconds < 59.95:
        return f"{seconds:.2g}{_NARROW}s" if seconds < 9.95 else f"{seconds:.0f}{_NARROW}s"
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes}{_NARROW}min {rest:02d}{_NARROW}s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}{_NARROW}h {minutes:02d}{_NARROW}min"
