"""LAWS MEET RUNS: fits, bootstrap, diagnosis, back-tests, optima, and the law.json they leave.

from scaling.fit import fit
"""

import importlib
from typing import Any

LEVEL = 0.9  # of intervals
RESAMPLES = ("pairs", "residual")  # what a bootstrap redraws
MINIMA = ("parabola", "akima")  # of the loss at one budget: fitted, or interpolated

_PUBLIC = {"fit": "fitting", "Fit": "fitted", "load": "fitted"}


def __getattr__(name: str) -> Any:
    """What the package is used for in Python, imported when asked for: JAX takes a second."""
    if name not in _PUBLIC:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
