"""What a model that summarises is compared with."""

from benchmarks import summaries


def test_parts_of_a_source():
    assert summaries.first_sentence("Is e.g this it? Yes. No.") == "Is e.g this it?"
    assert summaries.first_sentence("no end. of it") == "no end."
    assert summaries.first_words(" ".join("abcdefghijklm")) == "a b c d e f g h i j"


def test_the_nearest_source_shares_rare_words():
    others = ["the cat sat on the mat", "the dog ate the cat", "the dog ate a rare fish"] * 2
    assert summaries.nearest(["a fish the dog ate", "the mat"], others).tolist() == [2, 0]


def test_the_error_is_that_of_a_mean():
    said, meant = ["one two", "a", "b", "c"], ["one two", "x", "y", "z"]
    assert summaries.told(said, meant) == f"{1 / 4:.4f} +- {0.5 / 2:.4f}"
