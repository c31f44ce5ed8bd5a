"""two_tower: a user, as what he met before, and an item are vectors; their product ranks items.

The tower of users sums the vectors of a history and passes them on through a perceptron (Covington,
Adams and Sargin 2016, "Deep neural networks for YouTube recommendations", section 3), so who is new
needs no row of his own. The tower of items is a table with a bias for how well known each is: what
it gives can be looked up ahead of time, and of some thousand items all are ranked at once.
What a user has met is not offered to him.

Shape letters: B batch, H history, I items, D width.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import transformer
from models.layers.placement import spread
from models.layers.weights import gathered, weight


@dataclasses.dataclass(frozen=True)
class Config:
    item_rows: int  # I; 0 in a config: as many as the data have
    width: int  # D
    hidden: int  # width of the perceptron; 0 = none
    dropout: float  # rate, on each item of a history

    def __post_init__(self):
        for field in ("item_rows", "width"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 1")
        if self.hidden < 0:
            raise ValueError(f"hidden: {self.hidden}; must be at least 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}; must be in [0, 1)")

    def fits(self, facts: Mapping[str, Any]) -> None:
        """Raises ValueError for another table than the data's: the number after it is no item."""
        if self.item_rows != facts["item_rows"]:
            raise ValueError(
                f"item_rows: {self.item_rows}; must be {facts['item_rows']}, as the data have"
            )


class Model(nn.Module):
    """batch["history"], batch["met"] int [B, H] -> logits float32 [B, I], -inf for what was met.

    The number just after the last item fills both up.
    """

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        c, history_BxH = self.config, spread(batch["history"], "batch", None)
        user_BxD = self.user(self.table("embedding_met"), history_BxH, train)
        bias_I = weight(self, "head_bias", {}, {"items": c.item_rows}, init=nn.initializers.zeros)
        logits_BxI = jnp.einsum("bd,id->bi", user_BxD, self.table("head_item"))
        logits_BxI += spread(bias_I, "items")[None]
        rows_Bx1 = jnp.arange(len(history_BxH))[:, None]
        logits_BxI = logits_BxI.at[rows_Bx1, batch["met"]].set(-jnp.inf, mode="drop")
        return spread(logits_BxI, "batch", "items")

    def table(self, name: str) -> jax.Array:
        """A vector for each item, [I, D]."""
        axes = {"items": self.config.item_rows}, {"embed": self.config.width}
        init = nn.initializers.normal(self.config.width**-0.5)
        return gathered(weight(self, name, *axes, init=init), ("items", "embed"), jnp.float32)

    def user(self, met_IxD: jax.Array, history_BxH: jax.Array, train: bool) -> jax.Array:
        """What a history says, [B, D]: the sum of its vectors over the root of their number."""
        c = self.config
        there_BxH = (history_BxH < c.item_rows).astype(jnp.float32)
        kept_BxH = nn.Dropout(c.dropout, deterministic=not train)(there_BxH)
        x_BxHxD = jnp.take(met_IxD, history_BxH, axis=0, mode="fill", fill_value=0)
        number_Bx1 = jnp.maximum(kept_BxH.sum(axis=1), 1)[:, None]
        x_BxD = jnp.einsum("bh,bhd->bd", kept_BxH, x_BxHxD) / jnp.sqrt(number_Bx1)
        if not c.hidden:
            return x_BxD
        up_DxF = weight(self, "up", {"embed": c.width}, {"hidden": c.hidden})
        down_FxD = weight(self, "down", {"hidden": c.hidden}, {"embed": c.width})
        return x_BxD + transformer.dense(jax.nn.gelu(transformer.dense(x_BxD, up_DxF)), down_FxD)
