"""resnet: a residual network for small images.

That of He et al. 2016 (arXiv:1512.03385, section 4.2) for images of 32 pixels: stages of blocks of
two 3 x 3 convolutions, each with half the pixels and twice the channels of the one before, and the
mean over the pixels. With norm "group" it keeps no state and its rows do not look at one another:
groups and standardised kernels (Kolesnikov et al. 2020, "Big Transfer").
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import convolution
from models.layers.convolution import Convolution, Norm


@dataclasses.dataclass(frozen=True)
class Config(convolution.Config):
    stem: int  # times that the image is halved after the first convolution, by maxima
    blocks: int  # of a stage

    def __post_init__(self):
        super().__post_init__()
        for field, least in (("stem", 0), ("blocks", 1)):
            if getattr(self, field) < least:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least {least}")

    @property
    def halvings(self) -> tuple[str, int]:
        """See `convolution.Config`. (A stride rounds up: it leaves a pixel of any image.)"""
        return "stem", self.stem


class Block(nn.Module):
    """Two convolutions beside a short cut. The last norm starts at 0, so that every block starts as
    its short cut (Goyal et al. 2017, section 5.1); a short cut to another shape is a convolution.
    """

    features: int
    stride: int
    norm: str

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array, train: bool) -> jax.Array:
        short = x_BxHxWxC
        if self.stride > 1 or short.shape[-1] != self.features:
            short = Convolution(self.features, 1, self.norm, self.stride, name="short")(short)
            short = Norm(self.norm, name="short_norm")(short, train)
        x = Convolution(self.features, 3, self.norm, self.stride, name="first")(x_BxHxWxC)
        x = nn.relu(Norm(self.norm, name="first_norm")(x, train))
        x = Convolution(self.features, 3, self.norm, name="second")(x)
        return nn.relu(short + Norm(self.norm, scale=0.0, name="second_norm")(x, train))


class Model(nn.Module):
    """batch["image"] float [B, H, W, C] -> logits float32 [B, classes]."""

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        c, x_BxHxWxC = self.config, batch["image"].astype(self.config.dtype)
        x_BxHxWxC = Convolution(c.width, 3, c.norm, axis="pixels", name="stem")(x_BxHxWxC)
        x_BxHxWxC = nn.relu(Norm(c.norm, name="stem_norm")(x_BxHxWxC, train))
        for _ in range(c.stem):
            x_BxHxWxC = convolution.halve(x_BxHxWxC)
        for i in range(c.stages):
            for j in range(c.blocks):
                stride = 2 if i > 0 and j == 0 else 1
                block = Block(c.width * 2**i, stride, c.norm, name=f"stage_{i}_block_{j}")
                x_BxHxWxC = block(x_BxHxWxC, train)
        x_BxC = x_BxHxWxC.astype(jnp.float32).mean(axis=(1, 2))
        return convolution.dense(c.classes, ("embed", None), "head")(x_BxC)
