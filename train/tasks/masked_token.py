"""masked_token: cross-entropy of tokens that are hidden from a reader, in nats per hidden token.

Of every row a share of its tokens is asked for. As in RoBERTa (Liu et al. 2019, arXiv:1907.11692)
they are drawn anew whenever a row is seen, here from the row's key: which they are is a function of
seed, step and row, and at evaluation always the same. Of those asked for four in five are masked,
one in ten is replaced and one in ten stays (Devlin et al. 2019, arXiv:1810.04805, section 3.1);
what replaces one is another token of its row, so as common as the language has it.

To the model token 0 is padding and token 1 the mask. Shape letters: B batch, L length, M tokens
asked for, V vocabulary.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from train.tasks import Losses

RANGE = {"accuracy": (1.0, 0.0), "perplexity": (1.0, math.inf)}
PADDING, MASK, SPECIAL = 0, 1, 2  # the ids of a text's own tokens begin after these
MASKED, REPLACED = 0.8, 0.1  # shares of what is asked for
MOST = 700.0  # nats: e to more is no float


@dataclasses.dataclass(frozen=True)
class Config:
    share: float  # of a row's tokens that are asked for
    padded: bool  # the data leave ids 0 and 1 free and pad their rows; else the task makes room

    def __post_init__(self):
        if not 0 < self.share < 1:
            raise ValueError(f"share: {self.share}; must be in (0, 1)")


class Asked(NamedTuple):
    """What is asked of rows."""

    shown_BxL: jax.Array  # the tokens as the model sees them
    places_BxM: jax.Array
    tokens_BxM: jax.Array  # what stands there
    is_BxM: jax.Array  # bool; a short row has fewer than M


def losses(config: Config, model: Any, batch: dict[str, jax.Array], keys: jax.Array) -> Losses:
    """Scores logits [B, M, V] of tokens of batch["tokens"] int [B, L] that are hidden.

    A unit is a token that is asked for, at least one a row. batch["weight"] float [B] is 0 for
    padding.
    """
    asked = ask(config, batch["tokens"], keys)
    logits_BxMxV = model({"tokens": asked.shown_BxL}, asked.places_BxM).astype(jnp.float32)
    # The gradient of a gather is a scatter, which is slow on CPU; the product with a one-hot fuses.
    hot_BxMxV = jax.nn.one_hot(asked.tokens_BxM, logits_BxMxV.shape[-1], dtype=jnp.float32)
    logit_BxM = jnp.sum(logits_BxMxV * hot_BxMxV, axis=-1)
    loss_BxM = jax.nn.logsumexp(logits_BxMxV, axis=-1) - logit_BxM
    right_BxM = logit_BxM >= jnp.max(logits_BxMxV, axis=-1)
    counts_BxM = asked.is_BxM * batch["weight"][:, None]
    loss_B = jnp.sum(loss_BxM * counts_BxM, axis=1)
    return Losses(
        objective=loss_B,
        sums={"loss": loss_B, "accuracy": jnp.sum(right_BxM * counts_BxM, axis=1)},
        units=jnp.sum(counts_BxM, axis=1),
    )


def ask(config: Config, tokens_BxL: jax.Array, keys_B: jax.Array) -> Asked:
    """Hides tokens, each row's by its own key."""
    tokens_BxL = tokens_BxL if config.padded else tokens_BxL + SPECIAL
    return jax.vmap(lambda row, key: Asked(*_of_row(config, row, key)))(tokens_BxL, keys_B)


def _of_row(config: Config, tokens_L: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
    L, M = len(tokens_L), max(1, round(config.share * len(tokens_L)))
    keys = jax.random.split(key, 3)
    real_L = tokens_L != PADDING
    n = jnp.sum(real_L)
    # All real tokens in an order of their own: the first are asked for.
    _, order_L = jax.lax.top_k(jax.random.uniform(keys[0], (L,)) + real_L, L)
    places_M = order_L[:M]
    is_M = jnp.arange(M) < jnp.minimum(n, jnp.maximum(1, jnp.round(config.share * n)))
    draw_M = jax.random.uniform(keys[1], (M,))
    others_M = order_L[jax.random.randint(keys[2], (M,), 0, jnp.maximum(n, 1))]
    right_M = tokens_L[places_M]
    said_M = jnp.where(draw_M < MASKED + REPLACED, tokens_L[others_M], right_M)
    said_M = jnp.where(draw_M < MASKED, MASK, said_M)
    shown_L = tokens_L.at[places_M].set(jnp.where(is_M, said_M, right_M))
    return shown_L, places_M, right_M, is_M


def derived(
    config: Config, means: Mapping[str, float], facts: Mapping[str, Any]
) -> dict[str, float]:
    """Perplexity per hidden token."""
    loss = means["loss"]
    return {"perplexity": math.exp(loss) if loss < MOST else math.inf}
