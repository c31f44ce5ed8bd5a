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

LEAST, TINY = -1e30, 1e-30  # a score and a chance that are as good as none


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
        """Logits float32 [B, T, V] of tokens that are written or copied."""
        keep_BxS, tokens_BxS = source.keep_BxS, source.tokens_BxS
        score_BxTxS = jnp.einsum("btd,bsd->bts", dense(x_BxTxD, self.query_DxD), source.key_BxSxD)
        score_BxTxS = score_BxTxS.astype(jnp.float32) * self.width**-0.5
        share_BxTxS = nn.softmax(jnp.where(keep_BxS[:, None], score_BxTxS, LEAST))
        # Of a token that is there several times all shares, where it is first.
        same_BxSxS = tokens_BxS[:, :, None] == tokens_BxS[:, None]
        first_BxS = keep_BxS & ~jnp.any(jnp.tril(same_BxSxS, -1), axis=-1)
        copied_BxTxS = jnp.einsum("btr,brs->bts", share_BxTxS, same_BxSxS.astype(jnp.float32))
        gate_BxTx1 = dense(x_BxTxD, self.gate_Dx1).astype(jnp.float32)
        log_copied_BxTxS = nn.log_sigmoid(-gate_BxTx1) + jnp.log(copied_BxTxS + TINY)
        # The logits that say so: all as they were, but for those of what is there.
        log_z_BxTx1 = nn.logsumexp(logits_BxTxV, axis=-1, keepdims=True)
        logit_BxTxS = jax.vmap(lambda x_TxV, tokens_S: x_TxV[:, tokens_S])(logits_BxTxV, tokens_BxS)
        log_written_BxTxS = logit_BxTxS - log_z_BxTx1 + nn.log_sigmoid(gate_BxTx1)
        more_BxTxS = jnp.logaddexp(log_written_BxTxS, log_copied_BxTxS) - log_written_BxTxS
        more_BxTxS = jnp.where(first_BxS[:, None], more_BxTxS, 0)
        add = jax.vmap(lambda x_TxV, tokens_S, more_TxS: x_TxV.at[:, tokens_S].add(more_TxS))
        return add(logits_BxTxV, tokens_BxS, more_BxTxS)
