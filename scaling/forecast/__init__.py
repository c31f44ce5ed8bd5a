"""What a run that nobody has trained will come to: forecasts, their seal, and how they came out.

from scaling.forecast import forecast
"""

import importlib
from typing import Any

_PUBLIC = {
    "forecast": "forecasting",
    "Forecast": "forecasting",
    "seal": "sealing",
    "score": "scoring",
}


def __getattr__(name: str) -> Any:
    """What the package is used for in Python, imported when asked for: JAX takes a second."""
    if name not in _PUBLIC:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
