"""noisy: one weight for each coordinate; its task draws noise."""

import dataclasses

import flax.linen as nn


@dataclasses.dataclass(frozen=True)
class Config:
    width: int


class Model(nn.Module):
    config: Config

    @nn.compact
    def __call__(self, x, *, train=False):
        x = x["point"] if isinstance(x, dict) else x
        return nn.Dense(2, name="head")(nn.relu(nn.Dense(self.config.width, name="body")(x)))
