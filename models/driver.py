"""driver: a transformer over the cars that a driver sees, which says what to do.

The cars are a set: nothing tells their order, and the decision is read off the driver's own car,
which is the first one, as agents attend to each other in Ngiam et al. 2022 (arXiv:2106.08417).
The blocks are those of `gpt`.

Shape letters: B batch, V cars, F features, D model width.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import convolution, transformer
from models.layers.weights import gathered, weight


@dataclasses.dataclass(frozen=True)
class Config:
    classes: int  # actions; 0 in a config: as many as the data has
    layers: int
    width: int  # D
    heads: int  # width / heads must be even
    hidden: int  # width of the perceptron
    activation: str  # "gelu" | "swiglu"
    qk_norm: bool  # normalise queries and keys per head
    dropout: float  # rate, on each residual branch
    remat: str  # what the backward pass computes again: one of `transformer.REMAT`, or "auto"
    dtype: str  # of activations and matrix products: "float32" | "bfloat16"

    def __post_init__(self):
        transformer.check(self, ("layers", "width", "heads", "hidden"))
        if self.classes < 2:
            raise ValueError(f"classes: {self.classes}; must be at least 2")


class Model(nn.Module):
    """batch["cars"] float [B, V, F], the driver's own first -> logits float32 [B, classes]."""

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        c, dtype = self.config, jnp.dtype(self.config.dtype)
        shape = transformer.Shape.of(c, 2 * c.layers, causal=False, rope_base=0.0)
        cars_BxVxF = batch["cars"].astype(dtype)
        in_FxD = weight(self, "cars", {"columns": cars_BxVxF.shape[-1]}, {"embed": c.width})
        x_BxVxD = transformer.dense(cars_BxVxF, gathered(in_FxD, ("columns", "embed"), dtype))
        shift_D = weight(self, "shift", {}, {"embed": c.width}, init=nn.initializers.zeros)
        x_BxVxD += shift_D.astype(dtype)[None, None]
        blocks = transformer.stack(c.layers, shape, x_BxVxD, remat=c.remat, train=train)
        x_BxVxD, _ = blocks(x_BxVxD, None, None)
        x_BxD = transformer.RMSNorm(dtype, name="out_norm")(x_BxVxD[:, 0])
        return convolution.dense(c.classes, ("embed", None), "head")(x_BxD.astype(jnp.float32))
