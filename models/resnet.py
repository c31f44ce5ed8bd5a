"""resnet: a residual network for small images.

That of He et al. 2016 (arXiv:1512.03385, section 4.2) for images of 32 pixels: stages of blocks of
two 3 x 3 convolutions, each with half the pixels and twice the channels of the one before, and the
mean over the pixels. With norm "group" it keeps no state and its rows do not look at one another:
groups and standardised kernels (Kolesnikov et al. 2020, "Big Transfer").
"""

import dataclasses

import flax.linen as nn
import jax

from models.layers import convolution, residual


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


class Model(nn.Module):
    """batch["image"] float [B, H, W, C] -> logits float32 [B, classes]."""

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        x_BxC = residual.trunk(self.config, batch["image"], train).mean(axis=(1, 2))
        return convolution.dense(self.config.classes, ("embed", None), "head")(x_BxC)
