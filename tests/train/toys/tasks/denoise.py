"""denoise: a point back from what noise has made of it; a row counts as often as it says."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from train.tasks import Losses


@dataclasses.dataclass(frozen=True)
class Config:
    pass


def losses(config, model, batch, keys):
    noise = jax.vmap(lambda key: 0.1 * jax.random.normal(key, (2,)))(keys)
    units = batch["copies"] * batch["weight"]
    error = jnp.sum(jnp.square(model(batch["point"] + noise) - batch["point"]), axis=1)
    near = (error < 0.01).astype(jnp.float32)
    return Losses(error * units, {"loss": error * units, "near": near * units}, units)


def derived(config, means, facts):
    return {"rms": math.sqrt(means["loss"]), "far": 1 - means["near"]}


def examine(config, model, batch, keys):
    return {"radius": jnp.linalg.norm(model(batch["point"]), axis=1)}


def summarise(config, rows, facts):
    return {"radius": float(rows["radius"].mean())}
