"""ranking: cross-entropy of the item to be found among all that there are, in nats a row.

Nothing is sampled: each row is ranked against every item that may be offered. Sampled metrics put
models in another order (Krichene and Rendle 2020, "On sampled metrics for item recommendation").
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

from train.tasks import Losses

if TYPE_CHECKING:
    from train.score import Bound

FIRST = 10  # as many are offered
RANGE = {f"recall@{FIRST}": (1.0, 0.0), f"ndcg@{FIRST}": (1.0, 0.0), "mrr": (1.0, 0.0)}


@dataclasses.dataclass(frozen=True)
class Config:
    pass


def losses(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> Losses:
    """Scores logits float [B, I], -inf for what is not offered, against batch["item"] int [B];
    batch["weight"] [B] is 0 for padding.

    One item of a row is right, so that recall@10 is whether it is among the first ten, ndcg@10
    1 / log2(1 + its rank) there (Jarvelin and Kekalainen 2002), and mrr the mean of 1 / rank.
    """
    logits_BxI = model(batch).astype(jnp.float32)
    weight_B, rank_B = batch["weight"], ranks(logits_BxI, batch["item"])
    loss_B = optax.softmax_cross_entropy_with_integer_labels(logits_BxI, batch["item"])
    # Of a row of padding the item need not be offered.
    loss_B = jnp.where(weight_B > 0, loss_B, 0) * weight_B
    found_B = rank_B <= FIRST
    sums = {
        "loss": loss_B,
        f"recall@{FIRST}": found_B * weight_B,
        f"ndcg@{FIRST}": found_B / jnp.log2(1.0 + rank_B) * weight_B,
        "mrr": weight_B / rank_B,
    }
    return Losses(loss_B, sums, weight_B)


def ranks(logits_BxI: jax.Array, item_B: jax.Array) -> jax.Array:
    """The place of each row's item, from 1; of those that are equal it is the last."""
    own_Bx1 = jnp.take_along_axis(logits_BxI, item_B[:, None], axis=1)
    return (logits_BxI >= own_Bx1).sum(axis=1)


def examine(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> dict:
    """Of each row the rank of its item, and the items that are offered first."""
    logits_BxI = model(batch).astype(jnp.float32)
    _, offered = jax.lax.top_k(logits_BxI, min(FIRST, logits_BxI.shape[1]))
    return {"rank": ranks(logits_BxI, batch["item"]), "offered": offered}
