"""pair: a generator with batch norm and a critic, each a player of its own."""

import dataclasses

import flax.linen as nn


@dataclasses.dataclass(frozen=True)
class Config:
    width: int

    def fits(self, facts) -> None:
        if facts["dimensions"] != 2:
            raise ValueError(f"width: {self.width}; only for points in a plane")


class Generator(nn.Module):
    width: int

    @nn.compact
    def __call__(self, z, train):
        h = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(self.width)(z))
        return nn.Dense(2)(nn.relu(h))


class Critic(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, train):
        h = nn.Dropout(0.1, deterministic=not train)(nn.leaky_relu(nn.Dense(self.width)(x), 0.2))
        return nn.Dense(1)(h)[:, 0]


class Model(nn.Module):
    config: Config

    def setup(self):
        self.generator, self.critic = Generator(self.config.width), Critic(self.config.width)

    def make(self, z, *, train=False):
        return self.generator(z, train)

    def judge(self, x, *, train=False):
        return self.critic(x, train)

    def __call__(self, batch, *, train=False):
        return self.critic(self.generator(batch["point"] * 0, train), train)
