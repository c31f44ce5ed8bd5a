"""Ratings of items by users, in an order that is a function of seed and step.

A row is one rating, `y`, told from the mean of those that are trained on (fact `mean`), with the
numbers of its `user` and its `item` and, of columns that are chosen as its contexts, `context`. A
pair counts once; of ratings that say when, the latest are
held out, else those that a hash of the pair draws: a tenth for the test side and, to tune on,
another tenth. The hash draws what a cap keeps too: a larger cap keeps all that a smaller one does.

Numbers run through all users and items of the source, whatever the side. One that no rating to
train on is of is cold: it has the number just after them, which no table of a model has a row for.
Cold rows are evaluated like any other. Values of contexts are numbered in the same way, those of a
column after those of the one before. D counts ratings seen.
"""

import dataclasses
import functools
import hashlib
from typing import Any, NamedTuple

import numpy as np

from data import order
from data.sources import ratings
from data.sources.ratings import Ratings

SHARE = 0.1  # of ratings, for each held-out side
SIDES = ("validation", "test")
NEWER = {"contexts": []}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which ratings."""

    source: str  # "msq", "insteval" or "csv:PATH" (user, item, rating and perhaps time)
    evaluation: str  # "test", or "validation", to tune on: then neither is trained on
    eval_rows: int  # evaluate on at most this many ratings; 0 = all
    unique: int  # train on this many ratings; 0 = all
    contexts: tuple[str, ...]  # columns of names to read beside; numbers are names too


class Content(NamedTuple):
    """A source, read once for all configs of it."""

    found: Ratings
    test: np.ndarray  # rows in the order of their draws
    # The others in that order, but for the last, from number `kept` on, which are for validation.
    rows: np.ndarray
    kept: int


class RatingsDataset:
    """Ratings in memory; see data.Dataset."""

    unit, units_per_row = "rating", 1

    def __init__(self, config: Config, content: Content):
        found = content.found
        train, held_out = _chosen(config, content)
        self.train_rows, self.eval_rows = len(train), len(held_out)
        places = np.concatenate([train, held_out])
        numbers, cold = zip(
            *(
                _numbered(of, names, self.train_rows)
                for of, names in (
                    (found.users[places], found.user_names),
                    (found.items[places], found.item_names),
                    (found.contexts[places], found.context_names),
                )
            )
        )
        self._users, self._items, self._contexts = numbers
        mean = float(found.ratings[train].mean())
        self._y = (found.ratings[places] - mean).astype(np.float32)
        self.facts = facts(config) | {"mean": mean}
        for of in ("user", "item", "context"):
            names = getattr(found, f"{of}_names")
            self.facts |= {f"{of}_rows": len(names), f"{of}_names": names}
        rule = "by a hash of user and item" if found.times is None else "the latest"
        said = [
            f"{config.source}: {len(found.user_names):,} users, {len(found.item_names):,} items",
            f"{self.train_rows:,} ratings to train on, of mean {mean:.4g}",
            f"{self.eval_rows:,} held out, {rule}",
            f"{found.repeated:,} that were given anew left out" if found.repeated else "",
            f"{sum(cold[:2]):,} users and items are cold" if sum(cold[:2]) else "",
            f"{len(found.context_names):,} values of contexts" if config.contexts else "",
            f"{cold[2]:,} of them are cold" if cold[2] else "",
        ]
        self.note = "; ".join(filter(None, said))
        decided = f"ratings {order.VERSION} {self.train_rows} {mean!r} {self.facts['user_rows']}"
        digest = hashlib.sha256(f"{decided} {self.facts['item_rows']}".encode())
        for array in (self._users, self._items, self._y, self._contexts):
            digest.update(array.tobytes())
        self.digest = digest.hexdigest()

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `user`, `item` int32 [B / K], `y`, `weight` float32 [B / K], and where
        F is not 0 `context` int32 [B / K, F]."""
        return self._batch(order.example_indices(seed, step, batch_size, shard, self.train_rows))

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: `user`, `item` int32 [B], `y`, `weight` float32 [B], and where F is not
        0 `context` int32 [B, F]."""
        places = order.eval_rows(index, batch_size, self.eval_rows)
        return order.pad(self._batch(self.train_rows + np.array(places)), batch_size)

    def _batch(self, places: np.ndarray) -> dict[str, np.ndarray]:
        columns = self._users, self._items, self._contexts, self._y
        return _named(*(column[places] for column in columns))


def open(config: Config) -> RatingsDataset:
    """Opens the ratings (ValueError or OSError, in one line, where they are wrong or not there)."""
    facts(config)
    # Of a plan's runs each may be on another number of ratings: they are read once.
    state = ratings.state(config.source)
    return RatingsDataset(config, _content(config.source, tuple(config.contexts), state))


def facts(config: Config) -> dict[str, Any]:
    """See data.facts: of a person's own ratings users and items are known once they are read."""
    if config.evaluation not in SIDES:
        raise ValueError(f"data.evaluation: {config.evaluation!r}; allowed: {', '.join(SIDES)}")
    for field in ("eval_rows", "unique"):
        if getattr(config, field) < 0:
            raise ValueError(f"data.{field}: {getattr(config, field)}; allowed: 0 (all), or more")
    users, items = ratings.known(config.source) or (None, None)
    return {
        "unit": RatingsDataset.unit,
        "units_per_row": RatingsDataset.units_per_row,
        "user_rows": users,
        "item_rows": items,
        "context_rows": ratings.known_contexts(config.source, config.contexts),
        "contexts": len(config.contexts),
    }


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec: a row has this form whatever the ratings."""
    facts(config)
    one, several = np.zeros(1, np.int32), np.zeros((1, len(config.contexts)), np.int32)
    return _named(one, one, several, np.zeros(1, np.float32))


def _named(
    users: np.ndarray, items: np.ndarray, contexts: np.ndarray, y: np.ndarray
) -> dict[str, np.ndarray]:
    beside = {"context": contexts} if contexts.shape[1] else {}
    whole = np.ones(len(y), np.float32)
    return {"user": users, "item": items, **beside, "y": y, "weight": whole}


@functools.lru_cache(maxsize=1)
def _content(source: str, contexts: tuple[str, ...], state: tuple) -> Content:
    """Reads a source, which is another one where its `state` is, and decides on its sides."""
    found = ratings.find(source, contexts=contexts)
    draws = ratings.draws(found)
    rows = np.argsort(draws, kind="stable")[::-1]
    if found.times is None:
        late = 1 - draws[rows] / 2.0**64
    else:  # ranks, ties in the order of the draws
        late = np.empty(len(rows))
        late[np.argsort(found.times[rows], kind="stable")] = (np.arange(len(rows)) + 1) / len(rows)
    sides = np.digitize(late, [1 - 2 * SHARE, 1 - SHARE], right=True)
    train, validation, test = (rows[sides == side] for side in range(3))
    return Content(found, test, np.concatenate([train, validation]), len(train))


def _chosen(config: Config, content: Content) -> tuple[np.ndarray, np.ndarray]:
    """The rows to train on, and those to evaluate on."""
    train, held_out = content.rows, content.test
    if config.evaluation == "validation":
        train, held_out = np.split(content.rows, [content.kept])
    if not len(train) or not len(held_out):
        n = len(content.found.ratings)
        given = f"data.source: {config.source}: {n} ratings, too few for every side"
        raise ValueError(f"{given}; allowed: enough to hold out a tenth")
    if config.unique > len(train):
        raise ValueError(f"data.unique: {config.unique}; allowed: 0 (all) to {len(train)}")
    return train[: config.unique or None], held_out[: config.eval_rows or None]


def _numbered(
    numbers: np.ndarray, names: tuple[str, ...], train_rows: int
) -> tuple[np.ndarray, int]:
    """The numbers of users, items or values, those of cold ones changed, and how many are cold."""
    warm = np.zeros(len(names), bool)
    warm[numbers[:train_rows]] = True
    return np.where(warm[numbers], numbers, np.int32(len(names))), int((~warm).sum())
