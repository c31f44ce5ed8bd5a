"""A run before it is trained: its data, and what it comes to in N, D and C."""

import contextlib
import re
from collections.abc import Iterator

import data
from train import accounting, step
from train import config as configuration
from train.account import Account
from train.cli import InputError, Unavailable
from train.config import RunConfig


def open_data(config: RunConfig, planned_on: str = "") -> data.Dataset:
    """Opens a run's dataset; `planned_on` is the digest that it must have, "" any.

    Raises:
      Unavailable: a file of it is not there or cannot be read, or it has another digest.
      InputError: there is no such data, or it does not fit the model.
    """
    dataset = configuration.opened(config.data)
    if planned_on and dataset.digest != planned_on:
        raise Unavailable(
            "config.data: changed since the run was planned: sha256 "
            f"{dataset.digest}, not {planned_on}"
        )
    if dataset.eval_rows < 2:
        found = f"config.data: {dataset.eval_rows} validation rows"
        raise InputError(f"{found}; at least 2, for an error of the loss")
    for name, needed in dataset.facts.items():
        allowed = getattr(config.model.config, name, None)
        if type(allowed) is int and type(needed) is int and allowed < needed:
            raise InputError(f"config.model.{name}: {allowed}; the data needs at least {needed}")
    for field in ("model", "task"):
        chosen = getattr(config, field)
        try:
            if hasattr(chosen.config, "fits"):
                chosen.config.fits(dataset.facts)
        except KeyError as error:
            asked = f"config.{field}.name: {chosen.name!r} must know {error} of its data"
            raise InputError(f"{asked}; {config.data.name!r} has no such fact") from error
        except ValueError as error:
            raise InputError(f"config.{field}.{error}") from error
    return dataset


def open_further(config: RunConfig) -> dict[str, data.Dataset]:
    """Opens the further sets that a run is evaluated on, by name. Raises as `open_data` does."""
    found = {}
    for name, on in configuration.evaluated_on(config).items():
        if name:
            with said_of(name):
                found[name] = open_data(on)
    return found


@contextlib.contextmanager
def said_of(name: str) -> Iterator[None]:
    """Of a config's fields, an error names those of a further set."""
    try:
        yield
    except InputError as error:
        field = re.compile(r"config\.(evaluation\.|(?=(data|task)\b))")
        path, text = f"config.evals.{name}", str(error)
        said = field.sub(f"{path}.", text, count=1) if field.match(text) else f"{path}: {text}"
        raise type(error)(said) from error


def account(config: RunConfig, dataset: data.Dataset, steps: int | None = None) -> Account:
    """The account of a run on an open dataset, or of `steps` of its steps alone."""
    N, forward = step.count(config, dataset.eval_batch(0, 1))
    per_unit = {kind: flops / dataset.units_per_row for kind, flops in forward.items()}
    rows = (config.steps if steps is None else steps) * config.batch_size
    D = rows * dataset.units_per_row
    return Account(
        seed=config.seed,
        config=configuration.to_dict(config),
        config_sha256=configuration.digest(config),
        N=N,
        D=D,
        unit=dataset.unit,
        C=accounting.training_flops(N, per_unit, D),
        epochs=rows / dataset.train_rows if dataset.train_rows else None,
        data_sha256=dataset.digest,
    )
