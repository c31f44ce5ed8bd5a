"""Tokens of a source that are written again as they stand there.

Pointer-generator network of See, Liu and Manning 2017 (arXiv:1704.04368), equations 8 and 9, with
an attention of its own and without coverage.

Shape letters: B batch, S length of the source, T of the target, D model width, V vocabulary.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.transformer import Shape, dense, matrix

NOTHING = -1e30  # the logarithm of no chance, of which no gradient comes


class Source(NamedTuple):
    """What may be copied."""

    tokens_BxS: jax.Array  # int
    keep_BxS: jax.Array  # bool, which tokens are no padding
    key_BxSxD: jax.Array  # of `Copy.keys`


class Copy(nn.Module):
    """With a chance that x decides, a token is one of the source, by attention from x to it."""

    shape: Shape
    width: int  # D

    def setup(self):
        axes = {"embed": self.width}, {"head_width": self.width}
        self.query_DxD, self.key_DxD = (matrix(self, name, *axes) for name in ("query", "key"))
        self.gate_Dx1 = matrix(self, "gate", {"embed": self.width}, {None: 1})

    def keys(self, x_BxSxD: jax.Array) -> jax.Array:
        """What each token of a source is found by, [B, S, D] -> [B, S, D]."""
        return dense(x_BxSxD, self.key_DxD)

    def __call__(self, x_BxTxD: jax.Array, logits_BxTxV: jax.Array, source: Source) -> jax.Array:
        """Log-probabilities float32 [B, T, V] of tokens that are written or copied."""
        score_BxTxS = jnp.einsum("btd,bsd->bts", dense(x_BxTxD, self.query_DxD), source.key_BxSxD)
        score_BxTxS = score_BxTxS.astype(jnp.float32) * self.width**-0.5
        share_BxTxS = nn.softmax(jnp.where(source.keep_BxS[:, None], score_BxTxS, NOTHING))
        copied_BxTxV = jax.vmap(
            lambda x_TxV, tokens_S, share_TxS: x_TxV.at[:, tokens_S].add(share_TxS)
        )(jnp.zeros_like(logits_BxTxV), source.tokens_BxS, share_BxTxS)
        there_BxTxV = copied_BxTxV > 0
        log_copied_BxTxV = jnp.where(
            there_BxTxV, jnp.log(jnp.where(there_BxTxV, copied_BxTxV, 1.0)), NOTHING
        )
        gate_BxTx1 = dense(x_BxTxD, self.gate_Dx1).astype(jnp.float32)
        return jnp.logaddexp(
            nn.log_sigmoid(gate_BxTx1) + nn.log_softmax(logits_BxTxV),
            nn.log_sigmoid(-gate_BxTx1) + log_copied_BxTxV,
        )
