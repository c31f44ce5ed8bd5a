"""gpt: decoder-only transformer language model.

Pre-norm RMSNorm blocks with rotary positions, QK-norm, grouped key/value heads, GELU or SwiGLU.
Embeddings are normalised on the way in (`embedding_norm`), so that the residual stream starts at
unit scale at every width. The embedding and head start small enough for the first loss to be log V.
"""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import quantized, transformer, vocabulary

AXES = {"tokens": ("batch", "length"), "targets": ("batch", "length")}
SPLITS_LAYERS = True
NEWER = {"norm_epsilon": transformer.EPSILON, "embedding_norm": True}  # see `models.newer`


@dataclasses.dataclass(frozen=True)
class Config:
    vocab_size: int  # V, must hold every token of the data; 0 in a config: as many as that has
    layers: int
    width: int  # D
    heads: int  # H; width / heads must be even (rotary positions)
    kv_heads: int  # G, divides heads; heads = plain multi-head attention
    hidden: int  # F, width of the perceptron
    activation: str  # "gelu" | "swiglu"
    qk_norm: bool  # normalise queries and keys per head (Dehghani et al. 2023)
    norm_epsilon: float  # added to the mean square in each norm
    embedding_norm: bool  # normalise what the embedding gives
    rope_base: float
    tied: bool  # the embedding is also the head
    dropout: float  # rate, on each residual branch
    remat: str  # what the backward pass computes again: one of `transformer.REMAT`, or "auto"
    dtype: str  # of activations and matrix products: "float32" | "bfloat16"
    quantize: str  # products with a weight, but for the head's, to: "none" | "int8" | "fp8"

    def __post_init__(self):
        transformer.check(self, ("vocab_size", "layers", "width", "heads", "kv_heads", "hidden"))
        quantized.check(self.quantize)
        if not 0 < self.norm_epsilon < 1:
            raise ValueError(f"norm_epsilon: {self.norm_epsilon}; must be above 0 and below 1")
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads: {self.kv_heads}; must divide heads {self.heads}")


class Model(nn.Module):
    """batch["tokens"] int [B, L] -> logits float32 [B, L, V].

    To write a text, `begin` and then `step`, one token at a time or several. On devices that split
    the vocabulary V is rounded up, see `vocabulary.unembed`.
    """

    config: Config

    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        return self._read(batch["tokens"], None, train)[1]

    def begin(self, batch: dict[str, jax.Array], *, train: bool = False) -> transformer.Cache:
        """Nothing written yet, and room for as many tokens as batch["tokens"] has."""
        c, (B, L) = self.config, batch["tokens"].shape
        return transformer.Cache.empty(c.layers, B, L, c.width, self.shape())

    def step(
        self, cache: transformer.Cache, tokens_BxL: jax.Array, *, train: bool = False
    ) -> tuple[transformer.Cache, jax.Array]:
        """Writes tokens; the logits [B, L, V] are those of `__call__` at their places."""
        new, logits_BxLxV = self._read(tokens_BxL, cache, train)
        return cache.write(new), logits_BxLxV

    def rewind(self, cache: transformer.Cache, place: jax.Array) -> transformer.Cache:
        """As if no more than `place` tokens (int32 []) had been written."""
        return cache._replace(place=jnp.full_like(cache.place, place))

    @nn.compact
    def _read(
        self, tokens_BxL: jax.Array, cache: transformer.Cache | None, train: bool
    ) -> tuple[transformer.Keys | None, jax.Array]:
        c, dtype = self.config, jnp.dtype(self.config.dtype)
        norm = functools.partial(transformer.RMSNorm, dtype, c.norm_epsilon)
        table_VxD = vocabulary.embedding(self, c.vocab_size, c.width)
        x_BxLxD = vocabulary.embed(table_VxD, tokens_BxL)
        x_BxLxD = norm(name="in_norm")(x_BxLxD) if c.embedding_norm else x_BxLxD.astype(dtype)
        of = {"remat": c.remat, "train": train, "perceptron": self.perceptron()}
        blocks = transformer.stack(c.layers, self.shape(), x_BxLxD, **of)
        x_BxLxD, new = blocks(x_BxLxD, cache, None)
        x_BxLxD = norm(name="out_norm")(x_BxLxD)
        head_DxV = table_VxD.T if c.tied else vocabulary.head(self, c.vocab_size, c.width)
        return new, vocabulary.unembed(x_BxLxD, head_DxV)

    def shape(self) -> transformer.Shape:
        """What its blocks are."""
        return transformer.Shape.of(self.config, 2 * self.config.layers, causal=True)

    def perceptron(self) -> Callable[..., nn.Module]:
        """What makes the perceptron of a block, of its Shape; other families have another."""
        return transformer.MLP
