"""Token streams: documents joined by a separator, encoded once, kept as memory-mapped arrays.

They lie in the cache (data.cache) in a folder named by the hash of all that decides them, which
holds their digest. It is computed again whenever they are opened, so that what is trained on is
what the digest says: streams that were altered or damaged are built again. Where that would take
more than a second, streams whose files nobody has written since they were last found whole (inode,
size, and the times of the last change, of which the system alone sets one) are taken as they are.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.sources import bpe, cache, tokenizer_file
from data.sources.bpe import BYTES
from data.sources.documents import Documents

FORMAT = 2
MAX_VOCABULARY = 1 << 20
BPE_TRAINING_BYTES = 64 << 20  # a prefix of the shuffled stream has the mix of the whole
GROUP_BYTES = 2 << 20
CHECK_ALWAYS_BYTES = 512 << 20  # SHA-256 takes about a second
CHECK_AT_ONCE = 8 << 20
# What reading an entry raises that is absent, cut short or has other content.
DAMAGES = (
    FileNotFoundError,
    NotADirectoryError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    RecursionError,
)
SIDES = ("train", "validation")
# What encodes texts, and the bytes of each token but the separator.
Encoder = tuple[Callable[[list[bytes]], list[np.ndarray]], list[bytes]]


class Streams(NamedTuple):
    """Token streams of both sides; the separator, the last id, stands before each document."""

    train: np.ndarray  # uint16 or uint32 [T]
    validation: np.ndarray  # uint16 or uint32 [T]
    token_bytes: np.ndarray  # int32 [V]: bytes of text behind each token; 0 for the separator
    pieces: np.ndarray  # uint8: these bytes, one token's after the other's
    digest: str  # sha256 over all but the pieces
    note: str  # how much there is on either side and why, in one line; "" = as ever


def token_streams(documents: Documents, tokenizer: str) -> Streams:
    """The streams of `documents` under "bytes", "bpe:VOCABULARY" or "json:PATH", cached.

    Raises ValueError on another tokenizer, OSError where the cache cannot be read or written.
    """
    vocabulary(tokenizer)
    identity = json.dumps([FORMAT, documents.fingerprint, named(tokenizer)])
    name = f"text-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
    return cache.entry(name, _open, lambda folder: _build(folder, documents, tokenizer))


def vocabulary(tokenizer: str, special: int = 1) -> int:
    """How many tokens "bytes", "bpe:SIZE" or "json:PATH" (data.sources.tokenizer_file) has at most,
    the `special` ones included.

    Raises ValueError on another tokenizer.
    """
    least = BYTES + special
    if tokenizer == "bytes":
        return least
    if tokenizer.startswith(tokenizer_file.KIND):
        return len(tokenizer_file.pieces(tokenizer)) + special
    found = re.fullmatch(r"bpe:(\d{1,9})", tokenizer)
    if not found or not least < int(found[1]) <= MAX_VOCABULARY:
        raise ValueError(
            f"data.tokenizer: {tokenizer!r}; allowed: bytes, bpe:VOCABULARY "
            f"with a vocabulary of {least + 1} to {MAX_VOCABULARY}, json:PATH of a tokenizer.json"
        )
    return int(found[1])


def named(tokenizer: str) -> str:
    """What the name of a cache's entry says of a tokenizer: of a file its content."""
    if tokenizer.startswith(tokenizer_file.KIND):
        return tokenizer_file.KIND + tokenizer_file.digest(tokenizer)
    return tokenizer


def encoder(
    tokenizer: str, texts: Iterable[bytes], special: int = 1
) -> AbstractContextManager[Encoder]:
    """What encodes under "bytes", "json:PATH" or "bpe:SIZE", of which `texts` (their first 64 MiB)
    decide.

    Raises ValueError on another tokenizer; in use, OSError where its process ends.
    """
    size = vocabulary(tokenizer, special)
    if tokenizer == "bytes":
        pieces = [bytes([byte]) for byte in range(BYTES)]
        return contextlib.nullcontext((_bytes_of, pieces))
    if tokenizer.startswith(tokenizer_file.KIND):
        return _loaded(tokenizer)
    return bpe.trained(_first(texts), size - special)


@contextlib.contextmanager
def _loaded(tokenizer: str) -> Iterator[Encoder]:
    with bpe.loaded(tokenizer_file.path(tokenizer)) as encode:
        yield encode, tokenizer_file.pieces(tokenizer)


def encode(
    tokenizer: str, learnt_from: Iterable[bytes], pieces: np.ndarray, texts: list[str], special: int
) -> list[np.ndarray]:
    """Texts in the tokens of data that were encoded before, [T] each, the `special` ids left free.

    Args:
      tokenizer: of `encoder`; one that was trained is trained again.
      learnt_from: what it was trained on.
      pieces: uint8, the bytes of all its tokens, one after the other.
      texts: to encode.
      special: as in `encoder`.

    Raises:
      ValueError: the tokenizer is no longer that of the data.
    """
    with encoder(tokenizer, learnt_from, special) as (encode, found):
        if b"".join(found) != pieces.tobytes():
            raise ValueError(f"data.tokenizer: {tokenizer}: trained again it has other tokens")
        return encode([text.encode() for text in texts])


def written(
    tokenizer: str, learnt_from: Iterable[bytes], pieces: np.ndarray, says: bytes, form: str
) -> dict[str, Any]:
    """The tokenizer.json of data that were encoded before; arguments and errors as of `encode`.

    The separator is an added token, the last, which a text spells as `says`; texts are brought into
    the Unicode form `form` before ("none": into none).
    """
    if tokenizer == "bytes":
        file = tokenizer_file.of_bytes()
    elif tokenizer.startswith(tokenizer_file.KIND):
        file = tokenizer_file.read(tokenizer)
    else:
        found, content = bpe.written(_first(learnt_from), vocabulary(tokenizer) - 1)
        if b"".join(found) != pieces.tobytes():
            raise ValueError(f"data.tokenizer: {tokenizer}: trained again it has other tokens")
        file = json.loads(content)
    return tokenizer_file.separated(file, says.decode(), form)


def padded(texts: list[str], ids: list[np.ndarray], length: int, first: int = 0) -> np.ndarray:
    """Prompts as rows int32 [n, length], `first` added to their ids; 0 behind them.

    Raises:
      ValueError: one has no token, or too many.
    """
    rows = np.zeros((len(ids), length), np.int32)
    for text, row, own in zip(texts, rows, ids):
        if not 1 <= len(own) <= length:
            shown = text if len(text) <= 40 else f"{text[:40]}..."
            raise ValueError(f"prompt: {shown!r} has {len(own)} tokens; allowed: 1 to {length}")
        row[: len(own)] = own.astype(np.int32) + first
    return rows


def decoder(
    sizes: np.ndarray, pieces: np.ndarray, says: dict[int, bytes], end: int | None = None
) -> Callable[[np.ndarray], str]:
    """What gives the text of token ids [T], up to the first that is `end`.

    Args:
      sizes: of each token in bytes [V].
      pieces: uint8, the bytes of all tokens one after the other.
      says: what stands for tokens that have no bytes.
      end: a token's id; None: there is none.
    """
    content, ends = pieces.tobytes(), np.cumsum(sizes, dtype=np.int64).tolist()
    starts = [0, *ends[:-1]]

    def decode(ids: np.ndarray) -> str:
        ids = ids.tolist()
        ids = ids[: ids.index(end)] if end in ids else ids
        # A model may have more ids than the tokenizer, and say one that is no token.
        known = (i for i in ids if i < len(ends))
        found = (says.get(i) or content[starts[i] : ends[i]] for i in known)
        return b"".join(found).decode(errors="replace")

    return decode


def _open(entry: Path) -> Streams | None:
    """The streams in `entry`, or None where it is absent or damaged; OSError where unreadable."""
    files = [entry / f"{name}.npy" for name in (*SIDES, "bytes", "pieces")]
    try:
        meta = json.loads((entry / "meta.json").read_text())
        # Before they are opened: what is opened is not older than what was found whole.
        states = [os.stat(file) for file in files]
        arrays = [np.lib.format.open_memmap(file, mode="r") for file in files]
        digest, shapes, note = meta["digest"], meta["shapes"], meta.get("note", "")
        pieces = meta["pieces"]
    except DAMAGES:
        return None
    if shapes != _shapes(arrays):
        return None
    stream = _stream_type(len(arrays[2]))
    if [array.dtype for array in arrays] != [stream, stream, np.int32, np.uint8]:
        return None
    if pieces != hashlib.sha256(arrays[3]).hexdigest():
        return None
    state = {
        "digest": digest,
        "files": [[s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns] for s in states],
    }
    return Streams(*arrays, digest, note) if _is_whole(entry, arrays, state) else None


def _is_whole(entry: Path, arrays: list[np.ndarray], state: dict[str, Any]) -> bool:
    """Whether the arrays have the digest of `state`; see the module's docstring."""
    stamp = entry / "checked.json"
    large = sum(array.nbytes for array in arrays) > CHECK_ALWAYS_BYTES
    with contextlib.suppress(OSError, ValueError):
        if large and json.loads(stamp.read_text()) == state:
            return True
    found = hashlib.sha256(arrays[2].tobytes())
    for array in arrays[:2]:
        found.update(_sha256(array))
    if found.hexdigest() != state["digest"]:
        return False
    if large:
        with contextlib.suppress(OSError):  # a cache that can only be read
            stamp.write_text(json.dumps(state))
    return True


def _sha256(array: np.ndarray) -> bytes:
    """In parts, so that a signal need not wait for the whole."""
    found = hashlib.sha256()
    for start in range(0, len(array), CHECK_AT_ONCE):
        found.update(array[start : start + CHECK_AT_ONCE])
    return found.digest()


def _stream_type(size: int) -> np.dtype:
    """The type of streams of so many different tokens."""
    return np.dtype(np.uint16 if size <= 1 << 16 else np.uint32)


def _shapes(arrays: list[np.ndarray]) -> list[list[int]]:
    return [list(array.shape) for array in arrays]


def _build(folder: Path, documents: Documents, tokenizer: str) -> None:
    counts, sizes = [0, 0], [0, 0]
    trained_on = (text for held_out, text in documents if not held_out)
    with encoder(tokenizer, trained_on) as (encode, pieces):
        # The separator's, the last, is no byte of text.
        token_bytes = np.array([*map(len, pieces), 0], np.int32)
        separator, dtype = len(token_bytes) - 1, _stream_type(len(token_bytes))
        arrays = [_TokenFile(folder / f"{side}.npy", dtype) for side in SIDES]
        for group in _groups(documents):
            for (held_out, text), tokens in zip(group, encode([text for _, text in group])):
                arrays[held_out].append(np.concatenate([[separator], tokens]).astype(dtype))
                counts[held_out] += 1
                sizes[held_out] += len(text)
    digest = hashlib.sha256(token_bytes.tobytes())
    for array in arrays:
        digest.update(array.close())
    content = np.frombuffer(b"".join(pieces), np.uint8)
    np.save(folder / "bytes.npy", token_bytes)
    np.save(folder / "pieces.npy", content)
    meta = {
        "digest": digest.hexdigest(),
        "pieces": hashlib.sha256(content).hexdigest(),
        "shapes": [[arrays[0].length], [arrays[1].length], [len(token_bytes)], [len(content)]],
        "note": _note(counts, sizes, documents.rule),
    }
    with (folder / "meta.json").open("w") as file:
        json.dump(meta, file)
        file.flush()
        os.fsync(file.fileno())


def _note(counts: list[int], sizes: list[int], rule: str) -> str:
    if not rule:
        return ""
    train, held_out = (
        f"{n:,} document{'s' * (n != 1)}, {size:,} bytes" for n, size in zip(counts, sizes)
    )
    share = sizes[1] / max(1, sum(sizes))
    return f"{train} to train on; {held_out} ({share:.1%}) held out: {rule}"


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


def _bytes_of(texts: list[bytes]) -> list[np.ndarray]:
    return [np.frombuffer(text, np.uint8) for text in texts]


def _first(texts: Iterable[bytes]) -> Iterator[bytes]:
    left = BPE_TRAINING_BYTES
    for text in texts:
        if left <= 0:
            return
        left -= len(text)
        yield text
