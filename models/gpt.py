"""gpt: decoder-only transformer language model.

Pre-norm RMSNorm blocks with rotary positions, QK-norm, grouped key/value heads, GELU or SwiGLU.
Embeddings are normalised on the way in, so that the residual stream starts at unit scale at every
width. The embedding and head start small enough for the first loss to be log V.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import quantized, transformer
from models.layers.placement import spread
from models.layers.weights import gathered, weight

AXES = {"tokens": ("batch", "length"), "targets": ("batch", "length")}
SPLITS_LAYERS = True


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
    rope_base: float
    tied: bool  # the embedding is also the head
    dropout: float  # rate, on each residual branch
    remat: str  # what the backward pass computes again: "none" | "dots" | "full"
    dtype: str  # of activations and matrix products: "float32" | "bfloat16"
    quantize: str  # products with a weight, but for the head's, to: "none" | "int8" | "fp8"

    def __post_init__(self):
        transformer.check(self, ("vocab_size", "layers", "width", "heads", "kv_heads", "hidden"))
        quantized.check(self.quantize)
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads: {self.kv_heads}; must divide heads {self.heads}")


class Model(nn.Module):
    """batch["tokens"] int [B, L] -> logits float32 [B, L, V].

    On devices that split the vocabulary V is rounded up, see `transformer.unembed`.
    """

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        c, dtype = self.config, jnp.dtype(self.config.dtype)
        small = nn.initializers.normal(0.25 * c.width**-0.5)
        vocab, embed = {"vocab": c.vocab_size}, {"embed": c.width}
        embedding_VxD = weight(self, "embedding", vocab, embed, init=small)
        table_VxD = gathered(embedding_VxD, ("vocab", "embed"), jnp.float32)
        x_BxLxD = jnp.take(table_VxD, spread(batch["tokens"], "batch", "length"), axis=0)
        x_BxLxD = spread(x_BxLxD, "batch", "length", None)
        x_BxLxD = transformer.RMSNorm(dtype, name="in_norm")(x_BxLxD)
        blocks = transformer.stack(
            c.layers, self.shape(), remat=c.remat, train=train, perceptron=self.perceptron()
        )
        x_BxLxD, _ = blocks(x_BxLxD, None, None)
        x_BxLxD = transformer.RMSNorm(dtype, name="out_norm")(x_BxLxD)
        if c.tied:
            head_DxV = embedding_VxD.T
        else:
            head_DxV = weight(self, "head", embed, vocab, init=small)
        head_DxV = gathered(head_DxV, ("embed", "vocab"), dtype)
        return transformer.unembed(x_BxLxD, head_DxV)

    def shape(self) -> transformer.Shape:
        """What its blocks are."""
        c = self.config
        return transformer.Shape(
            heads=c.heads,
            kv_heads=c.kv_heads,
            hidden=c.hidden,
            activation=c.activation,
            causal=True,
            qk_norm=c.qk_norm,
            rope_base=c.rope_base,
            # The sum over 2 N residual branches keeps its scale at any depth (Radford et al. 2019).
            out_gain=(2 * c.layers) ** -0.5,
            dropout=c.dropout,
            dtype=jnp.dtype(c.dtype),
            quantize=c.quantize,
        )

    def perceptron(self) -> Callable[..., nn.Module]:
        """What makes the perceptron of a block, of its Shape; other families have another."""
        return transformer.MLP
