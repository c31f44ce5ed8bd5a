"""reconstruct: squared error of each pixel and channel, in [0, 1]^2; and what it takes to do it.

psnr: peak signal to noise in dB, 10 log10 of 1 over the mean squared error of the whole set.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from train.tasks import Losses

if TYPE_CHECKING:
    from train.score import Bound

MOST_DB = 100.0  # far above that of 8 bits, 59 dB
RANGE = {"psnr": (MOST_DB, 0.0)}


@dataclasses.dataclass(frozen=True)
class Config:
    pass


def losses(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> Losses:
    """Scores images float32 [B, H, W, C] against batch["image"]; batch["weight"] [B] is 0 for
    padding."""
    image, _ = model(batch)
    error_B = jnp.mean(jnp.square(image - batch["image"]), axis=(1, 2, 3)) * batch["weight"]
    return Losses(objective=error_B, sums={"loss": error_B}, units=batch["weight"])


def derived(
    config: Config, means: Mapping[str, float], facts: Mapping[str, Any]
) -> dict[str, float]:
    """Decibels."""
    return {"psnr": -10 * math.log10(max(means["loss"], 10 ** (-MOST_DB / 10)))}


def examine(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> dict:
    """The codes of each image, int32 [B, ...]."""
    return {"code": model(batch)[1]}


def summarise(config: Config, rows: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> dict:
    """codes_used: how many different ones; code_nats: the entropy of their shares, which is what
    a code costs who knows these alone."""
    counts = np.unique(rows["code"], return_counts=True)[1]
    share = counts / counts.sum()
    return {"codes_used": float(len(counts)), "code_nats": float(-np.sum(share * np.log(share)))}
