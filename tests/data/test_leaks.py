"""No row is on both sides of a split, though sources repeat theirs in other guises."""

import dataclasses

import numpy as np
import pytest

import data
from data import pairs
from data.sources import cleaning, documents
from data.sources.cleaning import NOTHING, same
from tests.data.conftest import SPECTRUM, write_folder
from tests.data.sources.test_packages import drawn_index
from tests.data.sources.test_rows import write
from tests.data.test_images import OPTIONS as IMAGES
from tests.data.test_images import hashes, write_idx
from tests.data.test_labelled_text import OPTIONS as LABELLED
from tests.data.test_pairs import OPTIONS as PAIRS
from tests.data.test_scenes import COMPOSED, coco

CLEAN = dataclasses.replace(NOTHING, unicode="NFKC", similar=1.0)
RATINGS = {"evaluation": "test", "eval_rows": 0, "unique": 0}
NUMBERS = np.random.default_rng(0).integers(0, 256, (400, 6, 5), np.uint8)


def guises(text):
    """The same text to a person."""
    return [text, text.upper(), text.replace(" ", "  "), text.replace("é", "e\u0301")]


def sentences(count=200):
    return [g for number in range(count) for g in guises(f"é is number {number}")]


def of_text(folder, clean):
    write_folder(folder)
    for number, text in enumerate(sentences()):
        (folder / f"{number}.md").write_text(text)
    found = documents.find_documents(f"folder:{folder}", clean)
    sides = {False: set(), True: set()}
    for held_out, text in found:
        sides[held_out].add(cleaning.same(CLEAN.normal(text.decode())))
    return sides.values()


def of_pairs(folder, clean):
    lines = [f"{text}\tanswer {i}\n" for i, text in enumerate(sentences())]
    source = {"source": write(folder, "".join(lines), "p.tsv").replace("csv:", "tsv:")}
    dataset = data.open_dataset("pairs", PAIRS | source | {"cleaning": clean, "source_length": 64})
    decode = dataset.facts["decode"]
    return (
        {same(CLEAN.normal(decode(row[row != pairs.PADDING]))) for row in batch["source"]}
        for batch in whole(dataset)
    )


def of_labelled_text(folder, clean):
    lines = [f"{text},{i % 4}\n" for i, text in enumerate(sentences())]
    source = {"source": write(folder, "text,label\n" + "".join(lines)), "cleaning": clean}
    dataset = data.open_dataset("labelled_text", LABELLED | source)
    decode = dataset.facts["decode"]
    return ({same(CLEAN.normal(decode(row))) for row in b["tokens"]} for b in whole(dataset))


def of_images(folder, _):
    pixels = np.concatenate([NUMBERS, NUMBERS, NUMBERS[:50]])
    write_idx(folder / "train-images-idx3-ubyte", pixels)
    write_idx(folder / "train-labels-idx1-ubyte", (np.arange(len(pixels)) % 3).astype(np.uint8))
    dataset = data.open_dataset("images", IMAGES | {"source": f"folder:{folder}"})
    return (set(hashes(batch["image"])) for batch in whole(dataset))


def of_regression(folder, _):
    rows = [f"{a},{b},{c}\n" for a, b, c in NUMBERS[:, :3, 0]] * 2
    source = {"source": write(folder, "a,b,y\n" + "".join(rows)), "target": "y", "features": 0}
    dataset = data.open_dataset("regression", SPECTRUM | source)
    return (set(hashes(np.column_stack([b["x"], b["y"]]))) for b in whole(dataset))


def of_ratings(folder, _, name="ratings", options=RATINGS):
    pairs = [f"u{a % 40},i{b % 30},{c}\n" for a, b, c in NUMBERS[:, :3, 0]] * 2
    source = {"source": write(folder, "user,item,rating\n" + "".join(pairs))}
    dataset = data.open_dataset(name, options | source)
    return (set(zip(b["user"].tolist(), b["item"].tolist())) for b in whole(dataset))


def of_interactions(folder, clean):
    return of_ratings(folder, clean, "interactions", RATINGS | {"length": 9})


def of_packages(folder, _):
    source = {"source": drawn_index(folder), "length": 9}
    dataset = data.open_dataset("interactions", RATINGS | source)
    return (set(zip(b["user"].tolist(), b["item"].tolist())) for b in whole(dataset))


def of_scenes(folder, _):
    found = coco(folder, 60)
    again = [row | {"id": row["id"] + 60} for row in found["images"]]
    coco(folder, 60, images=found["images"] + again)
    source = {"source": f"coco:{folder}/annotations.json", "eval_rows": 0}
    return (set(hashes(b["image"])) for b in whole(data.open_dataset("scenes", COMPOSED | source)))


def whole(dataset):
    """All rows to train on, and all to evaluate on."""
    yield dataset.train_batch(0, 0, dataset.train_rows)
    yield dataset.eval_batch(0, dataset.eval_rows)


SOURCES = [
    of_text,
    of_pairs,
    of_labelled_text,
    of_images,
    of_regression,
    of_ratings,
    of_interactions,
    of_packages,
    of_scenes,
]


@pytest.mark.parametrize("source", SOURCES)
def test_no_row_is_on_both_sides(tmp_path, empty_cache, source):
    (folder := tmp_path / "data").mkdir()
    train, held_out = source(folder, CLEAN)
    assert len(train) > 5 * len(held_out) / 2
    assert len(held_out) > 5
    assert train.isdisjoint(held_out)


def test_texts_that_nobody_cleans_do_leak(tmp_path, empty_cache):
    """So that the test above is one."""
    (folder := tmp_path / "data").mkdir()
    train, held_out = of_text(folder, NOTHING)
    assert not train.isdisjoint(held_out)
