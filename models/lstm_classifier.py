"""lstm_classifier: tells texts apart by the last state of the layers of `lstm`.

What it learns of a language model's weights lies at the same paths.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import convolution, recurrent, transformer
from models.layers.placement import spread
from models.layers.weights import gathered, weight

PADDING = 0


@dataclasses.dataclass(frozen=True)
class Config:
    vocab_size: int  # V, must hold every token of the data; 0 in a config: as many as that has
    classes: int  # 0 in a config: as many as the data has
    layers: int
    width: int  # D, of the embedding and of each layer's state
    dropout: float  # rate, of the embedding, on each residual branch and before the classes
    dtype: str  # of activations and matrix products: "float32" | "bfloat16"

    def __post_init__(self):
        for field, least in (("vocab_size", 1), ("classes", 2), ("layers", 1), ("width", 1)):
            if getattr(self, field) < least:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least {least}")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype: {self.dtype!r}; allowed: float32, bfloat16")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}; must be in [0, 1)")


class Model(nn.Module):
    """batch["tokens"] int [B, L], padded with 0 -> logits float32 [B, classes]."""

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        c, dtype = self.config, jnp.dtype(self.config.dtype)

        def drop(x):
            return nn.Dropout(c.dropout, deterministic=not train)(x)

        small = nn.initializers.normal(0.25 * c.width**-0.5)
        sizes = {"vocab": c.vocab_size}, {"embed": c.width}
        table_VxD = weight(self, "embedding", *sizes, init=small)
        table_VxD = gathered(table_VxD, ("vocab", "embed"), jnp.float32)
        tokens_BxL = spread(batch["tokens"], "batch", None)
        x_BxLxD = spread(jnp.take(table_VxD, tokens_BxL, axis=0), "batch", None, None)
        x_BxLxD = drop(transformer.RMSNorm(dtype, name="in_norm")(x_BxLxD))
        blocks = transformer.scanned(recurrent.Block, c.layers, "none")
        x_BxLxD, _ = blocks(c.dropout, dtype, train, name="blocks")(x_BxLxD, None, None)
        last_BxL = jax.nn.one_hot(jnp.sum(tokens_BxL != PADDING, axis=1) - 1, x_BxLxD.shape[1])
        x_BxD = jnp.sum(x_BxLxD.astype(jnp.float32) * last_BxL[..., None], axis=1)
        x_BxD = drop(transformer.RMSNorm(jnp.float32, name="out_norm")(x_BxD))
        return convolution.dense(c.classes, ("embed", None), "head")(x_BxD)
