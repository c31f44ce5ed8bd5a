"""WHAT IS TRAINED: one file per family, each with `Config` (a frozen dataclass) and `Model` (Flax
linen).

`Model(config).apply(variables, batch, train=False)` maps a batch (dict of arrays) to the output
that the family's task scores; a task may call other methods too, each with its own arguments and
`train`. One that can write texts (`train.generate`) has two: `begin(batch)`, what it remembers of
no token, with room for as many as batch["tokens"] has, and `step(memory, tokens [B, L])`, what it
remembers then and the logits [B, L, V] of a whole pass there. A third, `rewind(memory, place)`,
forgets all tokens but the first so many: then a prompt is read in fewer passes.

What a model keeps beside its parameters (statistics of batches) lies in collections of its own.
What it wants minimised beside the task's objective it adds to the collection "losses", and what it
measures of itself to "metrics": float32 [B], per unit. A model knows no data source, no optimizer
and no flags.

Each parameter is declared by `models.layers.weights`, and so carries names of its axes, which
`train.devices.sharding` maps to a mesh, and its role as a model gets wider. A family
whose sequences can be split over devices, in the order of `models.layers.ring`, says of which
arrays of a batch: `AXES = {"tokens": ("batch", "length")}`; one whose layers can be, in the stages
of `models.layers.pipeline`, says `SPLITS_LAYERS = True`. A Config may have `fits(facts)`, which
raises ValueError where the data (`data.Dataset.facts`) are not for it. Parameters whose path starts
with `embedding` or `head` are counted as such, all others as body.

A new family is a new file here: `load` finds it by its name. What families share lies in `layers`.
"""

import importlib
import pkgutil
import types
from importlib.util import find_spec
from typing import Any


def names() -> list[str]:
    """Names of the families, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)


def load(name: str) -> types.ModuleType:
    """Returns the module of a family. Raises KeyError for a name that is not in `names()`."""
    if name not in names():
        raise KeyError(name)
    return importlib.import_module(f"models.{name}")


def newer(name: Any) -> dict[str, Any]:
    """Fields of a family's Config that are newer than some configs, which lack them: its NEWER, as
    `data.newer` of a data set."""
    there = isinstance(name, str) and name.isidentifier() and find_spec(f"models.{name}")
    return getattr(importlib.import_module(f"models.{name}"), "NEWER", {}) if there else {}


def axes(name: str) -> dict[str, tuple[str, ...]]:
    """Names of the axes of a batch's arrays, where a family has more than rows to split."""
    return getattr(load(name), "AXES", {})
