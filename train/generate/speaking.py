"""What a model has said, as one recording: prompts one after another."""

import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from train.cli import InputError, Unavailable
from train.record import replacing

SUFFIX = ".wav"
MOST_EACH = 16


def check(given: Any) -> None:
    """Raises InputError where flags do not go with a recording."""
    if not 1 <= given.each <= MOST_EACH:
        raise InputError(f"--each: {given.each}; allowed: 1 to {MOST_EACH}")


def write(path: Path, tokens: list[np.ndarray], batch: Mapping, facts: Mapping, each: int) -> None:
    """Plays what was written of each prompt, as far as its batch says (Unavailable)."""
    save(path, *facts["play"]([row[:end] for row, end in zip(tokens, batch["ends"])]))


def save(path: Path, samples: np.ndarray, rate: int) -> None:
    """Writes samples of 16 bits. The file is written whole or not at all (Unavailable)."""
    try:
        with replacing(path) as file, wave.open(file, "wb") as recording:
            recording.setparams((1, 2, rate, len(samples), "NONE", ""))
            recording.writeframes(samples.astype("<i2").tobytes())
    except OSError as error:
        raise Unavailable(f"--to: {path}: {error.strerror}") from None
