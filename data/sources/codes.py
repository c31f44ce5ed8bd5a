"""Images as codes and codes as images, by the weights of a trained models/tokenizer.py, in numpy.

A file of weights (.npz, see benchmarks.codebook) has those of `params`, by their paths, and the
model's config as JSON. All is computed in float64, so that no rounding of a processor decides a
code: what is made of a data set is the same everywhere, and stays in the cache.

Shape letters: n images, S their side, P patches along it, C channels, Z numbers of a code.
"""

import functools
import hashlib
import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np

from data.sources import cache, files

FOLDER = Path(__file__).parent.parent / "features"
EPSILON = 1e-3  # as in models/tokenizer.py
PART = 16  # images that are computed at a time
FIELDS = ("side", "channels", "patch", "blocks", "levels")


class Tokenizer:
    """A trained one, frozen."""

    def __init__(self, content: bytes, name: str):
        """Of a file's content. Raises ValueError, in one line, where it is none."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = dict(file)
            told = json.loads(str(arrays.pop("model")))
            side, channels, patch, self._blocks, levels = (told[field] for field in FIELDS)
        except (ValueError, KeyError, OSError, TypeError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())[:100]
            raise ValueError(
                f"data.tokenizer: {name} has no tokenizer's weights: {reason}"
            ) from None
        self._of = {path: array.astype(np.float64) for path, array in arrays.items()}
        self._patch, self.shape = patch, (side, side, channels)
        self.along, self.codes = side // patch, math.prod(levels)
        self._count = np.array(levels, np.float64)
        self._base = np.cumprod([1, *levels[:-1]])

    def encode(self, images: np.ndarray) -> np.ndarray:
        """uint8 [n, S, S, channels] -> uint16 [n, P * P], row by row."""
        parts = range(0, len(images), PART)
        return np.concatenate([self._encoded(images[i : i + PART]) for i in parts])

    def draw(self, codes: np.ndarray) -> np.ndarray:
        """The inverse as far as there is one, uint8."""
        n, P, p, half = len(codes), self.along, self._patch, self._count // 2
        digits = codes.reshape(n, P, P, 1) // self._base % self._count
        x = self._stack("decoder", (digits - half) / half) + 0.5
        x = x.reshape(n, P, P, p, p, -1).swapaxes(2, 3).reshape(n, *self.shape)
        return np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)

    def _encoded(self, images: np.ndarray) -> np.ndarray:
        n, P, p, count = len(images), self.along, self._patch, self._count
        x = (images / 255 - 0.5).reshape(n, P, p, P, p, -1).swapaxes(2, 3).reshape(n, P, P, -1)
        half, offset = (count - 1) * (1 + EPSILON) / 2, np.where(count % 2, 0.0, 0.5)
        bounded = np.tanh(self._stack("encoder", x) + np.arctanh(offset / half)) * half - offset
        digits = np.rint(bounded) + count // 2
        return (digits @ self._base).astype(np.uint16).reshape(n, P * P)

    def _stack(self, name: str, x: np.ndarray) -> np.ndarray:
        h = self._layer(f"{name}/first", x)
        for i in range(self._blocks):
            inner = self._convolved(f"{name}/in_{i}", _gelu(h))
            h = h + self._convolved(f"{name}/out_{i}", _gelu(inner))
        return self._layer(f"{name}/last", _gelu(h))

    def _layer(self, path: str, x: np.ndarray) -> np.ndarray:
        return x @ self._of[f"{path}/kernel"] + self._of[f"{path}/bias"]

    def _convolved(self, path: str, x: np.ndarray) -> np.ndarray:
        kernel, P = self._of[f"{path}/kernel"], x.shape[1]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        around = [padded[:, i : i + P, j : j + P] for i in range(3) for j in range(3)]
        return (
            np.concatenate(around, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])
            + (self._of[f"{path}/bias"])
        )


def _gelu(x: np.ndarray) -> np.ndarray:
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def read(name: str, sha256: str) -> Tokenizer:
    """The tokenizer NAME of data/features/NAME.npz, or that of a file whose path ends with .npz.

    Raises ValueError where it is none, or has another sha256; OSError where it is not there.
    """
    content = _content(name)
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ValueError(f"data.sha256: {sha256!r}; the tokenizer {name} has {found}")
    return _read(content, name)


@functools.lru_cache(maxsize=2)
def _read(content: bytes, name: str) -> Tokenizer:
    return Tokenizer(content, name)


def _content(name: str) -> bytes:
    if name.endswith(".npz"):
        place = files.user_path(name)
    else:
        there = sorted(path.stem for path in FOLDER.glob("*_codes.npz"))
        if name not in there:
            allowed = ", ".join([*there, "a path that ends with .npz"])
            raise ValueError(f"data.tokenizer: {name!r}; allowed: {allowed}")
        place = FOLDER / f"{name}.npz"
    try:
        return place.read_bytes()
    except OSError as error:
        raise OSError(f"data.tokenizer: {place}: {error.strerror}") from None


def moved(images: np.ndarray, pixels: int) -> np.ndarray:
    """Each image moved by up to `pixels` each way, [n, (2 pixels + 1)^2, S, S, channels]; the one
    that is not moved is in the middle. What comes in at an edge is the edge again."""
    S, there = images.shape[1], range(2 * pixels + 1)
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
    return np.stack([padded[:, i : i + S, j : j + S] for i in there for j in there], axis=1)


def of_images(tokenizer: Tokenizer, sha256: str, images: np.ndarray, pixels: int) -> np.ndarray:
    """The codes of images and of what `moved` makes of them, uint16 [n, (2 pixels + 1)^2, P * P].

    Computed once, and kept in the cache; `sha256` is of the tokenizer's weights.
    """
    digest = hashlib.sha256(f"{sha256} {pixels} {images.shape}".encode() + images.tobytes())
    shape = (len(images), (2 * pixels + 1) ** 2, tokenizer.along**2)

    def load(folder: Path) -> np.ndarray | None:
        try:
            found = np.load(folder / "codes.npy", allow_pickle=False)
        except (OSError, ValueError):
            return None
        return found if found.shape == shape and found.max() < tokenizer.codes else None

    def save(folder: Path) -> None:
        parts = range(0, len(images), PART)
        shifted = (moved(images[i : i + PART], pixels) for i in parts)
        codes = [tokenizer.encode(x.reshape(-1, *x.shape[2:])) for x in shifted]
        np.save(folder / "codes.npy", np.concatenate(codes).reshape(shape))

    return cache.entry(f"codes-{digest.hexdigest()[:32]}", load, save)
