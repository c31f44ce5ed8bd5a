"""lstm_classifier: tells texts apart by the last state of the layers of `lstm`.

What it learns of a language model's weights lies at the same paths.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import convolution, recurrent, transformer, vocabulary

PADDING = 0


@dataclasses.dataclass(frozen=True)
class Config(recurrent.Config):
    """The rate of dropout is that of the embedding and before the classes too."""

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
        c, dtype = self.config, jnp.dtype(self.config.dtype)

        def drop(x):
            return nn.Dropout(c.dropout, deterministic=not train)(x)

        tokens_BxL = batch["tokens"]
        table_VxD = vocabulary.embedding(self, c.vocab_size, c.width)
        x_BxLxD = vocabulary.embed(table_VxD, tokens_BxL)
        x_BxLxD = drop(transformer.RMSNorm(dtype, name="in_norm")(x_BxLxD))
        blocks = transformer.scanned(recurrent.Block, c.layers, "none")
        x_BxLxD, _ = blocks(c.dropout, dtype, train, name="blocks")(x_BxLxD, None, None)
        last_BxL = jax.nn.one_hot(jnp.sum(tokens_BxL != PADDING, axis=1) - 1, x_BxLxD.shape[1])
        x_BxD = jnp.sum(x_BxLxD.astype(jnp.float32) * last_BxL[..., None], axis=1)
        x_BxD = drop(transformer.RMSNorm(jnp.float32, name="out_norm")(x_BxD))
        return convolution.dense(c.classes, ("embed", None), "head")(x_BxD)
