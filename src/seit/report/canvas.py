"""What the drawings use of matplotlib, imported whatever backend the environment names.

Nothing here draws on a screen, so a backend that is missing must not matter: notebooks set MPLBACKEND for every
process that they start, also in environments that lack it, and matplotlib then refuses to be imported.
"""

from __future__ import annotations

import os
import sys

try:
    import matplotlib
except ValueError:
    _named = os.environ.pop("MPLBACKEND")
    for _half in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        del sys.modules[_half]
    try:
        import matplotlib
    finally:
        os.environ["MPLBACKEND"] = _named

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

__all__ = [
    "Axes",
    "Figure",
    "FigureCanvasAgg",
    "FuncFormatter",
    "LogLocator",
    "MaxNLocator",
    "NullFormatter",
    "matplotlib",
    "to_rgb",
]
