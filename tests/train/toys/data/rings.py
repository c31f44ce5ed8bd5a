"""rings: points about four corners, without end."""

import dataclasses

import numpy as np

from data import order


@dataclasses.dataclass(frozen=True)
class Config:
    eval_rows: int


class Rings:
    unit = "copy"
    units_per_row = 2.0
    train_rows = None
    digest = "0" * 64
    note = ""

    def __init__(self, config):
        self.eval_rows = config.eval_rows
        self.facts = {"dimensions": 2}

    def train_batch(self, seed, step, batch_size, shard=(0, 1)):
        rows = order.shard_rows(batch_size, shard)
        return draw([[seed, step, row] for row in rows])

    def eval_batch(self, index, batch_size):
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        return order.pad(draw([[99, row] for row in rows]), batch_size)


def draw(seeds):
    rngs = [np.random.default_rng(seed) for seed in seeds]
    turns = np.array([rng.integers(4) for rng in rngs]) * np.pi / 2
    point = 2 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    point += 0.1 * np.stack([rng.normal(size=2) for rng in rngs])
    return {
        "point": point.astype(np.float32),
        "copies": np.array([rng.integers(1, 4) for rng in rngs], np.float32),
        "weight": np.ones(len(rngs), np.float32),
    }


def open(config):
    return Rings(config)
