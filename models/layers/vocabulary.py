"""Where tokens become vectors, and vectors the logits of tokens.

Shape letters: B batch, L length, D model width, V vocabulary. Both weights are small enough at
first for the loss to be log V.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import placement
from models.layers.placement import spread
from models.layers.transformer import dense
from models.layers.weights import gathered, weight


def embedding(module: nn.Module, vocab_size: int, width: int) -> jax.Array:
    """The table of a module, float32 [V, D]."""
    sizes = {"vocab": vocab_size}, {"embed": width}
    return weight(module, "embedding", *sizes, init=_small(width))


def head(module: nn.Module, vocab_size: int, width: int) -> jax.Array:
    """The head of a module whose embedding is none, float32 [D, V]."""
    sizes = {"embed": width}, {"vocab": vocab_size}
    return weight(module, "head", *sizes, init=_small(width))


def _small(width: int) -> nn.initializers.Initializer:
    return nn.initializers.normal(0.25 * width**-0.5)


def embed(table_VxD: jax.Array, tokens_BxL: jax.Array) -> jax.Array:
    """Tokens int [B, L] -> float32 [B, L, D].

    Each device looks up its own: left to the compiler, gradients of what was looked up may be
    gathered, however many they are, where tables could be added.
    """
    table_VxD = gathered(table_VxD, ("vocab", "embed"), jnp.float32)
    place = "batch", "length"
    x_BxLxD = placement.each_device(
        lambda tokens_BxL, table_VxD: jnp.take(table_VxD, tokens_BxL, axis=0),
        (spread(tokens_BxL, *place), table_VxD),
        (place, (None, None)),
        along=place,
    )
    return spread(x_BxLxD, *place, None)


def unembed(x_BxLxD: jax.Array, head_DxV: jax.Array) -> jax.Array:
    """Logits float32 [B, L, V], split over the vocabulary where that is split.

    Every device holds an equal part of V, so V is rounded up to a multiple of the ways it is split:
    what is added are no tokens and has logits of -1e30, which leaves any softmax as it was.
    """
    head_DxV = gathered(head_DxV, ("embed", "vocab"), x_BxLxD.dtype)
    V = head_DxV.shape[1]
    extra = -V % placement.ways("vocab")
    if extra:
        head_DxV = jnp.pad(head_DxV, ((0, 0), (0, extra)))
    logits_BxLxV = dense(x_BxLxD, spread(head_DxV, None, "vocab")).astype(jnp.float32)
    if extra:
        logits_BxLxV += jnp.where(jnp.arange(V + extra) < V, 0.0, -1e30)[None, None]
    return spread(logits_BxLxV, "batch", "length", "vocab")
