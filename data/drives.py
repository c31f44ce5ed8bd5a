"""Where drives begin on the simulated road (data.sources.road), for those who learn by driving.

A row is a start, which is a function of the seed and its number alone; to practise, several rows in
a row have the same one. What comes of it is whoever drives' doing, so that no row says what is
right: the task has the world (train.tasks.control). Starts to practise from, to tune on and to test
on are of streams of their own, in which no expert of data `driving` drives; fewer of them are the
first of more.
"""

import dataclasses
import hashlib
from typing import Any

import jax
import numpy as np

from data import driving, order
from data.sources import road

EVALUATED_ON = {"validation": driving.TUNE, "test": driving.DRIVE}
MOST_DRIVES = 1 << 10  # from a start


@dataclasses.dataclass(frozen=True)
class Config:
    """How many starts."""

    seed: int  # of all starts
    starts: int  # to practise from
    drives: int  # from each of them, one after the other
    evaluation: str  # "validation", or "test"
    eval_starts: int


class DrivesDataset:
    """Starts in memory; see data.Dataset."""

    unit, units_per_row = "drive", 1

    def __init__(self, config: Config):
        self._drives = config.drives
        self._train = _starts(config.seed, driving.PRACTISE, config.starts)
        self._eval = _starts(config.seed, EVALUATED_ON[config.evaluation], config.eval_starts)
        self.train_rows = config.starts * config.drives
        self.eval_rows = config.eval_starts
        self.facts = facts(config)
        decided = f"drives {order.VERSION} {road.VERSION} {dataclasses.astuple(config)}"
        self.digest = hashlib.sha256(decided.encode()).hexdigest()
        self.note = (
            f"{config.starts:,} starts to practise from; {self.eval_rows:,} others; a drive is of "
            f"{road.DECISIONS} decisions"
        )

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `start` uint32 [B / K, 2], the key of a world (road.start), `cars`
        float32 [B / K, V, F], what is seen there, `weight` float32."""
        starts, rest = divmod(batch_size, self._drives)
        if rest:
            raise ValueError(
                f"batch_size: {batch_size}; must be a multiple of {self._drives} drives"
            )
        chosen = order.example_indices(seed, step, starts, shard, len(self._train["start"]))
        return _batch(self._train, chosen.repeat(self._drives))

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset, and `train_batch`."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        return order.pad(_batch(self._eval, np.arange(rows.start, rows.stop)), batch_size)


def open(config: Config) -> DrivesDataset:
    """Makes the starts (ValueError for a wrong config)."""
    _check(config)
    return DrivesDataset(config)


def facts(config: Config) -> dict[str, Any]:
    """See data.facts."""
    _check(config)
    told = {"unit": DrivesDataset.unit, "units_per_row": DrivesDataset.units_per_row}
    return told | road.FACTS


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec."""
    _check(config)
    cars = np.zeros((1, 1 + road.SEEN, road.FEATURES), np.float32)
    return _batch({"start": np.zeros((1, 2), np.uint32), "cars": cars}, np.arange(1))


def _starts(seed: int, stream: int, count: int) -> dict[str, np.ndarray]:
    """The first starts of a stream, those of its episodes."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        keys_E = driving.keys(seed, stream, np.arange(count))
        first_E, cars = jax.jit(jax.vmap(_start))(keys_E)
        return {"start": np.asarray(jax.random.key_data(first_E)), "cars": np.asarray(cars)}


def _start(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    first, _ = jax.random.split(key)  # as road.episode does
    return first, road.observe(road.start(first))


def _batch(side: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    batch = {name: x[rows] for name, x in side.items()}
    return batch | {"weight": np.ones(len(rows), np.float32)}


def _check(config: Config) -> None:
    driving.check(config.seed, starts=config.starts, eval_starts=config.eval_starts)
    if config.evaluation not in EVALUATED_ON:
        allowed = ", ".join(EVALUATED_ON)
        raise ValueError(f"data.evaluation: {config.evaluation!r}; allowed: {allowed}")
    if not 0 < config.drives <= MOST_DRIVES:
        raise ValueError(f"data.drives: {config.drives}; allowed: 1 to {MOST_DRIVES}")
