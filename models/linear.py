"""linear: linear regression on the first N features of its input.

The smallest family there is, with scaling exponents known in theory: on data whose covariance
spectrum and teacher are power laws, the loss falls as a power law in the features kept and in the
samples seen (Lin et al. 2024, "Scaling Laws in Linear Regression", theorem 4.1). It shows that
nothing outside a model's own file knows about transformers.
"""

import dataclasses

import flax.linen as nn
import jax

from models.layers.weights import weight


@dataclasses.dataclass(frozen=True)
class Config:
    features: int  # N, how many leading features are kept
    bias: bool  # an intercept

    def __post_init__(self):
        if self.features < 1:
            raise ValueError(f"features: {self.features}; must be at least 1")


class Model(nn.Module):
    """batch["x"] float [B, P], P >= features -> prediction float32 [B]."""

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        N = self.config.features
        x_BxP = batch["x"]
        if x_BxP.shape[-1] < N:
            raise ValueError(f"features: {N}; the data has {x_BxP.shape[-1]}")
        zeros = nn.initializers.zeros
        w_N = weight(self, "weight", {"features": N}, {}, init=zeros)
        y_B = x_BxP[:, :N] @ w_N
        if self.config.bias:
            y_B += weight(self, "bias", {}, {None: 1}, init=zeros)
        return y_B
