"""bert_classifier: tells texts apart by the mean of what the layers of `bert` make of their tokens.

What it learns of a masked language model's weights lies at the same paths.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import convolution, encoder


@dataclasses.dataclass(frozen=True)
class Config(encoder.Config):
    classes: int  # 0 in a config: as many as the data has

    def __post_init__(self):
        super().__post_init__()
        if self.classes < 2:
            raise ValueError(f"classes: {self.classes}; must be at least 2")


class Model(nn.Module):
    """batch["tokens"] int [B, L], padded with 0 -> logits float32 [B, classes]."""

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        c, tokens_BxL = self.config, batch["tokens"]
        x_BxLxD = encoder.read(self, c, encoder.embedding(self, c), tokens_BxL, train)
        keep_BxL = (tokens_BxL != encoder.PADDING).astype(jnp.float32)
        share_BxL = keep_BxL / jnp.maximum(jnp.sum(keep_BxL, axis=1, keepdims=True), 1)
        x_BxD = jnp.sum(x_BxLxD.astype(jnp.float32) * share_BxL[..., None], axis=1)
        x_BxD = nn.Dropout(c.dropout, deterministic=not train)(x_BxD)
        return convolution.dense(c.classes, ("embed", None), "head")(x_BxD)
