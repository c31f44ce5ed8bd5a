"""safetensors: named arrays in one file, read with checks and without executing anything.

The format (github.com/huggingface/safetensors, "Format"): 8 bytes that say how long a JSON header
is, the header (name -> dtype, shape and where it lies), and the arrays one after the other without
a gap, little-endian. Fewer lines than a package to install, and bfloat16 is there.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from train import record, strict
from train.cli import InputError

MAX_HEADER = 100_000_000  # bytes, as in the format's own reader
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16}
_LENGTH = 8


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes float32 arrays by name. Raises OSError naming the path."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
    end = 0
    for name, array in sorted(arrays.items()):
        begin, end = end, end + 4 * array.size
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)
    with record.replacing(path) as file:
        file.write(len(text).to_bytes(_LENGTH, "little") + text)
        for _, array in sorted(arrays.items()):
            file.write(np.ascontiguousarray(array, "<f4").data)


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name, as they lie on disk; read when they are looked at.

    Raises:
      InputError: it is no such file, is cut short, or says what cannot be.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            if not 2 <= length <= min(MAX_HEADER, size - _LENGTH):
                raise InputError(f"{path}: no safetensors file: its header has {length} bytes")
            text = file.read(length)
        header = strict.parse(text.decode())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: no safetensors file: {error}") from None
    shape = {"dtype": str, "shape": [int], "data_offsets": [int, int]}
    strict.check(f"{path}: ", header, {str: dict})
    header.pop("__metadata__", None)
    strict.check(f"{path}: ", header, {str: shape})
    begin, found = _LENGTH + length, {}
    end = 0
    for name, told in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = told["data_offsets"]
        kind = TYPES.get(told["dtype"])
        if kind is None:
            allowed = ", ".join(TYPES)
            raise InputError(f"{path}: {name}: dtype {told['dtype']!r}; allowed: {allowed}")
        bytes_ = math.prod(told["shape"]) * np.dtype(kind).itemsize
        if min(told["shape"], default=0) < 0 or first != end or last - first != bytes_:
            raise InputError(f"{path}: {name}: {told['shape']} does not lie at {first} to {last}")
        end = last
        if begin + end > size:
            raise InputError(f"{path}: cut short: {name} ends at {begin + end} of {size} bytes")
        # A map of no bytes cannot be made.
        lies = {"dtype": kind, "shape": tuple(told["shape"])}
        found[name] = (
            np.memmap(path, mode="r", offset=begin + first, **lies) if bytes_ else np.empty(**lies)
        )
    if begin + end != size:
        raise InputError(f"{path}: {size - begin - end} bytes behind its last array")
    return found
