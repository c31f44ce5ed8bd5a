"""factorization: a rating is what its user and its item have in common, and what each is used to.

Matrix factorisation with biases (Koren, Bell and Volinsky 2009, "Matrix factorization techniques
for recommender systems", equations 4 and 5): a bias of the user, one of the item, and the product
of a vector of each. N is counted in tables (`embedding`), all else (`body`), and what one rating
passes through (`active`): a law in all of N is one of the size of the catalogue too.

Shape letters: B batch, U users, I items, K rank.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.placement import spread
from models.layers.weights import gathered, weight

SPREAD = 0.1  # of the first values of vectors


@dataclasses.dataclass(frozen=True)
class Config:
    user_rows: int  # U; 0 in a config: as many as the data have
    item_rows: int  # I, likewise
    rank: int  # K, places of a vector; 0 = biases alone
    # Of all squares in the tables: a ridge divided by the number of ratings to train on. A rating
    # pays for its user U times and for its item I times, as it meets one of so many.
    penalty: float

    def __post_init__(self):
        for field in ("user_rows", "item_rows"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 1")
        for field in ("rank", "penalty"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 0")

    def fits(self, facts: Mapping[str, Any]) -> None:
        """Raises ValueError for other tables than the data's: the number after a table is cold."""
        for field in ("user_rows", "item_rows"):
            if getattr(self, field) != facts[field]:
                given = f"{field}: {getattr(self, field)}"
                raise ValueError(f"{given}; must be {facts[field]}, as many as the data have")

    @property
    def used(self) -> dict[str, float]:
        """The share of parameters with this logical axis that a rating passes through."""
        return {"users": 1 / self.user_rows, "items": 1 / self.item_rows}


class Model(nn.Module):
    """batch["user"], batch["item"] int [B] -> rating, told from the data's mean, float32 [B].

    The number just after a table's last row is of nobody: what is looked up for it is 0.
    """

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        c = self.config
        user_B, user_BxK = self.looked_up("user", c.user_rows, batch["user"])
        item_B, item_BxK = self.looked_up("item", c.item_rows, batch["item"])
        y_B = user_B + item_B + weight(self, "bias", {}, {None: 1}, init=nn.initializers.zeros)
        if c.rank:
            y_B += jnp.einsum("bk,bk->b", user_BxK, item_BxK)
        squares_B = c.user_rows * _squares(user_B, user_BxK)
        squares_B += c.item_rows * _squares(item_B, item_BxK)
        self.sow("losses", "penalty", c.penalty * squares_B)
        return y_B

    def looked_up(
        self, side: str, rows: int, number_B: jax.Array
    ) -> tuple[jax.Array, jax.Array | None]:
        """Biases [B] and vectors [B, K] of one side; None where there are none."""
        axis, normal = f"{side}s", nn.initializers.normal(SPREAD)
        number_B = spread(number_B, "batch")
        zeros = nn.initializers.zeros
        bias = weight(self, f"embedding_{side}_bias", {axis: rows}, {}, init=zeros)
        bias_B = _rows(spread(bias, axis), number_B)
        if not self.config.rank:
            return bias_B, None
        table = weight(
            self, f"embedding_{side}", {axis: rows}, {"embed": self.config.rank}, init=normal
        )
        table = gathered(table, (axis, "embed"), jnp.float32)
        return bias_B, spread(_rows(table, number_B), "batch", None)


def _rows(table: jax.Array, number_B: jax.Array) -> jax.Array:
    """Rows of a table, and zeros for numbers that are past its end."""
    return jnp.take(table, number_B, axis=0, mode="fill", fill_value=0)


def _squares(bias_B: jax.Array, vector_BxK: jax.Array | None) -> jax.Array:
    bias_B = jnp.square(bias_B)
    return bias_B if vector_BxK is None else bias_B + jnp.square(vector_BxK).sum(axis=1)
