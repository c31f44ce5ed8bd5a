"""Texts with labels for classifiers, in an order that is a function of seed and step.

A row is one text: its tokens, padded with token 0 to a fixed length; of a longer one the first.
Texts that are the same but for case and spaces count once and are on one side: a published test
side comes first. Where there is none a hash of the text holds out a tenth, and always another tenth
for validation, to tune on. The hash draws what a cap keeps too: a larger cap keeps all that a
smaller one does, in the same tokens. D counts texts seen.
"""

import dataclasses
import hashlib
from typing import Any, NamedTuple

import numpy as np

from data import order
from data.sources import rows, sentences, split, tokens
from data.sources.cleaning import Cleaning, same
from data.sources.sentences import Sentences
from data.sources.split import TEST, TRAIN, VALIDATION

PADDING = 0
SPECIAL = 2  # the ids of a tokenizer's own tokens begin here, as those of data.pairs
SHARE = 0.1  # of texts, for each held-out side
SIDES = {"test": TEST, "validation": VALIDATION}
MAX_LENGTH = 1 << 20


@dataclasses.dataclass(frozen=True)
class Config:
    """Which texts, in which tokens."""

    # "vader", "vader:DOMAIN", "csv:PATH", "jsonl:PATH" (columns or fields text and label) or
    # "tfds:NAME[/CONFIG][:LABEL_KEY]", see data.sources.sentences
    source: str
    # "bytes", "bpe:VOCABULARY", trained on all texts to train on, or "json:PATH", a tokenizer.json
    tokenizer: str
    length: int  # L, tokens of a row
    evaluation: str  # "test", or "validation", to tune on; neither is trained on
    eval_rows: int  # evaluate on at most this many texts; 0 = all
    unique: int  # train on this many texts; 0 = all
    cleaning: Cleaning  # of texts, before they are split


class Row(NamedTuple):
    """A text on one of the sides."""

    draw: int
    text: bytes
    label: int
    domain: int


class LabelledTextDataset:
    """Texts in memory; see data.Dataset."""

    unit, units_per_row = "text", 1

    def __init__(self, config: Config, found: Sentences):
        sides, left_out = _sides(config, found)
        held_out = sides[SIDES[config.evaluation]]
        train, held_out = (
            sides[TRAIN][: config.unique or None],
            held_out[: config.eval_rows or None],
        )
        classes = _check(config, found, sides)
        self.train_rows, self.eval_rows = len(train), len(held_out)
        texts = (row.text for row in sides[TRAIN])
        with tokens.encoder(config.tokenizer, texts, SPECIAL) as (encode, pieces):
            encoded = encode([row.text for row in (*train, *held_out)])
        self._tokens = np.full((len(encoded), config.length), PADDING, np.int32)
        for row, ids in zip(self._tokens, encoded):
            row[: len(ids)] = ids[: config.length].astype(np.int32) + SPECIAL
        self._labels, self._domains = (
            np.array([getattr(row, name) for row in (*train, *held_out)], np.int32)
            for name in ("label", "domain")
        )
        sizes = np.array([0] * SPECIAL + [len(piece) for piece in pieces], np.int32)
        content = np.frombuffer(b"".join(pieces), np.uint8)
        decode = tokens.decoder(sizes, content, {})
        self._origins = found.domain_names
        self.facts = _facts(len(sizes), classes, found.class_names, self._origins)
        self.facts["decode"] = decode
        cut = sum(len(ids) > config.length for ids in encoded)
        absent = classes - len({row.label for row in train})
        published = config.evaluation == "test" and found.test
        rule = "as published" if published else "by a hash of the text"
        said = [
            f"{config.source}: {len(train):,} texts to train on",
            f"{len(held_out):,} held out, {rule}",
            left_out,
            f"{cut:,} are cut at {config.length} tokens" if cut else "",
            f"{absent} of {classes} classes have no text to train on" if absent else "",
        ]
        self.note = "; ".join(filter(None, said))
        decided = f"labelled_text {order.VERSION} {self._tokens.shape} {self.train_rows} {classes}"
        digest = hashlib.sha256(decided.encode())
        origins = [self._domains] if self._origins else []
        for array in (self._tokens, self._labels, *origins, sizes, content):
            digest.update(array.tobytes())
        self.digest = digest.hexdigest()

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `tokens` int32 [B / K, L], `label` int32, `weight` float32 [B / K].

        And `domain` int32 where texts are from more than one.
        """
        return self._batch(order.example_indices(seed, step, batch_size, shard, self.train_rows))

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: `tokens` int32 [B, L], `label` int32, `weight` float32 [B]."""
        places = order.eval_rows(index, batch_size, self.eval_rows)
        return order.pad(self._batch(self.train_rows + np.array(places)), batch_size)

    def _batch(self, places: np.ndarray) -> dict[str, np.ndarray]:
        origins = self._domains[places] if self._origins else None
        return _named(self._tokens[places], self._labels[places], origins)


def open(config: Config) -> LabelledTextDataset:
    """Opens the texts (ValueError or OSError, in one line, where they are wrong or not there)."""
    facts(config)
    return LabelledTextDataset(config, sentences.find(config.source))


def facts(config: Config) -> dict[str, Any]:
    """See data.facts. The texts may turn out to have fewer tokens than `vocab_size`."""
    if not 1 <= config.length <= MAX_LENGTH:
        raise ValueError(f"data.length: {config.length}; allowed: 1 to {MAX_LENGTH}")
    if config.evaluation not in SIDES:
        raise ValueError(f"data.evaluation: {config.evaluation!r}; allowed: {', '.join(SIDES)}")
    for field in ("eval_rows", "unique"):
        if getattr(config, field) < 0:
            raise ValueError(f"data.{field}: {getattr(config, field)}; allowed: 0 (all), or more")
    names = sentences.known(config.source)
    vocab_size = tokens.vocabulary(config.tokenizer, SPECIAL)
    origins = sentences.domains(config.source)
    return _facts(vocab_size, len(names) if names else None, names or (), origins)


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec: a row has this form whatever the texts."""
    facts(config)
    one = np.zeros(1, np.int32)
    origins = one if sentences.domains(config.source) else None
    return _named(np.zeros((1, config.length), np.int32), one, origins)


def _facts(
    vocab_size: int, classes: int | None, names: tuple[str, ...], origins: tuple[str, ...]
) -> dict[str, Any]:
    found = {"unit": LabelledTextDataset.unit, "units_per_row": LabelledTextDataset.units_per_row}
    found |= {"vocab_size": vocab_size, "classes": classes}
    told = {"class_names": names, "domain_names": origins}
    return found | {name: value for name, value in told.items() if value}


def _named(
    ids: np.ndarray, labels: np.ndarray, origins: np.ndarray | None
) -> dict[str, np.ndarray]:
    named = {"tokens": ids, "label": labels, "weight": np.ones(len(labels), np.float32)}
    return named if origins is None else named | {"domain": origins}


def _sides(config: Config, found: Sentences) -> tuple[dict[int, list[Row]], str]:
    """The texts of each side in the order of their hashes, and how many were left out."""
    published = found.test or sentences.side([], np.zeros(0, np.int64))
    texts = [config.cleaning.normal(text) for text in (*published.texts, *found.train.texts)]
    labels = np.concatenate([published.labels, found.train.labels])
    domains = np.concatenate([published.domains, found.train.domains])
    how = dataclasses.replace(config.cleaning, similar=config.cleaning.similar or 1.0)
    stays, left_out = how.kept((text,) for text in texts)
    sides = {TRAIN: [], VALIDATION: [], TEST: []}
    for place in np.flatnonzero(stays):
        draw = split.draw(same(texts[place]))
        side = TRAIN if draw >= 2 * SHARE * 2**64 else VALIDATION
        if draw < SHARE * 2**64:
            side = TRAIN if found.test else TEST
        side = TEST if place < len(published.texts) else side
        own = (int(labels[place]), int(domains[place]))
        sides[side].append(Row(draw, texts[place].encode(), *own))
    return {side: sorted(kept) for side, kept in sides.items()}, left_out


def _check(config: Config, found: Sentences, sides: dict[int, list[Row]]) -> int:
    """How many classes there are; ValueError where one or a side is missing."""
    for name, side in (("to train on", TRAIN), ("to evaluate on", SIDES[config.evaluation])):
        if not sides[side]:
            n = sum(map(len, sides.values()))
            given = f"data.source: {config.source}: of {n} different texts none is {name}"
            raise ValueError(f"{given}; allowed: enough for every side")
    if config.unique > len(sides[TRAIN]):
        given = f"data.unique: {config.unique}"
        raise ValueError(f"{given}; allowed: 0 (all) to {len(sides[TRAIN])}")
    if (size := sum(map(len, sides.values())) * config.length * 4) > sentences.MAX_BYTES:
        given = f"data.length: {config.length}; {size} bytes of tokens"
        raise ValueError(f"{given}; allowed: what comes to {sentences.MAX_BYTES}")
    labels = [np.array([row.label for row in kept], np.int64) for kept in sides.values()]
    return rows.classes(config.source, "text", found.class_names, labels[0], np.concatenate(labels))
