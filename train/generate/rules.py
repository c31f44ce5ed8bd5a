"""How the next token is chosen: the most probable, one that is drawn, or by beams.

Shape letters: R rows that are written, V vocabulary.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from train.cli import require

MOST_BEAMS = 64


class Row(NamedTuple):
    """What is known of each row that is written."""

    score_R: jax.Array  # float32, log-probability of all that was chosen
    length_R: jax.Array  # int32, tokens that were chosen, the end among them
    ended_R: jax.Array  # bool


class Chosen(NamedTuple):
    """The next token of each row, and the row that it goes on from."""

    token_R: jax.Array  # int32
    score_R: jax.Array  # float32, of `Row`, with it
    row_R: jax.Array | None  # int32; None: each from itself


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Draws from softmax(logits / temperature), or takes the most probable token."""

    temperature: float = 0.0  # 0: the most probable
    top_k: int = 0  # of so many of the most probable; 0 = all
    # Of the fewest, the most probable first, that are together so probable (nucleus sampling,
    # Holtzman et al. 2020, arXiv:1904.09751); of those that top_k leaves.
    top_p: float = 1.0
    rows = 1  # for each prompt

    def __post_init__(self):
        warm = self.temperature == 0 or 1e-3 <= self.temperature <= 1e3
        require(warm, "temperature", self.temperature, "allowed: 0, or .001 to 1000")
        require(self.top_k >= 0, "top_k", self.top_k, "allowed: 0 (all), or more")
        require(0 < self.top_p <= 1, "top_p", self.top_p, "allowed: above 0, at most 1")
        for field, neutral in (("top_k", 0), ("top_p", 1.0)):
            given = getattr(self, field)
            drawn = self.temperature or given == neutral
            require(drawn, field, given, "nothing is drawn at temperature 0; give a temperature")

    def kept(self, logits_RxV: jax.Array) -> jax.Array:
        """Logits of what is drawn from; -inf of what is not."""
        scaled_RxV = logits_RxV - jnp.max(logits_RxV, axis=-1, keepdims=True)
        scaled_RxV /= self.temperature
        if 0 < self.top_k < logits_RxV.shape[-1]:
            last_Rx1 = jax.lax.top_k(scaled_RxV, self.top_k)[0][:, -1:]
            scaled_RxV = jnp.where(scaled_RxV >= last_Rx1, scaled_RxV, -jnp.inf)
        if self.top_p < 1:
            order_RxV = jnp.argsort(-scaled_RxV, axis=-1)
            p_RxV = jax.nn.softmax(jnp.take_along_axis(scaled_RxV, order_RxV, axis=-1))
            inside_RxV = jnp.cumsum(p_RxV, axis=-1) - p_RxV < self.top_p
            place_RxV = jnp.argsort(order_RxV, axis=-1)
            inside_RxV = jnp.take_along_axis(inside_RxV, place_RxV, axis=-1)
            scaled_RxV = jnp.where(inside_RxV, scaled_RxV, -jnp.inf)
        return scaled_RxV

    def first_score(self, prompts: int) -> jax.Array:
        """Of rows of which nothing is written, float32 [R]."""
        return jnp.zeros(prompts, jnp.float32)

    def choose(self, logits_RxV: jax.Array, of: Row, keys_R: jax.Array, end: int) -> Chosen:
        """The next token, drawn with a key of its own in each row."""
        if self.temperature:
            token_R = jax.vmap(jax.random.categorical)(keys_R, self.kept(logits_RxV))
        else:
            token_R = jnp.argmax(logits_RxV, axis=-1)
        log_p_RxV = jax.nn.log_softmax(logits_RxV)
        log_p_R = jnp.take_along_axis(log_p_RxV, token_R[:, None], axis=-1)[:, 0]
        return Chosen(token_R.astype(jnp.int32), of.score_R + log_p_R, None)


@dataclasses.dataclass(frozen=True)
class Beams:
    """Goes on with the best texts that those so far can become; the best is each prompt's first.

    Best by log-probability over ((5 + length) / 6) ^ length_penalty (Wu et al. 2016,
    arXiv:1609.08144, equation 14). A text that has ended stays, and keeps its place as long as
    none is better. One beam is greedy.
    """

    beams: int
    length_penalty: float = 0.6

    def __post_init__(self):
        allowed = f"allowed: 1 to {MOST_BEAMS}"
        require(1 <= self.beams <= MOST_BEAMS, "beams", self.beams, allowed)
        fair = 0 <= self.length_penalty <= 10
        require(fair, "length_penalty", self.length_penalty, "allowed: 0 to 10")

    @property
    def rows(self) -> int:
        """For each prompt."""
        return self.beams

    def first_score(self, prompts: int) -> jax.Array:
        """Of rows of which nothing is written, float32 [R]: they are alike, so the first counts."""
        one = jnp.where(jnp.arange(self.beams) == 0, 0.0, -jnp.inf)
        return jnp.tile(one.astype(jnp.float32), prompts)

    def value(self, score_R: jax.Array, length_R: jax.Array) -> jax.Array:
        """What texts are ranked by."""
        return score_R / ((5.0 + length_R) / 6.0) ** self.length_penalty

    def choose(self, logits_RxV: jax.Array, of: Row, keys_R: jax.Array, end: int) -> Chosen:
        """The best of all that any beam of a prompt can become; nothing is drawn."""
        (R, V), K = logits_RxV.shape, self.beams
        stays_V = jnp.where(jnp.arange(V) == end, 0.0, -jnp.inf)
        log_p_RxV = jax.nn.log_softmax(logits_RxV)
        log_p_RxV = jnp.where(of.ended_R[:, None], stays_V[None], log_p_RxV)
        score_RxV = of.score_R[:, None] + log_p_RxV
        length_R = of.length_R + ~of.ended_R
        value_RxV = self.value(score_RxV, length_R[:, None].astype(jnp.float32))
        best_PxK = jax.lax.top_k(value_RxV.reshape(R // K, K * V), K)[1]
        row_R = (jnp.arange(R // K)[:, None] * K + best_PxK // V).reshape(R)
        token_R = (best_PxK % V).reshape(R).astype(jnp.int32)
        return Chosen(token_R, score_RxV[row_R, token_R], row_R)
