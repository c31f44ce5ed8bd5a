"""lstm: recurrent language model.

Residual blocks of long short-term memory between the embedding and the head of `gpt`: normalised on
the way in and out, both small enough at first for the loss to be log V.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import recurrent, transformer
from models.layers.placement import spread
from models.layers.weights import gathered, weight


@dataclasses.dataclass(frozen=True)
class Config:
    vocab_size: int  # V, must hold every token of the data; 0 in a config: as many as that has
    layers: int
    width: int  # D, of the embedding and of each layer's state
    tied: bool  # the embedding is also the head
    dropout: float  # rate, on each residual branch
    dtype: str  # of activations and matrix products: "float32" | "bfloat16"

    def __post_init__(self):
        for field in ("vocab_size", "layers", "width"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 1")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype: {self.dtype!r}; allowed: float32, bfloat16")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}; must be in [0, 1)")


class Model(nn.Module):
    """batch["tokens"] int [B, L] -> logits float32 [B, L, V].

    Each row begins with an empty memory. On devices that split the vocabulary V is rounded up, see
    `transformer.unembed`.
    """

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        c, dtype = self.config, jnp.dtype(self.config.dtype)
        small = nn.initializers.normal(0.25 * c.width**-0.5)
        vocab, embed = {"vocab": c.vocab_size}, {"embed": c.width}
        embedding_VxD = weight(self, "embedding", vocab, embed, init=small)
        table_VxD = gathered(embedding_VxD, ("vocab", "embed"), jnp.float32)
        x_BxLxD = jnp.take(table_VxD, spread(batch["tokens"], "batch", None), axis=0)
        x_BxLxD = transformer.RMSNorm(dtype, name="in_norm")(spread(x_BxLxD, "batch", None, None))
        blocks = transformer.scanned(recurrent.Block, c.layers, "none")
        x_BxLxD, _ = blocks(c.dropout, dtype, train, name="blocks")(x_BxLxD, None, None)
        x_BxLxD = transformer.RMSNorm(dtype, name="out_norm")(x_BxLxD)
        if c.tied:
            head_DxV = embedding_VxD.T
        else:
            head_DxV = weight(self, "head", embed, vocab, init=small)
        head_DxV = gathered(head_DxV, ("embed", "vocab"), dtype)
        return transformer.unembed(x_BxLxD, head_DxV)
