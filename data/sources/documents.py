"""Where text comes from: documents of UTF-8 bytes, each on the training or the validation side.

Documents come out in one fixed pseudo-random order, so that every prefix of the stream has the mix
of the whole. The side is that of the names that people gave, else it is decided by a hash of the
document's key (its content, where it has no other), never by its place, so that it stays the same
when documents are added (data.sources.split).
"""

import functools
import hashlib
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from data import order
from data.sources import catalogue, files, split
from data.sources.cleaning import NOTHING, Cleaning
from data.sources.folder import FolderDocuments
from data.sources.split import is_validation

EMBEDDED = Path(__file__).parent / "corpus" / "english.jsonl.xz"
SHUFFLE_SEED = 5
READ_AHEAD = 4096


class Documents(Protocol):
    """A shuffled, split collection of texts."""

    fingerprint: str  # changes when the documents, their order or the split change
    rule: str  # how the sides were chosen, known once all were read; "" = as ever
    note: str  # what else there is to say, in one line; "" = nothing

    def __iter__(self) -> Iterator[tuple[bool, bytes]]:
        """(is validation, text) of each document."""
        ...


def find_documents(source: str, cleaning: Cleaning = NOTHING) -> Documents:
    """The documents of "embedded", "folder:PATH" or "tfds:NAME[/CONFIG][:TEXT_KEY]"."""
    if cleaning != NOTHING:
        return CleanedDocuments(find_documents(source), cleaning)
    kind, _, rest = source.partition(":")
    if source == "embedded":
        return EmbeddedDocuments()
    if kind == "folder" and rest:
        return FolderDocuments(files.user_path(rest))
    if kind == "tfds" and rest:
        return TfdsDocuments(rest)
    raise ValueError(
        f"data.source: {source!r}; allowed: embedded, folder:PATH, tfds:NAME[/CONFIG][:TEXT_KEY]"
    )


class EmbeddedDocuments:
    """The corpus of this repository: Bible chapters, scenes, poems (data/corpus/PROVENANCE.md)."""

    rule = note = ""

    def __init__(self):
        self.fingerprint = hashlib.sha256(EMBEDDED.read_bytes()).hexdigest()

    def read(self) -> list[dict[str, str]]:
        """All documents in stream order: dicts of `key`, `source`, `title` and `text`."""
        return [json.loads(line) for line in lzma.decompress(EMBEDDED.read_bytes()).splitlines()]

    def __iter__(self) -> Iterator[tuple[bool, bytes]]:
        for document in self.read():
            yield is_validation(document["key"]), document["text"].encode()


class TfdsDocuments:
    """A text data set of the TensorFlow Datasets catalogue, read without TensorFlow.

    The validation side is the data set's own "validation" split, else its "test" split, else the
    documents of "train" that the hash holds out.
    """

    note = ""

    def __init__(self, source: str):
        name, _, key = source.partition(":")
        builder = catalogue.builder(name)
        self._key = catalogue.key(name, key, builder.info.features, "Text", "text")
        with catalogue.reading(name):
            builder.download_and_prepare()
            splits = builder.info.splits
            held_out = [split for split in ("validation", "test") if split in splits][:1]
            self._parts = [
                (builder.as_data_source(split=split), split != "train")
                for split in ("train", *held_out)
            ]
        self.rule = f"its split {held_out[0]!r}" if held_out else split.BY_HASH
        sizes = [len(rows) for rows, _ in self._parts]
        identity = f"tfds {order.VERSION} {builder.info.full_name} {self._key} {held_out} {sizes}"
        self.fingerprint = hashlib.sha256(identity.encode()).hexdigest()

    def __iter__(self) -> Iterator[tuple[bool, bytes]]:
        by_hash = len(self._parts) == 1
        for rows, held_out in self._parts:
            for start in range(0, len(rows), READ_AHEAD):
                places = np.arange(start, min(start + READ_AHEAD, len(rows)))
                for place in order.permute(places, len(rows), SHUFFLE_SEED, 0):
                    text = rows[int(place)][self._key]
                    text = text.encode() if isinstance(text, str) else bytes(text)
                    if text:
                        yield (is_validation(text) if by_hash else held_out), text


class CleanedDocuments:
    """Documents that are cleaned: of those that are alike the first one stays, on its side.

    They are read twice: to find out which stay, and for themselves.
    """

    def __init__(self, documents: Documents, cleaning: Cleaning):
        self._documents, self._cleaning, self.note = documents, cleaning, documents.note
        parts = json.dumps([documents.fingerprint, *cleaning.identity()])
        self.fingerprint = hashlib.sha256(parts.encode()).hexdigest()

    @property
    def rule(self) -> str:
        """How the sides were chosen, and how many were left out."""
        return "; ".join(filter(None, [self._documents.rule or "by work", self._kept[1]]))

    def __iter__(self) -> Iterator[tuple[bool, bytes]]:
        for stays, (held_out, text) in zip(self._kept[0], self._normal(), strict=True):
            if stays:
                yield held_out, text.encode()

    @functools.cached_property
    def _kept(self) -> tuple[np.ndarray, str]:
        return self._cleaning.kept(((text,) for _, text in self._normal()))

    def _normal(self) -> Iterator[tuple[bool, str]]:
        for held_out, text in self._documents:
            yield held_out, self._cleaning.normal(text.decode())
