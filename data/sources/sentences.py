"""Texts with labels, whole in memory: a pinned package, a person's own rows, TFDS.

What is wrong with a source is one line: an OSError where it is not there, else a ValueError.
"""

import functools
import io
import tarfile
from typing import Any, NamedTuple

import numpy as np

from data.sources import catalogue, files, rows, wheel

MAX_BYTES = 2 << 30  # of all texts of a side
# VADER's sentences (Hutto and Gilbert 2014) by where they are from, and the files' names.
DOMAINS = {
    "amazon": "amazonReviewSnippets",
    "movie": "movieReviewSnippets",
    "nyt": "nytEditorialSnippets",
    "tweets": "tweets",
}
FEELINGS = ("negative", "positive")
NEUTRAL = 0.5  # mean ratings, of -4 to 4, nearer to 0 are of neither class
ALLOWED = f"vader, vader:DOMAIN ({', '.join(DOMAINS)}), csv:PATH, jsonl:PATH, tfds:NAME[/CONFIG]"


class Side(NamedTuple):
    """Texts and their labels."""

    texts: list[str]
    labels: np.ndarray  # int64 [n]


class Sentences(NamedTuple):
    """What a source holds."""

    train: Side
    test: Side | None  # as it was published
    class_names: tuple[str, ...]  # () where labels are numbers


def known(source: str) -> tuple[str, ...] | None:
    """The classes of a source; None where it must be opened to know them. ValueError: no source."""
    kind, _, rest = source.partition(":")
    if kind == "vader" and (not rest or rest in DOMAINS) and source != "vader:":
        return FEELINGS
    if kind in (*rows.KINDS, "tfds") and rest:
        return None
    raise ValueError(f"data.source: {source!r}; allowed: {ALLOWED}[:LABEL_KEY]")


def find(source: str) -> Sentences:
    """Reads a source of `data.labelled_text.Config`."""
    kind, _, rest = source.partition(":")
    if known(source):
        return _vader(rest)
    if kind == "tfds":
        return _of_catalogue(rest)
    found = rows.read(source, "text")
    return Sentences(Side(found.values, found.labels), None, found.class_names)


@functools.lru_cache(maxsize=1)
def _vader(domain: str) -> Sentences:
    packed = wheel.read(
        "vader", "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    )
    texts, labels = [], []
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for name in [DOMAINS[domain]] if domain else DOMAINS.values():
            with archive.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt") as file:
                lines = file.read().decode().splitlines()
            for _, rating, text in (line.split("\t") for line in lines):
                if abs(float(rating)) >= NEUTRAL:
                    texts.append(text)
                    labels.append(int(float(rating) > 0))
    return Sentences(Side(texts, np.array(labels, np.int64)), None, FEELINGS)


def _of_catalogue(rest: str) -> Sentences:
    """The test side is the split "test", else "validation"; one without labels (-1) is neither."""
    name, _, label = rest.partition(":")
    builder = catalogue.builder(name)
    features = builder.info.features
    text = catalogue.key(name, "", features, "Text", "text")
    label = catalogue.key(name, label, features, "ClassLabel", "label")

    with catalogue.reading(name):
        builder.download_and_prepare()

        def side(split: str) -> Side:
            return _gathered(f"tfds:{name}", builder.as_data_source(split=split), text, label)

        train, names = side("train"), tuple(features[label].names or ())
        for split in ("test", "validation"):
            if split in builder.info.splits and not (test := side(split)).labels.min() < 0:
                return Sentences(train, test, names)
        return Sentences(train, None, names)


def _gathered(where: str, examples: Any, text: str, label: str) -> Side:
    texts, labels, size = [], [], 0
    for row in examples:
        content = row[text].encode() if isinstance(row[text], str) else bytes(row[text])
        size += len(content)
        if size > MAX_BYTES:
            raise ValueError(f"data.source: {where} has too much text; allowed: {MAX_BYTES} bytes")
        texts.append(files.text(content, where).decode())
        labels.append(row[label])
    return Side(texts, np.array(labels, np.int64))
