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

from models.layers.tables import look_up, table
from models.layers.weights import weight


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
        user = look_up(table(self, "user", c.user_rows, c.rank), batch["user"])
        item = look_up(table(self, "item", c.item_rows, c.rank), batch["item"])
        y_B = user.bias + item.bias
        y_B += weight(self, "bias", {}, {None: 1}, init=nn.initializers.zeros)
        if c.rank:
            y_B += jnp.einsum("bk,bk->b", user.vector, item.vector)
        squares_B = c.user_rows * user.squares() + c.item_rows * item.squares()
        self.sow("losses", "penalty", c.penalty * squares_B)
        return y_B
