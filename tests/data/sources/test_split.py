from pathlib import PurePath

import numpy as np
import pytest

from data.sources import split
from data.sources.split import BY_HASH, BY_NAME, BY_SIZE, BY_TAIL, TEST, TRAIN, UNNAMED, VALIDATION


@pytest.mark.parametrize(
    ("path", "side"),
    [
        ("train.txt", TRAIN),
        ("VAL.TXT", VALIDATION),
        ("train-00000-of-00005.jsonl.gz", TRAIN),
        ("c4-validation.00000-of-00008.jsonl.xz", VALIDATION),
        ("stories-GPT4-valid.txt", VALIDATION),
        ("wiki.test.txt", TEST),
        ("dev_2.md", VALIDATION),
        ("training/a.txt", TRAIN),
        ("val/deep/a.txt", VALIDATION),
        ("train/val/a.txt", VALIDATION),
        ("val/train.txt", TRAIN),
        ("valley.txt", UNNAMED),
        ("testament.txt", UNNAMED),
        ("the train.txt", UNNAMED),
        ("strain.txt", UNNAMED),
        ("a.txt", UNNAMED),
    ],
)
def test_names_give_a_side(path, side):
    assert split.named_side(PurePath(path)) == side


def held_out(sizes, named=UNNAMED, seed=0):
    sizes = np.array(sizes, np.int64)
    draws = np.array([split.draw(f"{seed}/{i}") for i in range(len(sizes))], np.uint64)
    return split.held_out(sizes, draws, np.broadcast_to(named, sizes.shape))


def test_names_decide_before_shares_do():
    chosen, neither, rule = held_out([10, 1000, 10, 10], [TRAIN, VALIDATION, TEST, UNNAMED])
    assert (chosen.tolist(), neither.tolist()) == ([False, True, False, False], [0, 0, 1, 0])
    assert rule == BY_NAME
    # A test side stands in for a validation side that there is not.
    chosen, neither, _ = held_out([10, 1000, 10], [TRAIN, TEST, UNNAMED])
    assert (chosen.tolist(), neither.tolist()) == ([False, True, False], [0, 0, 0])
    # Names that leave nothing to train on say nothing.
    assert held_out([10, 1000], [VALIDATION, VALIDATION])[2] != BY_NAME


def test_many_documents_are_split_by_their_hashes():
    keys = [f"0/{i}" for i in range(1000)]
    chosen, _, rule = held_out([100] * 1000)
    assert rule == BY_HASH
    assert chosen.tolist() == [split.is_validation(key) for key in keys]


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_fair_whatever_the_sizes(seed):
    random = np.random.default_rng(seed)
    rules = set()
    for count in (1, 2, 4, 7, 12, 20, 60, 300):
        for spread in (0, 1, 3):
            sizes = np.exp(random.normal(8, spread, count)).astype(int) + 1
            chosen, neither, rule = held_out(sizes, seed=seed)
            rules.add(rule)
            assert not neither.any()
            if chosen is None:
                assert rule == BY_TAIL
                continue
            assert 0.01 <= sizes[chosen].sum() / sizes.sum() <= 0.2
    assert rules == {BY_HASH, BY_SIZE, BY_TAIL}


def test_what_is_named_train_is_not_held_out():
    for seed in range(20):
        chosen, _, rule = held_out([100] * 10, [TRAIN] * 5 + [UNNAMED] * 5, seed)
        assert rule in (BY_SIZE, BY_HASH)
        assert not chosen[:5].any()
    assert held_out([100] * 10, TRAIN)[2] == BY_TAIL


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (b"0123456789\n" * 100, b"0123456789\n" * 4),  # after the next line
        (b"x" * 93 + b"\n" + b"y" * 6, b"y" * 6),  # after the one before
        (b"\n" + b"x" * 99, b"x" * 5),  # no line ends near
        (("é" * 50 + "€").encode(), "éé€".encode()),  # between characters
        (b"ab", b"b"),
    ],
)
def test_a_text_is_cut_near_its_end(text, end):
    place = split.cut(text)
    assert text[place:] == end
    text[:place].decode()
