"""How likely a text goes on with a character: an n-gram, counted in texts.

Interpolated as by Witten and Bell 1991 ("The zero-frequency problem", method C): what followed a
history, and as often as something new did, what followed a shorter one.
"""

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

END = 0  # stands before a text and after it


class Ngram:
    """Of texts in characters from 1 to K - 1; END is what a text ends with."""

    def __init__(self, texts: Iterable[Sequence[int]], order: int, classes: int):
        """order: of n - 1 characters the next one is told; classes: K."""
        self._order, self._classes = order, classes
        self._next: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for text in texts:
            told = [END] * (order - 1) + [int(k) for k in text] + [END]
            for place in range(order - 1, len(told)):
                for length in range(order):
                    self._next[tuple(told[place - length : place])][told[place]] += 1
        self._cached = functools.lru_cache(maxsize=1 << 16)(self._after)

    def log_p(self, text: tuple[int, ...]) -> np.ndarray:
        """Log-probability of each class after a text, float64 [K]."""
        history = (END,) * (self._order - 1) + text
        return self._cached(history[len(history) - self._order + 1 :])

    def _after(self, history: tuple[int, ...]) -> np.ndarray:
        p_K = np.full(self._classes, 1 / self._classes)
        for length in range(self._order):
            followed = self._next.get(history[len(history) - length :])
            if not followed:
                break  # nor has a longer one been seen
            p_K = p_K * len(followed)
            for k, count in followed.items():
                p_K[k] += count
            p_K /= followed.total() + len(followed)
        return np.log(p_K)
