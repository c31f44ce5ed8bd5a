"""Identities in sets, each seen twice: for models that say which two images are of the same one.

A row is a trial: a number of different identities and two images of each, so that what each is to
be told apart from is in its own row, whatever the batch and the mesh. D counts pairs seen; one that
is seen again is augmented anew. A hash of the group of an identity (all skin tones and genders of
an emoji are one) draws its side and what a cap keeps: no identity that is evaluated on, and none
that looks nearly like it, is trained on. A larger cap keeps all that a smaller one does.
"""

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np

from data import augment, order
from data.sources import identities, pictures, split
from data.sources.identities import Identities

EVAL_SEED = 17
TEST_SHARE = 0.25
VALIDATION_SHARE = 0.25  # of the others
NOBODY = -1  # the label of an identity that is not trained on
MOST_SIDE = 512
STEPS = ("crop", "tint", "cutout")  # of augmentation, each image by itself, in this order


@dataclasses.dataclass(frozen=True)
class Config:
    """Which identities, and how the images to train on are altered."""

    source: str  # "emoji", "folder:PATH" or "tfds:NAME", see data.sources.identities
    evaluation: str  # "validation", of those that are not for "test", or "test"
    eval_identities: int  # evaluate on at most this many; 0 = all
    unique: int  # train on this many identities; 0 = all
    trial: int  # identities of a row; each has one candidate right and all but one wrong
    side: int  # images are made this many pixels wide and high
    flip: bool  # mirror both images of half of the pairs
    crop: int  # move images by up to this many pixels each way; 0 = not
    cutout: int  # blank a square of this side; 0 = not
    tint: float  # change colours by up to this, see data.augment; 0 = not


class IdentityDataset:
    """Images in memory; see data.Dataset.

    Channels are in standard deviations from their mean over the images that are trained on.
    """

    unit = "pair"

    def __init__(self, config: Config, found: Identities):
        self._found, self._flip = found, config.flip
        steps = [(getattr(augment, name), getattr(config, name)) for name in STEPS]
        self._steps = [step for step in steps if step[1]]
        self._train, held_out, self.note = _chosen(config, found)
        self._trial = self.units_per_row = config.trial
        self.train_rows, self.eval_rows = (len(x) // self._trial for x in (self._train, held_out))
        dealt = order.permute(np.arange(len(held_out)), len(held_out), EVAL_SEED, 0)
        self._eval = held_out[dealt[: self.eval_rows * self._trial]]
        self._mean, self._spread = pictures.statistics(self._images_of(self._train))
        self.facts = facts(config) | {
            "train_identities": len(self._train),
            "pixels": self._pixels,
        }
        decided = f"identities {order.VERSION} {config.trial} {config.flip} "
        decided += " ".join(f"{getattr(config, name)}" for name in STEPS)
        digest = hashlib.sha256(decided.encode())
        for side in (self._train, self._eval):
            images = self._images_of(side)
            digest.update(f"{np.diff(found.first)[side].tolist()} {images.shape}".encode())
            digest.update(images.tobytes())
        self.digest = digest.hexdigest()

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `image` float32 [B / K, trial, 2, side, side, 3], `label` int32
        [B / K, trial], the number of each identity, and `weight` float32.

        A trial holds what follows one another in an epoch's order: no identity twice. What is left
        of an epoch after its last trial is another part in each.
        """
        rows = order.shard_rows(batch_size, shard)
        trials = step * batch_size + np.arange(rows.start, rows.stop, dtype=np.int64)
        epochs, places = np.divmod(trials, self.train_rows)
        numbers = np.stack([self._numbers(seed, *where) for where in zip(epochs, places)])
        rngs = order.rngs(seed, step, rows)
        images = np.stack([self._pairs(rng, self._train[n]) for rng, n in zip(rngs, numbers)])
        return {
            "image": images,
            "label": numbers.astype(np.int32),
            "weight": np.ones(len(rows), np.float32),
        }

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: as `train_batch`, of the first two images of each identity; labels are
        those of nobody."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        chosen = self._eval.reshape(-1, self._trial)[rows.start : rows.stop]
        first = self._found.first[chosen]
        batch = {
            "image": self._standard(np.stack([first, first + 1], axis=-1)),
            "label": np.full(chosen.shape, NOBODY, np.int32),
            "weight": np.ones(len(rows), np.float32),
        }
        return order.pad(batch, batch_size)

    def _numbers(self, seed: int, epoch: int, place: int) -> np.ndarray:
        positions = place * self._trial + np.arange(self._trial)
        return order.permute(positions, len(self._train), seed, int(epoch))

    def _pairs(self, rng: np.random.Generator, chosen: np.ndarray) -> np.ndarray:
        """Two different images of each identity [trial, 2, side, side, 3], augmented."""
        starts, counts = self._found.first[chosen], np.diff(self._found.first)[chosen]
        one = rng.integers(counts)
        other = (one + rng.integers(1, counts)) % counts
        images = self._standard(starts[:, None] + np.stack([one, other], axis=1))
        if self._flip:
            mirrored = rng.random(len(chosen)) < 0.5
            images[mirrored] = images[mirrored][..., ::-1, :]
        whole = images.reshape(-1, *images.shape[2:])
        for place, image in enumerate(whole if self._steps else ()):
            for function, size in self._steps:
                image = function(rng, image, size)
            whole[place] = image
        return images

    def _standard(self, places: np.ndarray) -> np.ndarray:
        return (self._found.images[places] - self._mean) / self._spread

    def _pixels(self, image: np.ndarray) -> np.ndarray:
        """An image of a batch as it was, uint8."""
        return pictures.pixels(image, self._mean, self._spread)

    def _images_of(self, chosen: np.ndarray) -> np.ndarray:
        first = self._found.first
        return self._found.images[np.concatenate([np.r_[first[i] : first[i + 1]] for i in chosen])]


def open(config: Config) -> IdentityDataset:
    """Opens the images (ValueError or OSError, in one line, where they are wrong or not there)."""
    _check(config)
    return IdentityDataset(config, _held(config.source, config.side))


def facts(config: Config) -> dict[str, Any]:
    """See data.facts."""
    _check(config)
    shape = (config.side, config.side, 3)
    return {"unit": IdentityDataset.unit, "units_per_row": config.trial, "shape": shape}


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec."""
    _check(config)
    return {
        "image": np.zeros((1, config.trial, 2, config.side, config.side, 3), np.float32),
        "label": np.zeros((1, config.trial), np.int32),
        "weight": np.ones(1, np.float32),
    }


# Of a plan's runs each may be on another number of identities: a source is read once a process.
@functools.lru_cache(maxsize=1)
def _held(source: str, side: int) -> Identities:
    return identities.find(source, side)


def _check(config: Config) -> None:
    identities.check(config.source)
    if config.evaluation not in ("validation", "test"):
        given = f"data.evaluation: {config.evaluation!r}"
        raise ValueError(f"{given}; allowed: validation, test")
    limits = {
        "eval_identities": (0, None),
        "unique": (0, None),
        "trial": (2, None),
        "side": (2, MOST_SIDE),
        "crop": (0, config.side - 1),
        "cutout": (0, config.side),
        "tint": (0, 4),
    }
    for field, (least, most) in limits.items():
        value = getattr(config, field)
        if value < least or (most is not None and value > most):
            allowed = f"at least {least}" if most is None else f"{least} to {most}"
            raise ValueError(f"data.{field}: {value}; allowed: {allowed}")
    for field in ("eval_identities", "unique"):
        if 0 < getattr(config, field) < config.trial:
            given = f"data.{field}: {getattr(config, field)}"
            raise ValueError(f"{given}; allowed: 0 (all) or at least a trial of {config.trial}")


def _chosen(config: Config, found: Identities) -> tuple[np.ndarray, np.ndarray, str]:
    """Numbers of the identities to train on and to evaluate on, and in words how they came to be.

    In the order of the hashes of their groups, and in a group in that of the source.
    """
    draws = np.array([split.draw(group) for group in found.groups], np.uint64)
    test = draws < np.uint64(TEST_SHARE * 2**64)
    edge = TEST_SHARE + (1 - TEST_SHARE) * VALIDATION_SHARE
    validation = ~test & (draws < np.uint64(edge * 2**64))
    is_test = config.evaluation == "test"
    held_out = np.flatnonzero(test if is_test else validation)
    train = np.flatnonzero(~test if is_test else ~test & ~validation)
    train = train[np.argsort(~draws[train], kind="stable")]
    if min(len(train), len(held_out)) < config.trial:
        given = f"{len(train)} identities to train on and {len(held_out)} to evaluate on"
        wanted = f"a trial of {config.trial} of both, or a smaller data.trial"
        raise ValueError(f"data.source: {config.source}: {given}; allowed: {wanted}")
    if config.unique > len(train):
        raise ValueError(f"data.unique: {config.unique}; allowed: 0 (all) to {len(train)}")
    train = train[: config.unique or None]
    shuffled = order.permute(np.arange(len(held_out)), len(held_out), EVAL_SEED, 1)
    held_out = held_out[np.sort(shuffled[: config.eval_identities or None])]
    note = f"{len(train):,} identities to train on; {len(held_out):,} others, held out by a hash"
    if found.left_out:
        note += f"; {found.left_out} that look like others or have one image are left out"
    return train, held_out, f"{config.source}: {note}"
