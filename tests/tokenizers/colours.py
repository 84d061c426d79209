"""The third-party tokenizer of docs/tokenizers.md, cut out of that page."""

from __future__ import annotations

import re
from pathlib import Path

from seit.tokenizers import Tokenizer

PAGE = Path(__file__).parents[2] / "docs" / "tokenizers.md"
SOURCE = next(code for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "colours.py" in code)
ENTRY = next(code for code in re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.S) if "entry-points" in code)


def colours() -> Tokenizer:
    """Returns it: cells of 2x2 pixels, 4096 colours, good enough to reconstruct photos."""
    scope: dict[str, type[Tokenizer]] = {"__name__": "colours"}  # type: ignore[dict-item]
    exec(SOURCE, scope)
    return scope["Colours"]().eval()  # type: ignore[call-arg]
