"""regression: squared error, in squared units of the target."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from train.tasks import Losses


@dataclasses.dataclass(frozen=True)
class Config:
    pass


def losses(config: Config, model: Any, batch: dict[str, jax.Array], keys: jax.Array) -> Losses:
    """Scores predictions float [B] against batch["y"] [B]; batch["weight"] [B] is 0 for padding."""
    error_B = jnp.square(model(batch) - batch["y"]) * batch["weight"]
    return Losses(objective=error_B, sums={"loss": error_B}, units=batch["weight"])
