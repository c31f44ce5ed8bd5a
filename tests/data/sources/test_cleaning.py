import dataclasses
import json

import numpy as np
import pytest

import data
from data.sources import cleaning
from data.sources.cleaning import NOTHING, signature
from tests.data.conftest import WORDS, write_folder


def how(**changes):
    return dataclasses.replace(NOTHING, **changes)


def prose(rng, words=120):
    return " ".join(rng.choice(WORDS, words)) + f" {rng.integers(1e9)}"


def jaccard(a, b):
    a, b = ({text[i : i + 8] for i in range(len(text) - 7)} for text in (a, b))
    return len(a & b) / len(a | b)


def test_the_share_of_equal_minima_is_how_alike_texts_are():
    rng, errors = np.random.default_rng(0), []
    for _ in range(60):
        text = prose(rng).encode()
        other = bytearray(text)
        for place in rng.integers(0, len(text), rng.integers(0, 30)):
            other[place] = ord("#")
        found = (signature(text) == signature(bytes(other))).mean()
        errors.append(found - jaccard(text, bytes(other)))
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.044  # of 128 hashes, where alike by a half


def test_a_long_text_is_read_in_parts(monkeypatch):
    text = prose(np.random.default_rng(0), 500).encode()
    whole = signature(text)
    monkeypatch.setattr(cleaning, "AT_ONCE", 100)
    np.testing.assert_array_equal(signature(text), whole)
    assert len(set(whole.tolist())) > 120
    # Shorter than a shingle: itself, and no other.
    assert (signature(b"a") == signature(b"a")).all()
    assert not (signature(b"a") == signature(b"b")).any()


def test_of_texts_that_are_alike_the_first_stays():
    rng = np.random.default_rng(1)
    texts = [prose(rng) for _ in range(60)]
    near = [text.replace("iota", "iot", 1) for text in texts[:20]]
    mixed = [*texts[:10], *near, *texts[10:]]
    stays, said = how(similar=0.8).kept((text,) for text in mixed)
    assert stays.tolist() == [True] * 10 + [False] * 10 + [True] * 10 + [False] * 10 + [True] * 40
    assert said == "20 of 80 left out: 20 like others"
    stays, said = how(similar=1.0).kept((text,) for text in mixed)
    assert stays.all()
    assert said == ""


@pytest.mark.parametrize("similar", [0.5, 0.7, 0.9])
def test_no_two_texts_that_stay_are_as_alike(similar):
    """Chains of texts, of which each has a few words of the one before it changed."""
    rng, texts = np.random.default_rng(2), []
    for _ in range(6):
        words = prose(rng).split()
        for _ in range(15):
            words[rng.integers(len(words))] = str(rng.integers(1e6))
            texts.append(" ".join(words))
    prints = np.stack([signature(text.encode()) for text in texts])
    alike = (prints[:, None] == prints).mean(axis=-1) >= similar
    stays, _ = how(similar=similar).kept((text,) for text in texts)
    assert 1 < stays.sum() < len(texts)
    assert (alike[np.ix_(stays, stays)] == np.eye(stays.sum(), dtype=bool)).all()
    # What went is like something that stays, but for the chain's steps in between.
    assert alike[~stays].sum(axis=1).min() >= 2


def test_forms_lengths_and_copies():
    texts = ["ﬁne  Day", "fine day", "", "x", "é" * 9, "fine day", "fine  DAY"]

    def left(**changes):
        chosen = how(**changes)
        normal = [chosen.normal(text) for text in texts]
        stays, said = chosen.kept((text,) for text in normal)
        return [text for text, stay in zip(normal, stays) if stay], said

    assert left(shortest=2)[0] == ["ﬁne  Day", "fine day", "é" * 9, "fine  DAY"]
    assert left(unicode="NFKC", similar=1.0) == (
        ["fine  Day", "x", "é" * 9],
        "4 of 7 left out: 3 like others, 1 too short",
    )
    kept, said = left(shortest=2, longest=9, unicode="NFKC")
    assert kept == ["fine  Day", "fine day", "fine  DAY"]  # é has two bytes
    assert said.endswith("2 too short, 1 too long, 1 like others")
    assert how(unicode="NFC").normal("e\u0301\ufb01") == "\u00e9\ufb01"
    # Of several texts in a row each counts, and they are alike together.
    rows = [("a b", "c d"), ("A b", "c d"), ("a b", "c e"), ("a b", "")]
    assert how(similar=1.0).kept(rows)[0].tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"unicode": "NFD"}, "unicode: 'NFD'; allowed: none, NFC, NFKC"),
        ({"shortest": -1}, "shortest: -1; allowed: at least 0"),
        ({"shortest": 9, "longest": 8}, "longest: 8; allowed: 0"),
        ({"similar": 0.3}, "similar: 0.3; allowed: 0"),
        ({"similar": float("nan")}, "similar: nan"),
    ],
)
def test_bad_options_are_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        how(**changes)


def test_documents_are_cleaned_before_they_are_trained_on(empty_cache, text_options, folder):
    texts = write_folder(folder)
    for number, text in enumerate(texts[:20]):
        (folder / f"near{number}.txt").write_text(text.replace("gamma", "gama", 2))
    options = text_options | {"source": f"folder:{folder}"}
    plain = data.open_dataset("text", options)
    asked = dataclasses.asdict(how(similar=0.95))  # all are of the same ten words
    cleaned = data.open_dataset("text", options | {"cleaning": asked})
    assert "; 20 of 80 left out: 20 like others" in cleaned.note
    rows = cleaned.train_rows + cleaned.eval_rows
    assert rows < 0.8 * (plain.train_rows + plain.eval_rows)
    assert cleaned.digest != plain.digest
    # What is said stays with what was built, and nothing asked for is as it ever was.
    assert data.open_dataset("text", options | {"cleaning": asked}).note == cleaned.note
    nothing = json.loads(json.dumps(dataclasses.asdict(NOTHING)))
    assert data.open_dataset("text", options | {"cleaning": nothing}).digest == plain.digest
    assert len(list(empty_cache.iterdir())) == 2
