"""Captions and the codes of what they are of, for models that draw; see data.drawings.

A row is a caption, as words filled up to one length, and the codes of its drawing by a frozen
tokenizer, row by row of the drawing. Codes are made once, of every drawing and of each as it is
when it is moved a little, and lie in the cache. D counts codes; a drawing that is seen again may be
moved. What is evaluated on is of things that no training drawing shows, in any style, tone or
gender. Losses by two tokenizers are not comparable: the digest of the weights is part of that of
the data, and the config names it.

Tokens are the codes from 0, then the one that fills captions, then words.
"""

import dataclasses
import functools
import hashlib
from collections import Counter
from typing import Any

import numpy as np

from data import drawings, order
from data.sources import codes
from data.sources import drawings as source
from data.sources.codes import Tokenizer
from data.sources.drawings import Drawings

LEAST_SEEN = 3  # training drawings that a word must have
MOST_OTHERS = 255


@dataclasses.dataclass(frozen=True)
class Config:
    """Which drawings, their codes and their captions."""

    source: str  # "emoji", "folder:PATH" or "images:NAME", see data.drawings
    evaluation: str  # "validation", "test" or "compositions", see data.sources.drawings.sides
    eval_rows: int  # evaluate on at most this many; 0 = all
    unique: int  # train on this many; 0 = all
    tokenizer: str  # weights: NAME of data/features/NAME.npz, or the path of such a file
    sha256: str  # of that file
    moved: int  # pixels that a drawing to train on may be moved by, each way
    text: int  # words of a caption; what is longer is cut
    words: int  # that are known at most, the most frequent ones
    dropped: float  # share of words that are left out in training
    bare: float  # share of rows that are trained on without a caption
    others: int  # captions of others, all different, to evaluate a drawing with; 0 = none

    @property
    def side(self) -> int:
        """That of what the tokenizer reads."""
        return codes.read(self.tokenizer, self.sha256).shape[0]


class CaptionedDataset:
    """Captions and codes in memory; see data.Dataset."""

    unit = "token"

    def __init__(self, config: Config, found: Drawings, all_codes: np.ndarray):
        self._config, self._codes = config, all_codes
        self._train, self._eval, self.note = drawings.chosen(config, found)
        self.train_rows, self.eval_rows = len(self._train), len(self._eval)
        known = facts(config)
        self.units_per_row, self._blank = known["units_per_row"], known["codes"]
        # Of drawings that no evaluation is of: so all sets of one source have the same numbers.
        always, _ = source.sides(found, "validation")
        words = _words([found.captions[i] for i in always], config.words)
        self._number = {word: self._blank + 1 + i for i, word in enumerate(words)}
        self._text = np.stack([self._numbers(caption) for caption in found.captions])
        self._others = _others(self._text[self._eval], config.others)
        self._draw = codes.read(config.tokenizer, config.sha256).draw
        self.facts = known | {"prompt": self._prompt, "draw": self._draw, "words": words}
        self.note += f"; {len(words):,} words are known"
        decided = [config.moved, config.text, config.words, config.dropped, config.bare]
        told = f"captioned {order.VERSION} {config.sha256} {decided} {config.others}"
        digest = hashlib.sha256(told.encode() + self._others.tobytes())
        for side in (self._train, self._eval):
            captions = [found.captions[i] for i in side]
            digest.update(f"{captions}".encode() + found.images[side].tobytes())
        self.digest = digest.hexdigest()

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `tokens` int32 [B / K, text + codes - 1], a caption and all codes but
        the last; `targets` int32 [B / K, codes], and `weight` float32."""
        examples = order.example_indices(seed, step, batch_size, shard, self.train_rows)
        rngs = order.rngs(seed, step, order.shard_rows(batch_size, shard))
        rows, c = self._train[examples], self._config
        places = np.array([rng.integers(self._codes.shape[1]) for rng in rngs])
        text = np.stack([self._dropped(*each) for each in zip(rngs, self._text[rows])])
        bare = np.array([rng.random() < c.bare for rng in rngs])
        text[bare] = self._blank
        return _named(text, self._codes[rows, places])

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: as `train_batch`, nothing moved or left out; with others, `others`
        int32 [B, others, text], the next captions of the drawings that follow, the first after the
        last, each once and none that is its own."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        numbers = np.arange(rows.start, rows.stop)
        chosen, middle = self._eval[numbers], self._codes.shape[1] // 2
        batch = _named(self._text[chosen], self._codes[chosen, middle])
        if self._config.others:
            batch["others"] = self._text[self._eval[self._others[numbers]]]
        return order.pad(batch, batch_size)

    def _dropped(self, rng: np.random.Generator, text: np.ndarray) -> np.ndarray:
        return self._filled(text[rng.random(len(text)) >= self._config.dropped])

    def _numbers(self, caption: tuple[str, ...]) -> np.ndarray:
        """A caption without the words that are not known, int32 [text]."""
        return self._filled([self._number[word] for word in caption if word in self._number])

    def _filled(self, numbers: Any) -> np.ndarray:
        row = np.full(self._config.text, self._blank, np.int32)
        own = np.asarray(numbers, np.int32)[: len(row)]
        row[: len(own)] = own
        return row

    def _prompt(self, captions: list[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """See data.Dataset. Raises ValueError for a caption of which no word is known."""
        text = np.stack([self._numbers(source.words(caption)) for caption in captions])
        for caption, row in zip(captions, text):
            if (row == self._blank).all():
                near = ", ".join(sorted(self._number)[:5])
                known = f"allowed: a caption with words of the training drawings, such as {near}"
                raise ValueError(f"prompt: {caption!r}; {known}")
        batch = _named(text, np.zeros((len(text), self.units_per_row), np.int32))
        return batch, np.full(len(text), text.shape[1], np.int32)


def open(config: Config) -> CaptionedDataset:
    """Opens them (ValueError or OSError, in one line, where they are wrong or not there)."""
    _check(config)
    return CaptionedDataset(config, *_held(*_what(config)))


def facts(config: Config) -> dict[str, Any]:
    """See data.facts. `text`, `places` and `codes`: how many of a row, and how many there are."""
    tokenizer = _check(config)
    places = tokenizer.along**2
    return {
        "unit": CaptionedDataset.unit,
        "units_per_row": places,
        "text": config.text,
        "places": places,
        "codes": tokenizer.codes,
        "vocab_size": tokenizer.codes + 1 + config.words,
    }


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec."""
    known = facts(config)
    text = np.zeros((1, config.text), np.int32)
    batch = _named(text, np.zeros((1, known["places"]), np.int32))
    others = np.zeros((1, config.others, config.text), np.int32)
    return batch | ({"others": others} if config.others else {})


def _check(config: Config) -> Tokenizer:
    limits = {
        "side": (2, drawings.MOST_SIDE),
        "moved": (0, 3),
        "text": (1, 256),
        "words": (1, 60_000),
        "dropped": (0, 0.9),
        "bare": (0, 0.9),
        "others": (0, MOST_OTHERS),
    }
    tokenizer = codes.read(config.tokenizer, config.sha256)
    drawings.check(config, limits)
    return tokenizer


def _what(config: Config) -> tuple[str, str, str, int]:
    return config.source, config.tokenizer, config.sha256, config.moved


@functools.lru_cache(maxsize=1)
def _held(name: str, tokenizer: str, sha256: str, moved: int) -> tuple[Drawings, np.ndarray]:
    """A source and all its codes: of a plan's runs each may be on another number of drawings."""
    read = codes.read(tokenizer, sha256)
    found = drawings.find(name, read.shape[0])
    if found.images.shape[1:] != read.shape:
        shapes = ["x".join(map(str, shape)) for shape in (read.shape, found.images.shape[1:])]
        given = f"data.tokenizer: {tokenizer} reads images of {shapes[0]}"
        raise ValueError(f"{given}; those of {name} are {shapes[1]}")
    return found, codes.of_images(read, sha256, found.images, moved)


def _words(captions: list[tuple[str, ...]], most: int) -> tuple[str, ...]:
    """Those of so many captions, the most frequent first."""
    counts = Counter(word for caption in captions for word in set(caption))
    known = [word for word, n in counts.items() if n >= LEAST_SEEN]
    return tuple(sorted(known, key=lambda word: (-counts[word], word))[:most])


def _others(text: np.ndarray, count: int) -> np.ndarray:
    """Of each of n captions [n, T] the rows of the next `count` other ones, int [n, count].

    Raises ValueError where there are not so many.
    """
    _, which = np.unique(text, axis=0, return_inverse=True)
    there, n = int(which.max()) + 1, len(which)
    if there <= count:
        given = f"data.others: {count}; {there} captions of the {n} drawings to evaluate on"
        raise ValueError(f"{given}; allowed: fewer than those")
    found = np.zeros((n, count), np.int64)
    for row in range(n if count else 0):
        seen, at = {which[row]}, row
        for place in range(count):
            while which[at] in seen:
                at = (at + 1) % n
            seen.add(which[at])
            found[row, place] = at
    return found


def _named(text: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    targets = targets.astype(np.int32)
    tokens = np.concatenate([text, targets[:, :-1]], axis=1)
    return {"tokens": tokens, "targets": targets, "weight": np.ones(len(text), np.float32)}
