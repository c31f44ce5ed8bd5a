"""Rows of an evaluation set for people to read: what went in, what came out, how it was scored."""

import json
from typing import Any

import numpy as np

from train.examine.again import Evaluated

_NUMBERS = 64  # of a row's array that are written out; of a larger one, what it is


def lines(found: Evaluated, rows: int) -> list[str]:
    """Lines of JSON, one of each of the first `rows` rows."""
    chosen = np.flatnonzero(found.units[: len(found.inputs["weight"])] > 0)[:rows]
    return [json.dumps(_line(found, int(i)), allow_nan=False) + "\n" for i in chosen]


def _line(found: Evaluated, i: int) -> dict[str, Any]:
    units = float(found.units[i])
    scores = {name: _plain(x[i] / units) for name, x in found.sums.items()}
    return {
        "row": i,
        "units": units,
        "per_unit": scores,
        "batch": {k: _shown(found, x[i]) for k, x in found.inputs.items() if k != "weight"},
        "kept": {name: _shown(found, x[i]) for name, x in found.kept.items()},
    }


def _shown(found: Evaluated, value: Any) -> Any:
    """Token ids as text where the data can tell it, few numbers as they are, many as their kind."""
    value = np.asarray(value)
    decode = found.facts.get("decode")
    if decode and value.ndim == 1 and np.issubdtype(value.dtype, np.integer):
        return decode(value)
    if value.size > _NUMBERS:
        return f"{value.dtype} {list(value.shape)}"
    return _plain(value)


def _plain(value: Any) -> Any:
    """Numbers as JSON has them, which knows none that is not finite."""
    value = np.asarray(value)
    if value.ndim:
        return [_plain(part) for part in value]
    if not np.issubdtype(value.dtype, np.floating) and value.dtype.kind != "V":
        return value.item()
    return float(f"{float(value):.6g}") if np.isfinite(float(value)) else None
