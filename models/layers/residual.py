"""What networks of residual blocks share: the block, and a trunk of them for small images."""

from typing import Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.convolution import Convolution, Norm, halve


class Shape(Protocol):
    """What a trunk is, as configs have it."""

    stem: int  # times that the image is halved after the first convolution, by maxima
    stages: int  # each has half the pixels and twice the channels of the one before
    blocks: int  # of a stage
    width: int  # channels of the first stage
    norm: str  # "batch" | "group" | "instance"
    dtype: str  # of activations and convolutions


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


def trunk(of: Shape, image_BxHxWxC: jax.Array, train: bool) -> jax.Array:
    """What the last stage sees, float32 [B, h, w, features]; its layers are those of the module
    that calls it."""
    x_BxHxWxC = image_BxHxWxC.astype(of.dtype)
    x_BxHxWxC = Convolution(of.width, 3, of.norm, axis="pixels", name="stem")(x_BxHxWxC)
    x_BxHxWxC = nn.relu(Norm(of.norm, name="stem_norm")(x_BxHxWxC, train))
    for _ in range(of.stem):
        x_BxHxWxC = halve(x_BxHxWxC)
    for i in range(of.stages):
        for j in range(of.blocks):
            stride = 2 if i > 0 and j == 0 else 1
            block = Block(of.width * 2**i, stride, of.norm, name=f"stage_{i}_block_{j}")
            x_BxHxWxC = block(x_BxHxWxC, train)
    return x_BxHxWxC.astype(jnp.float32)
