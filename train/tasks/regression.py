"""regression: squared error, in squared units of the target; its root and the absolute error."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from train.tasks import Losses

RANGE = {"rmse": (0.0, math.inf), "mae": (0.0, math.inf)}


@dataclasses.dataclass(frozen=True)
class Config:
    pass


def losses(config: Config, model: Any, batch: dict[str, jax.Array], keys: jax.Array) -> Losses:
    """Scores predictions float [B] against batch["y"] [B]; batch["weight"] [B] is 0 for padding."""
    off_B = model(batch) - batch["y"]
    error_B = jnp.square(off_B) * batch["weight"]
    sums = {"loss": error_B, "mae": jnp.abs(off_B) * batch["weight"]}
    return Losses(objective=error_B, sums=sums, units=batch["weight"])


def derived(config: Config, means: Mapping[str, float], facts: Mapping[str, Any]) -> dict:
    """The root of the mean squared error, in units of the target."""
    return {"rmse": math.sqrt(means["loss"])}


def examine(config: Config, model: Any, batch: dict[str, jax.Array], keys: jax.Array) -> dict:
    """What the model says of each row."""
    return {"prediction": model(batch)}
