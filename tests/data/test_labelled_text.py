import numpy as np
import pytest

import data
from data import labelled_text
from data.sources import sentences
from data.sources.cleaning import NOTHING
from tests.data.conftest import WORDS
from tests.data.sources.test_rows import write

OPTIONS = {
    "tokenizer": "bytes",
    "length": 32,
    "evaluation": "test",
    "eval_rows": 0,
    "unique": 0,
    "cleaning": NOTHING,
}


def texts(count=300):
    """Three classes, each with words of its own."""
    rng = np.random.default_rng(0)
    for number in range(count):
        label = number % 3
        words = rng.choice(WORDS[3 * label : 3 * label + 3], rng.integers(1, 6))
        yield f"{number} {' '.join(words)}", ("low", "mid", "high")[label]


@pytest.fixture
def options(tmp_path):
    """A file of 8 kB; a test may write another."""

    def make(rows=None, **changes):
        lines = [f"{text},{label}\n" for text, label in rows or texts()]
        return OPTIONS | {"source": write(tmp_path, "text,label\n" + "".join(lines))} | changes

    return make


def opened(options):
    return data.open_dataset("labelled_text", options)


def pairs(dataset, batch):
    """Text and class of each row, checked to be padded as it should."""
    for ids in batch["tokens"]:
        assert not ids[np.argmin(ids > 0) if (ids == 0).any() else len(ids) :].any()
    names = dataset.facts["class_names"]
    decoded = map(dataset.facts["decode"], batch["tokens"])
    return [(text, names[label]) for text, label in zip(decoded, batch["label"])]


def test_an_epoch_has_every_text_to_train_on_once_with_its_label(options):
    dataset = opened(options())
    assert (dataset.unit, dataset.units_per_row) == ("text", 1)
    batch = dataset.train_batch(3, 0, dataset.train_rows)
    assert {k: (v.dtype.name, v.shape[1:]) for k, v in batch.items()} == {
        "tokens": ("int32", (32,)),
        "label": ("int32", ()),
        "weight": ("float32", ()),
    }
    found = pairs(dataset, batch)
    cut = {(text[:32], label) for text, label in texts()}
    assert len(set(found)) == len(found) == dataset.train_rows
    assert set(found) < cut
    held_out = set()
    for side in ("test", "validation"):
        other = opened(options(evaluation=side))
        held_out |= set(pairs(other, other.eval_batch(0, other.eval_rows)))
        assert 15 < other.eval_rows < 50
    assert set(found) | held_out == cut
    again = pairs(dataset, dataset.train_batch(3, 1, dataset.train_rows))
    assert found != again
    assert sorted(found) == sorted(again)
    parts = [dataset.train_batch(3, 0, 12, (k, 4))["tokens"] for k in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts), dataset.train_batch(3, 0, 12)["tokens"])


def test_caps_keep_what_larger_ones_do_in_the_same_tokens(options):
    few, all_of_it = (opened(options(unique=n, tokenizer="bpe:280")) for n in (30, 0))
    assert few.facts["vocab_size"] == all_of_it.facts["vocab_size"] <= 280
    rows = [d.train_batch(0, 0, d.train_rows)["tokens"].tolist() for d in (few, all_of_it)]
    assert len(rows[0]) == 30
    assert all(row in rows[1] for row in rows[0])
    capped = opened(options(eval_rows=5, tokenizer="bpe:280"))
    batches = [capped.eval_batch(index, 4) for index in range(2)]
    assert np.concatenate([b["weight"] for b in batches]).tolist() == [1] * 5 + [0] * 3
    assert not batches[1]["tokens"][1:].any()
    np.testing.assert_array_equal(
        all_of_it.eval_batch(0, 4)["tokens"], capped.eval_batch(0, 4)["tokens"]
    )
    assert len({d.digest for d in (few, all_of_it, capped)}) == 3


def test_what_is_known_unopened_is_what_is_found(options):
    config = labelled_text.Config(**options(tokenizer="bpe:280"))
    dataset, known = labelled_text.open(config), data.facts("labelled_text", config)
    assert known == {"unit": "text", "units_per_row": 1, "vocab_size": 280, "classes": None}
    assert (dataset.facts["classes"], dataset.facts["class_names"]) == (3, ("high", "low", "mid"))
    one, real = data.spec("labelled_text", config), dataset.eval_batch(0, 1)
    assert {k: (v.shape, v.dtype) for k, v in one.items()} == {
        k: (v.shape, v.dtype) for k, v in real.items()
    }
    config = labelled_text.Config(**OPTIONS | {"source": "vader:movie"})
    known = data.facts("labelled_text", config)
    assert known["class_names"] == ("negative", "positive")
    assert "domain_names" not in known


def test_the_order_of_the_file_is_none_of_the_data_and_the_note_tells(options):
    dataset = opened(options())
    assert opened(options(list(texts())[::-1])).digest == dataset.digest
    assert f"{dataset.train_rows} texts to train on; {dataset.eval_rows} held out" in dataset.note
    rows = [*texts(), ("7  ALPHA alpha", "low"), ("7 alpha Alpha", "mid")]
    noted = opened(options(rows, length=8)).note
    assert "; 1 of 302 left out: 1 like others; " in noted
    assert "are cut at 8 tokens" in noted


def test_a_published_test_side_comes_first():
    """What is like one of its texts is not trained on, nor tuned on."""
    written = [text for text, _ in texts()]
    train = sentences.side([*written, "Held OUT 7 with words"], np.arange(301) % 3)
    test = sentences.side([f"held out {i}  with words" for i in range(20)], np.zeros(20, np.int64))
    found = sentences.Sentences(train, test, ("a", "b", "c"))
    held_out = {}
    for side in labelled_text.SIDES:
        config = labelled_text.Config(**OPTIONS | {"source": "csv:x", "evaluation": side})
        dataset = labelled_text.LabelledTextDataset(config, found)
        held_out[side] = dataset.eval_batch(0, dataset.eval_rows)["tokens"]
        assert "1 of 321 left out: 1 like others" in dataset.note
    assert len(held_out["test"]) == 20
    assert all(dataset.facts["decode"](row).startswith("held out") for row in held_out["test"])
    assert 15 < len(held_out["validation"]) < 50
    assert dataset.train_rows + len(held_out["validation"]) == 300


def test_a_row_says_where_it_is_from():
    written = [text for text, _ in texts()]
    side = sentences.Side(written, np.arange(300) % 3, np.arange(300) % 2)
    found = sentences.Sentences(side, None, ("a", "b", "c"), ("page", "wall"))
    options = OPTIONS | {"source": "vader"}
    dataset = labelled_text.LabelledTextDataset(labelled_text.Config(**options), found)
    assert dataset.facts["domain_names"] == ("page", "wall")
    batch = dataset.train_batch(0, 0, 50)
    for row, domain in zip(batch["tokens"], batch["domain"]):
        assert int(dataset.facts["decode"](row).split()[0]) % 2 == domain
    one = data.spec("labelled_text", labelled_text.Config(**options))
    assert {k: v.shape[1:] for k, v in batch.items()} == {k: v.shape[1:] for k, v in one.items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "imdb"}, "data.source: 'imdb'; allowed: vader, vader:DOMAIN"),
        ({"source": "vader:film"}, "allowed: vader, vader:DOMAIN (amazon, movie"),
        ({"source": "vader:"}, "data.source: 'vader:'"),
        ({"length": 0}, "data.length: 0; allowed: 1 to"),
        ({"length": 1 << 20}, "data.length: 1048576; "),
        ({"evaluation": "train"}, "data.evaluation: 'train'; allowed: test, validation"),
        ({"unique": 10**6}, "data.unique: 1000000; allowed: 0 (all) to 2"),
        ({"eval_rows": -1}, "data.eval_rows: -1; allowed"),
        ({"tokenizer": "words"}, "data.tokenizer: 'words'"),
        ({"rows": [("a", 0), ("A", 0)]}, "of 1 different texts none is to"),
        (
            {"rows": [*((t, 0) for t, _ in texts(100)), ("z", 2)]},
            "has no training text of class 1; allowed: labels 0 to 2, each at least once",
        ),
    ],
)
def test_bad_options_are_refused(options, monkeypatch, changes, message):
    monkeypatch.setattr(sentences, "MAX_BYTES", 1 << 20)
    with pytest.raises(ValueError, match="data") as caught:
        opened(options(**changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
