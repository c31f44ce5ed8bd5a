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
    """Texts, their labels, and where they are from."""

    texts: list[str]
    labels: np.ndarray  # int64 [n]
    domains: np.ndarray  # int64 [n]; all 0 where there is nothing to tell


class Sentences(NamedTuple):
    """What a source holds."""

    train: Side
    test: Side | None  # as it was published
    class_names: tuple[str, ...]  # () where labels are numbers
    domain_names: tuple[str, ...] = ()  # () where there is nothing to tell


def known(source: str) -> tuple[str, ...] | None:
    """The classes of a source; None where it must be opened to know them. ValueError: no source."""
    kind, _, rest = source.partition(":")
    if kind == "vader" and (not rest or rest in DOMAINS) and source != "vader:":
        return FEELINGS
    if kind in (*rows.KINDS, "tfds") and rest:
        return None
    raise ValueError(f"data.source: {source!r}; allowed: {ALLOWED}[:LABEL_KEY]")


def domains(source: str) -> tuple[str, ...]:
    """Where the texts of a source are from, () where there is nothing to tell."""
    kind, _, rest = source.partition(":")
    return () if kind != "vader" or rest else tuple(DOMAINS)


def find(source: str) -> Sentences:
    """Reads a source of `data.labelled_text.Config`."""
    kind, _, rest = source.partition(":")
    if known(source):
        return _vader(rest)
    if kind == "tfds":
        return _of_catalogue(rest)
    found = rows.read(source, "text")
    return Sentences(side(found.values, found.labels), None, found.class_names)


def side(texts: list[str], labels: np.ndarray) -> Side:
    """Texts of one origin."""
    return Side(texts, labels, np.zeros(len(texts), np.int64))


@functools.lru_cache(maxsize=1)
def _vader(domain: str) -> Sentences:
    packed = wheel.read(
        "vader", "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    )
    texts, labels, origins = [], [], []
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for origin, name in enumerate([DOMAINS[domain]] if domain else DOMAINS.values()):
            with archive.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt") as file:
                lines = file.read().decode().splitlines()
            for _, rating, text in (line.split("\t") for line in lines):
                if abs(float(rating)) >= NEUTRAL:
                    texts.append(text)
                    labels.append(int(float(rating) > 0))
                    origins.append(origin)
    found = Side(texts, np.array(labels, np.int64), np.array(origins, np.int64))
    return Sentences(found, None, FEELINGS, () if domain else tuple(DOMAINS))


def _of_catalogue(rest: str) -> Sentences:
    """The test side is the split "test", else "validation"; one without labels (-1) is neither."""
    name, _, label = rest.partition(":")
    builder = catalogue.builder(name)
    features = builder.info.features
    text = catalogue.key(name, "", features, "Text", "text")
    label = catalogue.key(name, label, features, "ClassLabel", "label")

    with catalogue.reading(name):
        builder.download_and_prepare()

        def published(split: str) -> Side:
            return _gathered(f"tfds:{name}", builder.as_data_source(split=split), text, label)

        train, names = published("train"), tuple(features[label].names or ())
        for split in ("test", "validation"):
            if split in builder.info.splits and not (test := published(split)).labels.min() < 0:
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
    return side(texts, np.array(labels, np.int64))
