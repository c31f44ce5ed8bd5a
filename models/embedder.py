"""embedder: images as points of a sphere, near one another where they are of the same identity.

FaceNet's setting (Schroff et al. 2015, arXiv:1503.03832) with the trunk of `resnet`, all of whose
last pixels an embedding is a product of: where a thing is in the image tells drawings apart. Norms
are within an image, so that none looks at another. With a row for each identity that is trained on,
`head`, it can be trained to name them (ArcFace: Deng et al. 2019, arXiv:1801.07698).

Shape letters: B batch, T identities of a trial, E numbers of an embedding, K identities in all.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import convolution, residual
from models.layers.weights import weight


@dataclasses.dataclass(frozen=True)
class Config(convolution.Trunk):
    stem: int  # times that the image is halved after the first convolution, by maxima
    blocks: int  # of a stage
    dimension: int  # E
    identities: int  # K that it can name, for arcface: at least those trained on; 0 = none

    def __post_init__(self):
        super().__post_init__()
        for field, least in (("stem", 0), ("blocks", 1), ("dimension", 2), ("identities", 0)):
            if getattr(self, field) < least:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least {least}")
        if self.norm == "batch":
            raise ValueError(
                "norm: 'batch'; with it images look at others; allowed: group, instance"
            )

    def fits(self, facts: Mapping[str, Any]) -> None:
        """Raises ValueError where the data's images are too small or their identities too many."""
        super().fits(facts)
        if 0 < self.identities < facts["train_identities"]:
            needed = f"0 (none) or at least {facts['train_identities']}, those trained on"
            raise ValueError(f"identities: {self.identities}; must be {needed}")

    @property
    def halvings(self) -> tuple[str, int]:
        """See `convolution.Trunk`."""
        return "stem", self.stem


class Model(nn.Module):
    """batch["image"] float [B, T, 2, H, W, C] -> "embedding" float32 [B, T, 2, E], of length 1;
    with identities to name also "cosine" [B, T, 2, K], of the angle to each."""

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> dict[str, jax.Array]:
        c, image = self.config, batch["image"]
        x_NxhxwxF = residual.trunk(c, image.reshape(-1, *image.shape[3:]), train)
        x_NxF = x_NxhxwxF.reshape(len(x_NxhxwxF), -1)
        x_NxE = convolution.dense(c.dimension, ("embed", None), "projection")(x_NxF)
        z_BxTx2xE = _unit(x_NxE).reshape(*image.shape[:3], -1)
        if not c.identities:
            return {"embedding": z_BxTx2xE}
        axes = {"features": c.dimension}, {None: c.identities}
        head_ExK = weight(self, "head", *axes)
        return {"embedding": z_BxTx2xE, "cosine": z_BxTx2xE @ _unit(head_ExK.T).T}


def _unit(x: jax.Array) -> jax.Array:
    """Along the last axis of length 1; a vector of zeros stays one, and has a gradient."""
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + 1e-12)
