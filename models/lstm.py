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

    Each row begins with an empty memory. To write a text, `begin` and then `step`, one token at a
    time or several. On devices that split the vocabulary V is rounded up, see
    `vocabulary.unembed`.
    """

    config: Config

    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        return self._read(batch["tokens"], None, train)[1]

    def begin(self, batch: dict[str, jax.Array], *, train: bool = False) -> recurrent.State:
        """What is remembered of no token, for as many rows as batch["tokens"] has."""
        c = self.config
        shape = (c.layers, len(batch["tokens"]), c.width)
        return recurrent.State.first(shape, jnp.dtype(c.dtype))

    def step(
        self, state: recurrent.State, tokens_BxL: jax.Array, *, train: bool = False
    ) -> tuple[recurrent.State, jax.Array]:
        """Reads tokens; the logits [B, L, V] are those of `__call__` at their places."""
        return self._read(tokens_BxL, state, train)

    @nn.compact
    def _read(
        self, tokens_BxL: jax.Array, state: recurrent.State | None, train: bool
    ) -> tuple[recurrent.State, jax.Array]:
        c, dtype = self.config, jnp.dtype(self.config.dtype)
        table_VxD = vocabulary.embedding(self, c.vocab_size, c.width)
        x_BxLxD = vocabulary.embed(table_VxD, tokens_BxL)
        x_BxLxD = transformer.RMSNorm(dtype, name="in_norm")(x_BxLxD)
        blocks = transformer.scanned(recurrent.Block, c.layers, "none")
        x_BxLxD, state = blocks(c.dropout, dtype, train, name="blocks")(x_BxLxD, state, None)
        x_BxLxD = transformer.RMSNorm(dtype, name="out_norm")(x_BxLxD)
        head_DxV = table_VxD.T if c.tied else vocabulary.head(self, c.vocab_size, c.width)
        return state, vocabulary.unembed(x_BxLxD, head_DxV)
