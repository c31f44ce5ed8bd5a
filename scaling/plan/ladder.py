"""A ladder: the sizes of a family, made by the recipe that its experiment file holds.

The recipe is opinion and lives in `configs/<experiment>.py` as `recipe(size, D) -> ConfigDict`: one
dial and a number of training units give every hyper-parameter. This module is mechanics: it turns a
size and a budget of units or FLOPs into the exact run.
"""

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags

import data
from train import before, start
from train import config as configuration
from train.account import Account
from train.cli import InputError
from train.config import Choice, RunConfig

_PASSES = 3  # by then a change of rows is a small part of them all


class Stated:
    """Data of a stated size that need not be here: a plan needs their shapes and size alone."""

    digest = ""  # unknown

    def __init__(self, config: RunConfig, unique: float):
        """Raises InputError if what the run reads has to be opened to be known."""
        known = configuration.of_data(data.facts, config.data)
        example = configuration.of_data(data.spec, config.data)
        if "units_per_row" not in known or example is None:
            raise InputError(f"study.unique: {unique:g}; must be 0 for data {config.data.name!r}")
        self.unit, self.units_per_row = known["unit"], known["units_per_row"]
        self.train_rows = max(1, int(unique // self.units_per_row))
        self._example = example

    def eval_batch(self, index: int, batch_size: int) -> dict[str, Any]:
        """One example, of which only shapes and types matter."""
        return self._example


class Ladder:
    """The sizes of one experiment.

    Attributes:
      dial: the name of what a size is, e.g. "width".
    """

    def __init__(self, experiment: str, unique: float = 0.0):
        """`unique` is the number of training units that the data will have; 0: they are here.

        Raises:
          InputError: the experiment's file is missing or has no recipe.
        """
        self._module = _load(experiment)
        if not callable(getattr(self._module, "recipe", None)):
            raise InputError(f"{experiment}: has no function recipe(size, D)")
        self.dial = next(iter(inspect.signature(self._module.recipe).parameters))
        self._unique = unique
        self._datasets: dict[Choice, data.Dataset | Stated] = {}
        self._one_step: dict[int, Account] = {}

    def at(self, size: int, D: float, seed: int | None = None) -> Account:
        """The run of this size on D units, to the nearest whole step (at least one).

        `seed` takes the place of the recipe's.

        Raises:
          InputError: the recipe has no such size.
        """
        values, config, dataset = self._endless(size, D)
        values |= {} if seed is None else {"seed": seed}
        steps = max(1, round(D / (config.batch_size * dataset.units_per_row)))
        # What is newest may be another one by the time that the run is trained.
        begun = start.pinned(config.start)
        values |= {"steps": start.first_step(begun) + steps, "start": vars(begun)}
        config = configuration.resolve(values)
        return before.account(config, dataset, steps)

    def at_budget(self, size: int, C: float, seed: int | None = None) -> Account:
        """The run of this size that costs C training FLOPs (the "forward" convention).

        What a unit costs depends on how long rows are, and a recipe may take other rows for a
        longer run: then the first one's costs are those of its own rows.
        """
        like = self._smallest(size)
        for _ in range(_PASSES):
            made = self.at(size, C * like.D / like.C["forward"], seed)
            if made.config["data"] == like.config["data"]:
                break
            like = made
        return made

    def N(self, size: int) -> int:
        """Parameters of this size, in total."""
        return self._smallest(size).N["total"]

    def _smallest(self, size: int) -> Account:
        """The account of one step, for what does not depend on D."""
        if size not in self._one_step:
            _, config, dataset = self._endless(size, 1.0)
            self._one_step[size] = before.account(config, dataset, 1)
        return self._one_step[size]

    def _endless(self, size: int, D: float) -> tuple[dict[str, Any], RunConfig, Any]:
        """What the recipe says, that as a run whose steps are not known yet, and its data.

        It is as long as can be: what lasts some steps may last longer than a short one.
        """
        try:
            values = self._module.recipe(size, D).to_dict()
        except flags.Error as error:
            raise InputError(f"study.sizes: {error}") from None
        config = configuration.resolve(values | {"steps": 2**31 - 1})
        if config.data not in self._datasets:
            here = before.open_data(config) if not self._unique else Stated(config, self._unique)
            if not self._unique:
                before.open_further(config)
            self._datasets[config.data] = here
        return values, config, self._datasets[config.data]


def _load(experiment: str) -> ModuleType:
    """Runs an experiment's file, which the user named, and returns it as a module."""
    path = Path(experiment).expanduser()
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"study.experiment: {experiment!r}; no such Python file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
