"""A decoder that looks at what an encoder read: cross attention, all layers' keys made at once.

Shape letters: B batch, S length of the source, T of the target, D model width, H heads, G key/value
heads, K head width, N layers.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.attention import attend
from models.layers.placement import spread
from models.layers.transformer import (
    MLP,
    Attention,
    Cache,
    Keys,
    RMSNorm,
    Shape,
    chosen,
    dense,
    matrix,
    rotate,
    scanned,
)


class Memory(NamedTuple):
    """What the layers of a decoder look at; one layer's has no axis N."""

    key_NxBxGxSxK: jax.Array
    value_NxBxGxSxK: jax.Array


class _Keys(nn.Module):
    """One layer's keys and values of what was read, [B, S, D] -> two [B, G, S, K]."""

    shape: Shape

    @nn.compact
    def __call__(self, x_BxSxD: jax.Array) -> tuple[jax.Array, jax.Array]:
        of, (_, S, D) = self.shape, x_BxSxD.shape
        of_key = {"kv_heads": of.kv_heads, "head_width": D // of.heads}
        k_DxGxK, v_DxGxK = (matrix(self, n, {"embed": D}, of_key) for n in ("key", "value"))
        k_BxGxSxK, v_BxGxSxK = (dense(x_BxSxD, w).swapaxes(1, 2) for w in (k_DxGxK, v_DxGxK))
        if of.qk_norm:
            k_BxGxSxK = RMSNorm(of.dtype, name="key_norm")(k_BxGxSxK)
        return rotate(k_BxGxSxK, jnp.arange(S), of.rope_base), v_BxGxSxK


def memory(layers: int, shape: Shape) -> nn.Module:
    """A module [B, S, D] -> the keys and values of all layers of a decoder, see `Memory`.

    Made apart from the layers, so that who writes token by token makes them once.
    """
    return nn.vmap(
        _Keys,
        in_axes=None,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        axis_size=layers,
        metadata_params={nn.PARTITION_NAME: "layers"},
    )(shape)


class CrossAttention(nn.Module):
    """Attention to what was read.

    Queries are rotated by their place in the target and keys by theirs in the source, so that a
    head may look at about the same place.
    """

    shape: Shape

    @nn.compact
    def __call__(
        self, x_BxTxD: jax.Array, of_layer: Memory, keep_BxS: jax.Array, first: jax.Array | int
    ) -> jax.Array:
        of, (_, T, D) = self.shape, x_BxTxD.shape
        of_query = {"heads": of.heads, "head_width": D // of.heads}
        q_DxHxK = matrix(self, "query", {"embed": D}, of_query)
        o_HxKxD = matrix(self, "out", of_query, {"embed": D}, gain=of.out_gain)
        q_BxHxTxK = dense(x_BxTxD, q_DxHxK).swapaxes(1, 2)
        if of.qk_norm:
            q_BxHxTxK = RMSNorm(of.dtype, name="query_norm")(q_BxHxTxK)
        q_BxHxTxK = rotate(q_BxHxTxK, first + jnp.arange(T), of.rope_base)
        q_BxHxTxK = spread(q_BxHxTxK, "batch", "heads", None, None)
        a_BxHxTxK = attend(q_BxHxTxK, *of_layer, causal=False, keep_BxM=keep_BxS)
        a_BxTxD = a_BxHxTxK.swapaxes(1, 2).reshape(x_BxTxD.shape)
        return spread(dense(a_BxTxD, o_HxKxD.reshape(D, D)), "batch", None, None)


class Block(nn.Module):
    """Pre-norm residual block: attention to what was written, then to what was read, then an MLP.

    Takes and returns, as `nn.scan` wants, a carry; of each layer it takes its memory and, where x
    are next tokens, its cache, and gives what is to be written there.
    """

    shape: Shape
    train: bool

    @nn.compact
    def __call__(
        self, x_BxTxD: jax.Array, of_layer: tuple[Memory, Cache | None], keep_BxS: jax.Array
    ) -> tuple[jax.Array, Keys | None]:
        read, cache = of_layer
        first = 0 if cache is None else cache.place

        def drop(y):
            return nn.Dropout(self.shape.dropout, deterministic=not self.train)(y)

        def norm(name):
            return RMSNorm(self.shape.dtype, name=name)(x_BxTxD)

        attention = Attention(self.shape, name="attention")
        y_BxTxD, new = attention(norm("attention_norm"), cache=cache)
        x_BxTxD = x_BxTxD + drop(y_BxTxD)
        cross = CrossAttention(self.shape, name="cross")
        x_BxTxD = x_BxTxD + drop(cross(norm("cross_norm"), read, keep_BxS, first))
        x_BxTxD = x_BxTxD + drop(MLP(self.shape, name="mlp")(norm("mlp_norm")))
        return spread(x_BxTxD, "batch", None, None), new


def stack(layers: int, shape: Shape, x: jax.Array, *, remat: str, train: bool) -> nn.Module:
    """`layers` blocks as one scanned module, see `models.layers.transformer.stack`."""
    return scanned(Block, layers, chosen(remat, layers, x))(shape, train, name="blocks")
