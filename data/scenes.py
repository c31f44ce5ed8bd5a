"""Images with boxes in them, for detectors: composed without end, or a person's own.

A composed scene is a function of the seed, the step and its row alone (data.sources.composed), so
no scene is seen twice and D counts scenes; those that are evaluated on are fixed, and made of
sprites and of parts of photographs that are never trained on. Of images of a person's own a hash
of the pixels says which are evaluated on, and D counts images seen.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data import order
from data.sources import annotated, composed, files, pictures, split
from data.sources.annotated import Annotated
from data.sources.composed import Scene

EVAL_SEED = 19
TEST_SHARE = 0.2  # of a person's own images
VALIDATION_SHARE = 0.1  # of the others
MEAN, SPREAD = 128.0, 64.0  # of 255: what channels are told in
SIDES = (16, 512)
MOST_OBJECTS = 100
COMPOSED, OWN = "composed:", "coco:"


@dataclasses.dataclass(frozen=True)
class Config:
    """Which images, and what is in them."""

    # "composed:NAME", of the sprites that a source NAME of data `images` has, or "coco:PATH", see
    # data.sources.annotated
    source: str
    evaluation: str  # "validation", or "test"
    eval_rows: int  # evaluate on at most this many images; of composed ones on as many
    side: int  # pixels, both ways
    objects: int  # an image has 0 to this many
    smallest: int  # composed only: pixels of the longer side of the smallest of them
    largest: int  # and of the largest
    flip: bool  # mirror half of the images to train on, left for right


class SceneDataset:
    """Composed scenes; see data.Dataset. Those to evaluate on are in memory."""

    unit, units_per_row, train_rows = "image", 1, None

    def __init__(self, config: Config):
        self._config = config
        made, classes, names = composed.parts(config.source.removeprefix(COMPOSED))
        self._made, held_out = made["train"], made[config.evaluation]
        self._sizes = config.smallest, config.largest
        rngs = order.rngs(EVAL_SEED, 0, range(config.eval_rows))
        self._eval = [self._scene(rng, held_out) for rng in rngs]
        self.eval_rows = config.eval_rows
        self.facts = _facts(config, classes, names)
        decided = f"scenes {order.VERSION} {composed.VERSION} {dataclasses.astuple(config)} "
        decided += f"{self._made.digest} {held_out.digest}"
        self.digest = hashlib.sha256(decided.encode()).hexdigest()
        counts = f"{len(self._made.sprites.images):,} sprites to train on"
        self.note = f"{config.source}: {counts}; {len(held_out.sprites.images):,} others"

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset and `batch`."""
        rngs = order.rngs(seed, step, order.shard_rows(batch_size, shard))
        scenes = [self._scene(rng, self._made) for rng in rngs]
        return batch(_turned(scenes, rngs, self._config.flip), self._config.objects)

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset and `batch`."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        scenes = self._eval[rows.start : rows.stop]
        return order.pad(batch(scenes, self._config.objects), batch_size)

    def _scene(self, rng: np.random.Generator, made: composed.Parts) -> Scene:
        return composed.scene(rng, made, self._config.side, self._config.objects, self._sizes)


class OwnDataset:
    """A person's own images in memory; see data.Dataset."""

    unit, units_per_row = "image", 1

    def __init__(self, config: Config, found: Annotated):
        self._config, self._found = config, found
        self._train, self._eval = _sides(config, found)
        self.train_rows, self.eval_rows = len(self._train), len(self._eval)
        self.facts = _facts(config, len(found.class_names), found.class_names)
        decided = f"own scenes {order.VERSION} {config.side} {config.objects} {config.flip}"
        digest = hashlib.sha256(decided.encode())
        for rows in (self._train, self._eval):
            digest.update(f"{len(rows)}".encode())
            for row in rows:
                for x in (found.images[row], found.boxes[row], found.labels[row]):
                    digest.update(f"{x.shape}".encode() + x.tobytes())
        self.digest = digest.hexdigest()
        self.note = (
            f"{config.source}: {self.train_rows:,} images to train on; {self.eval_rows:,} others"
        )
        self.note += f"; {found.left_out:,} with crowds are left out" if found.left_out else ""

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset and `batch`."""
        chosen = order.example_indices(seed, step, batch_size, shard, self.train_rows)
        rngs = order.rngs(seed, step, order.shard_rows(batch_size, shard))
        scenes = _turned(self._scenes(self._train[chosen]), rngs, self._config.flip)
        return batch(scenes, self._config.objects)

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset and `batch`."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        scenes = self._scenes(self._eval[rows.start : rows.stop])
        return order.pad(batch(scenes, self._config.objects), batch_size)

    def _scenes(self, rows: np.ndarray) -> list[Scene]:
        found = self._found
        return [Scene(found.images[row], found.boxes[row], found.labels[row]) for row in rows]


def batch(scenes: Sequence[Scene], objects: int) -> dict[str, np.ndarray]:
    """Scenes as a batch.

    `image` float32 [B, side, side, 3]; `box` float32 [B, K, 4] (left, top, right, bottom, in
    pixels) and `label` int32 [B, K], of which those with `there` float32 [B, K] 0 are padding;
    `objects` int32 [B], how many there are; `weight` float32 [B].
    """
    B = len(scenes)
    box, label = np.zeros((B, objects, 4), np.float32), np.zeros((B, objects), np.int32)
    counts = np.array([len(scene.labels) for scene in scenes], np.int32)
    for row, scene in enumerate(scenes):
        box[row, : counts[row]], label[row, : counts[row]] = scene.boxes, scene.labels
    image = np.stack([scene.image for scene in scenes]).astype(np.float32)
    return {
        "image": (image - np.float32(MEAN)) / np.float32(SPREAD),
        "box": box,
        "label": label,
        "there": (np.arange(objects) < counts[:, None]).astype(np.float32),
        "objects": counts,
        "weight": np.ones(B, np.float32),
    }


def pixels(image: np.ndarray) -> np.ndarray:
    """An image of a batch as it was, uint8."""
    return pictures.pixels(image, MEAN, SPREAD)


def open(config: Config) -> SceneDataset | OwnDataset:
    """Opens the data (ValueError or OSError, in one line, where they are wrong or not there)."""
    _check(config)
    if config.source.startswith(COMPOSED):
        return SceneDataset(config)
    path = files.user_path(config.source.removeprefix(OWN))
    return OwnDataset(config, annotated.find(path, config.side, config.objects))


def facts(config: Config) -> dict[str, Any]:
    """See data.facts: how many classes a person's own file has is known once it is opened."""
    _check(config)
    name = config.source.removeprefix(COMPOSED)
    known = composed.known(name) if config.source.startswith(COMPOSED) else None
    return _facts(config, len(known.class_names) if known else None, known and known.class_names)


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec."""
    _check(config)
    nothing = np.zeros((0, 4)), np.zeros(0)
    return batch([Scene(np.zeros((config.side, config.side, 3)), *nothing)], config.objects)


def _facts(config: Config, classes: int | None, names: Sequence[str] | None) -> dict[str, Any]:
    found = {
        "unit": "image",
        "units_per_row": 1,
        "shape": (config.side, config.side, 3),
        "classes": classes,
        "pixels": pixels,
    }
    return found | ({"class_names": tuple(names)} if names else {})


def _check(config: Config) -> None:
    if not config.source.startswith((COMPOSED, OWN)) or config.source in (COMPOSED, OWN):
        raise ValueError(f"data.source: {config.source!r}; allowed: composed:NAME, coco:PATH")
    if config.evaluation not in ("validation", "test"):
        given = f"data.evaluation: {config.evaluation!r}"
        raise ValueError(f"{given}; allowed: validation, test")
    if not SIDES[0] <= config.side <= SIDES[1]:
        raise ValueError(f"data.side: {config.side}; allowed: {SIDES[0]} to {SIDES[1]}")
    if not 1 <= config.objects <= MOST_OBJECTS:
        raise ValueError(f"data.objects: {config.objects}; allowed: 1 to {MOST_OBJECTS}")
    if not config.source.startswith(COMPOSED):
        if config.eval_rows < 0:
            raise ValueError(f"data.eval_rows: {config.eval_rows}; allowed: 0 (all) or more")
        return
    composed.known(config.source.removeprefix(COMPOSED))
    if config.eval_rows < 2:
        raise ValueError(f"data.eval_rows: {config.eval_rows}; allowed: at least 2 composed ones")
    for field, (least, most) in {
        "smallest": (4, config.largest),
        "largest": (4, config.side),
    }.items():
        if not least <= (value := getattr(config, field)) <= most:
            raise ValueError(f"data.{field}: {value}; allowed: {least} to {most}")


def _sides(config: Config, found: Annotated) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the images to train on, and of those to evaluate on; equal ones count once."""
    keys = [hashlib.sha256(image.tobytes()).digest() for image in found.images]
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    draws = sorted((split.draw(key) / 2.0**64, row) for key, row in first.items())
    ends = TEST_SHARE, TEST_SHARE + (1 - TEST_SHARE) * VALIDATION_SHARE
    held = {
        "test": [row for draw, row in draws if draw < ends[0]],
        "validation": [row for draw, row in draws if ends[0] <= draw < ends[1]],
    }
    train = [row for draw, row in draws if draw >= ends[1]]
    chosen = held[config.evaluation][: config.eval_rows or None]
    if not train or len(chosen) < 2:
        given = f"data.source: {config.source}: {len(draws)} different images"
        few = f"{len(train)} to train on and {len(chosen)} for {config.evaluation}"
        raise ValueError(f"{given}, of which a hash of the pixels leaves {few}; allowed: 1 and 2")
    return np.array(train), np.array(chosen)


def _turned(
    scenes: Sequence[Scene], rngs: Sequence[np.random.Generator], flip: bool
) -> Sequence[Scene]:
    """With `flip` about half of them, as their generators say, mirrored."""
    if not flip:
        return scenes
    return [_mirrored(scene) if rng.random() < 0.5 else scene for scene, rng in zip(scenes, rngs)]


def _mirrored(scene: Scene) -> Scene:
    left, top, right, bottom = scene.boxes.T
    side = scene.image.shape[1]
    boxes = np.stack([side - right, top, side - left, bottom], axis=1)
    return Scene(scene.image[:, ::-1], boxes, scene.labels)
