"""Images that are files of their own (PNG, JPEG, ...), read with Pillow."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
# What an image's pixels are, and what they are read as. One with transparency is not decided here.
MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}


def read(folder: Path, paths: Sequence[str], most: int) -> np.ndarray:
    """The images of files, uint8 [n, H, W, 1] grey or [n, H, W, 3] in colour; all of one size.

    Args:
      folder: where paths begin that are not absolute.
      paths: of the files.
      most: bytes of all pixels.

    Raises:
      ValueError, OSError: in one line, what is no image, of another size or not there.
    """
    try:
        from PIL import Image
    except ImportError:
        raise OSError("data.source: images are read with pillow, which is absent") from None
    found = []
    for path in paths:
        place = folder / path
        try:
            with Image.open(place, formats=FORMATS) as file:
                if file.mode not in MODES:
                    pixels = f"has pixels of kind {file.mode}; allowed: {', '.join(MODES)}"
                    raise ValueError(f"data.source: {place} {pixels}")
                # Before they are unpacked: a small file may say that it is large.
                if (len(found) + 1) * file.width * file.height * len(MODES[file.mode]) > most:
                    raise ValueError(f"data.source: {place} has too many pixels; allowed: {most}")
                image = np.asarray(file.convert(MODES[file.mode]))
        except FileNotFoundError:
            raise FileNotFoundError(f"data.source: {place}; there is no such file") from None
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"data.source: {place} is no image: {reason}") from None
        found.append(image if image.ndim == 3 else image[..., None])
        if found[-1].shape != found[0].shape:
            sizes = ("x".join(map(str, one.shape)) for one in (found[0], found[-1]))
            raise ValueError(
                f"data.source: {place}: images of {' and '.join(sizes)}; allowed: images of one "
                "size, all grey or all in colour"
            )
    return np.stack(found)
