"""EXAMPLES: data sets whose batches are pure functions of (seed, step).

A data set is a module of this package with a frozen dataclass `Config` (no defaults),
`open(config) -> Dataset` and, where anything is known without opening it, `facts(config)` and
`spec(config)`, see below; fields that older configs lack are in its NEWER. There is no iterator, so
there is nothing to checkpoint: a run that resumes at step t asks for batch t, on any number of
hosts.
"""

import dataclasses
import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Protocol

import numpy as np


class Dataset(Protocol):
    """Training and evaluation rows.

    A batch maps names to arrays whose first axis is the batch: for text `tokens` and `targets`
    int32 [B, L], for regression `x` float32 [B, P] and `y` float32 [B]; always `weight` float32
    [B], which is 1 for a row and 0 for padding.
    """

    unit: str  # what D counts: "token", "sample", "image"
    units_per_row: float  # the exact mean over an epoch
    train_rows: int | None  # rows in one epoch; None: endless
    eval_rows: int
    # What models and tasks may ask: "vocab_size", "classes", "eval_bytes" (bytes of text behind the
    # evaluation targets), ... All that `facts` of the module knows is among them. Where texts can
    # be written: "decode" (token ids to text), "end" (the id that ends one) and "prompt" (texts to
    # go on from, to a batch whose `tokens`, int32 [n, L], have room for what is written, and how
    # many of them are given, int32 [n]). "tokenizer" gives what a tokenizer.json of Hugging Face
    # holds, in which the last token is "end".
    # Where what is written are pictures: "draw" (token ids int32 [n, places] to uint8 [n, H, W,
    # channels]) in place of the first two; where it is sound: "play" (token ids of each row to
    # int16 samples and their rate in Hz), and a batch of "prompt" has `ends`, int32 [n].
    # Of images: "pixels" (one of a batch as uint8 [H, W, C]).
    facts: dict[str, Any]
    digest: str  # sha256 over the content and all that decides batches, but for the seed
    note: str  # one line on what was read and how it was split; "" = nothing to say

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """Rows k*B/K up to (k+1)*B/K, for shard (k, K), of global batch number `step` of size B."""
        ...

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """Rows index*B up to (index+1)*B of the evaluation set; rows past its end weigh 0."""
        ...


def names() -> list[str]:
    """The data sets there are."""
    modules = [module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg]
    return sorted(name for name in modules if _is_dataset(importlib.import_module(f"data.{name}")))


def load(name: str) -> ModuleType:
    """The module of data set `name`, with its `Config` and `open` (ValueError where unknown)."""
    if not isinstance(name, str) or name not in names():
        allowed = names()
        close = difflib.get_close_matches(str(name), allowed, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"data: {name!r}; {hint}allowed: {', '.join(allowed)}")
    return importlib.import_module(f"data.{name}")


def open_dataset(name: str, options: dict[str, Any]) -> Dataset:
    """Opens data set `name`; `options` has its Config's fields; those of `newer` may be absent.

    Raises ValueError with one line that names the field and what is allowed, or OSError where
    something is not there or cannot be read, or a cache cannot be written: this may pass.
    """
    module, options = load(name), {**newer(name), **options}
    types = {field.name: field.type for field in dataclasses.fields(module.Config)}
    fields, given = set(types), set(options)
    for wrong, problem in ((given - fields, "unknown"), (fields - given, "missing")):
        if wrong:
            raise ValueError(f"data.{min(wrong)}: {problem}; fields: {', '.join(sorted(fields))}")
    for field, value in options.items():
        if dataclasses.is_dataclass(types[field]) and isinstance(value, Mapping):
            options[field] = types[field](**value)
    return module.open(module.Config(**options))


def newer(name: Any) -> dict[str, Any]:
    """Fields of a data set's Config that are newer than some configs, which lack them.

    With the values, as JSON has them, with which all is as it was: a module's NEWER. {} where there
    is no such data set.
    """
    # Digests of thousands of runs ask: `names` would take ten times as long.
    there = isinstance(name, str) and name.isidentifier() and find_spec(f"data.{name}")
    return getattr(importlib.import_module(f"data.{name}"), "NEWER", {}) if there else {}


def facts(name: str, config: Any) -> dict[str, Any]:
    """What is known of data set `name` from its Config alone, unopened.

    Numbers that data of this config cannot exceed, such as "vocab_size"; "unit" and "units_per_row"
    too where they are known. None stands for what is known once it is opened. Raises ValueError
    where the config is wrong.
    """
    module = load(name)
    return module.facts(config) if hasattr(module, "facts") else {}


def spec(name: str, config: Any) -> dict[str, np.ndarray] | None:
    """A batch of one row of data set `name`, unopened: only names, shapes and types matter.

    None where they are known only once it is opened. Raises ValueError where the config is wrong.
    """
    module = load(name)
    return module.spec(config) if hasattr(module, "spec") else None


def _is_dataset(module: ModuleType) -> bool:
    return hasattr(module, "Config") and hasattr(module, "open")
