import functools

import jax
import numpy as np
import pytest

import data
from data import driving
from data.sources import road

OPTIONS = {"seed": 0, "episodes": 6, "eval_episodes": 3}


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory):
    """Blocks of four episodes of ten decisions, in a cache of their own."""

    def episode(key):
        return road.episode(lambda world, *_: road.expert(world), key, decisions=10)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALLOMETRY_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(driving, "BLOCK", 4)
        patch.setattr(driving, "_drive", jax.jit(jax.vmap(episode)))
        patch.setattr(driving, "_block", functools.lru_cache(driving._block.__wrapped__))
        yield


@pytest.fixture
def opened():
    return data.open_dataset("driving", OPTIONS)


def test_rows_are_the_experts_decisions(opened):
    assert opened.eval_rows == 30
    batch = opened.eval_batch(0, 30)
    key = driving.keys(0, driving.EVAL, np.arange(3))[1]
    again = road.episode(lambda world, *_: road.expert(world), key, decisions=10)
    np.testing.assert_array_equal(batch["label"][10:20], again.action)
    np.testing.assert_allclose(batch["cars"][10:20], again.seen, atol=1e-3)


def test_sides_share_no_decision_and_a_smaller_set_is_part_of_a_larger_one(opened):
    train, held_out = (
        opened.train_batch(0, 0, opened.train_rows)["cars"],
        opened.eval_batch(0, opened.eval_rows)["cars"],
    )
    of = [{row.tobytes() for row in side} for side in (train, held_out)]
    assert len(of[0]) == opened.train_rows == 60
    assert not of[0] & of[1]
    fewer = data.open_dataset("driving", OPTIONS | {"episodes": 2})
    part = {row.tobytes() for row in fewer.train_batch(0, 0, fewer.train_rows)["cars"]}
    assert len(part) == 20
    assert part < of[0]
    other = data.open_dataset("driving", OPTIONS | {"seed": 1})
    assert len({opened.digest, fewer.digest, other.digest}) == 3


def test_a_batch_is_as_it_was_said_to_be(opened):
    config = driving.Config(**OPTIONS)
    batch, told = opened.train_batch(0, 3, 8), data.spec("driving", config)
    assert {k: (x.shape[1:], x.dtype) for k, x in batch.items()} == {
        k: (x.shape[1:], x.dtype) for k, x in told.items()
    }
    halves = [opened.train_batch(0, 3, 8, (k, 2))["label"] for k in range(2)]
    np.testing.assert_array_equal(np.concatenate(halves), batch["label"])
    assert opened.facts == data.facts("driving", config)
    assert opened.facts["classes"] == len(road.ACTIONS)
    assert opened.eval_batch(0, 64)["weight"].sum() == 30


def test_a_damaged_block_is_simulated_again(opened, capsys):
    before = driving._block(0, driving.EVAL, 0)
    (path,) = driving.cache.folder().glob(f"driving-*-0-{driving.EVAL}-4-0/block.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    again = driving._block.__wrapped__(0, driving.EVAL, 0)
    assert "damaged" in capsys.readouterr().err
    for name, x in before.items():
        np.testing.assert_array_equal(again[name], x)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [("seed", -1, "allowed: 0 to"), ("episodes", 0, "1 to"), ("eval_episodes", 1 << 20, "1 to")],
)
def test_a_bad_field_is_named(field, value, says):
    with pytest.raises(ValueError, match=f"data.{field}: {value}.*{says}"):
        data.open_dataset("driving", OPTIONS | {field: value})
