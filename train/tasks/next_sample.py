"""next_sample: cross-entropy of the next sample of a recording, in nats per sample that counts.

spoken_loss and silent_loss are those of samples in hops that are not silent, and in hops that are:
silence is easy, so recordings with more of it have a lower loss. bits_per_second is what no rate
changes, of one number of levels: losses of different ones are not comparable.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from train.tasks import Losses, next_token

if TYPE_CHECKING:
    from train.score import Bound

RANGE = {"spoken_loss": (0.0, math.inf), "bits_per_second": (0.0, math.inf)}


@dataclasses.dataclass(frozen=True)
class Config:
    pass


def losses(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> Losses:
    """Scores logits float [B, L, V] against batch["targets"] int [B, L] where batch["counted"] is
    True; batch["weight"] [B] is 0 for padding."""
    nats_BxL, _ = next_token.of_each(model, batch)
    counted_BxL = batch["counted"] * batch["weight"][:, None]
    loss_B = jnp.sum(nats_BxL * counted_BxL, axis=1)
    return Losses(loss_B, {"loss": loss_B}, jnp.sum(counted_BxL, axis=1))


def examine(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> dict:
    """Of the samples of a row that count, those that batch["spoken"] [B, L] calls so and the
    silent ones: the nats of both, and how many they are, [B, 2]."""
    nats_BxL, _ = next_token.of_each(model, batch)
    silent_BxL = batch["counted"] & ~batch["spoken"]
    which_2xBxL = jnp.stack([batch["spoken"], silent_BxL])
    nats_Bx2 = jnp.sum(nats_BxL[None] * which_2xBxL, axis=2).T
    return {"nats": nats_Bx2, "samples": jnp.sum(which_2xBxL, axis=2).T}


def summarise(config: Config, rows: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> dict:
    """The losses of both, where there are such, and the share that is spoken."""
    nats, samples = rows["nats"].sum(axis=0), rows["samples"].sum(axis=0)
    found = {"spoken": float(samples[0] / samples.sum())}
    names = zip(("spoken_loss", "silent_loss"), nats, samples)
    return found | {name: float(own / n) for name, own, n in names if n}


def derived(config: Config, means: Mapping[str, float], facts: Mapping[str, Any]) -> dict:
    """Bits per second."""
    return {"bits_per_second": means["loss"] / math.log(2) * facts["rate"]}
