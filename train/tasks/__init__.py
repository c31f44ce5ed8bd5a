"""WHAT A RUN IS SCORED ON: one file per task, each with `Config`, `losses` and what else it needs.

    losses(config, model, batch, keys) -> Losses
        of each row of a batch. `model` is to be called, see `train.score.Bound`; `keys` are PRNG
        keys [B], one a row: what is drawn of them depends on no batch size and no mesh.
    derived(config, means, facts) -> {name: number}
        what follows from the means: perplexity, bits per byte.
    examine(config, model, batch, keys) -> {name: array [B, ...]}
        what is kept of each row of the evaluation set: predictions, decoded tokens, samples. A run
        asks for it only where there is something to summarise; train.examine always does.
    summarise(config, rows, facts) -> {name: number}
        metrics of the whole set, of the arrays that `examine` kept [n, ...], without padding: F1,
        BLEU. One that is not defined there is left out. It is called some twenty times, for errors.
    show(config, inputs, kept, facts) -> [Section]
        what people are to see on a page (train.examine --report), of the first rows of the set:
        arrays [n, ...] of what went in and of what `examine` kept, without padding.
    PLAYERS = ()          top names of parameters, each of which minimises its own objective
    OF_RECORD = "loss"    the number that laws are fitted to; less is better
    RANGE = {}            metric -> its best value and its worst: (1, 0) for an accuracy, (0, inf)
                          for a distance; a study forecasts how far a metric lies from the best
    DIVISIBLE = True      False where rows look at one another: no accumulation

Sums, not means: how they are averaged (over a step's batch, over the validation set, over hosts) is
the trainer's business, and one place's. `facts` are the data's, see `data.Dataset`.

A new task is a new file here: `load` finds it by its name.
"""

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np


class Losses(NamedTuple):
    """Per row, float32 [B], summed over the row's units. Rows of padding have 0 units."""

    objective: Any  # [B], or {player: [B]}: what is minimised, regularizers and all
    sums: dict[str, jax.Array]  # "loss" and whatever else has a mean per unit
    units: jax.Array  # how many units (tokens, samples) the sums run over


class Box(NamedTuple):
    """A rectangle over a picture."""

    corners: Sequence[float]  # left, top, right, bottom, in the picture's pixels
    kind: str  # "there": what is to be found; "right" or "wrong": what was said
    name: str


class Picture(NamedTuple):
    """A picture with boxes over it."""

    pixels: np.ndarray  # uint8 [H, W, 1] or [H, W, 3]
    caption: str
    boxes: Sequence[Box] = ()
    gif: bytes = b""  # a film that begins with it, which is shown in its place


class Section(NamedTuple):
    """A part of a page."""

    title: str
    note: str = ""
    table: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None  # columns, rows
    pictures: Sequence[Picture] = ()


@dataclasses.dataclass(frozen=True)
class Task:
    """What a file of this package says, and what it does not say, filled in."""

    Config: type
    losses: Callable[..., Losses]
    derived: Callable[..., dict[str, float]] = lambda config, means, facts: {}
    examine: Callable[..., dict[str, jax.Array]] | None = None
    summarise: Callable[..., dict[str, float]] | None = None
    show: Callable[..., list[Section]] | None = None
    PLAYERS: tuple[str, ...] = ()
    OF_RECORD: str = "loss"
    RANGE: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    DIVISIBLE: bool = True


def names() -> list[str]:
    """Names of the tasks, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


@functools.cache
def load(name: str) -> Task:
    """Returns a task. Raises KeyError for a name that is not in `names()`."""
    if name not in names():
        raise KeyError(name)
    module = importlib.import_module(f"train.tasks.{name}")
    fields = [field.name for field in dataclasses.fields(Task)]
    return Task(**{name: getattr(module, name) for name in fields if hasattr(module, name)})
