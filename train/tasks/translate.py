"""translate: cross-entropy of the next target token, in nats per token; what is written is scored.

Token 0 is padding. Decoding is greedy: the most probable token is written, and read by the next
step. BLEU (Papineni et al. 2002) and chrF (Popović 2015) are those of sacrebleu (Post 2018,
arXiv:1804.08771), whose signatures `signatures` gives. ROUGE-L (Lin 2004, "ROUGE: a package for
automatic evaluation of summaries", section 3.1) is for summaries in English: the F1 of the longest
common subsequence of words, the mean over texts, without stems, as by rouge-score 0.1.2.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from train.tasks import Losses

RANGE = {
    "accuracy": (1.0, 0.0),
    "bits_per_byte": (0.0, math.inf),
    "perplexity": (1.0, math.inf),
    "bleu": (100.0, 0.0),
    "chrf": (100.0, 0.0),
    "rouge_l": (1.0, 0.0),
}
PADDING = 0
MOST = 700.0  # nats: e to more is no float
NO_TOKEN = -1e29  # logits below are of no token (models.layers.vocabulary.unembed)


@dataclasses.dataclass(frozen=True)
class Config:
    # The share of the target's probability that is spread evenly over the vocabulary (Szegedy et
    # al. 2016); in the objective alone, not in the loss of record.
    label_smoothing: float

    def __post_init__(self):
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing: {self.label_smoothing}; must be in [0, 1)")


def losses(config: Config, model: Any, batch: dict[str, jax.Array], keys: jax.Array) -> Losses:
    """Scores logits [B, T, V] against batch["targets"] int [B, T]: loss, and accuracy.

    A unit is a target token that is no padding; each sees the true ones before it. batch["weight"]
    float [B] is 0 for padding.
    """
    logits_BxTxV = model(batch).astype(jnp.float32)
    log_z_BxT = jax.nn.logsumexp(logits_BxTxV, axis=-1)
    # The gradient of a gather is a scatter, which is slow on CPU; the product with a one-hot fuses.
    hot_BxTxV = jax.nn.one_hot(batch["targets"], logits_BxTxV.shape[-1], dtype=jnp.float32)
    logit_BxT = jnp.sum(logits_BxTxV * hot_BxTxV, axis=-1)
    loss_BxT = objective_BxT = log_z_BxT - logit_BxT
    if config.label_smoothing:
        is_token_BxTxV = logits_BxTxV > NO_TOKEN
        even_BxT = log_z_BxT - jnp.mean(logits_BxTxV, axis=-1, where=is_token_BxTxV)
        objective_BxT = loss_BxT + config.label_smoothing * (even_BxT - loss_BxT)
    right_BxT = logit_BxT >= jnp.max(logits_BxTxV, axis=-1)
    real_BxT = (batch["targets"] != PADDING) * batch["weight"][:, None]

    def over_row(x_BxT):
        return jnp.sum(x_BxT * real_BxT, axis=1)

    return Losses(
        objective=over_row(objective_BxT),
        sums={"loss": over_row(loss_BxT), "accuracy": over_row(right_BxT)},
        units=jnp.sum(real_BxT, axis=1),
    )


def derived(
    config: Config, means: Mapping[str, float], facts: Mapping[str, Any]
) -> dict[str, float]:
    """Perplexity per token, and bits per byte of the targets, which no tokenizer changes."""
    loss = means["loss"]
    bits = loss / math.log(2) * facts["eval_tokens"] / facts["eval_bytes"]
    perplexity = math.exp(loss) if loss < MOST else math.inf
    return {"perplexity": perplexity, "bits_per_byte": bits}


def examine(
    config: Config, model: Any, batch: dict[str, jax.Array], keys: jax.Array
) -> dict[str, jax.Array]:
    """Translates: `written` int [B, T], and `targets` beside it."""
    tokens_BxT = batch["tokens"]

    def write(carry, _):
        writing, token_B = carry
        writing, logits_Bx1xV = model(writing, token_B[:, None], method="step")
        token_B = jnp.argmax(logits_Bx1xV[:, 0], axis=-1).astype(tokens_BxT.dtype)
        return (writing, token_B), token_B

    start = model(batch, method="begin"), tokens_BxT[:, 0]
    _, written_TxB = jax.lax.scan(write, start, length=tokens_BxT.shape[1])
    return {"written": written_TxB.T, "targets": batch["targets"]}


def summarise(
    config: Config, rows: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> dict[str, float]:
    """BLEU and chrF, 0 to 100, and ROUGE-L, 0 to 1, of all that is written against the data's."""
    written, targets = ([facts["decode"](row) for row in rows[k]] for k in ("written", "targets"))
    pairs = list(zip(written, targets))
    counts = zip(*(_counts(*pair) for pair in pairs))
    bleu, chrf = (one._aggregate_and_compute(rows) for one, rows in zip(_metrics(), counts))
    scores = [rouge_l(*pair) for pair in pairs]
    return {"bleu": bleu.score, "chrf": chrf.score, "rouge_l": float(np.mean(scores))}


@functools.lru_cache(maxsize=1 << 15)
def _counts(written: str, target: str) -> tuple[Any, ...]:
    """What BLEU and chrF count in a pair: most of their time, for each of some twenty errors."""
    return tuple(one._extract_corpus_statistics([written], [[target]])[0] for one in _metrics())


@functools.lru_cache(maxsize=1 << 15)  # errors of a mean are from resampled rows: all come again
def rouge_l(written: str, target: str) -> float:
    """F1 of the words, runs of a-z and digits in one case, of which the longest common subsequence
    consists."""
    said, meant = (re.findall("[a-z0-9]+", text.lower()) for text in (written, target))
    places = dict.fromkeys(meant, 0)
    for place, word in enumerate(meant):
        places[word] |= 1 << place
    # A bit that is 0 is a word of `meant` that adds one to what is common (Hyyrö 2004,
    # "Bit-parallel LCS-length computation revisited").
    row = every = (1 << len(meant)) - 1
    for word in said:
        there = row & places.get(word, 0)
        row = (row + there) | (row - there)
    common = len(meant) - (row & every).bit_count()
    return 2 * common / max(1, len(said) + len(meant))


def signatures() -> dict[str, str]:
    """How each metric is computed, in sacrebleu's words: to be told beside a number."""
    names = ("bleu", "chrf")
    scored = _metrics()
    for metric in scored:
        metric.corpus_score(["a"], [["a"]])  # it knows the number of references then
    return {name: str(metric.get_signature()) for name, metric in zip(names, scored)}


@functools.cache
def _metrics() -> tuple[Any, Any]:
    from sacrebleu.metrics import BLEU, CHRF  # a second to import, and not for a step

    return BLEU(), CHRF()
