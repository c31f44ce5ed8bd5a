"""next_token: cross-entropy of the next token, in nats per token."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from train.tasks import Losses

RANGE = {"bits_per_byte": (0.0, math.inf)}


@dataclasses.dataclass(frozen=True)
class Config:
    z_loss: (
        float  # weight of log(Z)^2, which keeps logits from drifting (PaLM, section 5); 0 = none
    )

    def __post_init__(self):
        if self.z_loss < 0:
            raise ValueError(f"z_loss: {self.z_loss}; at least 0")


def losses(config: Config, model: Any, batch: dict[str, jax.Array], keys: jax.Array) -> Losses:
    """Scores logits float [B, L, V] against batch["targets"] int [B, L].

    batch["weight"] float [B] is 0 for padding.
    """
    loss_BxL, log_z_BxL = of_each(model, batch)
    objective_BxL = loss_BxL + config.z_loss * jnp.square(log_z_BxL)
    weight_B, L = batch["weight"], loss_BxL.shape[1]
    return Losses(
        objective=jnp.sum(objective_BxL, axis=1) * weight_B,
        sums={"loss": jnp.sum(loss_BxL, axis=1) * weight_B},
        units=weight_B * L,
    )


def of_each(model: Any, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """The loss of each token, and the log of the sum of the exponents of its logits, [B, L]."""
    logits_BxLxV = model(batch).astype(jnp.float32)
    log_z_BxL = jax.nn.logsumexp(logits_BxLxV, axis=-1)
    # The gradient of a gather is a scatter, which is slow on CPU; the product with a one-hot fuses.
    hot_BxLxV = jax.nn.one_hot(batch["targets"], logits_BxLxV.shape[-1], dtype=jnp.float32)
    return log_z_BxL - jnp.sum(logits_BxLxV * hot_BxLxV, axis=-1), log_z_BxL


def derived(
    config: Config, means: Mapping[str, float], facts: Mapping[str, Any]
) -> dict[str, float]:
    """Bits per byte of the text, which no tokenizer changes."""
    if not facts.get("eval_bytes"):
        return {}
    tokens = facts["eval_tokens"]
    return {"bits_per_byte": means["loss"] / math.log(2) * tokens / facts["eval_bytes"]}


def examine(
    config: Config, model: Any, batch: dict[str, jax.Array], keys: jax.Array
) -> dict[str, jax.Array]:
    """The loss of each token, [B, L]: how much those before it help, see benchmarks.beside."""
    loss_BxL, _ = of_each(model, batch)
    return {"nats": loss_BxL}
