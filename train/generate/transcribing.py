"""What a recording says: the likeliest text, over all ways in which its steps can say it."""

import functools
import itertools
import math
from collections import defaultdict
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from train.generate.ngram import END, Ngram

BLANK = 0
Text = tuple[int, ...]
Beginnings = dict[Text, tuple[float, float]]


class Prior:
    """What is added to the log-probability of a text, whatever is heard; by itself nothing.

    Of shallow fusion (Hannun et al. 2014, arXiv:1408.2873, equation 1): the log-probability by an
    n-gram of characters times `weight`, and `bonus` for each character, since an n-gram likes short
    texts.
    """

    def __init__(self, ngram: Ngram | None = None, weight: float = 0.0, bonus: float = 0.0):
        self._ngram, self._weight, self._bonus = ngram, weight, bonus
        self.begun = functools.lru_cache(maxsize=1 << 14)(self._begun)

    def _begun(self, text: Text) -> float:
        """Of a beginning of a text."""
        if not text:
            return 0.0
        return self.begun(text[:-1]) + self._says(text[:-1], text[-1]) + self._bonus

    def whole(self, text: Text) -> float:
        """Of a text that ends there."""
        return self.begun(text) + self._says(text, END)

    def _says(self, text: Text, k: int) -> float:
        return self._weight * float(self._ngram.log_p(text)[k]) if self._ngram else 0.0


def transcribed(
    model: nn.Module, variables: Any, batch: dict[str, np.ndarray], beams: int, prior: Prior
) -> list[int]:
    """The characters of a recording, see `search`.

    Args:
      model: of `ctc`.
      variables: of the model.
      batch: of one row, as the model hears it.
      beams, prior: see `search`.
    """
    logits_LxK = jax.jit(model.apply)(variables, batch)[0]
    steps = int(batch["frames"][0]) * len(logits_LxK) // batch["speech"].shape[1]
    log_p_LxK = np.asarray(jax.nn.log_softmax(logits_LxK), np.float64)[:steps]
    return list(search(log_p_LxK, beams, prior)[0])


def search(log_p_LxK: np.ndarray, beams: int, prior: Prior) -> tuple[Text, float]:
    """The likeliest text and its log-probability and prior, by prefix beam search (Hannun et al.
    2014, arXiv:1408.2873, algorithm 1).

    Of each beginning of a text it sums the ways that end in a blank and those that do not, for the
    same character again is a new one only after a blank; the likeliest beginnings go on.

    Args:
      log_p_LxK: log-probability of each class at each step; class 0 is the blank.
      beams: beginnings that are kept; with as many as there are texts the result is exact.
      prior: of texts.
    """
    # Of each beginning the ways that end in a blank, and those that end in its last character.
    kept = {(): (0.0, -math.inf)}
    for log_p_K in log_p_LxK:
        longer = _longer(kept, log_p_K, beams, prior)
        kept = dict(itertools.islice(longer.items(), beams))
    scores = {text: _either(*ways) + prior.whole(text) for text, ways in kept.items()}
    text = max(scores, key=scores.get)
    return text, scores[text]


def _longer(kept: Beginnings, log_p_K: np.ndarray, beams: int, prior: Prior) -> Beginnings:
    """What beginnings become in one step, the likeliest first."""
    new = defaultdict(lambda: (-math.inf, -math.inf))

    def add(text: Text, blank: float, last: float) -> None:
        new[text] = _either(new[text][0], blank), _either(new[text][1], last)

    # Other classes are so unlikely now that what they begin would hardly be kept.
    likely, log_p_K = np.argsort(-log_p_K)[: beams + 2].tolist(), log_p_K.tolist()
    for text, (blank, last) in kept.items():
        either = _either(blank, last)
        add(text, either + log_p_K[BLANK], last + log_p_K[text[-1]] if text else -math.inf)
        for k in likely:
            if k != BLANK:
                before = blank if text and k == text[-1] else either
                add((*text, k), -math.inf, before + log_p_K[k])
    ranked = sorted(new.items(), key=lambda item: -_either(*item[1]) - prior.begun(item[0]))
    return dict(ranked)


def _either(a: float, b: float) -> float:
    """log(e^a + e^b), of two numbers faster than by numpy."""
    high, low = (a, b) if a >= b else (b, a)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
