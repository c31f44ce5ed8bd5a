"""Pictures that a model has drawn, as one PNG: a row for each caption."""

from pathlib import Path

import numpy as np

from train import png
from train.cli import InputError, Unavailable
from train.record import replacing

MARGIN, LEAST_SIDE = 4, 128  # pixels around a picture, and of its side once it is made larger
MOST_EACH = 64


def check(draws: bool, to: str | None, each: int, tokens: int) -> None:
    """Raises InputError where flags do not go with a run that draws, or with one that does not."""
    if not draws:
        if to or each != 1:
            flag = "to" if to else "each"
            raise InputError(f"--{flag}: {to or each}; its run writes texts, not pictures")
        return
    if not to or Path(to).suffix.lower() != ".png":
        raise InputError(f"--to: {to or 'missing'}; give the .png that pictures are drawn into")
    if not 1 <= each <= MOST_EACH:
        raise InputError(f"--each: {each}; allowed: 1 to {MOST_EACH}")
    if tokens:
        raise InputError(f"--tokens: {tokens}; a picture has as many codes as it needs")


def write(path: Path, images: np.ndarray, columns: int) -> None:
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
