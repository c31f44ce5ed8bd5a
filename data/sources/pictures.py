"""Images that are files of their own (PNG, JPEG, ...), read with Pillow."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
MOST_PIXELS = 50_000_000  # of one image that is scaled
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


def scaled(place: Path | BinaryIO, name: object, side: int) -> np.ndarray:
    """An image of any size and kind as uint8 [side, side, 3]: what is transparent is white.

    Args:
      place: a path or an open file.
      name: what errors call it.
      side: pixels; each is the mean of those that it stands for, and a long side is squeezed.

    Raises:
      ValueError, OSError: in one line, what is no image, too large or not there.
    """
    try:
        from PIL import Image
    except ImportError:
        raise OSError("data.source: images are read with pillow, which is absent") from None
    try:
        with Image.open(place, formats=FORMATS) as file:
            if file.width * file.height > MOST_PIXELS:
                size = f"{file.width}x{file.height}"
                raise ValueError(f"data.source: {name} is {size}; allowed: {MOST_PIXELS} pixels")
            drawn = file.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn)
            return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BOX))
    except FileNotFoundError:
        raise FileNotFoundError(f"data.source: {name}; there is no such file") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"data.source: {name} is no image: {reason}") from None


def rescaled(pixels: np.ndarray, side: int) -> np.ndarray:
    """uint8 [H, W, 1] or [H, W, 3] as uint8 [side, side, 3], see `scaled`."""
    try:
        from PIL import Image
    except ImportError:
        raise OSError("data.source: images are scaled with pillow, which is absent") from None
    whole = Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
    return np.asarray(whole.resize((side, side), Image.Resampling.BOX))


def size(place: Path) -> tuple[int, int]:
    """Width and height in pixels of an image that `scaled` takes."""
    from PIL import Image

    with Image.open(place, formats=FORMATS) as file:
        return file.size


def pixels(image: np.ndarray, mean: np.ndarray | float, spread: np.ndarray | float) -> np.ndarray:
    """A standardised image as it was, uint8."""
    return np.clip(np.rint(image * spread + mean), 0, 255).astype(np.uint8)


def statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel of uint8 [n, H, W, C], float32 [C] each.

    They are exact, from how often each value occurs; a constant channel has 1 for the latter.
    """
    values = np.arange(256.0)
    counts = [np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(images, -1, 0)]
    means = np.array([np.average(values, weights=count) for count in counts])
    squares = [np.average((values - mean) ** 2, weights=n) for mean, n in zip(means, counts)]
    spread = np.sqrt(squares)
    return means.astype(np.float32), np.where(spread > 0, spread, 1).astype(np.float32)
