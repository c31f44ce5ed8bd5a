"""Experts on devices of their own give the numbers of one device."""

import math
import re

import jax
import pytest

from configs import moe
from tests.train.devices.meshes import ONE, train_on
from train import before, step
from train import config as configuration
from train.cli import InputError
from train.devices import sharding

# Tokens go to their experts and come back: in the forward pass, when the backward pass computes it
# again, and in the backward pass itself.
ALL_TO_ALL = 6


def run_config(**changes) -> configuration.RunConfig:
    config = moe.recipe(16, 1e4)
    config.model.update(hidden=16, capacity=1.25)  # which drops some
    config.data.update(sequence_length=32, eval_tokens=2048)
    config.update(steps=40, batch_size=8)
    config.optimizer.learning_rate = 0.01
    config.update_from_flattened_dict(changes)
    return configuration.resolve(config.to_dict())


@pytest.fixture(scope="module")
def results() -> list[dict]:
    """One device, and experts on four in each of two groups."""
    return train_on(run_config(), {}, {"mesh": {"data": 2, "expert": 4}})


def test_experts_on_other_devices_give_the_losses_of_one(results):
    one, split = results
    assert one["losses"][0] == pytest.approx(math.log(257), rel=0.01)
    assert one["losses"][-1] < 0.8 * one["losses"][0]
    assert split["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert 0.01 < one["metrics"]["blocks/mlp/dropped"] < 0.5
    assert split["metrics"] == pytest.approx(one["metrics"], rel=1e-4)


def test_tokens_travel_and_experts_stay(results):
    one, split = results
    assert one["collectives"] == {}
    # An all-gather would be one of tokens or of experts.
    assert set(split["collectives"]) == {"all-to-all", "all-reduce"}
    assert split["collectives"]["all-to-all"] == ALL_TO_ALL
    for tree in ("params", "opt_state"):
        assert split["split"][tree]["blocks/mlp/in"] == ["expert"]


@pytest.mark.slow
def test_experts_may_be_split_themselves_and_batches_divided(results):
    axes, parts = train_on(
        run_config(),
        {"mesh": {"expert": 2, "tensor": 2, "fsdp": 2}},
        {"mesh": {"expert": 4}, "accumulate": 2},
    )
    for found in (axes, parts):
        assert found["losses"] == pytest.approx(results[0]["losses"], rel=1e-5)
        assert found["metrics"] == pytest.approx(results[0]["metrics"], rel=1e-4)
        assert found["collectives"]["all-to-all"] == ALL_TO_ALL
    assert axes["split"]["params"]["blocks/mlp/out"] == ["expert", "fsdp", "tensor"]


def test_a_token_uses_two_experts_of_eight_and_all_slots_cost_flops():
    config = run_config()
    found = before.account(config, before.open_data(config))
    D, F, E, L, layers = 16, 16, 8, 32, 2
    slots = 10  # 1.25 x 2 x 32 / 8
    experts = layers * E * 2 * D * F
    shared = layers * (4 * D * D + D * E)
    norms = layers * (2 * D + 2 * (D // config.model.config.heads)) + 2 * D
    assert found.N["body"] == experts + shared + norms
    assert found.N["active"] == found.N["total"] - experts * 6 // 8
    assert found.C["6nd"] == 6 * found.N["active"] * found.D
    weights = 2 * (shared + experts * slots / L + 257 * D)
    assert found.C["weights"] == pytest.approx(3 * weights * found.D)


@pytest.mark.parametrize(
    ("changes", "mesh", "says"),
    [
        (
            {"model.experts": 6},
            {"expert": 8},
            "config.mesh.expert: 8; must divide the 6 experts of moe",
        ),
        (
            {},
            {"expert": 4, "context": 2},
            "config.mesh.context: 2; moe has nothing to split over it",
        ),
        ({}, {"stage": 2}, "config.mesh.stage: 2; the layers of moe cannot be split into stages"),
    ],
)
def test_what_cannot_be_split_is_one_clear_line(changes, mesh, says):
    config = run_config(**changes)
    example = before.open_data(config).eval_batch(0, 1)
    params = step.abstract_variables(config, example)[0]
    abstract = jax.sharding.AbstractMesh(tuple((ONE | mesh).values()), sharding.AXES)
    with pytest.raises(InputError, match="^" + re.escape(says) + "$"):
        sharding.check(config, params, example, abstract)
