"""Where text comes from: documents of UTF-8 bytes, each on the training or the validation side.

Documents come out in one fixed pseudo-random order, so that every prefix of the stream has the mix
of the whole. The side is decided by a hash of the document's key (its content, where it has no
other), never by its place, so that it stays the same when documents are added.
"""

import difflib
import hashlib
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data import order

VALIDATION_SHARE = 0.05
EMBEDDED = Path(__file__).parent / "corpus" / "english.jsonl.xz"
MAX_FILE_BYTES = 256 << 20
SHUFFLE_SEED = 5
READ_AHEAD = 4096


class Documents(Protocol):
    """A shuffled, split collection of texts."""

    fingerprint: str  # changes when the documents, their order or the split change

    def __iter__(self) -> Iterator[tuple[bool, bytes]]:
        """(is validation, text) of each document."""
        ...


def find_documents(source: str) -> Documents:
    """The documents of "embedded", "folder:PATH" or "tfds:NAME[/CONFIG][:TEXT_KEY]"."""
    kind, _, rest = source.partition(":")
    if source == "embedded":
        return EmbeddedDocuments()
    if kind == "folder" and rest:
        return FolderDocuments(Path(rest).expanduser())
    if kind == "tfds" and rest:
        return TfdsDocuments(rest)
    raise ValueError(
        f"data.source: {source!r}; allowed: embedded, folder:PATH, tfds:NAME[/CONFIG][:TEXT_KEY]"
    )


def is_validation(key: str | bytes) -> bool:
    """Whether documents of this key are held out: 5% of all keys."""
    key = key.encode() if isinstance(key, str) else key
    draw = int.from_bytes(hashlib.sha256(b"split/" + key).digest()[:8], "big")
    return draw < VALIDATION_SHARE * 2**64


class EmbeddedDocuments:
    """The corpus of this repository: Bible chapters, scenes, poems (data/corpus/PROVENANCE.md)."""

    def __init__(self):
        self.fingerprint = hashlib.sha256(EMBEDDED.read_bytes()).hexdigest()

    def read(self) -> list[dict[str, str]]:
        """All documents in stream order: dicts of `key`, `source`, `title` and `text`."""
        return [json.loads(line) for line in lzma.decompress(EMBEDDED.read_bytes()).splitlines()]

    def __iter__(self) -> Iterator[tuple[bool, bytes]]:
        for document in self.read():
            yield is_validation(document["key"]), document["text"].encode()


class FolderDocuments:
    """Every *.txt file below a folder is a document, of at most 256 MiB; empty ones are left out.

    Where the hash holds out no file or all of them, as in a small folder, the file with the
    smallest hash alone is held out.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise FileNotFoundError(f"data.source: folder:{folder}; there is no such folder")
        found: dict[bytes, Path] = {}  # by content: a copy of a file adds nothing
        for path in sorted(folder.rglob("*.txt")):
            if path.is_file() and (text := self._read(path)).strip():
                found.setdefault(hashlib.sha256(text).digest(), path)
        if len(found) < 2:
            raise ValueError(
                f"data.source: folder:{folder} has {len(found)} distinct .txt files with text; "
                "allowed: at least 2, one of them for validation"
            )
        held_out = {digest for digest in found if is_validation(digest)}
        if not 0 < len(held_out) < len(found):
            held_out = {min(found)}
        self._files = [(digest in held_out, found[digest]) for digest in sorted(found)]
        self.fingerprint = hashlib.sha256(b"folder 1" + b"".join(sorted(found))).hexdigest()

    def __iter__(self) -> Iterator[tuple[bool, bytes]]:
        for held_out, path in self._files:
            yield held_out, self._read(path)

    def _read(self, path: Path) -> bytes:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(
                f"data.source: {path} has {path.stat().st_size} bytes; "
                f"allowed: at most {MAX_FILE_BYTES} a file, so cut it into documents"
            )
        content = path.read_bytes()
        try:
            content.decode()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"data.source: {path} is not UTF-8 text (byte {error.start}); allowed: UTF-8"
            ) from None
        if b"\0" in content:
            raise ValueError(f"data.source: {path} has a zero byte; allowed: UTF-8 text")
        return content


class TfdsDocuments:
    """A text data set of the TensorFlow Datasets catalogue, read without TensorFlow.

    The validation side is the data set's own "validation" split, else its "test" split, else the
    documents of "train" that the hash holds out. $TFDS_DATA_DIR says where prepared data sets lie.
    """

    def __init__(self, source: str):
        import tensorflow_datasets as tfds

        name, _, key = source.partition(":")
        try:
            builder = tfds.builder(name, file_format="array_record")
        except tfds.core.DatasetNotFoundError:
            # Community data sets are left out: listing them needs the network and TensorFlow.
            names = tfds.list_builders(with_community_datasets=False)
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise ValueError(
                f"data.source: tfds:{name}; {hint}allowed: a name that tfds.list_builders() gives"
            ) from None
        except Exception as error:
            raise _unreadable(name, error) from error
        self._key = _text_key(name, key, builder.info.features)
        try:
            builder.download_and_prepare()
            splits = builder.info.splits
            held_out = [split for split in ("validation", "test") if split in splits][:1]
            self._parts = [
                (builder.as_data_source(split=split), split != "train")
                for split in ("train", *held_out)
            ]
        except Exception as error:
            raise _unreadable(name, error) from error
        sizes = [len(rows) for rows, _ in self._parts]
        identity = f"tfds 1 {builder.info.full_name} {self._key} {held_out} {sizes}"
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


def _unreadable(name: str, error: Exception) -> ValueError:
    """TFDS raises a dozen kinds of error, many of them pages long; this keeps the start."""
    reason = " ".join(str(error).split())[:200]
    return ValueError(f"data.source: tfds:{name} cannot be read: {reason or type(error).__name__}")


def _text_key(name: str, key: str, features: Any) -> str:
    """The feature that holds the text: `key`, or the only text feature, or the one named "text"."""
    import tensorflow_datasets as tfds

    texts = [field for field in features if isinstance(features[field], tfds.features.Text)]
    if key in texts:
        return key
    if not key and (len(texts) == 1 or "text" in texts):
        return texts[0] if len(texts) == 1 else "text"
    raise ValueError(
        f"data.source: tfds:{name}:{key or '?'}; "
        + (f"allowed: one of {', '.join(texts)}" if texts else "this data set has no text feature")
    )
