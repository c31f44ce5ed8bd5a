"""Layers in stages, on devices of their own, give the numbers of one scan over all of them."""

import re

import jax
import pytest

from configs import gpt, linear
from tests.train.devices.meshes import ONE, train_on
from train import before, step
from train import config as configuration
from train.cli import InputError
from train.devices import sharding

STAGES = {"mesh": {"stage": 4, "data": 2}, "microbatches": 8}
OTHER_AXES = {"mesh": {"stage": 2, "fsdp": 2, "context": 2, "tensor": 2}}
LAYERS, LENGTH, BATCH, VOCABULARY = 4, 16, 16, 257


def run_config(**changes) -> configuration.RunConfig:
    config = gpt.recipe(32, 1e4)
    config.model.update(layers=LAYERS, remat="full")
    config.data.update(sequence_length=LENGTH, eval_tokens=2048)
    config.update(steps=40, batch_size=BATCH)
    config.optimizer.learning_rate = 0.01
    config.update_from_flattened_dict(changes)
    return configuration.resolve(config.to_dict())


@pytest.fixture(scope="module")
def results() -> list[dict]:
    """One device, and stages."""
    return train_on(run_config(), {}, STAGES, devices=16)


def test_stages_give_the_losses_of_one_device(results):
    one, stages = results
    assert one["losses"][-1] < 0.7 * one["losses"][0]
    assert stages["losses"] == pytest.approx(one["losses"], rel=1e-5)


@pytest.mark.slow
def test_a_stage_may_be_split_over_all_other_axes(results):
    (found,) = train_on(run_config(), OTHER_AXES, devices=16)
    assert found["losses"] == pytest.approx(results[0]["losses"], rel=1e-5)
    assert set(found["split"]["params"]["blocks/mlp/in"]) == {"stage", "fsdp", "tensor"}


def test_a_stage_keeps_its_own_layers_and_their_moments(results):
    for weights in results[1]["split"].values():
        assert weights["blocks/mlp/in"] == weights["blocks/mlp_norm/scale"] == ["stage"]
        assert weights["embedding"] == []


def test_what_stages_send_is_activations_and_gradients_of_what_they_share(results):
    """No weight of a layer leaves its stage: that would be an all-gather."""
    found = results[1]["collectives"]
    assert set(found) == {"collective-permute", "all-reduce"}
    # Onward and back, in the forward and in the backward pass.
    assert found["collective-permute"] == 4


def test_stages_share_the_rows_of_the_head(results):
    # In no other array of this model are there as many numbers as in the logits.
    logits = BATCH * LENGTH * VOCABULARY
    assert results[0]["largest"] == logits
    assert results[1]["largest"] <= logits / 8


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model.layers": 6}, "config.mesh.stage: 4; must divide the 6 layers of gpt"),
        (
            {"microbatches": 6},
            "config.microbatches: 6; must be a multiple of mesh.stage = 4, or 0",
        ),
        ({"batch_size": 12}, "config.batch_size: 12; must be a multiple of data x stage = 8"),
        (
            {"microbatches": 16, "accumulate": 2},
            "config.batch_size: 16; must be a multiple of data x microbatches x accumulate = 64",
        ),
        (
            {"evaluation.batch_size": 4},
            "config.evaluation.batch_size: 4; must be a multiple of data x stage = 8",
        ),
        (
            {"model.dropout": 0.1},
            "config.mesh.stage: 4; must be 1 with config.model.dropout above 0",
        ),
    ],
)
def test_what_cannot_go_through_stages_is_one_clear_line(changes, says):
    config = run_config(**changes)
    with pytest.raises(InputError, match="^" + re.escape(says) + "$"):
        check(config, {"stage": 4, "data": 2})


def test_a_family_without_layers_has_no_stages():
    config = configuration.resolve(linear.get_config().to_dict())
    says = "config.mesh.stage: 2; the layers of linear cannot be split into stages"
    with pytest.raises(InputError, match=says):
        check(config, {"stage": 2})


def check(config: configuration.RunConfig, mesh: dict[str, int]) -> None:
    example = before.open_data(config).eval_batch(0, 1)
    params = step.abstract_variables(config, example)[0]
    sizes = tuple((ONE | mesh).values())
    sharding.check(config, params, example, jax.sharding.AbstractMesh(sizes, sharding.AXES))
