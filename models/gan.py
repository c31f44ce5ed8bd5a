"""gan: a generator of small images and a critic of them, each a player of its own.

Residual networks of convolutions without norms (after Huang et al. 2025, arXiv:2501.05441, section
3), so that no row of a batch sees another and there is no state. Both work at a half and a quarter
of the image's side; at the full side they only deal out pixels to channels and back (Shi et al.
2016, arXiv:1609.05158), as convolutions there would cost four times as much.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.convolution import biased, dense

NEWER = {"average": 0.0}  # see `models.newer`


@dataclasses.dataclass(frozen=True)
class Config:
    side: int  # of the images, in pixels
    channels: int  # of the images
    width: int  # channels at half the side; at a quarter there are twice as many
    latent: int  # numbers that an image is made from
    # Share that an average of the generator's weights keeps in each step; 0 = there is none.
    average: float

    def __post_init__(self):
        for field in ("channels", "width", "latent"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 1")
        if self.side < 4 or self.side % 4:
            raise ValueError(f"side: {self.side}; must be a multiple of 4")
        if not 0 <= self.average < 1:
            raise ValueError(f"average: {self.average}; must be in [0, 1)")

    def fits(self, facts: Mapping[str, Any]) -> None:
        """Raises ValueError where the data's images have another shape."""
        for field, there in zip(("side", "side", "channels"), facts["shape"]):
            if getattr(self, field) != there:
                shape = "x".join(map(str, facts["shape"]))
                raise ValueError(f"{field}: {getattr(self, field)}; the data's images are {shape}")


class Model(nn.Module):
    """`make` images from keys, `judge` images; called, it judges what it makes from zeros.

    With an average of the generator's weights (exponential; Yazici et al. 2019, arXiv:1806.04498),
    images are made by the generator in training and by the average else. It lies in the collection
    "average", and lags the generator by a step: a call sees the weights before they are changed.
    """

    config: Config

    def setup(self):
        self.generator, self.critic = Generator(self.config), Critic(self.config)

    def make(self, keys_B: jax.Array, *, train: bool = False) -> jax.Array:
        """Images float32 [B, side, side, channels], each from its own PRNG key."""
        draw = jax.vmap(lambda key: jax.random.normal(key, (self.config.latent,)))
        z_BxZ, keep = draw(keys_B), self.config.average
        if keep and not train:
            params = self.get_variable("average", "generator")
            return Generator(self.config, parent=None).apply({"params": params}, z_BxZ)
        if keep:
            before = self.get_variable("average", "generator")
            own = jax.lax.stop_gradient(self.generator.variables["params"])
            mean = jax.tree.map(lambda a, b: keep * a + (1 - keep) * b, before, own)
            self.put_variable("average", "generator", mean)
        return self.generator(z_BxZ)

    def judge(self, image_BxHxWxC: jax.Array, *, train: bool = False) -> jax.Array:
        """How real each image looks, float32 [B], on a scale with no zero of its own."""
        return self.critic(image_BxHxWxC)

    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        image = self.generator(jnp.zeros((1, self.config.latent)))
        if self.config.average and self.is_initializing():
            self.put_variable("average", "generator", self.generator.variables["params"])
        return self.critic(image)


class Generator(nn.Module):
    """[B, latent] -> [B, side, side, channels]."""

    config: Config

    @nn.compact
    def __call__(self, z_BxZ: jax.Array) -> jax.Array:
        c = self.config
        h = dense(2 * c.width * (c.side // 4) ** 2, (None, "embed"), "first")(z_BxZ)
        h = h.reshape(-1, c.side // 4, c.side // 4, 2 * c.width)
        h = Block(2 * c.width, name="quarter")(h)
        h = biased(4 * c.width, "larger")(active(h))
        h = Block(c.width, name="half")(enlarged(h))
        return enlarged(biased(4 * c.channels, "pixels", outputs="pixels")(active(h)))


class Critic(nn.Module):
    """[B, side, side, channels] -> [B]."""

    config: Config

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        c = self.config
        h = biased(c.width, "pixels", inputs="pixels")(reduced(x))
        h = Block(c.width, name="half")(h)
        h = biased(2 * c.width, "smaller")(reduced(active(h)))
        h = Block(2 * c.width, name="quarter")(h)
        return dense(1, ("embed", None), "last")(active(h).reshape(len(h), -1))[:, 0]


class Block(nn.Module):
    """A convolution beside a short cut, which is all there is at the start (Zhang et al. 2019,
    "Fixup initialization", section 3, which is what goes without norms)."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h = biased(self.features, "first")(active(x))
        return x + biased(self.features, "second", init=nn.initializers.zeros)(active(h))


def active(x: jax.Array) -> jax.Array:
    """What critics are usual with: a slope that is never 0."""
    return nn.leaky_relu(x, 0.2)


def enlarged(x: jax.Array) -> jax.Array:
    """[B, H, W, 4 C] -> [B, 2 H, 2 W, C]: each four channels are four pixels."""
    B, H, W, C = x.shape
    return x.reshape(B, H, W, 2, 2, C // 4).swapaxes(2, 3).reshape(B, 2 * H, 2 * W, C // 4)


def reduced(x: jax.Array) -> jax.Array:
    """The inverse of `enlarged`."""
    B, H, W, C = x.shape
    return x.reshape(B, H // 2, 2, W // 2, 2, C).swapaxes(2, 3).reshape(B, H // 2, W // 2, 4 * C)
