"""Runs tokenize_costs.py, which measures what `seit tokenize` loses around its encoder and its decoding.

    python benchmarks/tokenize.py --json [--quick] [--device cuda]

Python puts a script's folder first in its path, and the standard library has a module `tokenize` that nearly
everything imports. So this file hands that module to whoever imports it, also to the other scripts in this
folder.
"""

import importlib.util
import sys
import sysconfig

_spec = importlib.util.spec_from_file_location("tokenize", f"{sysconfig.get_path('stdlib')}/tokenize.py")
assert _spec is not None
assert _spec.loader is not None
_standard = importlib.util.module_from_spec(_spec)
sys.modules["tokenize" if __name__ == "__main__" else __name__] = _standard
_spec.loader.exec_module(_standard)

if __name__ == "__main__":
    from tokenize_costs import main

    main()
