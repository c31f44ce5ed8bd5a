import numpy as np
import pytest

import data
from data import ratings
from tests.data.sources.test_rows import write
from tests.data.test_leaks import whole

OPTIONS = {"evaluation": "test", "eval_rows": 0, "unique": 0, "contexts": ()}


def drawn(users=30, items=20, share=0.6, timed=False):
    """A table of ratings, each a number of its own."""
    rng, lines = np.random.default_rng(0), []
    for number, (user, item) in enumerate(np.ndindex(users, items)):
        if rng.random() < share:
            lines.append(f"u{user},i{item},{number}" + (f",{number % 97}" if timed else ""))
    return "user,item,rating" + (",time\n" if timed else "\n") + "\n".join(lines) + "\n"


def beside(text):
    """The same table with a kind of each item, and one of each user beside it."""
    header, *lines = text.splitlines()
    told = [f"k{len(line.split(',')[1]) % 3},{line[1]}x,{line}" for line in lines]
    return "\n".join([f"kind,group,{header}", *told])


def opened(source, **changes):
    return data.open_dataset("ratings", {"source": source} | OPTIONS | changes)


def numbers(dataset, side):
    """The ratings of a side, which say which they are."""
    return set(np.round(list(whole(dataset))[side]["y"] + dataset.facts["mean"]).tolist())


@pytest.fixture
def source(tmp_path):
    return write(tmp_path, drawn())


def test_a_rating_is_on_one_side_whatever_the_others_are(tmp_path, source):
    test, validation = opened(source), opened(source, evaluation="validation")
    held_out, to_tune = numbers(test, 1), numbers(validation, 1)
    assert numbers(test, 0) == numbers(validation, 0) | to_tune
    assert held_out.isdisjoint(numbers(test, 0))
    n = test.train_rows + test.eval_rows
    assert (len(held_out), len(to_tune)) == pytest.approx(
        (n / 10, n / 10), abs=3 * (n * 0.09) ** 0.5
    )
    header, *lines = drawn().splitlines()
    fewer = write(tmp_path, "\n".join([header, *lines[::-1][:200]]), "fewer.csv")
    assert numbers(opened(fewer), 1) < held_out
    assert numbers(opened(fewer), 0) < numbers(test, 0)


def test_a_larger_cap_keeps_what_a_smaller_one_does(source):
    few, more = (opened(source, unique=unique) for unique in (60, 200))
    tuned = opened(source, unique=60, evaluation="validation")
    assert len(numbers(few, 0)) == 60
    assert numbers(few, 0) == numbers(tuned, 0) < numbers(more, 0)
    assert numbers(few, 1) == numbers(more, 1)
    assert len({few.digest, more.digest, tuned.digest, opened(source).digest}) == 4


def test_ratings_are_told_from_the_mean_of_those_to_train_on(source):
    dataset = opened(source, unique=100)
    assert next(whole(dataset))["y"].mean() == pytest.approx(0, abs=1e-4)


def test_the_latest_are_held_out_where_ratings_say_when(tmp_path):
    timed = write(tmp_path, drawn(timed=True), "timed.csv")
    for evaluation, least in (("test", 0.85), ("validation", 0.75)):
        train, held_out = (
            [number % 97 for number in numbers(opened(timed, evaluation=evaluation), side)]
            for side in (0, 1)
        )
        assert max(train) <= min(held_out)
        assert min(held_out) > least * 97 * 0.95
    assert "held out, the latest" in opened(timed).note


def test_who_has_no_rating_to_train_on_is_cold(tmp_path):
    lines = "".join(f"stranger{i},i0,5\n" for i in range(300))
    dataset = opened(write(tmp_path, drawn() + lines))
    users = dataset.facts["user_rows"]
    assert users == 330 == len(dataset.facts["user_names"])
    train, held_out = whole(dataset)
    assert train["user"].max() < users
    cold = held_out["user"] == users
    # A stranger rates once: one that is held out is known from nothing else.
    fives = np.isclose(held_out["y"] + dataset.facts["mean"], 5, atol=1e-3)
    assert fives[cold].all()
    assert 10 < cold.sum() < 60
    assert f"{cold.sum()} users and items are cold" in dataset.note


def test_contexts_stand_beside_each_rating(tmp_path, source):
    both = write(tmp_path, beside(drawn()), "both.csv")
    dataset = opened(both, contexts=("kind", "group"))
    names = dataset.facts["context_names"]
    assert names[:3] == ("kind=k0", "kind=k2", "group=0x")
    for batch in whole(dataset):
        for user, item, context in zip(batch["user"], batch["item"], batch["context"]):
            row = f"{dataset.facts['user_names'][user]},{dataset.facts['item_names'][item]}"
            expected = beside(f"h\n{row},0").splitlines()[1].split(",")[:2]
            assert [names[i].partition("=")[2] for i in context] == expected
    assert (dataset.facts["contexts"], dataset.facts["context_rows"]) == (2, len(names))
    # Who reads none sees what he would without the columns.
    alone = opened(both)
    assert alone.digest == opened(source).digest != dataset.digest
    assert "context" not in alone.train_batch(0, 0, 4)
    assert (alone.train_batch(1, 5, 8)["y"] == dataset.train_batch(1, 5, 8)["y"]).all()


def test_a_value_that_no_rating_to_train_on_has_is_cold(tmp_path):
    lines = [f"u{a},i{b},{a + b},{a}-{b}" for a, b in np.ndindex(12, 9)]
    content = "\n".join(["user,item,rating,pair", *lines])
    train, held_out = whole(opened(write(tmp_path, content), contexts=("pair",)))
    assert train["context"].max() < 108
    assert (held_out["context"] == 108).all()


def test_rows_are_those_of_the_step_on_any_number_of_hosts(tmp_path):
    source = write(tmp_path, beside(drawn()))
    one = opened(source, contexts=("kind",)).train_batch(5, 123, 12)
    again = opened(source, contexts=("kind",))
    again.train_batch(5, 7, 4)
    shards = [again.train_batch(5, 123, 12, (k, 4)) for k in range(4)]
    for name, array in one.items():
        np.testing.assert_array_equal(np.concatenate([s[name] for s in shards]), array)


def test_what_is_known_unopened_is_what_is_found(source):
    module, config = data.load("ratings"), ratings.Config(source=source, **OPTIONS)
    assert data.facts("ratings", config)["user_rows"] is None
    packaged = data.facts("ratings", ratings.Config(source="msq", **OPTIONS))
    beside_it = {"source": "insteval", "contexts": ("dept", "service")}
    facts = data.facts("ratings", ratings.Config(**OPTIONS | beside_it))
    assert (facts["contexts"], facts["context_rows"]) == (2, 16)
    assert (packaged["contexts"], packaged["context_rows"]) == (0, 0)
    assert (packaged["user_rows"], packaged["item_rows"], packaged["unit"]) == (3893, 75, "rating")
    dataset, spec = opened(source), module.spec(config)
    for batch in (dataset.train_batch(0, 3, 4), dataset.eval_batch(0, 1)):
        assert {k: (x.shape[1:], x.dtype) for k, x in batch.items()} == {
            k: (x.shape[1:], x.dtype) for k, x in spec.items()
        }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation": "train"}, r"data\.evaluation: 'train'; allowed: validation, test"),
        ({"unique": -1}, r"data\.unique: -1; allowed: 0 \(all\), or more"),
        ({"eval_rows": -1}, r"data\.eval_rows: -1"),
        ({"unique": 400}, r"data\.unique: 400; allowed: 0 \(all\) to 3\d\d"),
        ({"contexts": ("item",)}, r"data\.contexts: 'item'; allowed: other columns than these"),
        ({"contexts": ("a", "a")}, r"data\.contexts: 'a'; allowed: other columns .*, each once"),
        ({"contexts": ("kind",)}, "the columns user, item, rating; allowed: .* and kind"),
        ({"source": "msq", "contexts": ("sex",)}, r"data\.contexts: 'sex'; allowed: none"),
        ({"source": "insteval", "contexts": ("y",)}, "'y'; allowed: studage, lectage, service"),
    ],
)
def test_what_a_config_may_not_hold(source, changes, message):
    with pytest.raises(ValueError, match=message):
        opened(**{"source": source} | changes)


def test_too_few_ratings_for_every_side(tmp_path):
    source = write(tmp_path, "user,item,rating\na,b,1\n")
    with pytest.raises(ValueError, match=r"1 ratings, too few for every side; allowed: enough"):
        opened(source)
