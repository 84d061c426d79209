"""Turns matplotlib's SVG file into an element that may stand inside an HTML page.

The file as matplotlib writes it would leak a style rule over the whole page, repeat ids that other
drawings of the page use, name foreign addresses, and keep its light colours on a dark page.
"""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

INK, MUTED, GREY, RULE, ACCENT, PAPER = "#1a1e22", "#59636c", "#87929a", "#d3d9dd", "#0b6170", "#ffffff"
"""The drawing's colours; on a page each becomes the CSS variable of its name (light values here)."""

ON_ACCENT = "#fefefe"
"""Letters upon the accent colour: light in both themes."""

_VARIABLES = {INK: "ink", MUTED: "muted", GREY: "grey", RULE: "rule", ACCENT: "accent", PAPER: "paper"}
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_counter = itertools.count(1)


def inline(text: str, alt: str) -> str:
    """Rewrites an SVG document that matplotlib wrote as an `<svg>` element of an HTML page.

    Colours become `var(--ink)` and the like, letters take the page's sans-serif face (class `drawing`), ids
    are made unique among all drawings of the process, and metadata, comments, style rules and namespaces go.

    Args:
        text: the document; written by this package, so it is parsed without fear.
        alt: the description that is read aloud.

    Returns:
        The element, of the drawing's own size in CSS pixels at most.
    """
    root = ElementTree.fromstring(text)
    prefix = f"d{next(_counter)}-"
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
    used = set(re.findall(r"#([A-Za-z][\w.-]*)", " ".join(_references(root))))
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib = {
            name.removeprefix(_LINK): _rewritten(name.removeprefix(_LINK), value, used, prefix)
            for name, value in element.attrib.items()
            if name != "id" or value in used
        }
        if element.tag != "text" and element.text and not element.text.strip():
            element.text = None
        if element.tail and not element.tail.strip():
            element.tail = None
    width = root.get("viewBox", "0 0 1 1").split()[2]
    root.attrib = {
        "class": "drawing",
        "viewBox": root.get("viewBox", ""),
        "style": f"max-width: {float(width):g}px",
        "role": "img",
        "aria-label": alt,
    }
    return ElementTree.tostring(root, encoding="unicode")


def _references(root: ElementTree.Element) -> list[str]:
    """Everything in which another element may be named: `href="#x"` and `url(#x)`."""
    return [
        value
        for element in root.iter()
        for name, value in element.attrib.items()
        if (name.endswith("href") and value.startswith("#")) or "url(#" in value
    ]


def _rewritten(name: str, value: str, used: set[str], prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "href" and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    if name == "href":
        return re.sub(r"\s+", "", value)  # a picture as data: base64, which matplotlib breaks into lines
    if name == "d":
        return re.sub(r"\s+", " ", value).strip()
    value = value.replace("url(#", f"url(#{prefix}")
    if name == "style":
        for colour, variable in _VARIABLES.items():
            value = value.replace(colour, f"var(--{variable})")
        value = re.sub(r"font-family:[^;]*;?\s*", "", value)
        value = re.sub(r"font: ([\d.]+px)[^;]*", r"font-size: \1", value)
    return value
