import numpy as np
import pytest

import data
from data import interactions
from data.sources import files
from tests.data.sources.test_packages import drawn_index
from tests.data.sources.test_rows import write
from tests.data.test_leaks import whole
from tests.data.test_ratings import drawn

OPTIONS = {"length": 8, "evaluation": "test", "eval_rows": 0, "unique": 0, "items": 0}


def opened(source, **changes):
    return data.open_dataset("interactions", {"source": source} | OPTIONS | changes)


def pairs(dataset, side):
    batch = list(whole(dataset))[side]
    return set(zip(batch["user"].tolist(), batch["item"].tolist()))


@pytest.fixture
def source(tmp_path):
    """30 users of about 12 of 20 items; no column says how they liked them."""
    lines = [line.rpartition(",")[0] for line in drawn().splitlines()]
    return write(tmp_path, "\n".join([*lines, "few,i1", "few,i2"]))


def test_of_each_user_one_item_is_held_out_and_another_to_tune_on(source):
    test, validation = opened(source), opened(source, evaluation="validation")
    held_out, to_tune = pairs(test, 1), pairs(validation, 1)
    assert len(held_out) == len(to_tune) == 30 == len({user for user, _ in held_out})
    assert held_out.isdisjoint(to_tune)
    assert pairs(test, 0) == pairs(validation, 0) | to_tune
    assert held_out.isdisjoint(pairs(test, 0))
    # Of a user of two items nothing can be held out.
    few = test.facts["user_names"].index("few")
    assert sum(user == few for user, _ in pairs(validation, 0)) == 2


def test_a_history_is_what_else_its_user_is_trained_on(source):
    dataset = opened(source, length=20)
    train, held_out = whole(dataset)
    met = pairs(dataset, 0)
    for batch in (train, held_out):
        for user, item, history in zip(batch["user"], batch["item"], batch["history"]):
            known = {one for other, one in met if other == user} - {item}
            assert sorted(history[history < 20]) == sorted(known)
            assert set(history[history >= 20]) <= {20}
    assert (train["history"] == train["met"]).all()
    short = opened(source, length=3)
    assert (next(whole(short))["history"] < 20).sum(axis=1).max() == 3
    assert "histories are cut at 3" in short.note


def test_the_latest_are_held_out_where_rows_say_when(tmp_path):
    content = "user,item,time\n" + "".join(f"u{i % 5},i{i},{i * 7 % 50}\n" for i in range(50))
    dataset = opened(write(tmp_path, content))
    when = {f"i{i}": i * 7 % 50 for i in range(50)}
    names = dataset.facts["item_names"]
    for user, item in pairs(dataset, 1):
        others = [when[names[one]] for other, one in pairs(dataset, 0) if other == user]
        assert when[names[item]] > max(others)


def test_a_larger_cap_keeps_what_a_smaller_one_does(source):
    few, more = (opened(source, unique=unique, length=20) for unique in (40, 120))
    tuned = opened(source, unique=40, evaluation="validation", length=20)
    everything = pairs(opened(source), 0) | pairs(opened(source), 1)
    assert len(pairs(few, 0)) == 40
    assert pairs(few, 0) == pairs(tuned, 0) < pairs(more, 0)
    assert pairs(few, 1) == pairs(more, 1)
    assert len({few.digest, more.digest, tuned.digest}) == 3
    # What a user has met is not offered at evaluation, whatever is trained on.
    for dataset in (few, tuned, more):
        batch = dataset.eval_batch(0, 30)
        for user, item, met in zip(batch["user"], batch["item"], batch["met"]):
            every = {one for other, one in everything if other == user}
            assert set(met[met < 20]) == every - {item}
    # What is not trained on is in no history.
    assert sum((known < 20).sum() for known in few._known) <= 40


def test_of_a_large_catalogue_what_most_have_met_is_kept(tmp_path):
    lines = [f"u{user},i{item:02}" for user, item in np.ndindex(30, 12) if user >= 2 * item]
    source = write(tmp_path, "user,item\n" + "\n".join(lines))
    dataset, everything = opened(source, items=5), opened(source)
    names, users = dataset.facts["item_names"], dataset.facts["user_names"]
    assert names == ("i00", "i01", "i02", "i03", "i04")
    assert dataset.facts["item_rows"] == 5 < everything.facts["item_rows"]
    for side in (0, 1):
        for user, item in pairs(dataset, side):
            assert f"{users[user]},{names[item]}" in lines
    # Of who has met two of them or fewer none is held out, though he has met others.
    assert {users[user] for user, _ in pairs(dataset, 1)} == {f"u{i}" for i in range(4, 30)}
    config = interactions.Config(**OPTIONS | {"source": source, "items": 5})
    assert data.facts("interactions", config)["item_rows"] == 5
    with pytest.raises(ValueError, match=r"data\.items: 13; allowed: 0 \(all\) to 12"):
        opened(source, items=13)


def test_packages_are_users_of_what_they_depend_on(tmp_path):
    dataset = opened(drawn_index(tmp_path))
    assert (dataset.train_rows, dataset.eval_rows, dataset.facts["item_rows"]) == (360, 40, 30)
    assert pairs(dataset, 0).isdisjoint(pairs(dataset, 1))
    digest = files.digest(tmp_path / "Packages")
    assert f"the index has sha256 {digest}" in dataset.note
    # Another index is other data, though the same packages depend on the same ones.
    with (tmp_path / "Packages").open("a") as file:
        file.write("\nPackage: zoo\n")
    again = opened(drawn_index(tmp_path, "Packages.again"))
    other = opened(f"debian:{tmp_path / 'Packages'}")
    assert again.digest == dataset.digest != other.digest
    assert (again._items == other._items).all()


def test_rows_are_those_of_the_step_on_any_number_of_hosts(tmp_path):
    source = drawn_index(tmp_path)
    one, again = opened(source, items=20).train_batch(5, 123, 12), opened(source, items=20)
    again.train_batch(5, 7, 4)
    shards = [again.train_batch(5, 123, 12, (k, 4)) for k in range(4)]
    for name, array in one.items():
        np.testing.assert_array_equal(np.concatenate([s[name] for s in shards]), array)


def test_what_is_known_unopened_is_what_is_found(source):
    config = interactions.Config(source=source, **OPTIONS)
    assert data.facts("interactions", config)["item_rows"] is None
    packaged = data.facts("interactions", interactions.Config(source="insteval", **OPTIONS))
    assert (packaged["user_rows"], packaged["item_rows"], packaged["unit"]) == (
        2972,
        1128,
        "interaction",
    )
    dataset, spec = opened(source), data.spec("interactions", config)
    for batch in (dataset.train_batch(0, 3, 4), dataset.eval_batch(0, 1)):
        assert {k: (x.shape[1:], x.dtype) for k, x in batch.items()} == {
            k: (x.shape[1:], x.dtype) for k, x in spec.items()
        }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 0}, r"data\.length: 0; allowed: 1 to 65536"),
        ({"evaluation": "train"}, r"data\.evaluation: 'train'; allowed: validation, test"),
        ({"unique": -1}, r"data\.unique: -1; allowed: 0 \(all\), or more"),
        ({"items": -1}, r"data\.items: -1; allowed: 0 \(all\), or more"),
        ({"unique": 900}, r"data\.unique: 900; allowed: 0 \(all\) to 3\d\d"),
    ],
)
def test_what_a_config_may_not_hold(source, changes, message):
    with pytest.raises(ValueError, match=message):
        opened(source, **changes)


def test_nobody_of_whom_one_can_be_held_out(tmp_path):
    with pytest.raises(ValueError, match="no user has 3 items; allowed: users of whom one can"):
        opened(write(tmp_path, "user,item\na,b\na,c\n"))
