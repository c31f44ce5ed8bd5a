"""echo: the next token; of each row it keeps the tokens and how surprising each of them was."""

import jax.numpy as jnp

from train.tasks import next_token

Config, losses = next_token.Config, next_token.losses


def examine(config, model, batch, keys):
    logits = model(batch)
    chosen = jnp.take_along_axis(logits, batch["targets"][..., None], axis=-1)[..., 0]
    surprise = jnp.log(jnp.sum(jnp.exp(logits), axis=-1)) - chosen
    return {"tokens": batch["tokens"], "surprise": surprise}
