"""Files from outside: found through links, unpacked within bounds, read as UTF-8 text.

Whatever is wrong with a file is one line that names it: a ValueError where it is not what it should
be, an OSError where it is not there or cannot be read.
"""

import codecs
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# A document has at most this; a file of rows may unpack to that and this often its size.
MAX_BYTES = 256 << 20
MAX_RATIO = 100
ENCODINGS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def user_path(text: str) -> Path:
    """A path in which ~ is a home folder (ValueError where there is no such)."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"data.source: {text}: {error}") from None


def state(path: Path) -> tuple[int, ...]:
    """What changes when a file does; the last number is when it last did, in nanoseconds."""
    status = os.stat(path)
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def digest(path: Path) -> str:
    """sha256 of a file as it lies there, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kind(path: Path) -> str:
    """What a file's name ends in, in lower case, but for how it is packed: a.TXT.gz is ".txt"."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in OPENERS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder in a fixed order, through links to folders too, each folder once.

    Raises OSError where a folder cannot be read or a link leads nowhere.
    """

    def fail(error: OSError) -> None:
        raise error

    seen = set()
    for place, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        # What a folder is called itself counts before what a link calls it.
        folders.sort(key=lambda name: (os.path.islink(os.path.join(place, name)), name))
        yield from (Path(place, name) for name in sorted(names))


@contextlib.contextmanager
def unpacked(path: Path, limit: int) -> Iterator[BinaryIO]:
    """A file's content of at most `limit` bytes, unpacked where its name says how it is packed."""
    opener = OPENERS.get(path.suffix.lower(), open)
    try:
        with opener(path, "rb") as file, io.BufferedReader(Bounded(file, limit, path)) as bounded:
            yield bounded
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # not of the unpacker
            raise
        raise ValueError(f"data.source: {path} cannot be unpacked: {error}") from None


def _open_zst(path: Path, _: str) -> BinaryIO:
    import pyarrow  # which TFDS brings; Python has a module for this from 3.14 on

    return pyarrow.input_stream(str(path), compression="zstd")


OPENERS = {".gz": gzip.open, ".xz": lzma.open, ".zst": _open_zst}


class Bounded(io.RawIOBase):
    """Reads from a file until that has given more than it may; `where` names it in the error."""

    def __init__(self, file: BinaryIO, limit: int, where: object):
        self._file, self._left = file, limit
        self._message = f"data.source: {where} has too many bytes; allowed: at most {limit} a file"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(self._message)
        return len(content)


def most_bytes(path: Path) -> int:
    """What a file of many rows may unpack to."""
    return MAX_BYTES + MAX_RATIO * path.stat().st_size


def read_text(path: Path) -> bytes:
    """A whole file of UTF-8 text, of at most 256 MiB; see `text`."""
    with unpacked(path, MAX_BYTES) as file:
        return text(file.read().removeprefix(codecs.BOM_UTF8), path)


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, of at most 256 MiB each, and their numbers from 1.

    All of them have at most that and, if the file is packed, 100 times its size.
    """
    with unpacked(path, most_bytes(path)) as file:
        number = 0
        while line := file.readline(MAX_BYTES + 1):
            number += 1
            if len(line) > MAX_BYTES:
                raise ValueError(
                    f"data.source: {path} line {number}; allowed: at most {MAX_BYTES} bytes a line"
                )
            if line.strip():
                yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def text(content: bytes, where: object) -> bytes:
    r"""Checks that bytes are UTF-8 text without zero bytes. Lines that end in \r\n then end in \n.

    where: the file, and the line, to name.
    """
    try:
        content.decode()
    except UnicodeDecodeError as error:
        found = ENCODINGS.get(content[:2], "LATIN1")
        raise ValueError(
            f"data.source: {where} is not UTF-8 text (byte {error.start}); "
            f"allowed: UTF-8, as from iconv -f {found} -t UTF-8"
        ) from None
    if b"\0" in content:
        raise ValueError(f"data.source: {where} has a zero byte; allowed: UTF-8 text")
    return content.replace(b"\r\n", b"\n")
