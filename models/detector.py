"""detector: boxes with classes, anchor-free, in one stage, on three levels.

Every pixel of a level says how likely a thing is there, of which class, and where its box is,
as in FCOS (Tian et al. 2019, arXiv:1904.01355); objectness apart from the classes, and a box told
by its centre and size, are those of YOLOX (Ge et al. 2021, arXiv:2107.08430). Levels have strides
of 4, 8 and 16 pixels and as many channels; each is told what the next coarser one sees (Lin et al.
2017, "Feature pyramid networks"), and one head reads all of them.

Shape letters: B batch, P places of all levels, K classes.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import convolution, residual
from models.layers.convolution import Convolution, Norm
from models.layers.weights import boxed

STRIDES = (4, 8, 16)
RARE = 0.02  # how likely a thing is anywhere, at first
LARGEST = 4.0  # of the logarithm of how many strides a box is wide


@dataclasses.dataclass(frozen=True)
class Config(convolution.Trunk):
    classes: int  # 0 in a config: as many as the data has
    blocks: int  # residual ones, of a level
    tower: int  # convolutions of the head before what it says

    def __post_init__(self):
        super().__post_init__()
        if self.stages != len(STRIDES):
            raise ValueError(f"stages: {self.stages}; must be {len(STRIDES)}, one a level")
        if self.norm == "batch":
            raise ValueError("norm: 'batch'; levels share norms; allowed: group, instance")
        for field in ("classes", "blocks", "tower"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 1")

    def fits(self, facts: Mapping[str, Any]) -> None:
        """Raises ValueError where levels of the data's images would not lie on one another."""
        if any(side % STRIDES[-1] for side in facts["shape"][:2]):
            shape = "x".join(map(str, facts["shape"]))
            raise ValueError(
                f"stages: {self.stages}; images have sides of whole {STRIDES[-1]}s, not {shape}"
            )


class Model(nn.Module):
    """batch["image"] float [B, H, W, 3] -> of all places, float32: "object" logits [B, P], "class"
    logits [B, P, K] and "box" [B, P, 4] (left, top, right, bottom, in pixels); and of what the
    places are: "centre" [P, 2] (across, down) and "stride" [P].
    """

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> dict[str, jax.Array]:
        c, image = self.config, batch["image"]
        x = Convolution(c.width, 3, c.norm, 2, axis="pixels", name="stem")(image.astype(c.dtype))
        x = nn.relu(Norm(c.norm, name="stem_norm")(x, train))
        levels = []
        for i in range(c.stages):
            for j in range(c.blocks):
                stride = 2 if j == 0 else 1
                block = residual.Block(2 * c.width, stride, c.norm, name=f"stage_{i}_block_{j}")
                x = block(x, train)
            levels.append(x)
        for i in reversed(range(c.stages - 1)):
            x = Convolution(2 * c.width, 1, c.norm, name=f"down_{i}")(levels[i + 1])
            levels[i] += _doubled(Norm(c.norm, name=f"down_norm_{i}")(x, train))
        head = _Head(c, name="head")
        said = [head(level, train) for level in levels]
        places = [_places(level.shape[1:3], stride) for level, stride in zip(levels, STRIDES)]
        centre_Px2, stride_P = (jnp.concatenate(each) for each in zip(*places))
        raw_BxPxF = jnp.concatenate([x.reshape(len(x), -1, x.shape[-1]) for x in said], axis=1)
        centre_1xPx2, stride_1xPx1 = centre_Px2[None], stride_P[None, :, None]
        middle_BxPx2 = centre_1xPx2 + raw_BxPxF[..., 1:3] * stride_1xPx1
        half_BxPx2 = jnp.exp(jnp.minimum(raw_BxPxF[..., 3:5], LARGEST)) * stride_1xPx1 / 2
        return {
            "object": raw_BxPxF[..., 0],
            "class": raw_BxPxF[..., 5:],
            "box": jnp.concatenate([middle_BxPx2 - half_BxPx2, middle_BxPx2 + half_BxPx2], axis=-1),
            "centre": centre_Px2,
            "stride": stride_P,
        }


class _Head(nn.Module):
    """[B, h, w, C] -> float32 [B, h, w, 1 + 4 + K]: objectness, centre, size, classes; weights are
    those of all levels."""

    config: Config

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        c = self.config
        for i in range(c.tower):
            x = Convolution(x.shape[-1], 3, c.norm, name=f"tower_{i}")(x)
            x = nn.relu(Norm(c.norm, name=f"tower_norm_{i}")(x, train))
        outputs = 1 + 4 + c.classes
        first = jnp.zeros(outputs).at[0].set(jnp.log(RARE / (1 - RARE)))
        return nn.Dense(
            outputs,
            kernel_init=boxed(nn.initializers.zeros, ("embed",), (None,)),
            bias_init=boxed(lambda *_: first, (), (None,)),
            name="said",
        )(x.astype(jnp.float32))


def _doubled(x: jax.Array) -> jax.Array:
    """Every pixel as two by two of them."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def _places(shape: tuple[int, int], stride: int) -> tuple[jax.Array, jax.Array]:
    """Centres [h * w, 2] (across, down) of a level's pixels, and their stride [h * w]."""
    down, across = jnp.meshgrid(*(stride * (jnp.arange(n) + 0.5) for n in shape), indexing="ij")
    centre = jnp.stack([across.ravel(), down.ravel()], axis=-1)
    return centre, jnp.full(centre.shape[0], float(stride))
