"""transcribe: connectionist temporal classification, in nats per character; errors by decoding.

The loss (Graves et al. 2006, "Connectionist temporal classification") is that of all ways in which
the steps of a recording can say its text. Label 0 is padding, and class 0 the blank. Decoding is
greedy: of each step the likeliest class, of the same in a row one, without blanks. CER and WER are
errors (Levenshtein 1966) in characters and in words, of the whole set: all of its errors over all
of its characters or words. Neither counts anything of rows that the data leave out.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from train.tasks import Losses

if TYPE_CHECKING:
    from train.score import Bound

RANGE = {"cer": (0.0, math.inf), "wer": (0.0, math.inf)}
BLANK = PADDING = 0


@dataclasses.dataclass(frozen=True)
class Config:
    pass


def losses(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> Losses:
    """Scores logits float [B, L, K] against batch["labels"] int [B, C]. A unit is a character.

    Of the F frames of a row batch["frames"] int [B] are heard, and of its L steps those that have
    only such; batch["weight"] float [B] is 0 for padding.
    """
    logits_BxLxK = model(batch).astype(jnp.float32)
    silent_BxL = ~_heard(batch, logits_BxLxK.shape[1])
    padding_BxC = batch["labels"] == PADDING
    loss_B = optax.ctc_loss(
        logits_BxLxK,
        silent_BxL.astype(jnp.float32),
        batch["labels"],
        padding_BxC.astype(jnp.float32),
        blank_id=BLANK,
    )
    loss_B = loss_B * batch["weight"]
    return Losses(loss_B, {"loss": loss_B}, jnp.sum(~padding_BxC, axis=1) * batch["weight"])


def examine(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> dict:
    """Transcribes: `written` int [B, L], 0 where nothing is, and `labels` beside it."""
    logits_BxLxK = model(batch)
    best_BxL = jnp.argmax(logits_BxLxK, axis=-1).astype(jnp.int32)
    before_BxL = jnp.pad(best_BxL[:, :-1], ((0, 0), (1, 0)), constant_values=BLANK)
    says_BxL = (best_BxL != before_BxL) & _heard(batch, best_BxL.shape[1])
    return {"written": jnp.where(says_BxL, best_BxL, PADDING), "labels": batch["labels"]}


def summarise(config: Config, rows: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> dict:
    """CER and WER, which may be above 1."""
    written, meant = ([facts["decode"](row) for row in rows[k]] for k in ("written", "labels"))
    found = {}
    for name, cut in (("cer", str), ("wer", str.split)):
        errors = sum(distance(tuple(cut(a)), tuple(cut(b))) for a, b in zip(written, meant))
        found[name] = errors / sum(len(cut(text)) for text in meant)
    return found


@functools.lru_cache(maxsize=1 << 15)  # errors of a mean are from resampled rows: all come again
def distance(said: Sequence, meant: Sequence) -> int:
    """The fewest insertions, deletions and substitutions that make one of the other."""
    meant = np.array([hash(part) for part in meant], np.int64)
    places = np.arange(len(meant) + 1)
    row = places
    for part in said:
        new = np.minimum(row + 1, np.append(row[0] + 1, row[:-1] + (meant != hash(part))))
        row = np.minimum.accumulate(new - places) + places  # and what is left out of `said`
    return int(row[-1])


def _heard(batch: dict[str, jax.Array], L: int) -> jax.Array:
    """bool [B, L], which steps have a sound."""
    stride = batch["speech"].shape[1] // L
    return jnp.arange(L)[None] < (batch["frames"] // stride)[:, None]
