"""cnn: a plain convolutional classifier of images.

Each stage is a 3 x 3 convolution, a norm, a ReLU and a maximum over 2 x 2 pixels, and has twice the
channels of the one before; then come one hidden layer and the classes.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import convolution


@dataclasses.dataclass(frozen=True)
class Config(convolution.Config):
    hidden: int  # units of the layer before the classes
    dropout: float  # rate, before and after the hidden layer

    def __post_init__(self):
        super().__post_init__()
        if self.hidden < 1:
            raise ValueError(f"hidden: {self.hidden}; must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}; must be in [0, 1)")

    @property
    def halvings(self) -> tuple[str, int]:
        """See `convolution.Config`."""
        return "stages", self.stages


class Model(nn.Module):
    """batch["image"] float [B, H, W, C] -> logits float32 [B, classes]."""

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        c, x_BxHxWxC = self.config, batch["image"]

        def drop(x):
            return nn.Dropout(c.dropout, deterministic=not train)(x)

        x_BxHxWxC = x_BxHxWxC.astype(c.dtype)
        for i in range(c.stages):
            axis, name = "channels" if i else "pixels", f"convolution_{i}"
            layer = convolution.Convolution(c.width * 2**i, 3, c.norm, axis=axis, name=name)
            norm = convolution.Norm(c.norm, name=f"norm_{i}")
            x_BxHxWxC = convolution.halve(nn.relu(norm(layer(x_BxHxWxC), train)))
        x_BxF = x_BxHxWxC.reshape(len(x_BxHxWxC), -1).astype(jnp.float32)
        x_BxF = nn.relu(convolution.dense(c.hidden, ("embed", "hidden"), "hidden")(drop(x_BxF)))
        return convolution.dense(c.classes, ("hidden", None), "head")(drop(x_BxF))
