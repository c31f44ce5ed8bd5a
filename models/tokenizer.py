"""tokenizer: a small autoencoder whose middle is a grid of codes, for what draws by codes.

An image becomes patches, each a vector; convolutions of 3 x 3 patches, at that one small
resolution, let them see their neighbours (at the full one they would cost patch^2 times as much).
Between encoder and decoder lies finite scalar quantisation (Mentzer et al. 2023, arXiv:2309.15505):
a few bounded numbers a patch, each rounded to one of its levels. There is no codebook, no state and
no loss beside that of the reconstruction. `data.sources.codes` reads and draws with the weights of
a trained one.

Shape letters: B batch, S side of the image, P patches along it, C channels of a patch, Z numbers of
a code.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.convolution import biased, dense

EPSILON = 1e-3  # how far beyond its outermost levels a number may go (their code, not the paper)


@dataclasses.dataclass(frozen=True)
class Config:
    side: int  # of the images, in pixels
    channels: int  # of the images
    patch: int  # its side, in pixels; each becomes a code
    width: int  # C
    blocks: int  # pairs of convolutions, of the encoder and of the decoder each
    levels: tuple[int, ...]  # of each number of a code; a code is one of their product

    def __post_init__(self):
        for field in ("channels", "patch", "width", "blocks"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 1")
        if self.side < 1 or self.side % self.patch:
            raise ValueError(f"side: {self.side}; must be a multiple of patch, {self.patch}")
        if not self.levels or min(self.levels) < 2 or math.prod(self.levels) > 2**16:
            given = f"levels: {self.levels}"
            raise ValueError(f"{given}; some numbers, each at least 2, with a product up to 65536")

    def fits(self, facts: Mapping[str, Any]) -> None:
        """Raises ValueError where the data's images have another shape."""
        for field, there in zip(("side", "side", "channels"), facts["shape"]):
            if getattr(self, field) != there:
                shape = "x".join(map(str, facts["shape"]))
                raise ValueError(f"{field}: {getattr(self, field)}; the data's images are {shape}")


class Model(nn.Module):
    """batch["image"] float32 [B, S, S, channels] in [0, 1] -> what it looks like again, and its
    codes int32 [B, P, P]."""

    config: Config

    def setup(self):
        c = self.config
        self.encoder = _Stack(c.width, c.blocks, len(c.levels))
        self.decoder = _Stack(c.width, c.blocks, c.patch * c.patch * c.channels)

    def __call__(
        self, batch: dict[str, jax.Array], *, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        c = self.config
        z_BxPxPxZ = quantize(self.encoder(patches(batch["image"] - 0.5, c.patch)), c.levels)
        image = 0.5 + whole(self.decoder(z_BxPxPxZ), c.patch)
        return image, number(jax.lax.stop_gradient(z_BxPxPxZ), c.levels)


class _Stack(nn.Module):
    """[B, P, P, *] -> [B, P, P, features]."""

    width: int
    blocks: int
    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = nn.initializers.lecun_normal()  # the variance stays
        h = dense(self.width, (None, "embed"), "first", init)(x)
        for number in range(self.blocks):
            inner = biased(self.width, f"in_{number}")
            outer = biased(self.width, f"out_{number}", init=nn.initializers.zeros)
            h = h + outer(nn.gelu(inner(nn.gelu(h))))
        return dense(self.features, ("embed", None), "last", init)(nn.gelu(h))


def patches(x: jax.Array, patch: int) -> jax.Array:
    """[B, S, S, channels] -> [B, P, P, patch * patch * channels]."""
    B, S, _, channels = x.shape
    x = x.reshape(B, S // patch, patch, S // patch, patch, channels).swapaxes(2, 3)
    return x.reshape(B, S // patch, S // patch, -1)


def whole(x: jax.Array, patch: int) -> jax.Array:
    """The inverse of `patches`."""
    B, P, _, numbers = x.shape
    x = x.reshape(B, P, P, patch, patch, numbers // patch**2).swapaxes(2, 3)
    return x.reshape(B, P * patch, P * patch, -1)


def quantize(z: jax.Array, levels: tuple[int, ...]) -> jax.Array:
    """[..., Z] -> the same, rounded to so many levels between -1 and 1, in whole steps of 1 over
    half their number; gradients pass as if it were only bounded (equations 1 and 2; of an even
    number of levels one more lies below 0 than above)."""
    count = jnp.array(levels, jnp.float32).reshape((1,) * (z.ndim - 1) + (-1,))
    half = (count - 1) * (1 + EPSILON) / 2
    offset = jnp.where(count % 2 == 0, 0.5, 0.0)
    bounded = jnp.tanh(z + jnp.arctanh(offset / half)) * half - offset
    rounded = bounded + jax.lax.stop_gradient(jnp.round(bounded) - bounded)
    return rounded / (count // 2)


def number(z: jax.Array, levels: tuple[int, ...]) -> jax.Array:
    """Which code, int32 [...], quantised numbers [..., Z] are: the first counts least."""
    total, base = jnp.zeros(z.shape[:-1], jnp.int32), 1
    for i, count in enumerate(levels):
        digit = jnp.round(z[..., i] * (count // 2)).astype(jnp.int32) + count // 2
        total, base = total + base * digit, base * count
    return total
