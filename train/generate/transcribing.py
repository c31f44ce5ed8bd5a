"""What a recording says: the likeliest text, over all ways in which its steps can say it."""

import itertools
import math
from collections import defaultdict
from typing import Any

import flax.linen as nn
import jax
import numpy as np

BLANK = 0
Beginnings = dict[tuple[int, ...], tuple[float, float]]


def transcribed(model: nn.Module, variables: Any, batch: dict[str, np.ndarray], beams: int) -> list:
    """The characters of a recording, see `search`.

    Args:
      model: of `ctc`.
      variables: of the model.
      batch: of one row, as the model hears it.
      beams: see `search`.
    """
    logits_LxK = jax.jit(model.apply)(variables, batch)[0]
    steps = int(batch["frames"][0]) * len(logits_LxK) // batch["speech"].shape[1]
    log_p_LxK = np.asarray(jax.nn.log_softmax(logits_LxK), np.float64)[:steps]
    return list(search(log_p_LxK, beams)[0])


def search(log_p_LxK: np.ndarray, beams: int) -> tuple[tuple[int, ...], float]:
    """The likeliest text and its log-probability, by prefix beam search (Hannun et al. 2014,
    arXiv:1408.2873, algorithm 1, without a language model).

    Of each beginning of a text it sums the ways that end in a blank and those that do not, for the
    same character again is a new one only after a blank; the likeliest beginnings go on.

    Args:
      log_p_LxK: log-probability of each class at each step; class 0 is the blank.
      beams: beginnings that are kept; with as many as there are texts the result is exact.
    """
    # Of each beginning the ways that end in a blank, and those that end in its last character.
    kept = {(): (0.0, -math.inf)}
    for log_p_K in log_p_LxK:
        kept = dict(itertools.islice(_longer(kept, log_p_K, beams).items(), beams))
    text, ways = next(iter(kept.items()))
    return text, float(np.logaddexp(*ways))


def _longer(kept: Beginnings, log_p_K: np.ndarray, beams: int) -> Beginnings:
    """What beginnings become in one step, the likeliest first."""
    new = defaultdict(lambda: (-math.inf, -math.inf))

    def add(text: tuple[int, ...], blank: float, last: float) -> None:
        new[text] = np.logaddexp(new[text][0], blank), np.logaddexp(new[text][1], last)

    # Other classes are so unlikely now that what they begin would hardly be kept.
    likely = np.argsort(-log_p_K)[: beams + 2].tolist()
    for text, (blank, last) in kept.items():
        either = np.logaddexp(blank, last)
        add(text, either + log_p_K[BLANK], last + log_p_K[text[-1]] if text else -math.inf)
        for k in likely:
            if k != BLANK:
                before = blank if text and k == text[-1] else either
                add((*text, k), -math.inf, before + log_p_K[k])
    return dict(sorted(new.items(), key=lambda item: -np.logaddexp(*item[1])))
