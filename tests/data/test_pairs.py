import dataclasses
import json
import re

import numpy as np
import pytest

import data
from data import pairs
from data.sources import bitexts, docstrings, wheel
from data.sources.cleaning import NOTHING
from data.sources.split import TEST, TRAIN, VALIDATION

OPTIONS = {
    "source_length": 24,
    "cut_source": False,
    "target_length": 24,
    "evaluation": "test",
    "eval_rows": 0,
    "unique": 0,
    "tokenizer": "bytes",
    "cleaning": NOTHING,
}


def texts(count: int = 400) -> list[tuple[str, str]]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 24, count)
    found = ("".join(rng.choice(list("abcdé ,"), n)).strip() or "a" for n in lengths)
    return [(f"{i} {text}", f"{text[::-1]} {i}") for i, text in enumerate(found)]


@pytest.fixture
def options(tmp_path, empty_cache):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{a}\t{b}\n" for a, b in texts()))
    return OPTIONS | {"source": f"tsv:{path}"}


def rows(dataset, batch: dict) -> list[tuple[str, str]]:
    """The texts of a batch, checked to be padded and shifted as they should."""
    decode, found = dataset.facts["decode"], []
    for source, tokens, targets in zip(batch["source"], batch["tokens"], batch["targets"]):
        end = targets.tolist().index(pairs.EDGE)
        assert (targets[:end] > pairs.EDGE).all()
        assert (targets[end + 1 :] == pairs.PADDING).all()
        np.testing.assert_array_equal(tokens[: end + 1], [pairs.EDGE, *targets[:end]])
        assert (tokens[end + 1 :] == pairs.PADDING).all()
        found.append((decode(source[source != pairs.PADDING]), decode(targets)))
    return found


def test_an_epoch_has_every_pair_to_train_on_once(options):
    dataset = data.open_dataset("pairs", options)
    batch = dataset.train_batch(3, 0, dataset.train_rows)
    assert {x.dtype for x in batch.values()} == {np.dtype(np.int32), np.dtype(np.float32)}
    found = rows(dataset, batch)
    assert len(set(found)) == len(found) == dataset.train_rows
    asked, given = dataset.facts["prompt"]([source for source, _ in found[:3]])
    np.testing.assert_array_equal(asked["source"], batch["source"][:3])
    np.testing.assert_array_equal(asked["tokens"][:, 0], given * dataset.facts["end"])
    with pytest.raises(ValueError, match="has 25 tokens; allowed: 1 to 24"):
        dataset.facts["prompt"](["x" * 25])
    units = (batch["targets"] != pairs.PADDING).sum()
    assert dataset.units_per_row == pytest.approx(units / dataset.train_rows, rel=1e-12)
    again = rows(dataset, dataset.train_batch(3, 1, dataset.train_rows))
    assert found != again
    assert sorted(found) == sorted(again)
    everything = set(texts())
    assert set(found) < everything
    short = {(a, b) for a, b in everything if len(a.encode()) <= 24 and len(b.encode()) < 24}
    assert everything - short, "some are too long"
    held_out = set()
    for side in ("test", "validation"):
        other = data.open_dataset("pairs", options | {"evaluation": side})
        evaluated = rows(other, other.eval_batch(0, other.eval_rows))
        assert rows(other, other.train_batch(3, 0, dataset.train_rows)) == found
        assert held_out.isdisjoint(evaluated)
        held_out |= set(evaluated)
    assert held_out | set(found) == short
    assert held_out.isdisjoint(found)


def test_a_longer_source_is_cut_where_it_may_be(options):
    whole, cut = (
        data.open_dataset("pairs", options | {"source_length": length, "cut_source": length < 99})
        for length in (99, 8)
    )
    found = rows(cut, cut.train_batch(3, 0, cut.train_rows))
    expected = rows(whole, whole.train_batch(3, 0, whole.train_rows))
    assert found == [(a.encode()[:8].decode(errors="replace"), b) for a, b in expected]
    asked, _ = cut.facts["prompt"](["twelve bytes"])
    assert cut.facts["decode"](asked["source"][0]) == "twelve b"
    assert whole.digest != cut.digest
    assert "; sources cut; in 8 and 24 tokens" in cut.note


def test_a_batch_is_a_function_of_seed_and_step(options):
    dataset = data.open_dataset("pairs", options)
    one = dataset.train_batch(5, 123, 12)
    shards = [dataset.train_batch(5, 123, 12, (k, 4)) for k in range(4)]
    for name, array in one.items():
        np.testing.assert_array_equal(np.concatenate([s[name] for s in shards]), array)


def test_evaluation_is_padded_and_counts_its_tokens_and_bytes(options):
    dataset = data.open_dataset("pairs", options | {"eval_rows": 9, "tokenizer": "bpe:280"})
    assert dataset.eval_rows == 9
    batches = [dataset.eval_batch(index, 4) for index in range(3)]
    whole = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    np.testing.assert_array_equal(whole["weight"], [1] * 9 + [0] * 3)
    assert not whole["source"][9:].any()
    assert not whole["targets"][9:].any()
    assert dataset.facts["eval_tokens"] == (whole["targets"] != pairs.PADDING).sum()
    found = rows(dataset, {name: array[:9] for name, array in whole.items()})
    assert dataset.facts["eval_bytes"] == sum(len(target.encode()) for _, target in found)
    assert set(found) < set(texts())
    # A longer evaluation starts with the shorter one.
    longer = data.open_dataset("pairs", options | {"eval_rows": 10, "tokenizer": "bpe:280"})
    np.testing.assert_array_equal(longer.eval_batch(0, 9)["source"], whole["source"][:9])
    assert longer.digest != dataset.digest


def test_fewer_pairs_are_among_more(options):
    def trained_on(unique: int) -> set[tuple[str, str]]:
        dataset = data.open_dataset("pairs", options | {"unique": unique})
        return set(rows(dataset, dataset.train_batch(0, 0, dataset.train_rows)))

    few, more, everything = map(trained_on, (20, 50, 0))
    assert len(few) == 20
    assert few < more < everything


def test_bpe_is_of_both_texts_and_shorter(options):
    by_bytes = data.open_dataset("pairs", options)
    by_bpe = data.open_dataset("pairs", options | {"tokenizer": "bpe:280"})
    assert by_bpe.units_per_row < by_bytes.units_per_row
    assert by_bytes.facts["vocab_size"] == 258
    assert 258 < by_bpe.facts["vocab_size"] <= 280
    config = pairs.Config(**options | {"tokenizer": "bpe:280"})
    assert pairs.facts(config)["vocab_size"] == 280
    one, real = pairs.spec(config), by_bpe.eval_batch(0, 1)
    assert {k: (v.shape, v.dtype) for k, v in one.items()} == {
        k: (v.shape, v.dtype) for k, v in real.items()
    }


def test_no_text_is_on_both_sides(tmp_path, empty_cache):
    """Where a source has many targets and a target many sources, and case and spaces differ."""
    path = tmp_path / "pairs.jsonl"
    made = [(f"source {i % 50}", f"target {i}") for i in range(300)]
    made += [(f"SOURCE   {i}", f"another target {i}") for i in range(50)]
    made += [(f"one of its own {i}", f"Target {i}") for i in range(300)]
    lines = [json.dumps({"source": a, "target": b}) for a, b in made]
    path.write_text("\n".join(lines))
    found, left_out = pairs._apart(list(bitexts.find_pairs(f"jsonl:{path}")))
    sides = {side: [p for p in found if p.side == side] for side in (TRAIN, VALIDATION, TEST)}
    assert min(map(len, sides.values())) > 5
    by_source = {(bitexts.same(p.source), p.side) for p in found}
    assert len(by_source) == len({source for source, _ in by_source})
    of_training = {bitexts.same(text) for p in sides[TRAIN] for text in p[1:]}
    for side in (VALIDATION, TEST):
        assert of_training.isdisjoint(bitexts.same(text) for p in sides[side] for text in p[1:])
    # Only what has a text that is held out was dropped, and only from training.
    assert len(found) < len(made)
    assert left_out.startswith(f"{len(made) - len(found)} training pairs left out")
    assert len(found) + sum(f"target {i}" not in of_training for i in range(300)) >= len(made)


def test_pairs_are_cleaned_before_they_are_split(options, tmp_path):
    plain = data.open_dataset("pairs", options)
    lines = (tmp_path / "pairs.tsv").read_text()
    (tmp_path / "pairs.tsv").write_text(lines + lines.upper())
    changed = data.open_dataset("pairs", options)
    cleaning = dataclasses.replace(NOTHING, similar=1.0)
    cleaned = data.open_dataset("pairs", options | {"cleaning": cleaning})
    assert cleaned.train_rows == plain.train_rows < changed.train_rows
    assert len({d.digest for d in (plain, changed, cleaned)}) == 2  # the content decides
    copies = lines.count("\n")
    assert f"{copies} of {2 * copies} left out: {copies} like others; in" in cleaned.note
    assert "left out" not in plain.note
    cleaning = dataclasses.replace(NOTHING, shortest=12)
    longer = data.open_dataset("pairs", options | {"cleaning": cleaning})
    found = rows(longer, longer.train_batch(0, 0, longer.train_rows))
    assert min(len(text.encode()) for pair in found for text in pair) >= 12


def test_a_damaged_cache_is_built_again(options, empty_cache):
    first = data.open_dataset("pairs", options).digest
    (entry,) = empty_cache.iterdir()
    content = bytearray((entry / "pairs.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (entry / "pairs.npz").write_bytes(content)
    assert data.open_dataset("pairs", options).digest == first
    assert bytes(content) != (entry / "pairs.npz").read_bytes()


def test_a_text_ends_at_its_end_and_ids_of_no_token_say_nothing(options):
    decode = data.open_dataset("pairs", options).facts["decode"]
    e_acute = [byte + 2 for byte in "é".encode()]
    assert decode(np.array([*e_acute, 99, 0, 1, 99])) == "éa"
    assert decode(np.array([99, 5000, 98])) == "a`"
    assert decode(np.array(e_acute[:1])) == "\ufffd"


@pytest.mark.parametrize(
    ("verse", "clean"),
    [
        ("(2:2) Jonas, dans le ventre", "Jonas, dans le ventre"),
        ("il frappa [cinquante mille]  hommes", "il frappa cinquante mille hommes"),
        ("(13:12b) Tous les saints", "Tous les saints"),
        ("(5:21 Lorsque", "Lorsque"),
        ("(et  non) *** le", "(et non) le"),
        ("(ADDED FROM KJV: The song => Песня.)", ""),
    ],
)
def test_verses_are_cleaned(verse, clean):
    assert bitexts.clean_verse(verse) == clean


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "bible:en-en"}, "bible:en-en; allowed: bible:FROM-TO with two of ar, de, en"),
        ({"source": "bible:en"}, "allowed: bible:FROM-TO with two of"),
        ({"source": "bible:en-xx"}, "allowed: bible:FROM-TO with two of"),
        ({"source": "csv:x"}, "data.source: 'csv:x'; allowed: bible:FROM-TO"),
        ({"source": "tsv:/nowhere"}, "No such file"),
        ({"tokenizer": "words"}, "data.tokenizer: 'words'; allowed: bytes, bpe:VOCABULARY"),
        ({"tokenizer": "bpe:258"}, "a vocabulary of 259 to"),
        ({"source_length": 0}, "data.source_length: 0; allowed: at least 1"),
        ({"target_length": 2}, "(24, 2); allowed: what one of the"),
        ({"evaluation": "train"}, "data.evaluation: 'train'; allowed: test, validation"),
        ({"eval_rows": -1}, "data.eval_rows: -1; allowed: 0 (all)"),
        ({"unique": 400}, "data.unique: 400; allowed: 0 (all) to"),
    ],
)
def test_bad_options_are_refused(options, change, message):
    with pytest.raises((ValueError, OSError)) as caught:
        data.open_dataset("pairs", options | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("tsv", "a\tb\nonly one\n", "line 2; allowed: a source, a tab and a target"),
        ("tsv", "a\tb\tc\n", "line 1; allowed: a source, a tab and a target"),
        ("jsonl", '{"source": "a"}\n', 'line 1; allowed: {"source": TEXT, "target": TEXT}'),
        ("jsonl", '{"source": "a", "target": " "}\n', "neither empty"),
        ("jsonl", "[\n", "line 1 is not JSON"),
        ("jsonl", "[1]\n", "line 1; allowed"),
        ("tsv", "", "there is no training pair"),
    ],
)
def test_bad_files_are_refused(tmp_path, empty_cache, kind, content, message):
    path = tmp_path / "pairs"
    path.write_text(content)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        data.open_dataset("pairs", OPTIONS | {"source": f"{kind}:{path}"})
    assert message in str(caught.value)


MODULE = r'''"""What this is for.

Not much. It stands here so that there is a docstring whose rest has ten words, or two more.
"""

def one(x):
    """Doubles
    a number.

    Parameters
    ----------
    x : float
        A number "\d", of which there are many: one, two, three and four.
    """

class Two:
    """Two words only here.

    Too short a rest."""

    async def three(self):
        """Short.

        A rest that is long enough does not help a first paragraph of one word."""

    def four(self):
        """No rest at all here."""
'''


def test_docstrings_are_told_apart(monkeypatch):
    found = list(docstrings.summaries(MODULE.encode()))
    assert [first for _, first in found] == ["What this is for.", "Doubles a number."]
    assert found[1][0].startswith(r'Parameters x : float A number "\d", of which')
    for name in ("a/tests/b.py", "test_a.py", "a/conftest.py", "a.pyi"):
        assert not docstrings.is_documented(name)
    files = [(f"{n}.py", MODULE.encode()) for n in range(60)] + [("tests/a.py", b"(")]
    monkeypatch.setattr(wheel, "members", lambda package, folder: files)
    pairs_of = list(bitexts.find_pairs("docstrings"))
    assert len(pairs_of) == 2 * 60 * len(docstrings.PACKAGES)
    sides = [pair.side for pair in pairs_of]
    assert sides[::2] == sides[1::2], "a module is on one side"
    for side in (TEST, VALIDATION):
        assert 0.03 < sides.count(side) / len(sides) < 0.07


@pytest.mark.slow
def test_the_books_of_the_bible_are_held_out_whole():
    """Fetches 73 MB where they are not in the cache."""
    try:
        found = list(bitexts.find_pairs("bible:en-fr"))
    except OSError as error:
        pytest.skip(str(error))
    assert len(found) == 31_102
    by_side = {side: [p for p in found if p.side == side] for side in (TRAIN, VALIDATION, TEST)}
    assert {side: len(p) for side, p in by_side.items()} == {
        TRAIN: 29_393,
        VALIDATION: 506,
        TEST: 1_203,
    }
    assert by_side[TRAIN][0] == bitexts.Pair(
        TRAIN,
        "In the beginning God created the heaven and the earth.",
        "Au commencement, Dieu créa les cieux et la terre.",
    )
    assert sum("Leviathan" in p.source or "leviathan" in p.source for p in by_side[TEST]) == 1
    assert not any(re.search(r"[(]\d|[][]", text) for p in found for text in p[1:])
