"""Traffic on the simulated road from above, with boxes, for detectors: what a driver is told by
data `driving` is here to be seen.

A row is a decision of an expert (data.sources.road), as a picture (data.sources.road_view) of the
road 30 m behind its car to 50 m ahead, with noise in every pixel. The boxes are of the other cars
whose middle is in the picture, the eight nearest at most. Sides are streams of episodes of their
own. Pictures of an episode are alike; those to evaluate on lie as far apart as they can.
"""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from data import driving, order, scenes
from data.sources import road, road_view
from data.sources.composed import Scene

EVALUATED_ON = {"validation": driving.TUNE, "test": driving.EVAL}
EVAL_SEED = 29
BEHIND, AHEAD = 30.0, 50.0  # m
NOISE = 128.0  # most of what a person may ask for, of 255


@dataclasses.dataclass(frozen=True)
class Config:
    """How many episodes, and how they are seen."""

    seed: int  # of all episodes
    episodes: int  # to train on, and as many to evaluate on
    evaluation: str  # "validation", or "test"
    eval_rows: int  # evaluate on at most this many pictures
    side: int  # pixels, both ways
    noise: float  # standard deviation of a pixel's, of 255


class TrafficDataset:
    """Pictures of decisions in memory; see data.Dataset."""

    unit, units_per_row = "image", 1

    def __init__(self, config: Config):
        self._config = config
        self._train, self._eval = (
            driving.decisions(config.seed, stream, config.episodes)["cars"]
            for stream in (driving.TRAIN, EVALUATED_ON[config.evaluation])
        )
        count = min(config.eval_rows, len(self._eval))
        self._eval = self._eval[np.linspace(0, len(self._eval) - 1, count).astype(int)]
        self.train_rows, self.eval_rows = len(self._train), count
        self.facts = facts(config)
        decided = f"traffic {order.VERSION} {road.VERSION} {dataclasses.astuple(config)}"
        digest = hashlib.sha256(decided.encode() + self._train.tobytes() + self._eval.tobytes())
        self.digest = digest.hexdigest()
        self.note = f"{self.train_rows:,} pictures of traffic to train on; {count:,} others"

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset and data.scenes.batch."""
        chosen = order.example_indices(seed, step, batch_size, shard, self.train_rows)
        rngs = order.rngs(seed, step, order.shard_rows(batch_size, shard))
        return self._batch(self._train[chosen], rngs)

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset and data.scenes.batch."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        rngs = order.rngs(EVAL_SEED, 0, rows)
        return order.pad(self._batch(self._eval[rows.start : rows.stop], rngs), batch_size)

    def _batch(self, cars: np.ndarray, rngs: list[np.random.Generator]) -> dict[str, np.ndarray]:
        found = [scene(self._config, seen, rng) for seen, rng in zip(cars, rngs)]
        return scenes.batch(found, road.SEEN)


def scene(config: Config, cars: np.ndarray, rng: np.random.Generator) -> Scene:
    """What is seen of cars [1 + K, F] (road.observe), and the boxes of others than the own one."""
    view = road_view.View(config.side, config.side, BEHIND, AHEAD)
    metres, lanes = cars[:, 1] * 50, cars[:, 2] + (road.LANES - 1) / 2
    boxes = road_view.boxes(view, metres, lanes)
    image = road_view.picture(view, boxes)
    image = image + config.noise * rng.standard_normal(image.shape, np.float32)
    there = (metres > -BEHIND) & (metres < AHEAD) & (cars[:, 0] == 0)
    image = image.clip(0, 255).round().astype(np.uint8)
    return Scene(image, boxes[there], np.zeros(there.sum(), np.int32))


def open(config: Config) -> TrafficDataset:
    """Opens the episodes, simulating those that no cache has (ValueError for a wrong config)."""
    _check(config)
    return TrafficDataset(config)


def facts(config: Config) -> dict[str, Any]:
    """See data.facts."""
    _check(config)
    return {
        "unit": TrafficDataset.unit,
        "units_per_row": TrafficDataset.units_per_row,
        "shape": (config.side, config.side, 3),
        "classes": 1,
        "class_names": ("car",),
        "pixels": scenes.pixels,
    }


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec."""
    _check(config)
    nothing = np.zeros((0, 4)), np.zeros(0)
    return scenes.batch([Scene(np.zeros((config.side, config.side, 3)), *nothing)], road.SEEN)


def _check(config: Config) -> None:
    driving.check(config.seed, episodes=config.episodes)
    if config.evaluation not in EVALUATED_ON:
        allowed = ", ".join(EVALUATED_ON)
        raise ValueError(f"data.evaluation: {config.evaluation!r}; allowed: {allowed}")
    if config.eval_rows < 2:
        raise ValueError(f"data.eval_rows: {config.eval_rows}; allowed: at least 2")
    least, most = scenes.SIDES
    if not least <= config.side <= most:
        raise ValueError(f"data.side: {config.side}; allowed: {least} to {most}")
    if not 0 <= config.noise <= NOISE:
        raise ValueError(f"data.noise: {config.noise}; allowed: 0 to {NOISE}")
