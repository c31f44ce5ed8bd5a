"""Documents from the files of a folder: .txt, .md and .jsonl, which may be packed."""

import functools
import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.sources import cache, files, split

KINDS = (".txt", ".md", ".jsonl")
# A document in the index. Millions of them fit into memory, their text does not.
ROW = np.dtype(
    [
        ("digest", "S32"),  # sha256 of the text; NumPy drops the zeros at the end of such bytes
        ("draw", "<u8"),  # see data.sources.split
        ("size", "<i8"),
        ("place", "<i8"),  # in the copy of all lines; -1: the whole file
        ("file", "<i4"),
        ("named", "i1"),  # the side that its name gives
    ]
)
PACK = struct.Struct("<32sQqqib").pack


class Index(NamedTuple):
    """All documents in the order in which they come out."""

    rows: np.ndarray  # [n] of ROW
    held_out: np.ndarray | None  # bool [n]; None: the end of every document
    lines: Any  # an open file with the texts of all lines


class FolderDocuments:
    """The texts below a folder, links followed; copies and empty ones are left out.

    A .txt or .md file is a document, and so is each line of a .jsonl file: a JSON object whose text
    is its field "text", or the only field that is a string. Files may be packed (.gz, .xz, .zst).
    The documents come in the order of their hashes; data.sources.split says which are held out.

    Raises ValueError or OSError, in one line, where a file is not such text or cannot be read; most
    of this when the documents are read.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise FileNotFoundError(f"data.source: folder:{folder}; there is no such folder")
        # A link that leads nowhere stays, to be named; a pipe would never end.
        found = [path for path in files.walk(folder) if path.is_file() or not path.exists()]
        self._folder = folder
        self._files = [path for path in found if files.kind(path) in KINDS]
        others = len(found) - len(self._files)
        self.note = f"{others} files of other kinds left out" if others else ""
        self._named = [split.named_side(path.relative_to(folder)) for path in self._files]
        self._states = [files.state(path) for path in self._files]
        content = {
            f"{files.kind(path) == '.jsonl'} {named} {files.digest(path)}"
            for path, named in zip(self._files, self._named)
        }
        identity = "\n".join(["folder 2", *sorted(content)])
        self.fingerprint = hashlib.sha256(identity.encode()).hexdigest()

    @property
    def rule(self) -> str:
        """How the sides were chosen, in words."""
        return self._index_and_rule[1]

    def __iter__(self) -> Iterator[tuple[bool, bytes]]:
        rows, held_out, lines = self._index_and_rule[0]
        for number, row in enumerate(rows):
            text = self._read(row, lines)
            if held_out is not None:
                yield bool(held_out[number]), text
                continue
            place = split.cut(text)
            for side, part in ((False, text[:place]), (True, text[place:])):
                if part:
                    yield side, part

    def _read(self, row: np.void, lines: Any) -> bytes:
        if row["place"] < 0:
            text = files.read_text(self._files[row["file"]])
        else:
            lines.seek(row["place"])
            text = lines.read(row["size"])
        if hashlib.sha256(text).digest().rstrip(b"\0") != row["digest"]:
            raise self._changed(row["file"])
        return text

    def _changed(self, number: int) -> OSError:
        return OSError(f"data.source: {self._files[number]} changed while it was read")

    @functools.cached_property
    def _index_and_rule(self) -> tuple[Index, str]:
        packed, lines, fields = bytearray(), None, set()
        for number, path in enumerate(self._files):
            if files.kind(path) == ".jsonl":
                lines = lines or cache.scratch()
                for text in _line_texts(path, fields):
                    packed += self._row(number, text, lines.tell())
                    lines.write(text)
            elif (text := files.read_text(path)).strip():
                packed += self._row(number, text, -1)
            if files.state(path) != self._states[number]:
                raise self._changed(number)
        rows = np.frombuffer(packed, ROW)
        rows = rows[np.lexsort((rows["named"], rows["digest"]))]
        rows = rows[np.append(True, rows["digest"][1:] != rows["digest"][:-1])[: len(rows)]]
        if not len(rows):
            raise ValueError(
                f"data.source: folder:{self._folder} has no text; "
                f"allowed: files that end in {', '.join(KINDS)}, or these with .gz, .xz, .zst"
            )
        held_out, neither, rule = split.held_out(rows["size"], rows["draw"], rows["named"])
        if neither.any():
            rule += f"; {neither.sum()} named as test left out"
        if fields - {"text"}:
            rule += f"; text of the field {', '.join(map(repr, sorted(fields)))}"
        held_out = held_out if held_out is None else held_out[~neither]
        return Index(rows[~neither], held_out, lines), rule

    def _row(self, number: int, text: bytes, place: int) -> bytes:
        digest = hashlib.sha256(text).digest()
        return PACK(digest, split.draw(digest), len(text), place, number, self._named[number])


def _line_texts(path: Path, fields: set[str]) -> Iterator[bytes]:
    """The texts of a .jsonl file that are not blank; adds the field they are of to `fields`."""
    field = None
    for number, line in files.read_lines(path):
        where = f"{path} line {number}"
        try:
            document = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"data.source: {where} is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise ValueError(f"data.source: {where}; allowed: a JSON object")
        if field is None:
            field = _text_field(document, where)
            fields.add(field)
        text = document.get(field)
        if not isinstance(text, str):
            raise ValueError(f"data.source: {where} field {field!r}; allowed: a string")
        if text.strip():
            # Half of a surrogate pair, which JSON can spell, is no text: then this is not UTF-8.
            yield files.text(text.encode(errors="surrogatepass"), f"{where} field {field!r}")


def _text_field(document: dict[str, Any], where: str) -> str:
    strings = [name for name, value in document.items() if isinstance(value, str)]
    if "text" in document or len(strings) == 1:
        return "text" if "text" in document else strings[0]
    raise ValueError(
        f"data.source: {where} has the strings {', '.join(strings) or '(none)'}; "
        "allowed: a field text, or one string alone"
    )
