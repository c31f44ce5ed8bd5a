"""Pictures that a model has drawn, as one PNG: a row for each caption."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from train import png
from train.cli import InputError, Unavailable
from train.record import replacing

SUFFIX = ".png"
MARGIN, LEAST_SIDE = 4, 128  # pixels around a picture, and of its side once it is made larger
MOST_EACH = 64


def check(given: Any) -> None:
    """Raises InputError where flags do not go with pictures."""
    if not 1 <= given.each <= MOST_EACH:
        raise InputError(f"--each: {given.each}; allowed: 1 to {MOST_EACH}")
    if given.tokens:
        raise InputError(f"--tokens: {given.tokens}; a picture has as many codes as it needs")


def write(
    path: Path, tokens: list[np.ndarray], batch: Mapping, facts: Mapping, columns: int
) -> None:
    """Draws what was written of each prompt, in rows of so many (Unavailable)."""
    save(path, facts["draw"](np.stack(tokens)), columns)


def save(path: Path, images: np.ndarray, columns: int) -> None:
    """Writes uint8 [n, side, side, 1 or 3] in rows of so many, each pixel as a square. The file is
    written whole or not at all (Unavailable)."""
    times = max(1, LEAST_SIDE // images.shape[1])
    large = images.repeat(times, axis=1).repeat(times, axis=2)
    framed = np.pad(large, ((0, 0), (MARGIN,) * 2, (MARGIN,) * 2, (0, 0)), constant_values=255)
    n, side, _, channels = framed.shape
    grid = framed.reshape(n // columns, columns, side, side, channels).swapaxes(1, 2)
    picture = png.content(grid.reshape(n // columns * side, columns * side, channels))
    try:
        with replacing(path) as file:
            file.write(picture)
    except OSError as error:
        raise Unavailable(f"--to: {path}: {error.strerror}") from None
