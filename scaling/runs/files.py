"""What all files of results share: how they are written and read, which versions, and no NaN."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from train.cli import InputError
from train.record import load_json, save_text

# Versions that are read; the last is written.
VERSIONS = {
    "plan": (1, 2),  # 1 knew no data
    # 1 knew no configs, no data, no plan and no missing runs; 2 the loss alone
    "sealed forecast": (1, 2, 3),
    "score": (1, 2, 3),
}
_MAX_JSON_BYTES = 2**28


def load(path: Path, what: str) -> dict[str, Any]:
    """Reads a file of a study, one of `VERSIONS`. Raises InputError for another version."""
    values, known = load_json(path), VERSIONS[what]
    if (version := values.get("version")) not in known:
        raise InputError(f"{path}: version: {version!r}; a {what}'s must be one of {known}")
    return values


def to_json(fields: Any) -> str:
    """JSON text, which knows neither infinity nor NaN: such numbers become null."""
    return json.dumps(_plain(fields), indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def write_text(path: str, text: str) -> None:
    """Writes a result file atomically; raises InputError where the folder cannot be written."""
    try:
        save_text(Path(path), text)
    except OSError as error:
        raise InputError(f"--out: {path!r} cannot be written: {error.strerror}") from None


def read_text(path: str) -> str:
    """Reads a result file; raises InputError where it cannot be, or is absurdly large."""
    try:
        if os.path.getsize(path) > _MAX_JSON_BYTES:
            raise InputError(f"larger than {_MAX_JSON_BYTES} bytes")
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}") from None
