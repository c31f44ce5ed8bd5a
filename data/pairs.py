"""Pairs of texts for models that translate or summarise: a source to read and a target to write.

A row is one pair, padded to fixed lengths with token 0. One with a longer target is left out, and
one with a longer source, or that is cut.
Token 1 stands before the target's first token in `tokens` and after its last one in `targets`. The
evaluation set is in one fixed order, so that a capped evaluation is a sample of the whole.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data import order
from data.sources import cache, cleaning, tokens
from data.sources.bitexts import Pair, Pairs, find_pairs
from data.sources.cleaning import Cleaning, same
from data.sources.split import TEST, TRAIN, VALIDATION

PADDING, EDGE = 0, 1
SPECIAL = 2  # the ids of a tokenizer's own tokens begin here
EVAL_SEED, UNIQUE_SEED = 13, 17
FORMAT = 1
SIDES = {"test": TEST, "validation": VALIDATION}
GROUP = 4096  # pairs that are encoded at a time
NEWER = {"cut_source": False, **cleaning.NEWER}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which pairs, in which tokens."""

    source: str  # "bible:FROM-TO", "docstrings", "tsv:PATH" or "jsonl:PATH"
    # "bytes", "bpe:VOCABULARY", trained on both texts of the training side, or "json:PATH", a
    # tokenizer.json
    tokenizer: str
    source_length: int  # S, most tokens of a source
    cut_source: bool  # of a longer source the first tokens are read; else its pair is left out
    target_length: int  # T, most tokens of a target, its end among them
    evaluation: str  # "test", or "validation", to tune on; neither is trained on
    eval_rows: int  # evaluate on at most this many pairs; 0 = all
    unique: int  # train on this many pairs, which are among those of any more; 0 = all
    cleaning: Cleaning  # of sources and targets, which are alike together, before they are split


class Encoded(NamedTuple):
    """Pairs in tokens: sources and targets one after the other, the sides one after the other."""

    tokens: np.ndarray  # uint32 [sum of lengths]
    lengths: np.ndarray  # int32 [n, 2], of each source and target
    sides: np.ndarray  # int8 [n]
    piece_bytes: np.ndarray  # uint8, the bytes of all tokens but the special ones
    piece_lengths: np.ndarray  # int32 [V - 2]


class PairsDataset:
    """Pairs of token sequences; see data.Dataset."""

    unit = "token"

    def __init__(
        self,
        config: Config,
        encoded: Encoded,
        notes: tuple[str, ...],
        encode: Callable[[list[str]], list[np.ndarray]],
    ):
        self._tokens, self._size = encoded.tokens, (config.source_length, config.target_length)
        ends = np.cumsum(encoded.lengths, dtype=np.int64).reshape(-1, 2)
        self._starts, self._lengths = ends - encoded.lengths, encoded.lengths
        if config.cut_source:
            self._lengths = np.minimum(encoded.lengths, [config.source_length, np.iinfo("i4").max])
        self._train, train_note = self._fitting(encoded.sides == TRAIN, "training")
        held_out, held_out_note = self._fitting(
            encoded.sides == SIDES[config.evaluation], config.evaluation
        )
        if config.unique > len(self._train):
            raise ValueError(
                f"data.unique: {config.unique}; allowed: 0 (all) to {len(self._train)}"
            )
        if config.unique:
            chosen = np.arange(config.unique)
            self._train = self._train[order.permute(chosen, len(self._train), UNIQUE_SEED, 0)]
        self.train_rows = len(self._train)
        self.eval_rows = min(config.eval_rows or len(held_out), len(held_out))
        sample = order.permute(np.arange(self.eval_rows), len(held_out), EVAL_SEED, 0)
        self._eval = held_out[sample]
        self.units_per_row = float(self._lengths[self._train, 1].sum() / self.train_rows + 1)
        sizes = np.append(np.zeros(SPECIAL, np.int32), encoded.piece_lengths)
        self.facts = {
            "unit": self.unit,
            "vocab_size": len(sizes),
            "eval_tokens": int(self._lengths[self._eval, 1].sum() + self.eval_rows),
            "eval_bytes": int(sum(sizes[self._text(row, 1)].sum() for row in self._eval)),
            "decode": tokens.decoder(sizes, encoded.piece_bytes, {}, EDGE),
            "end": EDGE,
            "prompt": functools.partial(_prompt, encode, self._size, config.cut_source),
        }
        cut = ["sources cut"] if config.cut_source else []
        self.note = (
            f"{config.source}: {'; '.join([*notes, *cut])}; in {self._size[0]} and {self._size[1]} "
            f"tokens fit {train_note} and {held_out_note}"
        )
        decided = [_digest(encoded), *self._size, config.evaluation, self.eval_rows, config.unique]
        decided += cut
        self.digest = hashlib.sha256(f"pairs {order.VERSION} {decided}".encode()).hexdigest()

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `source` int32 [B / K, S], `tokens` and `targets` int32 [B / K, T],
        `weight` float32 [B / K]."""
        rows = order.example_indices(seed, step, batch_size, shard, self.train_rows)
        return self._batch(self._train[rows])

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: `source` int32 [B, S], `tokens` and `targets` int32 [B, T], `weight`
        float32 [B]."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        return order.pad(self._batch(self._eval[rows.start : rows.stop]), batch_size)

    def _fitting(self, side: np.ndarray, name: str) -> tuple[np.ndarray, str]:
        """The rows of a side that are short enough, and how many of them that are."""
        # The end of a target is a token too.
        fits = np.all(self._lengths + np.array([0, 1]) <= self._size, axis=1)
        rows = np.flatnonzero(side & fits)
        if not side.any():
            raise ValueError(f"data.source: there is no {name} pair; allowed: some on every side")
        if not len(rows):
            raise ValueError(
                f"data.source_length, data.target_length: {self._size}; allowed: what one of the "
                f"{side.sum():,} {name} pairs fits in"
            )
        return rows, f"{len(rows):,} of {side.sum():,} {name} pairs"

    def _text(self, row: int, which: int) -> np.ndarray:
        """The source (0) or the target (1) of a row, [length]."""
        start = self._starts[row, which]
        return self._tokens[start : start + self._lengths[row, which]]

    def _batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        batch = _empty(len(rows), *self._size)
        for i, row in enumerate(rows):
            source, target = self._text(row, 0), self._text(row, 1)
            batch["source"][i, : len(source)] = source
            batch["tokens"][i, : len(target) + 1] = [EDGE, *target]
            batch["targets"][i, : len(target) + 1] = [*target, EDGE]
        return batch


def open(config: Config) -> PairsDataset:
    """Opens the pairs (ValueError or OSError, in one line, where they are wrong or not there)."""
    facts(config)
    pairs = find_pairs(config.source)
    cleaned = config.cleaning.identity()
    identity = json.dumps([FORMAT, pairs.fingerprint, tokens.named(config.tokenizer), *cleaned])
    name = f"pairs-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
    encoded, left_out = cache.entry(name, _read, lambda folder: _build(folder, pairs, config))

    def encode(texts: list[str]) -> list[np.ndarray]:
        def learnt_from() -> Iterator[bytes]:  # not read for a tokenizer that learns nothing
            yield from _learnt_from(_apart(_cleaned(pairs, config.cleaning)[0])[0])

        texts = [config.cleaning.normal(text) for text in texts]
        pieces = encoded.piece_bytes
        return tokens.encode(config.tokenizer, learnt_from(), pieces, texts, SPECIAL)

    return PairsDataset(config, encoded, (f"held out {pairs.rule}", *left_out), encode)


def facts(config: Config) -> dict[str, Any]:
    """See data.facts. The texts may turn out to have fewer tokens than `vocab_size`."""
    for field in ("source_length", "target_length"):
        if getattr(config, field) < 1:
            raise ValueError(f"data.{field}: {getattr(config, field)}; allowed: at least 1")
    if config.evaluation not in SIDES:
        raise ValueError(f"data.evaluation: {config.evaluation!r}; allowed: {', '.join(SIDES)}")
    for field in ("eval_rows", "unique"):
        if getattr(config, field) < 0:
            raise ValueError(f"data.{field}: {getattr(config, field)}; allowed: 0 (all), or more")
    return {"unit": "token", "vocab_size": tokens.vocabulary(config.tokenizer, SPECIAL)}


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec: a pair has this form whatever the texts."""
    facts(config)
    return _empty(1, config.source_length, config.target_length)


def _empty(rows: int, source_length: int, target_length: int) -> dict[str, np.ndarray]:
    return {
        "source": np.full((rows, source_length), PADDING, np.int32),
        "tokens": np.full((rows, target_length), PADDING, np.int32),
        "targets": np.full((rows, target_length), PADDING, np.int32),
        "weight": np.ones(rows, np.float32),
    }


def _prompt(
    encode: Callable[[list[str]], list[np.ndarray]],
    size: tuple[int, int],
    cut: bool,
    texts: list[str],
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Sources to translate, see data.Dataset: `source` int32 [n, S], and `tokens` int32 [n, T], of
    which the edge is given."""
    batch, ids = _empty(len(texts), *size), encode(texts)
    ids = [own[: size[0]] for own in ids] if cut else ids
    batch["source"][:] = tokens.padded(texts, ids, size[0], SPECIAL)
    batch["tokens"][:, 0] = EDGE
    return {name: batch[name] for name in ("source", "tokens")}, np.ones(len(texts), np.int32)


def _cleaned(pairs: Pairs, how: Cleaning) -> tuple[list[Pair], str]:
    """Of pairs that are alike the first one, and how many are left out in words."""
    found = [Pair(pair.side, *map(how.normal, pair[1:])) for pair in pairs]
    if how == cleaning.NOTHING:
        return found, ""
    stays, left_out = how.kept(pair[1:] for pair in found)
    return list(itertools.compress(found, stays)), left_out


def _apart(found: list[Pair]) -> tuple[list[Pair], str]:
    """All pairs, but for those to train on of which a held-out pair has a text; and how many."""
    held_out = {same(text) for pair in found if pair.side != TRAIN for text in pair[1:]}
    stays = [
        pair
        for pair in found
        if pair.side != TRAIN or held_out.isdisjoint((same(pair.source), same(pair.target)))
    ]
    out = len(found) - len(stays)
    return stays, f"{out:,} training pairs left out that have a held-out text" if out else ""


def _learnt_from(found: Iterable[Pair]) -> Iterator[bytes]:
    return (text.encode() for pair in found if pair.side == TRAIN for text in pair[1:])


def _build(folder: Path, pairs: Pairs, config: Config) -> None:
    cleaned, alike = _cleaned(pairs, config.cleaning)
    found, leaking = _apart(cleaned)
    texts = _learnt_from(found)
    with tokens.encoder(config.tokenizer, texts, SPECIAL) as (encode, pieces):
        ids = []
        for start in range(0, len(found), GROUP):
            group = found[start : start + GROUP]
            ids += encode([text.encode() for pair in group for text in pair[1:]])
    encoded = Encoded(
        tokens=np.concatenate([np.zeros(0, np.uint32), *ids]).astype(np.uint32) + SPECIAL,
        lengths=np.array([len(text) for text in ids], np.int32).reshape(-1, 2),
        sides=np.array([pair.side for pair in found], np.int8),
        piece_bytes=np.frombuffer(b"".join(pieces), np.uint8),
        piece_lengths=np.array([len(piece) for piece in pieces], np.int32),
    )
    np.savez(folder / "pairs.npz", **encoded._asdict())
    (folder / "left_out").write_text("\n".join(filter(None, (alike, leaking))))
    (folder / "sha256").write_text(_digest(encoded))


def _read(entry: Path) -> tuple[Encoded, list[str]] | None:
    """What is in a cache's entry, and what was left out; None where it is absent or damaged."""
    try:
        expected = (entry / "sha256").read_text()
        left_out = (entry / "left_out").read_text().splitlines()
        with np.load(entry / "pairs.npz") as arrays:
            encoded = Encoded(**{name: arrays[name] for name in Encoded._fields})
    except (*tokens.DAMAGES, zipfile.BadZipFile):
        return None
    return (encoded, left_out) if _digest(encoded) == expected else None


def _digest(encoded: Encoded) -> str:
    found = hashlib.sha256()
    for name, array in encoded._asdict().items():
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array))
    return found.hexdigest()
