import jax
import numpy as np
import pytest

import data
from data import drives, driving
from data.sources import road

OPTIONS = {"seed": 0, "starts": 12, "drives": 2, "evaluation": "test", "eval_starts": 5}


@pytest.fixture(scope="module")
def opened():
    return data.open_dataset("drives", OPTIONS)


def test_starts_to_test_on_are_those_of_the_episodes_for_it(opened):
    batch = opened.eval_batch(0, 5)
    key = driving.keys(0, driving.DRIVE, np.arange(5))[3]
    idle = road.episode(lambda *_: jax.numpy.int32(0), key, decisions=1)
    np.testing.assert_allclose(batch["cars"][3], idle.seen[0], atol=1e-5)
    world = road.start(jax.random.wrap_key_data(batch["start"][3]))
    np.testing.assert_allclose(world.x, idle.world.x[0], atol=1e-4)


def test_sides_share_no_start(opened):
    tuned = data.open_dataset("drives", OPTIONS | {"evaluation": "validation"})
    sides = (
        opened.train_batch(0, 0, 24),
        opened.eval_batch(0, 5),
        tuned.eval_batch(0, 5),
    )
    starts = [{row.tobytes() for row in side["start"]} for side in sides]
    assert [len(one) for one in starts] == [12, 5, 5]
    assert len(set.union(*starts)) == 22
    assert tuned.digest != opened.digest


def test_a_batch_has_every_start_as_often_as_is_said(opened):
    batch, told = opened.train_batch(0, 3, 8), data.spec("drives", drives.Config(**OPTIONS))
    assert {k: (x.shape[1:], x.dtype) for k, x in batch.items()} == {
        k: (x.shape[1:], x.dtype) for k, x in told.items()
    }
    np.testing.assert_array_equal(batch["start"][::2], batch["start"][1::2])
    assert len(np.unique(batch["start"], axis=0)) == 4
    halves = [opened.train_batch(0, 3, 8, (k, 2))["start"] for k in range(2)]
    np.testing.assert_array_equal(np.concatenate(halves), batch["start"])
    assert opened.train_rows == 24
    assert opened.eval_batch(0, 8)["weight"].sum() == 5
    assert opened.facts == data.facts("drives", drives.Config(**OPTIONS))
    with pytest.raises(ValueError, match="batch_size: 7; must be a multiple of 2 drives"):
        opened.train_batch(0, 0, 7)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("seed", -1, "allowed: 0 to"),
        ("starts", 0, "1 to"),
        ("drives", 0, "1 to"),
        ("evaluation", "train", "allowed: validation, test"),
    ],
)
def test_a_bad_field_is_named(field, value, says):
    with pytest.raises(ValueError, match=f"data.{field}: {value!r}.*{says}"):
        data.open_dataset("drives", OPTIONS | {field: value})
