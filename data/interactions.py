"""Who met what: of each user one item to be found, by the others, in an order of seed and step.

A row is an `item` and, as its `history`, the other items that its user is known to have met, filled
up with the number just after the last item; of a longer one as many as a hash draws. What is not
offered, `met`, is the history or, of a row to evaluate on, all that the user has met on whichever
side, so that nothing else that he has met competes with what is to be found, however few are
trained on. A pair counts once, and what was thought of it does not.

Of each user of three items or more one is for the test side and, to tune on, another one: the
latest, where rows say when, else those that the hash draws. So what is to be ranked is whole (all
items that were not met) and each user counts once. The hash draws what a cap keeps too: a larger
cap keeps all that a smaller one does. Of a large catalogue as many items may be kept as most users
have met: the others are left out before all else, of no side. D counts interactions seen.
"""

import dataclasses
import functools
import hashlib
from typing import Any, NamedTuple

import numpy as np

from data import order
from data.sources import ratings
from data.sources.ratings import Ratings

LEAST = 3  # items of a user of whom one is held out
SIDES = ("validation", "test")
MAX_LENGTH = 1 << 16
NEWER = {"items": 0}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which interactions."""

    # "insteval", "msq", "debian" or "debian:PATH" (see data.sources.packages), or "csv:PATH" (user,
    # item and perhaps time)
    source: str
    length: int  # H, items of a history
    evaluation: str  # "test", or "validation", to tune on: then neither is trained on
    eval_rows: int  # evaluate on at most this many users; 0 = all
    unique: int  # train on this many interactions; 0 = all
    items: int  # keep this many items, those that most users have met; 0 = all


class Content(NamedTuple):
    """A source, read once for all configs of it."""

    found: Ratings
    # Rows in the order of their draws: to train on, for validation, for the test side.
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class InteractionsDataset:
    """Interactions in memory; see data.Dataset."""

    unit, units_per_row = "interaction", 1

    def __init__(self, config: Config, content: Content):
        found = content.found
        train, held_out = _chosen(config, content)
        users, items = len(found.user_names), len(found.item_names)
        self.train_rows, self.eval_rows = len(train), len(held_out)
        places = np.concatenate([train, held_out])
        self._users, self._items = found.users[places], found.items[places]
        self._nothing = np.int32(items)
        self.facts = facts(config) | {"user_rows": users, "item_rows": items}
        trained = self._users[: self.train_rows], self._items[: self.train_rows]
        self._known, cut = self._histories(*trained, config.length)
        every = np.concatenate([content.train, content.validation, content.test])
        self._met, _ = self._histories(found.users[every], found.items[every], config.length)
        self.facts |= {"user_names": found.user_names, "item_names": found.item_names}
        rule = "drawn by a hash" if found.times is None else "the latest"
        cold = items - len(np.unique(self._items[: self.train_rows]))
        said = [
            f"{config.source}: {len(np.unique(self._users)):,} users, {items:,} items",
            f"{self.train_rows:,} interactions to train on",
            f"of {self.eval_rows:,} users one is held out, {rule}",
            f"{found.repeated:,} that came again are left out" if found.repeated else "",
            f"{cut:,} histories are cut at {config.length}" if cut else "",
            f"{cold:,} items are met by nobody to train on" if cold else "",
            f"the index has sha256 {found.digest}" if found.digest else "",
        ]
        self.note = "; ".join(filter(None, said))
        decided = f"interactions {order.VERSION} {self.train_rows} {config.length} {users} {items}"
        digest = hashlib.sha256(f"{decided}{found.digest}".encode())
        for array in (self._users, self._items, self._met):
            digest.update(array.tobytes())
        self.digest = digest.hexdigest()

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `history`, `met` int32 [B / K, H], `item`, `user` int32, `weight`."""
        places = order.example_indices(seed, step, batch_size, shard, self.train_rows)
        return self._batch(places, self._known)

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: `history`, `met` int32 [B, H], `item`, `user` int32, `weight` [B]."""
        places = order.eval_rows(index, batch_size, self.eval_rows)
        batch = self._batch(self.train_rows + np.array(places), self._met)
        return order.pad(batch, batch_size)

    def _batch(self, places: np.ndarray, met: np.ndarray) -> dict[str, np.ndarray]:
        user, item = self._users[places], self._items[places]
        # What is to be found is in neither.
        history, met = (
            np.where(of[user] == item[:, None], self._nothing, of[user])
            for of in (self._known, met)
        )
        return _named(history, met, item, user)

    def _histories(self, user: np.ndarray, item: np.ndarray, length: int) -> tuple[np.ndarray, int]:
        """The items of each user among some pairs, int32 [U, H]; and how many had more."""
        users = self.facts["user_rows"]
        by_user = np.argsort(user, kind="stable")
        count = np.bincount(user, minlength=users)
        place = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
        kept = place < length
        known = np.full((users, length), self._nothing, np.int32)
        known[user[by_user][kept], place[kept]] = item[by_user][kept]
        return known, int((count > length).sum())


def open(config: Config) -> InteractionsDataset:
    """Opens the data (ValueError or OSError, in one line, where they are wrong or not there)."""
    facts(config)
    state = ratings.state(config.source)
    return InteractionsDataset(config, _content(config.source, config.items, state))


def facts(config: Config) -> dict[str, Any]:
    """See data.facts: of a person's own rows users and items are known once they are read."""
    if not 1 <= config.length <= MAX_LENGTH:
        raise ValueError(f"data.length: {config.length}; allowed: 1 to {MAX_LENGTH}")
    if config.evaluation not in SIDES:
        raise ValueError(f"data.evaluation: {config.evaluation!r}; allowed: {', '.join(SIDES)}")
    for field in ("eval_rows", "unique", "items"):
        if getattr(config, field) < 0:
            raise ValueError(f"data.{field}: {getattr(config, field)}; allowed: 0 (all), or more")
    users, items = ratings.known(config.source, rated=False) or (None, None)
    return {
        "unit": InteractionsDataset.unit,
        "units_per_row": InteractionsDataset.units_per_row,
        "user_rows": users,
        "item_rows": config.items or items,
    }


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec: a row has this form whatever the data."""
    facts(config)
    one = np.zeros(1, np.int32)
    several = np.zeros((1, config.length), np.int32)
    return _named(several, several, one, one)


def _named(
    history: np.ndarray, met: np.ndarray, item: np.ndarray, user: np.ndarray
) -> dict[str, np.ndarray]:
    whole = np.ones(len(item), np.float32)
    return {"history": history, "met": met, "item": item, "user": user, "weight": whole}


@functools.lru_cache(maxsize=1)
def _content(source: str, items: int, state: tuple) -> Content:
    """Reads a source, which is another one where its `state` is, and decides on its sides."""
    found = ratings.find(source, rated=False)
    if items:
        found = _of_most(found, items)
    rows = np.argsort(ratings.draws(found), kind="stable")[::-1]
    when = np.zeros(len(rows)) if found.times is None else found.times[rows]
    # Of each user first the last ones; of those of one time the last drawn.
    user = found.users[rows]
    by_user = np.lexsort((-np.arange(len(rows)), -when, user))
    count = np.bincount(user)
    place = np.empty(len(rows), np.int64)
    place[by_user] = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    held_out = count[user] >= LEAST
    test, validation = (rows[held_out & (place == side)] for side in (0, 1))
    return Content(found, rows[~held_out | (place > 1)], validation, test)


def _of_most(found: Ratings, items: int) -> Ratings:
    """What is known of these many items that most users have met; of equal ones by their names."""
    if items > len(found.item_names):
        raise ValueError(f"data.items: {items}; allowed: 0 (all) to {len(found.item_names)}")
    count = np.bincount(found.items)
    most = np.sort(np.argsort(-count, kind="stable")[:items])
    kept = np.isin(found.items, most)
    return found._replace(
        users=found.users[kept],
        items=np.searchsorted(most, found.items[kept]).astype(np.int32),
        ratings=found.ratings[kept],
        times=None if found.times is None else found.times[kept],
        item_names=tuple(found.item_names[item] for item in most),
        contexts=found.contexts[kept],
    )


def _chosen(config: Config, content: Content) -> tuple[np.ndarray, np.ndarray]:
    """The rows to train on, and those to evaluate on."""
    if config.evaluation == "validation":
        train, held_out = content.train, content.validation
    else:
        train, held_out = np.concatenate([content.train, content.validation]), content.test
    if not len(held_out):
        given = f"data.source: {config.source}: no user has {LEAST} items"
        raise ValueError(f"{given}; allowed: users of whom one can be held out")
    if config.unique > len(train):
        raise ValueError(f"data.unique: {config.unique}; allowed: 0 (all) to {len(train)}")
    return train[: config.unique or None], held_out[: config.eval_rows or None]
