"""crossed: a rating told by everything that is known of it, in products of any two columns or more.

A deep and cross network (Wang et al. 2020, "DCN V2: Improved deep & cross network and practical
lessons for web-scale learning to rank systems", arXiv:2008.13535, equation 1, with full weights):
user, item and each context of a rating are vectors, which lie side by side as x0; a layer is

    x' = x0 * (W x + b) + x

so that after L of them each place is a polynomial of degree L + 1. What they make, what a
perceptron makes of x0, and a bias of each user, item and context are summed. N is counted in tables
(`embedding`), all else (`body`), and what one rating passes through (`active`).

Shape letters: B batch, F contexts, K width of a column, D = (2 + F) K.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.tables import look_up, table
from models.layers.transformer import dense
from models.layers.weights import weight

ROWS = ("user_rows", "item_rows", "context_rows")
PENALTIES = ("bias_penalty", "vector_penalty")


@dataclasses.dataclass(frozen=True)
class Config:
    user_rows: int  # 0 in a config: as many as the data have
    item_rows: int  # likewise
    context_rows: int  # values of all contexts together, likewise
    contexts: int  # F, likewise
    width: int  # K, places of a vector
    layers: int  # of crossing
    hidden: int  # width of the perceptron; 0 = none
    # Of all squares in the tables, whatever a batch looks up: ridges divided by the number of
    # ratings to train on. Vectors need a stronger one, or they learn ratings by heart.
    bias_penalty: float
    vector_penalty: float

    def __post_init__(self):
        for field in (*ROWS[:2], "width"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 1")
        for field in ("context_rows", "contexts", "layers", "hidden", *PENALTIES):
            if getattr(self, field) < 0:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 0")

        given = f"context_rows: {self.context_rows}"
        if self.context_rows and not self.contexts:
            raise ValueError(f"{given}; must be 0 where contexts is 0")
        if self.context_rows < self.contexts:
            raise ValueError(f"{given}; must be at least {self.contexts}, one of each of contexts")

    def fits(self, facts: Mapping[str, Any]) -> None:
        """Raises ValueError for other tables than the data's: the number after a table is cold."""
        for field in (*ROWS, "contexts"):
            if getattr(self, field) != facts[field]:
                given = f"{field}: {getattr(self, field)}"
                raise ValueError(f"{given}; must be {facts[field]}, as many as the data have")

    @property
    def used(self) -> dict[str, float]:
        """The share of parameters with this logical axis that a rating passes through."""
        used = {"users": 1 / self.user_rows, "items": 1 / self.item_rows}
        return used | ({"contexts": self.contexts / self.context_rows} if self.contexts else {})


class Model(nn.Module):
    """batch["user"], batch["item"] int [B], batch["context"] int [B, F] unless F is 0 -> rating,
    told from the data's mean, float32 [B].

    The number just after a table's last row is of nobody: what is looked up for it is 0.
    """

    config: Config

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], *, train: bool = False) -> jax.Array:
        c = self.config
        sizes = {"user": c.user_rows, "item": c.item_rows}
        sizes |= {"context": c.context_rows} if c.contexts else {}
        y_B = weight(self, "bias", {}, {None: 1}, init=nn.initializers.zeros)
        penalty, columns = 0.0, []
        for of, rows in sizes.items():
            whole = table(self, of, rows, c.width)
            penalty += c.bias_penalty * jnp.square(whole.bias).sum()
            penalty += c.vector_penalty * jnp.square(whole.vector).sum()
            found = look_up(whole, batch[of].reshape(len(batch[of]), -1))
            y_B += found.bias.sum(axis=1)
            columns.append(found.vector.reshape(len(y_B), -1))
        self.sow("losses", "penalty", jnp.broadcast_to(penalty, y_B.shape))
        x0_BxD = jnp.concatenate(columns, axis=1)
        return y_B + self.crossed(x0_BxD) + (self.deep(x0_BxD) if c.hidden else 0)

    def crossed(self, x0_BxD: jax.Array) -> jax.Array:
        """What the layers make of the columns, [B]."""
        D, x_BxD = x0_BxD.shape[1], x0_BxD
        for layer in range(self.config.layers):
            w_DxD = weight(self, f"cross_{layer}", {"embed": D}, {"hidden": D})
            b_D = weight(self, f"cross_{layer}_bias", {}, {None: D}, init=nn.initializers.zeros)
            x_BxD += x0_BxD * (dense(x_BxD, w_DxD) + b_D[None])
        return dense(x_BxD, weight(self, "sum_crossed", {"embed": D}, {None: 1}))[:, 0]

    def deep(self, x0_BxD: jax.Array) -> jax.Array:
        """What the perceptron makes of the columns, [B]."""
        D, F, zeros = x0_BxD.shape[1], self.config.hidden, nn.initializers.zeros
        b_F = weight(self, "up_bias", {}, {None: F}, init=zeros)
        h_BxF = dense(x0_BxD, weight(self, "up", {"embed": D}, {"hidden": F})) + b_F[None]
        sum_Fx1 = weight(self, "sum_deep", {"hidden": F}, {None: 1})
        return dense(jax.nn.gelu(h_BxF), sum_Fx1)[:, 0]
