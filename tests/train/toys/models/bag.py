"""bag: the mean of the embeddings of a text's tokens, and one matrix."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Config:
    width: int
    vocab_size: int
    classes: int


class Model(nn.Module):
    config: Config

    @nn.compact
    def __call__(self, batch, *, train=False):
        keep = (batch["tokens"] > 0)[..., None]
        x = nn.Embed(self.config.vocab_size, self.config.width, name="embed")(batch["tokens"])
        mean = jnp.sum(x * keep, axis=1) / jnp.maximum(jnp.sum(keep, axis=1), 1)
        return nn.Dense(self.config.classes, name="head")(mean)
