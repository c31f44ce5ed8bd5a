import collections
import hashlib
import lzma
import re

import numpy as np
import pytest

from data.sources.corpus import build
from data.sources.documents import EMBEDDED, EmbeddedDocuments, is_validation


@pytest.fixture(scope="module")
def documents():
    return EmbeddedDocuments().read()


def size_by_source(documents):
    sizes = collections.Counter()
    for document in documents:
        sizes[document["source"]] += len(document["text"])
    return sizes


def test_the_text_is_what_the_provenance_says():
    provenance = EMBEDDED.with_name("PROVENANCE.md").read_text()
    content = lzma.decompress(EMBEDDED.read_bytes())
    assert hashlib.sha256(content).hexdigest() in provenance
    assert f"{len(content):,} bytes" in provenance
    assert EMBEDDED.stat().st_size < 5_000_000
    for digest in build.SHA256.values():
        assert digest in provenance


def test_the_corpus_has_its_sources_whole(documents):
    sizes = size_by_source(documents)
    assert sum(sizes.values()) > 12_000_000
    # Both translations have the 1,189 chapters of the canon, Shakespeare his 154 sonnets.
    titles = collections.defaultdict(list)
    for document in documents:
        titles[document["source"]].append(document["title"])
    assert len(set(titles["kjv"])) == len(titles["kjv"]) == 1189
    assert sorted(titles["kjv"]) == sorted(titles["web"])
    assert sum(title.startswith("sonnets ") for title in titles["shakespeare"]) == 154
    genesis = next(d for d in documents if (d["source"], d["title"]) == ("kjv", "Genesis 1"))
    opening = (
        "Genesis 1\n\nIn the beginning God created the heaven and the earth.\nAnd the earth was"
    )
    assert genesis["text"].startswith(opening)


def test_the_text_is_clean(documents):
    for document in documents:
        text = document["text"]
        assert text == text.strip()
        assert text.isascii()
        assert not re.search(
            r"[\x00-\x09\x0b-\x1f`<>@]|\n\n\n|https?:|gutenberg|copyright", text, re.I
        )
        if document["source"] in ("kjv", "web"):
            # A digit can only be the chapter's number: no stray heading of a psalm.
            assert not re.search(r"[\d\[\]]", text.partition("\n")[2])


def test_one_work_is_on_one_side(documents):
    sides = collections.defaultdict(set)
    for document in documents:
        sides[document["title"]].add(is_validation(document["key"]))
    assert all(len(side) == 1 for side in sides.values())
    held_out = sum(len(d["text"]) for d in documents if is_validation(d["key"]))
    assert 0.04 < held_out / sum(size_by_source(documents).values()) < 0.06


def test_no_validation_document_quotes_a_training_document(documents):
    # Measured on runs of 12 words, not on the 8 by which the build joined documents.
    def runs(document):
        words = re.findall(r"[a-z]+", document["text"].lower())
        return {hash(" ".join(words[i : i + 12])) for i in range(len(words) - 11)}

    train = set()
    for document in documents:
        if not is_validation(document["key"]):
            train |= runs(document)
    shares = [
        len(own & train) / len(own)
        for document in documents
        if is_validation(document["key"]) and (own := runs(document))
    ]
    assert max(shares) < 0.15
    assert np.mean(shares) < 0.01


def test_every_tenth_of_the_training_text_has_the_mix_of_the_whole(documents):
    train = [document for document in documents if not is_validation(document["key"])]
    sizes = size_by_source(train)
    total = sum(sizes.values())
    ends = np.cumsum([len(document["text"]) for document in train])
    for tenth in range(10):
        inside = [d for d, end in zip(train, ends) if tenth < 10 * end / total <= tenth + 1]
        part = size_by_source(inside)
        for source, size in sizes.items():
            assert abs(part[source] / sum(part.values()) - size / total) < 0.06


def test_verses_are_cleaned():
    assert (
        build.clean_verse("God`s  Spirit [even] a half -[tribe]")
        == "God's Spirit even a half-tribe"
    )
    assert build.clean_verse("the way of the wicked shall perish. BOOK I Psalm 2") == (
        "the way of the wicked shall perish."
    )


def test_plays_are_cut_at_scenes():
    play = """HAMLET

    A Ghost.

    ACT I.

    Scene I. A platform.

    Ber. Who's there?
    Fran. Nay, answer me: stand, and unfold yourself.     5

    Scene II. A room of state in the castle.

    King. Though yet of Hamlet our dear brother's death

    THE END"""
    first, second = build.parts(re.sub(r"(?m)^    ", "", play))
    assert first.startswith("ACT I.\n\nScene I. A platform.\n\nBer. Who's there?\nFran.")
    assert first.endswith("unfold yourself.")
    assert second.startswith("Scene II.")
    assert second.endswith("dear brother's death")


def test_near_duplicates_share_a_key():
    shared = "one two three four five six seven eight nine ten eleven twelve"
    documents = [
        {"key": "b", "text": f"{shared} and more of b"},
        {"key": "a", "text": f"so says a {shared}"},
        {"key": "c", "text": "nothing here is found in any other of these three documents at all"},
    ]
    build.join_near_duplicates(documents)
    assert [document["key"] for document in documents] == ["a", "a", "c"]
