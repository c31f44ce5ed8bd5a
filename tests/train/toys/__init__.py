"""Families that no model of ours is like, in packages that lie beside the project's."""

from pathlib import Path

import data
import models
from configs import base
from train import config as configuration
from train import tasks


def paths() -> dict:
    """By package, where it is found once the toys are a part of it."""
    here = Path(__file__).parent
    return {
        package: [*package.__path__, str(here / package.__name__.rpartition(".")[2])]
        for package in (models, tasks, data)
    }


def config(model: str = "noisy", task: str = "denoise", **changes) -> configuration.RunConfig:
    """A run of a toy, where they are a part of the packages."""
    values = base.get_config()
    values.update(steps=12, batch_size=8, log_every=1)
    values.model = {"name": model, "width": 8}
    values.data = {"name": "rings", "eval_rows": 100}
    values.task = {"name": task}
    values.evaluation.batch_size = 16
    values.checkpoint.every = 5
    values.update_from_flattened_dict(changes)
    return configuration.resolve(values.to_dict())


def further(**sets) -> dict:
    """Further sets for `evals`: forty rows of the rings, and what each says itself."""
    rings = {"every": 0, "batch_size": 16, "data": {"name": "rings", "eval_rows": 40}}
    return {name: rings | {"task": {"name": "denoise"}} | own for name, own in sets.items()}


def duel(**changes) -> configuration.RunConfig:
    """Two players, one of which has batch norm."""
    return config("pair", "duel", **changes)


def texts(source: str, **changes) -> configuration.RunConfig:
    """A classifier of texts with labels."""
    whole = dict.fromkeys(("eval_rows", "unique"), 0)
    values = base.get_config()
    values.update(steps=150, batch_size=16, log_every=50)
    values.model = {"name": "bag", "width": 8, "vocab_size": 0, "classes": 2}
    values.data = {"name": "labelled_text", "source": source, "tokenizer": "bpe:300", "length": 16}
    values.data.update(evaluation="test", cleaning=base.CLEANING, **whole)
    values.task = {"name": "classify", "smoothing": 0.0}
    values.optimizer.learning_rate = 0.05
    values.update_from_flattened_dict(changes)
    return configuration.resolve(values.to_dict())
