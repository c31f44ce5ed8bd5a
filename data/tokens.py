"""Token streams: documents joined by a separator, encoded once, kept as memory-mapped arrays.

A stream lies in $ALLOMETRY_CACHE (default ~/.cache/allometry) in a folder named by the hash of all
that decides it. A folder appears whole or not at all, so any number of processes may build it.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.documents import Documents

FORMAT = 1
BYTES = 256
MIN_VOCABULARY, MAX_VOCABULARY = BYTES + 1, 1 << 20
BPE_TRAINING_BYTES = 64 << 20  # a prefix of the shuffled stream has the mix of the whole
GROUP_BYTES = 2 << 20
SIDES = ("train", "validation")


class Streams(NamedTuple):
    """Token streams of both sides; the separator, the last id, stands before each document."""

    train: np.ndarray  # uint16 or uint32 [T]
    validation: np.ndarray  # uint16 or uint32 [T]
    token_bytes: np.ndarray  # int32 [V]: bytes of text behind each token; 0 for the separator
    digest: str  # sha256 over the three


def token_streams(documents: Documents, tokenizer: str) -> Streams:
    """The streams of `documents` under "bytes" or "bpe:VOCABULARY", cached.

    Raises ValueError on another tokenizer or a cache folder that cannot be written.
    """
    size = _vocabulary(tokenizer)
    identity = json.dumps([FORMAT, documents.fingerprint, tokenizer])
    cache = Path(os.environ.get("ALLOMETRY_CACHE") or "~/.cache/allometry").expanduser()
    entry = cache / f"text-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
    if (streams := _open(entry)) is not None:
        return streams
    try:
        cache.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".building-", dir=cache))
    except OSError as error:
        raise ValueError(
            f"ALLOMETRY_CACHE: cannot write {str(cache)!r} ({error.strerror}); "
            "set this variable to a folder that can be written"
        ) from None
    try:
        _build(temporary, documents, size)
        _publish(temporary, entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if (streams := _open(entry)) is None:
        raise RuntimeError(f"{entry}: written and unreadable")
    return streams


def _vocabulary(tokenizer: str) -> int | None:
    """The vocabulary that "bpe:SIZE" asks for, separator included; None for "bytes"."""
    if tokenizer == "bytes":
        return None
    found = re.fullmatch(r"bpe:(\d{1,9})", tokenizer)
    if not found or not MIN_VOCABULARY < int(found[1]) <= MAX_VOCABULARY:
        raise ValueError(
            f"data.tokenizer: {tokenizer!r}; allowed: bytes, bpe:VOCABULARY "
            f"with a vocabulary of {MIN_VOCABULARY + 1} to {MAX_VOCABULARY}"
        )
    return int(found[1])


def _open(entry: Path) -> Streams | None:
    """The streams in `entry`, or None where it is absent or damaged."""
    try:
        meta = json.loads((entry / "meta.json").read_text())
        arrays = [np.load(entry / f"{name}.npy", mmap_mode="r") for name in (*SIDES, "bytes")]
        return Streams(*arrays, meta["digest"]) if meta["shapes"] == _shapes(arrays) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _shapes(arrays: list[np.ndarray]) -> list[list[int]]:
    return [list(array.shape) for array in arrays]


def _publish(temporary: Path, entry: Path) -> None:
    """Moves a finished folder to its place; where another process was first, keeps that one's."""
    if entry.exists() and _open(entry) is None:  # damaged: put it where it will be deleted
        os.rename(entry, temporary / "damaged")
    try:
        os.rename(temporary, entry)
    except OSError:
        if _open(entry) is None:
            raise


def _build(folder: Path, documents: Documents, size: int | None) -> None:
    if size is None:
        encode, token_bytes = _byte_tokens, np.array([1] * BYTES + [0], np.int32)
    else:
        encode, token_bytes = _train_bpe(documents, size - 1)
    separator = len(token_bytes) - 1
    dtype = np.dtype(np.uint16 if separator < 1 << 16 else np.uint32)
    digest = hashlib.sha256(token_bytes.tobytes())
    arrays = [_TokenFile(folder / f"{side}.npy", dtype) for side in SIDES]
    for group in _groups(documents):
        for (held_out, _), tokens in zip(group, encode([text for _, text in group])):
            arrays[held_out].append(np.concatenate([[separator], tokens]).astype(dtype))
    for array in arrays:
        digest.update(array.close())
    np.save(folder / "bytes.npy", token_bytes)
    shapes = [[arrays[0].length], [arrays[1].length], [len(token_bytes)]]
    with (folder / "meta.json").open("w") as file:
        json.dump({"digest": digest.hexdigest(), "shapes": shapes}, file)
        file.flush()
        os.fsync(file.fileno())


class _TokenFile:
    """A .npy file of tokens that grows; its header is written again when its length is known."""

    def __init__(self, path: Path, dtype: np.dtype):
        self.length, self._dtype = 0, dtype
        self._hash = hashlib.sha256()
        self._file = path.open("wb")
        self._write_header()

    def append(self, tokens: np.ndarray) -> None:
        self.length += len(tokens)
        content = tokens.tobytes()
        self._hash.update(content)
        self._file.write(content)

    def close(self) -> bytes:
        """Finishes the file; the hash of its tokens."""
        self._file.seek(0)
        self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.digest()

    def _write_header(self) -> None:
        # NumPy leaves room in the header for the first axis to grow.
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self._file, header)


def _groups(documents: Documents) -> Iterator[list[tuple[bool, bytes]]]:
    """Documents some megabytes at a time: a tokenizer uses all cores, memory stays bounded."""
    group, size = [], 0
    for held_out, text in documents:
        group.append((held_out, text))
        size += len(text)
        if size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    yield group


def _byte_tokens(texts: list[bytes]) -> list[np.ndarray]:
    return [np.frombuffer(text, np.uint8) for text in texts]


def _train_bpe(
    documents: Documents, size: int
) -> tuple[Callable[[list[bytes]], list[list[int]]], np.ndarray]:
    """A byte-level BPE of at most `size` tokens (Sennrich et al. 2016; Radford et al. 2019).

    Returns its encoder and the bytes behind each token, the separator's 0 last.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    def training_text():
        left = BPE_TRAINING_BYTES
        for held_out, text in documents:
            if not held_out and left > 0:
                left -= len(text)
                yield text.decode()

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(
        training_text(),
        trainers.BpeTrainer(
            vocab_size=size,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    # In a byte-level vocabulary every byte is written as one character.
    token_bytes = np.zeros(tokenizer.get_vocab_size() + 1, np.int32)
    for token, index in tokenizer.get_vocab().items():
        token_bytes[index] = len(token)

    def encode(texts: list[bytes]) -> list[list[int]]:
        return [e.ids for e in tokenizer.encode_batch_fast([text.decode() for text in texts])]

    return encode, token_bytes
