"""Text for language models: windows of a token stream, in an order that is a function of the step.

The training examples are the non-overlapping windows of the training stream: window i is tokens
i*L .. i*L + L, the first L of which are inputs and the last L targets; each epoch visits all of
them once. The evaluation examples are the windows of the validation stream in one fixed order, so
that a capped evaluation is a sample of all documents. Their summed loss over `eval_bytes` is
comparable between tokenizers; the separator's loss is in it, as the price of telling where a
document ends, though it is no byte of text.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from data import order
from data.sources import cleaning, tokens
from data.sources.cleaning import Cleaning
from data.sources.documents import find_documents
from data.sources.tokens import Streams, token_streams

EVAL_SEED = 11
NEWER = cleaning.NEWER
SEPARATOR = b"<|endoftext|>"  # how a document's beginning is told to people (as in GPT-2)


@dataclasses.dataclass(frozen=True)
class Config:
    """Which text, in which tokens."""

    source: str  # "embedded", "folder:PATH" or "tfds:NAME[/CONFIG][:TEXT_KEY]"
    # "bytes", "bpe:VOCABULARY", trained on the training side, or "json:PATH", a tokenizer.json
    tokenizer: str
    sequence_length: int  # L, targets in one example
    eval_tokens: int  # evaluate on this many targets, in whole windows; 0 = all
    cleaning: Cleaning  # of documents, before they are split


class TextDataset:
    """Windows of token streams; see data.Dataset."""

    def __init__(
        self,
        config: Config,
        known: dict[str, Any],
        streams: Streams,
        note: str,
        encode: Callable[[list[str]], list[np.ndarray]],
        tokenizer: Callable[[], dict[str, Any]],
    ):
        length, self.note = config.sequence_length, note
        self._train = _windows(streams.train, length, "training")
        self._eval = _windows(streams.validation, length, "validation")
        held_out = len(self._eval)
        self.train_rows = len(self._train)
        self.eval_rows = min(config.eval_tokens // length or held_out, held_out)
        self._eval_order = order.permute(np.arange(self.eval_rows), held_out, EVAL_SEED, 0)
        # In parts, for a validation side may be larger than memory.
        eval_bytes = sum(
            int(streams.token_bytes[self._eval[part, 1:]].sum())
            for part in np.array_split(self._eval_order, self.eval_rows // 1024 + 1)
        )
        self.unit, self.units_per_row = known["unit"], known["units_per_row"]
        self.facts = known | {
            "vocab_size": len(streams.token_bytes),
            "eval_tokens": self.eval_rows * length,
            "eval_bytes": eval_bytes,
            "decode": _decoder(streams),
            "end": len(streams.token_bytes) - 1,  # the separator: here another document begins
            "prompt": functools.partial(_prompt, encode, length),
            "tokenizer": tokenizer,
        }
        decided = f"text {order.VERSION} {streams.digest} {length} {self.eval_rows}"
        self.digest = hashlib.sha256(decided.encode()).hexdigest()

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `tokens` and `targets` int32 [B / K, L], `weight` float32 [B / K]."""
        examples = order.example_indices(seed, step, batch_size, shard, self.train_rows)
        return _batch(self._train[examples])

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: `tokens` and `targets` int32 [B, L], `weight` float32 [B]."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        return order.pad(_batch(self._eval[self._eval_order[rows.start : rows.stop]]), batch_size)


def open(config: Config) -> TextDataset:
    """Opens the text (ValueError or OSError, in one line, where it is wrong or not there)."""
    known = facts(config)
    if config.eval_tokens and config.eval_tokens < config.sequence_length:
        raise ValueError(
            f"data.eval_tokens: {config.eval_tokens}; "
            f"allowed: 0 (all), or at least sequence_length = {config.sequence_length}"
        )
    documents = find_documents(config.source, config.cleaning)
    streams = token_streams(documents, config.tokenizer)
    note = "; ".join(filter(None, [streams.note, documents.note]))
    note = f"{config.source}: {note}" if note else ""

    def learnt_from() -> Iterator[bytes]:
        return (text for held_out, text in documents if not held_out)

    def encode(texts: list[str]) -> list[np.ndarray]:
        texts = [config.cleaning.normal(text) for text in texts]
        return tokens.encode(config.tokenizer, learnt_from(), streams.pieces, texts, special=1)

    def tokenizer() -> dict[str, Any]:
        form = config.cleaning.unicode
        return tokens.written(config.tokenizer, learnt_from(), streams.pieces, SEPARATOR, form)

    return TextDataset(config, known, streams, note, encode, tokenizer)


def facts(config: Config) -> dict[str, Any]:
    """See data.facts. The text may turn out to have fewer tokens than `vocab_size`."""
    if config.sequence_length < 1:
        raise ValueError(f"data.sequence_length: {config.sequence_length}; allowed: at least 1")
    return {
        "unit": "token",
        "units_per_row": config.sequence_length,
        "vocab_size": tokens.vocabulary(config.tokenizer),
    }


def spec(config: Config) -> dict[str, np.ndarray]:
    """See data.spec: a window has this form whatever the text."""
    return _batch(np.zeros((1, facts(config)["units_per_row"] + 1), np.int32))


def _windows(stream: np.ndarray, length: int, side: str) -> np.ndarray:
    """A view [windows, L + 1] of a stream [T]: a row shares its last token with the next one."""
    if len(stream) <= length:
        raise ValueError(
            f"data.sequence_length: {length}; allowed: at most {max(len(stream) - 1, 0)}, "
            f"for the {side} stream has {len(stream)} tokens"
        )
    return np.lib.stride_tricks.sliding_window_view(stream, length + 1)[::length]


def _decoder(streams: Streams) -> Callable[[np.ndarray], str]:
    separator = len(streams.token_bytes) - 1
    return tokens.decoder(streams.token_bytes, streams.pieces, {separator: SEPARATOR})


def _prompt(
    encode: Callable[[list[str]], list[np.ndarray]], length: int, texts: list[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Texts that are gone on with, see data.Dataset: `tokens` int32 [n, L]."""
    ids = encode(texts)
    given = np.array([len(own) for own in ids], np.int32)
    return {"tokens": tokens.padded(texts, ids, length)}, given


def _batch(windows: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "tokens": windows[:, :-1].astype(np.int32),
        "targets": windows[:, 1:].astype(np.int32),
        "weight": np.ones(len(windows), np.float32),
    }
