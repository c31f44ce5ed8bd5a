"""What a run is scored on: one file per task, each with `Config` and `losses`.

`losses(config, outputs, batch) -> Losses` scores a model's outputs example by example. Sums, not
means: how they are averaged (over a step's batch, over the validation set, over hosts) is the
trainer's business, and one place's.

A new task is a new file here: `load` finds it by its name.
"""

import importlib
import pkgutil
import types
from typing import Any, NamedTuple


class Losses(NamedTuple):
    """Per example, float32 [B], summed over the example's units. Rows of padding have 0 units."""

    objective: Any  # what is minimised: the loss plus regularizers
    loss: Any  # the loss of record
    units: Any  # how many units (tokens, samples) the sums run over


def names() -> list[str]:
    """Names of the tasks, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


def load(name: str) -> types.ModuleType:
    """Returns the module of a task. Raises KeyError for a name that is not in `names()`."""
    if name not in names():
        raise KeyError(name)
    return importlib.import_module(f"train.tasks.{name}")
