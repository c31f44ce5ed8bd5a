"""Texts written token by token: one loop for all families and rules, compiled once.

A family has `begin` and `step` (models); a rule, of `train.generate.rules`, chooses. Prompts of
unequal lengths are read together as far as the shortest goes, and from there token by token, so
that no cache holds padding: each token's logits are those of a pass over its row alone.

Shape letters: P prompts, R rows that are written (P times the beams), T places, V vocabulary.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from train.generate.rules import Beams, Row, Sampling

CHUNKS = (64, 16, 4)  # tokens of a prompt that are read at a time
# Where fewer are left than a chunk has, but more than this, it is read beyond the prompt, if the
# model can forget the others.
PADDED = {64: 48, 16: 0}
ALONE = 64  # so only of a text alone: of several, four passes of 16 are faster
BLOCK = 16  # tokens that are written between two looks at them


class Text(NamedTuple):
    """Texts while they are written."""

    memory: Any  # the model's
    tokens_RxT: jax.Array  # int32, what is given and what was written; T is one more than it reads
    place: jax.Array  # int32 [], tokens that were read
    of: Row


class Asked(NamedTuple):
    """What is to be written, as inputs that nothing is compiled again for."""

    given_R: jax.Array  # int32, tokens of the prompt
    most: jax.Array  # int32 [], tokens to write in a row
    key: jax.Array  # of what is drawn


class Written(NamedTuple):
    """The best text of each prompt, as far as it is written."""

    tokens: list[np.ndarray]  # int32 [T], without the prompt and the end
    score: np.ndarray  # float32 [P], log-probability of what was chosen, the end among it
    ended: np.ndarray  # bool [P], by an end token


@dataclasses.dataclass(frozen=True)
class Writer:
    """A model that writes by a rule."""

    model: nn.Module
    rule: Sampling | Beams
    end: int  # a token; -1: there is none

    @functools.partial(jax.jit, static_argnums=0)
    def begin(self, variables: Any, batch: dict[str, jax.Array], asked: Asked) -> Text:
        """Reads what all prompts have, but for the last token.

        Args:
          variables: of the model.
          batch: what `begin` of the model reads; its `tokens` int32 [P, T - 1] begin with the
            prompts.
          asked: what is to be written.
        """
        (P, L), K = batch["tokens"].shape, self.rule.rows
        memory, place = self._start(variables, batch), jnp.zeros((), jnp.int32)
        for size in (size for size in CHUNKS if size <= L):
            memory, place = self._read(variables, batch, asked, memory, place, size)
            if size in PADDED and hasattr(self.model, "rewind") and (P == 1 or size != ALONE):
                memory, place = self._read_on(variables, batch, asked, memory, place, size)
        rows_R = jnp.repeat(jnp.arange(P), K)
        tokens_RxT = jnp.pad(batch["tokens"], ((0, 0), (0, 1)))[rows_R]
        if K > 1:
            memory = self._rows(variables, batch, memory, rows_R)
        none_R = jnp.zeros(P * K, jnp.int32)
        return Text(memory, tokens_RxT, place, Row(self.rule.first_score(P), none_R, none_R > 0))

    @functools.partial(jax.jit, static_argnums=0)
    def write(
        self, variables: Any, batch: dict[str, jax.Array], asked: Asked, text: Text, until: Any
    ) -> Text:
        """Goes on until so many tokens were read, or all rows have ended."""

        def more(text: Text) -> jax.Array:
            return (text.place < until) & ~jnp.all(text.of.ended_R)

        return jax.lax.while_loop(
            more, lambda text: self._next(variables, batch, asked, text), text
        )

    def _next(self, variables: Any, batch: dict[str, jax.Array], asked: Asked, text: Text) -> Text:
        (R, _), place, of = text.tokens_RxT.shape, text.place, text.of
        now_Rx1 = jax.lax.dynamic_slice_in_dim(text.tokens_RxT, place, 1, axis=1)
        memory, logits_Rx1xV = self._step(variables, text.memory, now_Rx1)
        # A row's draws depend on its number and place alone.
        keys_R = jax.vmap(lambda row: jax.random.fold_in(jax.random.fold_in(asked.key, row), place))
        logits_RxV = logits_Rx1xV[:, 0].astype(jnp.float32)
        chosen = self.rule.choose(logits_RxV, of, keys_R(jnp.arange(R)), self.end)
        given_R, tokens_RxT = place + 1 < asked.given_R, text.tokens_RxT
        if chosen.row_R is not None:
            row_R = jnp.where(given_R, jnp.arange(R), chosen.row_R)
            memory = self._rows(variables, batch, memory, row_R)
            tokens_RxT = tokens_RxT[row_R]
            of = Row(of.score_R, of.length_R[row_R], of.ended_R[row_R])
        next_R = tokens_RxT[:, place + 1]
        writes_R = ~given_R & ~of.ended_R
        token_R = jnp.where(writes_R, chosen.token_R, jnp.where(given_R, next_R, self.end))
        length_R = of.length_R + writes_R
        ended_R = of.ended_R | writes_R & ((token_R == self.end) | (length_R >= asked.most))
        # What a beam scores may be another one's that had ended.
        scored_R = writes_R if chosen.row_R is None else ~given_R
        score_R = jnp.where(scored_R, chosen.score_R, of.score_R)
        tokens_RxT = jax.lax.dynamic_update_slice_in_dim(
            tokens_RxT, token_R[:, None], place + 1, axis=1
        )
        return Text(memory, tokens_RxT, place + 1, Row(score_R, length_R, ended_R))

    def _read(
        self, variables: Any, batch: Any, asked: Asked, memory: Any, place: jax.Array, size: int
    ) -> tuple[Any, jax.Array]:
        """As many chunks of a size as all prompts have before their last token."""

        def more(so_far: tuple[Any, jax.Array]) -> jax.Array:
            return so_far[1] + size < jnp.min(asked.given_R)

        def read(so_far: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            memory, place = so_far
            chunk = jax.lax.dynamic_slice_in_dim(batch["tokens"], place, size, axis=1)
            return self._step(variables, memory, chunk)[0], place + size

        return jax.lax.while_loop(more, read, (memory, place))

    def _read_on(
        self, variables: Any, batch: Any, asked: Asked, memory: Any, place: jax.Array, size: int
    ) -> tuple[Any, jax.Array]:
        """What is left before the last token, in one chunk that goes beyond it; not where there is
        no room for that, or too little left."""
        until, L = jnp.min(asked.given_R) - 1, batch["tokens"].shape[1]

        def read(memory: Any) -> Any:
            chunk = jax.lax.dynamic_slice_in_dim(batch["tokens"], place, size, axis=1)
            memory = self._step(variables, memory, chunk)[0]
            return self.model.apply(variables, memory, until, method="rewind")

        there = (place + PADDED[size] < until) & (place + size <= L)
        memory = jax.lax.cond(there, read, lambda memory: memory, memory)
        return memory, jnp.where(there, until, place)

    def _start(self, variables: Any, batch: dict[str, jax.Array]) -> Any:
        return self.model.apply(variables, batch, method="begin")

    def _step(self, variables: Any, memory: Any, tokens_RxL: jax.Array) -> tuple[Any, jax.Array]:
        return self.model.apply(variables, memory, tokens_RxL, method="step")

    def _rows(
        self, variables: Any, batch: dict[str, jax.Array], memory: Any, rows_R: jax.Array
    ) -> Any:
        """These rows of what a model remembers: its arrays' axis that is longer of more rows."""
        twice = jax.tree.map(lambda x: jnp.concatenate([x, x]), batch)
        one, two = (jax.eval_shape(self._start, variables, b) for b in (batch, twice))

        def take(x: jax.Array, one: Any, two: Any) -> jax.Array:
            grows = [axis for axis in range(x.ndim) if one.shape[axis] != two.shape[axis]]
            return jnp.take(x, rows_R, axis=grows[0]) if grows else x

        return jax.tree.map(take, memory, one, two)


def written(
    writer: Writer,
    variables: Any,
    batch: dict[str, np.ndarray],
    given: np.ndarray,
    *,
    tokens: int = 0,
    seed: int = 0,
    every: int = BLOCK,
) -> Iterator[Written]:
    """Writes; gives all so far after the first token, and then every few.

    Args:
      writer: of a model.
      variables: of the model.
      batch: as `begin` of the model reads it; its `tokens` int32 [P, L] begin with the prompts.
      given: int32 [P], how many tokens a prompt has, at least 1.
      tokens: to write for each prompt at most; 0 = as many as there is room for.
      seed: of what is drawn.
      every: how few.
    """
    L, K = batch["tokens"].shape[1], writer.rule.rows
    most = tokens or L
    asked = Asked(np.repeat(given, K), np.int32(most), jax.random.key(seed))
    text = writer.begin(variables, batch, asked)
    until, last = int(given.max()), min(L, int(given.max()) + most - 1)
    while True:
        text = writer.write(variables, batch, asked, text, until)
        tokens_RxT, of = jax.device_get((text.tokens_RxT, text.of))
        first = np.arange(0, len(tokens_RxT), K)  # beams are in order
        found = [
            tokens_RxT[row, start : start + of.length_R[row]] for row, start in zip(first, given)
        ]
        ended = np.array([len(own) > 0 and own[-1] == writer.end for own in found])
        bare = [own[: len(own) - end] for own, end in zip(found, ended)]
        yield Written(bare, of.score_R[first], ended)
        if until >= last or of.ended_R.all():
            return
        until = min(until + every, last)
