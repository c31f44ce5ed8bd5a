"""A run before it is trained: its data, and what it comes to in N, D and C."""

import dataclasses
from typing import Any

import data
from train import accounting, step
from train.cli import InputError, Unavailable
from train.config import RunConfig


def open_data(config: RunConfig) -> data.Dataset:
    """Opens a run's dataset.

    Raises:
      Unavailable: a file of it is not there or cannot be read.
      InputError: there is no such data, or it does not fit the model.
    """
    try:
        dataset = data.open_dataset(config.data.name, dataclasses.asdict(config.data.config))
    except OSError as error:
        raise Unavailable(f"config.data: {error}") from error
    except ValueError as error:
        raise InputError(f"config.data: {error}") from error
    if dataset.eval_rows < 2:
        found = f"config.data: {dataset.eval_rows} validation rows"
        raise InputError(f"{found}; at least 2, for an error of the loss")
    for name, needed in dataset.facts.items():
        allowed = getattr(config.model.config, name, None)
        if type(allowed) is int and type(needed) is int and allowed < needed:
            raise InputError(f"config.model.{name}: {allowed}; the data needs at least {needed}")
    for field in ("model", "task"):
        fits = getattr(getattr(config, field).config, "fits", None)
        try:
            if fits:
                fits(dataset.facts)
        except ValueError as error:
            raise InputError(f"config.{field}.{error}") from error
    return dataset


def account(config: RunConfig, dataset: data.Dataset) -> dict[str, Any]:
    """N by group, D, C by convention, epochs and unit of a run, before it is trained."""
    N, forward = step.count(config, dataset.eval_batch(0, 1))
    per_unit = {kind: flops / dataset.units_per_row for kind, flops in forward.items()}
    rows = config.steps * config.batch_size
    D = rows * dataset.units_per_row
    return {
        "N": N,
        "D": D,
        "C": accounting.training_flops(N, per_unit, D),
        "epochs": rows / dataset.train_rows if dataset.train_rows else None,
        "unit": dataset.unit,
    }
