"""A transformer that reads a text in both directions: what bert and its classifier share.

Pre-norm blocks as in gpt, but that every token sees all others. Options of ALBERT (Lan et al. 2020,
arXiv:1909.11942): one block's weights for all layers, and an embedding narrower than the blocks.

Token 0 is padding. Shape letters: B batch, L length, D model width, E width of the embedding, V
vocabulary.
"""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import transformer, vocabulary
from models.layers.weights import gathered, weight

PADDING = 0
POSITIONS = ("rotary", "learned")


@dataclasses.dataclass(frozen=True)
class Config:
    """What reads."""

    vocab_size: int  # V, must hold every token that the task gives
    layers: int
    shared: bool  # all layers have the same weights
    width: int  # D
    embedding_width: int  # E; 0 = D
    positions: str  # "rotary" | "learned", in which case rows are no longer than `length`
    length: int  # of learned positions; unused by rotary ones
    heads: int  # width / heads must be even (rotary positions)
    hidden: int  # width of the perceptron
    activation: str  # "gelu" | "swiglu"
    dropout: float  # rate, of the embedding and on each residual branch
    remat: str  # what the backward pass computes again: one of `transformer.REMAT`, or "auto"
    dtype: str  # of activations and matrix products: "float32" | "bfloat16"

    def __post_init__(self):
        transformer.check(self, ("vocab_size", "layers", "width", "length", "heads", "hidden"))
        if self.positions not in POSITIONS:
            allowed = ", ".join(POSITIONS)
            raise ValueError(f"positions: {self.positions!r}; allowed: {allowed}")
        if self.embedding_width < 0:
            given = f"embedding_width: {self.embedding_width}"
            raise ValueError(f"{given}; allowed: 0 (as wide as the blocks), or more")

    @property
    def used(self) -> Mapping[str, float]:
        """How often a token passes through weights, see train.accounting: those that layers share
        count once in N and `layers` times in what is active."""
        return {"layers": self.layers} if self.shared else {}

    def shape(self) -> transformer.Shape:
        """What its blocks are."""
        base = 10_000.0 if self.positions == "rotary" else 0.0
        branches = 2 * self.layers
        return transformer.Shape.of(self, branches, causal=False, qk_norm=True, rope_base=base)


def embedding(module: nn.Module, c: Config) -> jax.Array:
    """The table of a module, [V, E]."""
    return vocabulary.embedding(module, c.vocab_size, c.embedding_width or c.width)


def read(module: nn.Module, c: Config, table_VxE: jax.Array, tokens_BxL: jax.Array, train: bool):
    """What a module makes of a text: [B, L, D], normalised, of every token that is no padding.

    Adds its layers to the module, which is a compact one.
    """
    dtype, keep_BxL = jnp.dtype(c.dtype), tokens_BxL != PADDING
    x_BxLxD = vocabulary.embed(table_VxE, tokens_BxL)
    x_BxLxD = transformer.RMSNorm(dtype, name="in_norm")(x_BxLxD)
    if c.embedding_width:
        x_BxLxD = transformer.dense(x_BxLxD, projection(module, "embedding_out", c))
    if c.positions == "learned":
        x_BxLxD += _places(module, c, tokens_BxL.shape[1])[None].astype(dtype)
    x_BxLxD = nn.Dropout(c.dropout, deterministic=not train)(x_BxLxD)
    stacked = 1 if c.shared else c.layers
    blocks = transformer.stack(stacked, c.shape(), x_BxLxD, remat=c.remat, train=train)
    for _ in range(c.layers // stacked):
        x_BxLxD, _ = blocks(x_BxLxD, None, keep_BxL)
    return transformer.RMSNorm(dtype, name="out_norm")(x_BxLxD)


def projection(module: nn.Module, name: str, c: Config) -> jax.Array:
    """A matrix of a module between the widths of embedding and blocks: [E, D] on the way in,
    [D, E] on the way out (a name that begins with head)."""
    narrow, wide = c.embedding_width, c.width
    # The narrow side is as wide in every model, and copied.
    inputs, outputs = {None: narrow}, {"embed": wide}
    if name.startswith("head"):
        inputs, outputs = outputs, inputs
    w = weight(module, name, inputs, outputs)
    return gathered(w, (*inputs, *outputs), jnp.dtype(c.dtype))


def _places(module: nn.Module, c: Config, L: int) -> jax.Array:
    if c.length < L:
        raise ValueError(f"length: {c.length}; the data's rows have {L} tokens")
    # As large as what they are added to, which is normalised, they would drown the words.
    small, sizes = nn.initializers.normal(0.1), ({None: c.length}, {"embed": c.width})
    table_LxD = weight(module, "embedding_places", *sizes, init=small)
    return gathered(table_LxD, (None, "embed"), jnp.float32)[:L]
