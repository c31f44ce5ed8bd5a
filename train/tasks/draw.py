"""draw: cross-entropy of an image's codes after its caption, in nats per code; and what the caption
is worth.

gain: how many nats per code the image costs more without its caption (Henighan et al. 2020,
arXiv:2010.14701): the information that the one has of the other, as far as the model knows images
without captions, which it must have been trained on too.
retrieval: how often an image's own caption, of all that the data have beside it, makes it most
likely. caption_nats: what it costs to name that caption by the image, all being as likely before:
the logarithm of how many there are for who cannot. What is missing to that bounds from below what
the two say of each other (van den Oord et al. 2018, arXiv:1807.03748, section 2.3), where the gain
is too large if images without captions are known badly.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from train.tasks import Losses

if TYPE_CHECKING:
    from train.score import Bound

RANGE = {"retrieval": (1.0, 0.0), "caption_nats": (0.0, math.inf)}


@dataclasses.dataclass(frozen=True)
class Config:
    pass


def losses(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> Losses:
    """Scores logits float [B, I, K] against batch["targets"] int [B, I]; batch["weight"] [B] is 0
    for padding."""
    nats_B, weight_B = _nats(model(batch), batch), batch["weight"]
    units_B = weight_B * batch["targets"].shape[1]
    return Losses(objective=nats_B * weight_B, sums={"loss": nats_B * weight_B}, units=units_B)


def _nats(logits_BxIxK: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """Of each image, float32 [B]."""
    logits_BxIxK = logits_BxIxK.astype(jnp.float32)
    # The gradient of a gather is a scatter, which is slow on CPU; the product with a one-hot fuses.
    hot_BxIxK = jax.nn.one_hot(batch["targets"], logits_BxIxK.shape[-1], dtype=jnp.float32)
    said_BxI = jnp.sum(logits_BxIxK * hot_BxIxK, axis=-1)
    return jnp.sum(jax.nn.logsumexp(logits_BxIxK, axis=-1) - said_BxI, axis=1)


def examine(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> dict:
    """Of each image its nats per code with its caption and with none, [B]; and with each of
    batch["others"] int [B, O, T], captions of other images, [B, O]."""
    places = batch["targets"].shape[1]

    def of(text_BxT: jax.Array | None) -> jax.Array:
        return _nats(model(batch, text_BxT, method="captioned"), batch) / places

    found = {"nats": _nats(model(batch), batch) / places, "bare": of(None)}
    if "others" in batch:
        others_OxBxT = batch["others"].swapaxes(0, 1)
        found["others"] = jnp.stack([of(text) for text in others_OxBxT], axis=1)
    return found


def summarise(config: Config, rows: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> dict:
    """See above; the gain alone where there are no other captions."""
    found = {"gain": float(np.mean(rows["bare"] - rows["nats"]))}
    if "others" in rows:
        own, others = rows["nats"].astype(np.float64), rows["others"].astype(np.float64)
        found["retrieval"] = float((own < others.min(axis=1)).mean())
        likely = -facts["places"] * np.concatenate([own[:, None], others], axis=1)
        found["caption_nats"] = float((logsumexp(likely, axis=1) - likely[:, 0]).mean())
    return found
