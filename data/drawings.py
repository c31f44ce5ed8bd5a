"""Drawings as they are, for models that make them again; see `find`.

D counts drawings seen; one that is seen again is moved anew. What is evaluated on is the same as in
data set `captioned` of the same source: of things that no training drawing shows.
"""

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np

from data import augment, order
from data.sources import drawings, labelled
from data.sources.drawings import Drawings

EVAL_SEED = 19
EVALUATIONS = ("validation", "test", "compositions")
MOST_SIDE = 256
IMAGES = "images:"


@dataclasses.dataclass(frozen=True)
class Config:
    """Which drawings, and how those to train on are altered."""

    source: str  # "emoji", "folder:PATH" or "images:NAME", see `find`
    evaluation: str  # "validation", "test" or "compositions", see data.sources.drawings.sides
    eval_rows: int  # evaluate on at most this many; 0 = all
    unique: int  # train on this many; 0 = all
    side: int  # images are made this many pixels wide and high
    crop: int  # move images by up to this many pixels each way, edges reflected; 0 = not


class DrawingDataset:
    """Images in memory, in [0, 1]; see data.Dataset."""

    unit, units_per_row = "image", 1

    def __init__(self, config: Config, found: Drawings):
        self._crop = config.crop
        train, held_out, self.note = chosen(config, found)
        self._train, self._eval = found.images[train], found.images[held_out]
        self.train_rows, self.eval_rows = len(train), len(held_out)
        self.facts = facts(config)
        digest = hashlib.sha256(f"drawings {order.VERSION} {config.side} {config.crop}".encode())
        for images in (self._train, self._eval):
            digest.update(f"{len(images)}".encode() + images.tobytes())
        self.digest = digest.hexdigest()

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `image` float32 [B / K, side, side, 3], `weight` float32."""
        examples = order.example_indices(seed, step, batch_size, shard, self.train_rows)
        batch = _named(self._train[examples])
        if self._crop:
            rngs = order.rngs(seed, step, order.shard_rows(batch_size, shard))
            moved = [augment.crop(rng, x, self._crop) for rng, x in zip(rngs, batch["image"])]
            batch["image"] = np.stack(moved)
        return batch

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: as `train_batch`, nothing moved."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        return order.pad(_named(self._eval[rows.start : rows.stop]), batch_size)


def open(config: Config) -> DrawingDataset:
    """Opens the drawings (ValueError or OSError, in one line, where they are wrong or absent)."""
    _check(config)
    return DrawingDataset(config, _held(config.source, config.side))


def facts(config: Config) -> dict[str, Any]:
    """See data.facts."""
    _check(config)
    return {"unit": DrawingDataset.unit, "units_per_row": 1, "shape": _shape(config)}


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec."""
    _check(config)
    return _named(np.zeros((1, *_shape(config)), np.uint8))


def find(source: str, side: int) -> Drawings:
    """Reads a source: of data.sources.drawings, or, as "images:NAME", one of data `images` that is
    known by its name, whose captions are the words of the classes. Their size stays as it is; of
    equal ones the first is taken, and none to train on that the published test side has."""
    if not source.startswith(IMAGES):
        return drawings.find(source, side)
    found = labelled.find(source.removeprefix(IMAGES))
    train, test = found.train, found.test or labelled.Side(found.train.images[:0], np.zeros(0, int))
    first = {image.tobytes(): row for row, image in reversed([*enumerate(train.images)])}
    kept = sorted(first[key] for key in first.keys() - {image.tobytes() for image in test.images})
    images = np.concatenate([train.images[kept], test.images])
    kinds = [found.class_names[i] for i in (*train.labels[kept], *test.labels)]
    return Drawings(
        images,
        tuple(map(drawings.words, kinds)),
        tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in images),
        ("",) * len(images),
        tuple(kinds),
        np.arange(len(images)) >= len(kept) if found.test else None,
    )


def chosen(config: Any, found: Drawings) -> tuple[np.ndarray, np.ndarray, str]:
    """Which drawings to train on and to evaluate on, and in words how they came to be.

    A larger cap keeps all that a smaller one does, of the same groups.

    Args:
      config: with the fields of `Config` that choose.
      found: of the source.

    Raises:
      ValueError: too few of them.
    """
    train, held_out = drawings.sides(found, config.evaluation)
    if min(len(train), len(held_out)) < 2:
        given = f"{len(train)} drawings to train on and {len(held_out)} to evaluate on"
        raise ValueError(f"data.source: {config.source}: {given}; allowed: 2 or more of both")
    if config.unique > len(train):
        raise ValueError(f"data.unique: {config.unique}; allowed: 0 (all) to {len(train)}")
    train = train[order.permute(np.arange(config.unique or len(train)), len(train), EVAL_SEED, 1)]
    most = min(config.eval_rows or len(held_out), len(held_out))
    held_out = held_out[order.permute(np.arange(most), len(held_out), EVAL_SEED, 0)]
    note = f"{len(train):,} drawings to train on; {len(held_out):,} of {config.evaluation}"
    published = config.evaluation == "test" and found.test is not None
    rule = "as it was published" if published else "held out by a hash of what they show"
    return train, held_out, f"{config.source}: {note}, {rule}"


def check(config: Any, limits: dict[str, tuple[float, float | None]]) -> None:
    """Checks the fields of `Config`, and others by their limits (ValueError)."""
    _images(config.source)
    if config.evaluation not in EVALUATIONS:
        allowed = ", ".join(EVALUATIONS)
        raise ValueError(f"data.evaluation: {config.evaluation!r}; allowed: {allowed}")
    limits = {"eval_rows": (0, None), "unique": (0, None), "side": (2, MOST_SIDE)} | limits
    for field, (least, most) in limits.items():
        value = getattr(config, field)
        if value < least or (most is not None and value > most):
            allowed = f"at least {least}" if most is None else f"{least} to {most}"
            raise ValueError(f"data.{field}: {value}; allowed: {allowed}")


def _images(source: str) -> labelled.Known | None:
    """What is known of "images:NAME"; None of other sources (ValueError where it is none)."""
    if not source.startswith(IMAGES):
        drawings.check(source)
        return None
    if found := labelled.known(source.removeprefix(IMAGES)):
        return found
    names = ", ".join(labelled.KNOWN)
    raise ValueError(f"data.source: {source!r}; allowed behind {IMAGES} one of {names}")


def _shape(config: Config) -> tuple[int, int, int]:
    known = _images(config.source)
    shape = known.shape if known else (config.side, config.side, 3)
    if shape[:2] != (config.side, config.side):
        size = "x".join(map(str, shape[:2]))
        raise ValueError(f"data.side: {config.side}; the images of {config.source} are {size}")
    return shape


def _check(config: Config) -> None:
    check(config, {"crop": (0, max(config.side - 1, 0))})
    _shape(config)


# Of a plan's runs each may be on another number of drawings: a source is read once a process.
@functools.lru_cache(maxsize=1)
def _held(source: str, side: int) -> Drawings:
    return find(source, side)


def _named(images: np.ndarray) -> dict[str, np.ndarray]:
    return {"image": images / np.float32(255), "weight": np.ones(len(images), np.float32)}
