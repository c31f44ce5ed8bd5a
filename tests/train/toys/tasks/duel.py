"""duel: each player against the other; the number of record is how far moments are apart."""

import dataclasses

import flax.linen as nn
import jax
import numpy as np

from train.tasks import Losses

PLAYERS = ("generator", "critic")
OF_RECORD = "distance"
DIVISIBLE = False


@dataclasses.dataclass(frozen=True)
class Config:
    pass


def noise(keys):
    return jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)


def losses(config, model, batch, keys):
    fake = model(noise(keys), method="make")
    on_fake, on_real = model(fake, method="judge"), model(batch["point"], method="judge")
    w = batch["weight"]
    generator = nn.softplus(-on_fake) * w
    critic = (nn.softplus(-on_real) + nn.softplus(on_fake)) * w
    return Losses({"generator": generator, "critic": critic}, {"loss": critic}, w)


def examine(config, model, batch, keys):
    return {"fake": model(noise(keys), method="make"), "real": batch["point"]}


def summarise(config, rows, facts):
    a, b = rows["fake"], rows["real"]
    found = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.sum((a.std(0) - b.std(0)) ** 2)
    return {"distance": float(found), "undefined": float("nan")}
