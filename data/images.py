"""Images with labels for classifiers, in an order and augmented as functions of seed and step.

D counts images seen; one that is seen again is augmented anew. Equal images count once and are on
one side: of those to train on the first is kept, and none that the published test side has too. A
hash of the pixels draws what is held out for validation and, of the rest, what a cap keeps: a
larger cap keeps all that a smaller one does, whichever side the evaluation is on.

With mixup a row is `share` of its image and the rest of another that is trained on, which its own
generator draws, so that no row depends on its batch; `other_label` is the latter's. D counts the
rows.
"""

import dataclasses
import functools
import hashlib
from typing import Any, NamedTuple

import numpy as np

from data import augment, order
from data.sources import labelled, pictures, split
from data.sources.labelled import Labelled, Side

EVAL_SEED = 13
VALIDATION_SHARE = 0.1
NEWER = {"mixup": 0.0}
MOST_ALPHA = 100.0  # beyond, every share is a half


@dataclasses.dataclass(frozen=True)
class Config:
    """Which images, and how those to train on are altered."""

    # "fashion_mnist", "mnist5k", "digits", "emoji", "folder:PATH", "csv:PATH", "jsonl:PATH" or
    # "tfds:NAME[/CONFIG][:LABEL_KEY]", see data.sources.labelled
    source: str
    evaluation: str  # "validation", a tenth of the training side, or "test", as it was published
    eval_rows: int  # evaluate on at most this many images; 0 = all
    unique: int  # train on this many images; 0 = all
    flip: bool  # mirror half of the images, left for right
    crop: int  # move images by up to this many pixels each way; 0 = not
    cutout: int  # blank a square of this side; 0 = not
    mixup: float  # alpha of the Beta of which shares of two images are drawn; 0 = not mixed


class Content(NamedTuple):
    """A source, read once for all configs of it."""

    found: Labelled
    # Of the training side, those that equal none before them nor a test image, in the order of
    # their draws; the last, from number `kept` on, are for validation.
    rows: np.ndarray
    kept: int


class ImageDataset:
    """Images in memory; see data.Dataset.

    Channels are in standard deviations from their mean over the images that are trained on.
    """

    unit, units_per_row = "image", 1

    def __init__(self, config: Config, content: Content):
        found = content.found
        self._train, held_out, self.note = _chosen(config, content)
        self.train_rows = len(self._train.labels)
        self.eval_rows = min(config.eval_rows or len(held_out.labels), len(held_out.labels))
        places = order.permute(np.arange(self.eval_rows), len(held_out.labels), EVAL_SEED, 0)
        self._eval = _at(held_out, places)
        self._mean, self._spread = pictures.statistics(self._train.images)
        self._steps, self._mixup = _augmentation(config), config.mixup
        shape = self._train.images.shape[1:]
        self.facts = _facts(shape, found.classes, found.class_names) | {"pixels": self._pixels}
        decided = f"images {order.VERSION} {shape} {config.flip} {config.crop} {config.cutout}"
        decided += f" mixup {config.mixup}" if config.mixup else ""
        digest = hashlib.sha256(decided.encode())
        for side in (self._train, self._eval):
            digest.update(f"{len(side.labels)}".encode())
            digest.update(side.images.tobytes() + side.labels.tobytes())
        self.digest = digest.hexdigest()

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `image` float32 [B / K, H, W, C], `label` int32, `weight` float32."""
        examples = order.example_indices(seed, step, batch_size, shard, self.train_rows)
        batch = self._batch(_at(self._train, examples))
        if self._steps or self._mixup:
            rngs = order.rngs(seed, step, order.shard_rows(batch_size, shard))
            batch["image"] = np.stack([self._augmented(*row) for row in zip(rngs, batch["image"])])
        return self._mixed(rngs, batch) if self._mixup else batch

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: `image` float32 [B, H, W, C], `label` int32 [B], `weight` float32."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        side = _at(self._eval, slice(rows.start, rows.stop))
        return order.pad(self._batch(side), batch_size)

    def standardised(self, images: np.ndarray) -> np.ndarray:
        """uint8 [n, H, W, C] as batches have them, float32."""
        return (images - self._mean) / self._spread

    def _batch(self, side: Side) -> dict[str, np.ndarray]:
        return _named(self.standardised(side.images), side.labels, bool(self._mixup))

    def _pixels(self, image: np.ndarray) -> np.ndarray:
        """An image of a batch as it was, uint8."""
        return pictures.pixels(image, self._mean, self._spread)

    def _mixed(
        self, rngs: list[np.random.Generator], batch: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        others = self._batch(
            _at(self._train, np.array([r.integers(self.train_rows) for r in rngs]))
        )
        images = np.stack([self._augmented(*row) for row in zip(rngs, others["image"])])
        share = np.array([augment.share(rng, self._mixup) for rng in rngs])
        part = share[:, None, None, None]
        image = part * batch["image"] + (1 - part) * images
        return batch | {"image": image, "other_label": others["label"], "share": share}

    def _augmented(self, rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
        for function, *size in self._steps:
            image = function(rng, image, *size)
        return image


def open(config: Config) -> ImageDataset:
    """Opens the images (ValueError or OSError, in one line, where they are wrong or not there)."""
    _check(config)
    # Of a plan's runs each may be on another number of images: they are read once.
    state = labelled.state(config.source)
    content = _content(config.source) if state is None else _held(config.source, state)
    _fit(config, content.found.train.images.shape[1:])
    return ImageDataset(config, content)


def facts(config: Config) -> dict[str, Any]:
    """See data.facts: of a source that others put together the classes are known once opened."""
    if known := _check(config):
        return _facts(known.shape, len(known.class_names), known.class_names)
    unit, units_per_row = ImageDataset.unit, ImageDataset.units_per_row
    return {"unit": unit, "units_per_row": units_per_row, "classes": None}


def spec(config: Config) -> dict[str, np.ndarray] | None:
    """See data.spec."""
    known = _check(config)
    image, mixed = np.zeros((1, *known.shape), np.float32) if known else None, bool(config.mixup)
    return _named(image, np.zeros(1), mixed) if known else None


def _facts(shape: tuple[int, ...], classes: int, names: tuple[str, ...]) -> dict[str, Any]:
    found = {
        "unit": ImageDataset.unit,
        "units_per_row": ImageDataset.units_per_row,
        "shape": shape,
        "classes": classes,
    }
    return found | ({"class_names": names} if names else {})


def _named(images: np.ndarray, labels: np.ndarray, mixed: bool) -> dict[str, np.ndarray]:
    """A batch; where some are mixed, of images that are not: each is all of itself."""
    labels, whole = labels.astype(np.int32), np.ones(len(labels), np.float32)
    batch = {"image": images, "label": labels, "weight": whole}
    return batch | ({"other_label": labels, "share": whole} if mixed else {})


def _check(config: Config) -> labelled.Known | None:
    """What is known of the source of a config, whose fields are checked."""
    known = labelled.known(config.source)
    if config.evaluation not in ("validation", "test"):
        given = f"data.evaluation: {config.evaluation!r}"
        raise ValueError(f"{given}; allowed: validation, test")
    for field in ("eval_rows", "unique", "crop", "cutout"):
        if getattr(config, field) < 0:
            raise ValueError(f"data.{field}: {getattr(config, field)}; allowed: at least 0")
    if not 0 <= config.mixup <= MOST_ALPHA:
        raise ValueError(f"data.mixup: {config.mixup}; allowed: 0 (not mixed) to {MOST_ALPHA:g}")
    if known:
        _fit(config, known.shape)
    return known


def _fit(config: Config, shape: tuple[int, ...]) -> None:
    for field, most in (("crop", min(shape[:2]) - 1), ("cutout", min(shape[:2]))):
        if getattr(config, field) > most:
            size = f"images of {shape[0]}x{shape[1]}"
            given = f"data.{field}: {getattr(config, field)}"
            raise ValueError(f"{given}; allowed: 0 to {most} for {size}")


def _augmentation(config: Config) -> list[tuple]:
    """Functions of data.augment and their sizes, in the order in which they are done."""
    steps = [(augment.crop, config.crop), (augment.cutout, config.cutout)]
    return [(augment.flip,)] * config.flip + [step for step in steps if step[1]]


def _content(source: str) -> Content:
    """Reads a source, and draws a number for each of its images."""
    found = labelled.find(source)
    keys = _keys(found.train.images)
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    for key in _keys(found.test.images) if found.test else ():
        first.pop(key, None)
    draws = sorted(((split.draw(key), row) for key, row in first.items()), reverse=True)
    kept = sum(draw >= VALIDATION_SHARE * 2**64 for draw, _ in draws)
    return Content(found, np.array([row for _, row in draws], np.int64), kept)


@functools.lru_cache(maxsize=1)
def _held(source: str, state: tuple) -> Content:
    """The same, of a source that has not changed since."""
    return _content(source)


def _chosen(config: Config, content: Content) -> tuple[Side, Side, str]:
    """The images to train on, those to evaluate on, and in words how they came to be."""
    found, rows, kept = content
    if config.evaluation == "test" and found.test is None:
        given = f"data.evaluation: test, but {config.source} has no published test side"
        raise ValueError(f"{given}; allowed: validation")
    if config.evaluation == "test":
        train, held_out, rule = rows, found.test, "the test side as it was published"
    else:
        train, held_out = rows[:kept], _at(found.train, rows[kept:])
        rule = "held out by a hash of the pixels"
    if not len(train) or not len(held_out.labels):
        given = f"data.source: {config.source}: {len(rows)} different images to train on"
        raise ValueError(f"{given}; allowed: enough to hold out a tenth")
    if config.unique > len(train):
        raise ValueError(f"data.unique: {config.unique}; allowed: 0 (all) to {len(train)}")
    train = _at(found.train, train[: config.unique or None])
    note = f"{len(train.labels):,} images to train on; {len(held_out.labels):,}, {rule}"
    if equal := len(found.train.labels) - len(rows):
        note += f"; {equal:,} that equal others are left out"
    if absent := found.classes - len(np.unique(train.labels)):
        note += f"; {absent} of {found.classes} classes have no image to train on"
    return train, held_out, f"{config.source}: {note}"


def _keys(images: np.ndarray) -> list[bytes]:
    return [hashlib.sha256(image.tobytes()).digest() for image in images]


def _at(side: Side, rows: np.ndarray | slice) -> Side:
    return Side(side.images[rows], side.labels[rows])
