"""Scenes put together from labelled pictures and photographs: what is in them, and where, is exact.

A sprite is a grey picture as it lies in its own bounds: how bright a pixel is says how much it
covers. It is scaled, given a colour that stands out from what is behind it, and laid on a part of a
photograph, or on one colour. Sprites and parts of photographs are on one side alone: what is
evaluated on has neither a sprite nor a pixel of what is trained on.
"""

import functools
import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.sources import labelled, pictures, split

SIDES = ("train", "validation", "test")
SHARES = (0.6, 0.2, 0.2)  # of the sprites, and of the width of a photograph
PHOTOGRAPHS = ("china.jpg", "flower.jpg")  # of scikit-learn, 427 x 640
PLAIN = 0.25  # of the scenes have one colour behind them
INK = 0.25  # of the brightest pixel of a source: one from there on is within a sprite's bounds
CONTRAST = 60.0  # of 255, of the mean of three channels, between a sprite and what is behind it
OVERLAP = 0.25  # of the smaller of two boxes
TRIES = 20  # for a place that is free, and for a colour
VERSION = 1


class Sprites(NamedTuple):
    """Grey pictures in their own bounds."""

    images: list[np.ndarray]  # float32 [h, w], 0 to 1
    labels: np.ndarray  # int64 [n]


class Parts(NamedTuple):
    """What the scenes of a side are made of."""

    sprites: Sprites
    photographs: list[np.ndarray]  # float32 [H, W, 3], 0 to 255
    digest: str  # sha256


class Scene(NamedTuple):
    """A scene and the boxes of what is in it."""

    image: np.ndarray  # uint8 [side, side, 3]
    boxes: np.ndarray  # int64 [n, 4]: left, top, right, bottom; whole pixels
    labels: np.ndarray  # int64 [n]


def known(name: str) -> labelled.Known | None:
    """What is known of a source of sprites unopened, see `data.sources.labelled`."""
    found = labelled.known(name)
    if found and found.shape[-1] != 1:
        raise _coloured(name)
    return found


@functools.lru_cache(maxsize=1)
def parts(name: str) -> tuple[Mapping[str, Parts], int, tuple[str, ...]]:
    """The parts of each of SIDES, how many classes there are, and their names.

    Args:
      name: of a source of grey labelled pictures. A hash of its pixels says on which side one is;
        equal ones count once.

    Raises:
      ValueError, OSError: in one line, what is wrong with it or not there.
    """
    found = labelled.find(name)
    sides = [found.train] + [found.test] * (found.test is not None)
    if found.train.images.shape[-1] != 1:
        raise _coloured(name)
    brightest = max(int(side.images.max()) for side in sides) or 1
    images = {
        image.tobytes(): (image[..., 0] / np.float32(brightest), int(label))
        for side in sides
        for image, label in zip(side.images, side.labels)
    }
    dealt: dict[str, dict[bytes, tuple[np.ndarray, int]]] = {side: {} for side in SIDES}
    for pixels, (image, label) in images.items():
        key = hashlib.sha256(pixels).digest()
        place = np.searchsorted(np.cumsum(SHARES), split.draw(key) / 2.0**64, side="right")
        if (image >= INK).any():
            dealt[SIDES[min(int(place), len(SIDES) - 1)]][key] = (image, label)
    photographs = _photographs()
    made = {side: _parts(rows, photographs[side]) for side, rows in dealt.items()}
    for side in SIDES:
        if absent := found.classes - len(np.unique(made[side].sprites.labels)):
            few = f"{absent} of {found.classes} classes have no sprite for {side}"
            raise ValueError(f"data.source: {name}: {few}; allowed: some of each on every side")
    return made, found.classes, found.class_names


def scene(
    rng: np.random.Generator, made: Parts, side: int, most: int, sizes: tuple[int, int]
) -> Scene:
    """A scene, as a function of its generator.

    Args:
      rng: of the scene.
      made: what it is made of.
      side: pixels, both ways.
      most: there are 0 to so many things in it, each number as often; of those that find no free
        place there are fewer.
      sizes: the least and the largest number of pixels of the longer side of one; all in between
        are as likely on a scale of logarithms.
    """
    image = _behind(rng, made.photographs, side)
    boxes, labels = [], []
    for _ in range(_below(rng, most + 1)):
        chosen = _below(rng, len(made.sprites.images))
        sprite = made.sprites.images[chosen]
        low, high = sizes[0] - 0.5, sizes[1] + 0.5
        longer = low * (high / low) ** rng.random()
        height, width = (max(2, round(longer * n / max(sprite.shape))) for n in sprite.shape)
        box = _place(rng, boxes, side, height, width)
        if box is None:
            continue
        left, top, right, bottom = box
        cover = _scaling(sprite.shape[0], bottom - top) @ sprite
        cover = (cover @ _scaling(sprite.shape[1], right - left).T)[..., None]
        under = image[top:bottom, left:right]
        under += cover * (_colour(rng, under.mean(axis=(0, 1))) - under)
        boxes.append(box)
        labels.append(made.sprites.labels[chosen])
    return Scene(
        np.rint(image).astype(np.uint8),
        np.array(boxes, np.int64).reshape(-1, 4),
        np.array(labels, np.int64),
    )


def _coloured(name: str) -> ValueError:
    return ValueError(f"data.source: {name} has pictures in colour; allowed: grey ones as sprites")


def _parts(rows: Mapping[bytes, tuple[np.ndarray, int]], photographs: list[np.ndarray]) -> Parts:
    digest = hashlib.sha256(f"composed {VERSION}".encode())
    images = []
    for key in sorted(rows):
        image, label = rows[key]
        digest.update(key + bytes([label % 256, label // 256 % 256]))
        within = image >= INK
        down, across = (np.flatnonzero(within.any(axis=axis)) for axis in (1, 0))
        inside = image[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
        images.append(inside)
    for photograph in photographs:
        digest.update(photograph.astype(np.uint8).tobytes())
    labels = np.array([rows[key][1] for key in sorted(rows)], np.int64)
    return Parts(Sprites(images, labels), photographs, digest.hexdigest())


def _photographs() -> dict[str, list[np.ndarray]]:
    """Of each side its columns of every photograph, whole and half as large."""
    # Their files, not their loader: the import takes seconds.
    if (package := importlib.util.find_spec("sklearn")) is None:
        raise OSError("data.source: photographs come with scikit-learn, which is absent")
    folder = Path(package.origin).parent / "datasets" / "images"
    whole = [pictures.read(folder, [name], labelled.MAX_BYTES)[0] for name in PHOTOGRAPHS]
    found: dict[str, list[np.ndarray]] = {}
    for side, share, end in zip(SIDES, SHARES, np.cumsum(SHARES)):
        columns = (slice(round((end - share) * x.shape[1]), round(end * x.shape[1])) for x in whole)
        own = [x[:, part].astype(np.float32) for x, part in zip(whole, columns)]
        found[side] = own + [_halved(x) for x in own]
    return found


def _halved(x: np.ndarray) -> np.ndarray:
    H, W, C = x.shape
    x = x[: H // 2 * 2, : W // 2 * 2].reshape(H // 2, 2, W // 2, 2, C)
    return np.rint(x.mean(axis=(1, 3)))


def _below(rng: np.random.Generator, n: int) -> int:
    """A whole number from 0 to n - 1: for a few numbers at a time far quicker than `integers`."""
    return int(rng.random() * n)


def _behind(rng: np.random.Generator, photographs: list[np.ndarray], side: int) -> np.ndarray:
    """One colour, or a part of a photograph: mirrored or not, its channels in any order, with less
    contrast or all of it. What is larger than the photograph is mirrored at its edges."""
    if rng.random() < PLAIN:
        return np.broadcast_to(rng.uniform(0, 255, 3), (side, side, 3)).astype(np.float32)
    photograph = photographs[_below(rng, len(photographs))]
    rows, columns = (_window(rng, length, side) for length in photograph.shape[:2])
    image = photograph[rows[:, None], columns][..., rng.permutation(3)]
    gain = np.float32(rng.uniform(0.4, 1))
    return image * gain + np.float32(rng.uniform(0, 255 * (1 - gain)))


def _window(rng: np.random.Generator, length: int, side: int) -> np.ndarray:
    places = _below(rng, max(1, length - side + 1)) + np.arange(side)
    places = places[:: -1 if rng.random() < 0.5 else 1] % max(1, 2 * length - 2)
    return np.minimum(places, 2 * length - 2 - places) if length > 1 else places


def _place(
    rng: np.random.Generator, boxes: list[tuple], side: int, height: int, width: int
) -> tuple[int, int, int, int] | None:
    """A box of this size that hides little of the others and that they hide little of."""
    for _ in range(TRIES):
        left, top = _below(rng, side - width + 1), _below(rng, side - height + 1)
        box = left, top, left + width, top + height
        if all(_shared(box, other) <= OVERLAP for other in boxes):
            return box
    return None


def _shared(one: tuple, other: tuple) -> float:
    """What two boxes have in common, as a share of the smaller one."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(across, 0) * max(down, 0) / min(areas)


def _colour(rng: np.random.Generator, behind: np.ndarray) -> np.ndarray:
    """A colour, float32 [3], that stands out; the last one tried where none does."""
    colours = 255 * rng.random((TRIES, 3), np.float32)
    stands_out = np.abs(colours - behind).mean(axis=1) >= CONTRAST
    return colours[stands_out.argmax() if stands_out.any() else -1]


@functools.cache
def _scaling(n: int, m: int) -> np.ndarray:
    """What makes n pixels m, float32 [m, n]: linear in between, the mean of those that one stands
    for where they are fewer."""
    reach = max(1.0, n / m)
    centres = (np.arange(m) + 0.5) * n / m - 0.5
    weights = np.maximum(0, 1 - np.abs(np.arange(n) - centres[:, None]) / reach)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
