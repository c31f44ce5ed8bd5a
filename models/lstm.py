"""lstm: recurrent language model.

Residual blocks of long short-term memory between the embedding and the head of `gpt`: normalised on
the way in and out, both small enough at first for the loss to be log V.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import recurrent, transformer, vocabulary


@dataclasses.dataclass(frozen=True)
class Config(recurrent.Config):
    tied: bool  # the embedding is also the head


class Model(nn.Module):
    """batch["tokens"] int [B, L] -> logits float32 [B, L, V].

    Each row begins with an empty memory. On devices that split the vocabulary V is rounded up, see
    `vocabulary.unembed`.
    """

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        c, dtype = self.config, jnp.dtype(self.config.dtype)
        table_VxD = vocabulary.embedding(self, c.vocab_size, c.width)
        x_BxLxD = vocabulary.embed(table_VxD, batch["tokens"])
        x_BxLxD = transformer.RMSNorm(dtype, name="in_norm")(x_BxLxD)
        blocks = transformer.scanned(recurrent.Block, c.layers, "none")
        x_BxLxD, _ = blocks(c.dropout, dtype, train, name="blocks")(x_BxLxD, None, None)
        x_BxLxD = transformer.RMSNorm(dtype, name="out_norm")(x_BxLxD)
        head_DxV = table_VxD.T if c.tied else vocabulary.head(self, c.vocab_size, c.width)
        return vocabulary.unembed(x_BxLxD, head_DxV)
