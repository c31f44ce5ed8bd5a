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

from train.tasks import Losses, next_token

if TYPE_CHECKING:
    from train.score import Bound

RANGE = {"spoken_loss": (0.0, math.inf), "bits_per_second": (0.0, math.inf)}


@dataclasses.dataclass(frozen=True)
class Config:
    pass


def losses(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> Losses:
    """Scores logits float [B, L, V] against batch["targets"] int [B, L] where batch["counted"] is
    True; batch["spoken"] [B, L] says which of these are not silent, and batch["weight"] [B] is 0
    for padding."""
    nats_BxL, _ = next_token.of_each(model, batch)
    weight_Bx1 = batch["weight"][:, None]
    counted_BxL, spoken_BxL = batch["counted"] * weight_Bx1, batch["spoken"] * weight_Bx1
    loss_B = jnp.sum(nats_BxL * counted_BxL, axis=1)
    sums = {
        "loss": loss_B,
        "spoken": jnp.sum(spoken_BxL, axis=1),
        "in_speech": jnp.sum(nats_BxL * spoken_BxL, axis=1),
    }
    return Losses(loss_B, sums, jnp.sum(counted_BxL, axis=1))


def derived(config: Config, means: Mapping[str, float], facts: Mapping[str, Any]) -> dict:
    """Of the means that `losses` sums: `spoken` is the share of samples, `in_speech` the nats of
    these per sample of all."""
    found = {"bits_per_second": means["loss"] / math.log(2) * facts["rate"]}
    if means["spoken"] > 0:
        found["spoken_loss"] = means["in_speech"] / means["spoken"]
    if means["spoken"] < 1:
        found["silent_loss"] = (means["loss"] - means["in_speech"]) / (1 - means["spoken"])
    return found
