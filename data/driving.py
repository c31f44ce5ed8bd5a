"""What an expert does on a simulated road (data.sources.road), decision by decision.

Episode i of a seed is a function of (seed, i) alone, and those for evaluation are of another stream
than those to train on. They are simulated on a CPU in blocks, which the cache keeps. A row is a
decision: the cars that are seen and the action of the expert, which knows more. A capped data set
has the first episodes of a larger one. Rows of an episode are alike: errors that take them as
independent are too small.
"""

import dataclasses
import functools
import hashlib
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import order
from data.sources import cache, road

BLOCK = 128  # episodes
MOST = 1 << 16  # episodes
TRAIN, EVAL, DRIVE, PRACTISE, TUNE = range(5)  # streams of a seed's episodes, see data.drives


@dataclasses.dataclass(frozen=True)
class Config:
    """How many episodes of which world."""

    seed: int  # of all episodes
    episodes: int  # to train on
    eval_episodes: int


class DrivingDataset:
    """Decisions in memory; see data.Dataset."""

    unit, units_per_row = "decision", 1

    def __init__(self, config: Config):
        self._train = decisions(config.seed, TRAIN, config.episodes)
        self._eval = decisions(config.seed, EVAL, config.eval_episodes)
        self.train_rows, self.eval_rows = len(self._train["label"]), len(self._eval["label"])
        self.facts = facts(config)
        digest = hashlib.sha256(f"driving {order.VERSION} {road.VERSION}".encode())
        for side in (self._train, self._eval):
            digest.update(f"{len(side['label'])}".encode())
            digest.update(side["cars"].tobytes() + side["label"].tobytes())
        self.digest = digest.hexdigest()
        self.note = (
            f"{self.train_rows:,} decisions of {config.episodes:,} simulated episodes to train on; "
            f"{self.eval_rows:,} of {config.eval_episodes:,} others"
        )

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `cars` float32 [B / K, V, F], `label` int32, `weight` float32."""
        rows = order.example_indices(seed, step, batch_size, shard, self.train_rows)
        return _batch(self._train, rows)

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: `cars` float32 [B, V, F], `label` int32, `weight` float32."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        return order.pad(_batch(self._eval, np.arange(rows.start, rows.stop)), batch_size)


def open(config: Config) -> DrivingDataset:
    """Opens the episodes, simulating those that no cache has (ValueError for a wrong config)."""
    _check(config)
    return DrivingDataset(config)


def facts(config: Config) -> dict[str, Any]:
    """See data.facts."""
    _check(config)
    told = {"unit": DrivingDataset.unit, "units_per_row": DrivingDataset.units_per_row}
    return told | road.FACTS


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec."""
    _check(config)
    cars = np.zeros((1, 1 + road.SEEN, road.FEATURES), np.float32)
    return _batch({"cars": cars, "label": np.zeros(1, np.int32)}, np.arange(1))


def keys(seed: int, stream: int, episodes: np.ndarray) -> jax.Array:
    """A key for each of the episodes [E] of a stream of a seed."""
    stream_key = jax.random.fold_in(jax.random.key(seed), stream)
    return jax.vmap(lambda i: jax.random.fold_in(stream_key, i))(jnp.asarray(episodes, jnp.uint32))


def decisions(seed: int, stream: int, episodes: int) -> dict[str, np.ndarray]:
    """The expert's decisions [n] in the first episodes of a stream.

    Returns:
      `cars` float32 [n, 1 + K, F], `label` int32 [n], `episode` int32 [n].
    """
    blocks = [_block(seed, stream, block) for block in range(-(-episodes // BLOCK))]
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return {name: x[joined["episode"] < episodes] for name, x in joined.items()}


@functools.lru_cache(maxsize=1 << 8)
def _block(seed: int, stream: int, block: int) -> dict[str, np.ndarray]:
    name = f"driving-{road.VERSION}-{seed}-{stream}-{BLOCK}-{block}"
    return cache.entry(name, _read, lambda folder: _simulate(folder, seed, stream, block))


def _read(folder: Path) -> dict[str, np.ndarray] | None:
    """What `_simulate` wrote; None where it is absent or damaged: a zip has a sum of each part."""
    try:
        with np.load(folder / "block.npz", allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _simulate(folder: Path, seed: int, stream: int, block: int) -> None:
    episodes = np.arange(block * BLOCK, (block + 1) * BLOCK)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        driven = jax.device_get(_drive(keys(seed, stream, episodes)))
    alive = driven.world.alive
    numbers = np.broadcast_to(episodes[:, None], alive.shape)
    columns = {"cars": driven.seen, "label": driven.action, "episode": numbers.astype(np.int32)}
    np.savez(folder / "block.npz", **{name: x[alive] for name, x in columns.items()})


@jax.jit
def _drive(keys_E: jax.Array) -> road.Episode:
    return jax.vmap(lambda key: road.episode(lambda world, *_: road.expert(world), key))(keys_E)


def _batch(side: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    batch = {name: side[name][rows] for name in ("cars", "label")}
    return batch | {"weight": np.ones(len(rows), np.float32)}


def check(seed: int, **episodes: int) -> None:
    """Raises ValueError, by the name of the field, for a seed or numbers of episodes (or of their
    starts) that are not to be had."""
    if not 0 <= seed < 1 << 31:
        raise ValueError(f"data.seed: {seed}; allowed: 0 to {(1 << 31) - 1}")
    for field, count in episodes.items():
        if not 0 < count <= MOST:
            raise ValueError(f"data.{field}: {count}; allowed: 1 to {MOST}")


def _check(config: Config) -> None:
    check(config.seed, episodes=config.episodes, eval_episodes=config.eval_episodes)
