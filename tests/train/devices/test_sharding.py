"""Sharding changes where numbers are computed and not which."""

import re
from types import SimpleNamespace

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from configs import gpt, linear
from tests.train.devices.meshes import ONE, train_on
from train import before, step
from train import config as configuration
from train.cli import InputError
from train.devices import sharding

MESHES = {
    "one device": {},
    "data": {"data": 8},
    "fsdp": {"fsdp": 8},
    "tensor": {"tensor": 8},
    "three axes": {"data": 2, "fsdp": 2, "tensor": 2},
    "slices": {"slice": 2, "data": 4},
    "context": {"data": 2, "context": 4},
    "expert": {"expert": 2, "tensor": 2, "context": 2},
    "in parts": {"data": 2, "fsdp": 2},
}
CHANGES = {"in parts": {"accumulate": 2}}  # other than of the mesh
LENGTH, BATCH, VOCABULARY = 32, 8, 257  # a vocabulary that no mesh divides

# Instructions by kind in the compiled step on CPU, by both pinned versions of JAX. A change here
# is a change of what devices send one another: a new all-gather is most often an array that lost
# its sharding. May change with the model's own products (one more weight is one more gather under
# fsdp, forward and in rematerialisation), with the rules, and with the version of JAX; and for no
# other reason.
COLLECTIVES = {
    "one device": {},
    "data": {"all-reduce": 3},
    "fsdp": {"all-gather": 14, "all-reduce": 4},
    "tensor": {"all-gather": 1, "all-reduce": 9},
    "three axes": {"all-gather": 15, "all-reduce": 16},
    "slices": {"all-reduce": 3},
    "context": {"collective-permute": 14, "all-reduce": 7},
    "expert": {"all-gather": 1, "all-reduce": 21, "collective-permute": 8},
    "in parts": {"all-gather": 14, "all-reduce": 5},
}
VERSIONS = ("0.10.2", "0.12.0.1")


def run_config(**changes) -> configuration.RunConfig:
    config = gpt.recipe(32, 1e4)
    config.model.update(heads=8, kv_heads=8, hidden=64, remat="full")
    config.data.update(sequence_length=LENGTH, eval_tokens=2048)
    config.update(steps=40, batch_size=BATCH)
    config.optimizer.learning_rate = 0.01
    config.update_from_flattened_dict(changes)
    return configuration.resolve(config.to_dict())


@pytest.fixture(scope="module")
def results() -> dict[str, dict]:
    """What each mesh does, by its name."""
    changes = [{"mesh": mesh} | CHANGES.get(name, {}) for name, mesh in MESHES.items()]
    return dict(zip(MESHES, train_on(run_config(), *changes)))


@pytest.mark.parametrize("name", MESHES)
def test_any_mesh_gives_the_losses_of_one_device(results, name):
    expected = results["one device"]["losses"]
    assert expected[-1] < 0.7 * expected[0]
    assert results[name]["losses"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "axes"),
    [("fsdp", {"fsdp"}), ("tensor", {"tensor"}), ("three axes", {"fsdp", "tensor"})],
)
def test_parameters_and_what_the_optimizer_keeps_are_split(results, name, axes):
    """Parameter, first and second moment: three arrays of each kind, so specs tell of all."""
    found = results[name]["split"]
    assert set(found) == {"params", "opt_state"}
    for weights in found.values():
        assert set(weights["blocks/mlp/in"]) == axes
        assert set(weights["blocks/attention/out"]) == axes


def test_no_device_holds_the_logits_where_the_vocabulary_is_split(results):
    # In no other array of this model are there as many numbers as in the logits.
    logits = BATCH * LENGTH * VOCABULARY
    assert results["one device"]["largest"] == logits
    assert results["tensor"]["largest"] <= logits / 4
    assert results["three axes"]["largest"] <= logits / 4


@pytest.mark.parametrize("name", MESHES)
def test_collectives_are_those_of_the_table(results, name):
    if jax.__version__ not in VERSIONS:
        pytest.skip(f"the table is of jax {' and '.join(VERSIONS)}")
    assert results[name]["collectives"] == COLLECTIVES[name]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mesh.data": 3}, "config.mesh: data=3; must multiply to the 8 devices here"),
        (
            {"mesh.data": 3, "mesh.fsdp": -1},
            "config.mesh: data=3 x fsdp=-1; must multiply to the 8 devices here",
        ),
        (
            {"mesh.tensor": 8, "model.heads": 4, "model.kv_heads": 4},
            "config.mesh.tensor: 8; must divide the 4 kv_heads of gpt",
        ),
        (
            {"mesh.tensor": 8, "model.kv_heads": 2},
            "config.mesh.tensor: 8; must divide the 2 kv_heads of gpt",
        ),
        (
            {"mesh.tensor": 8, "model.hidden": 60},
            "config.mesh.tensor: 8; must divide the 60 hidden of gpt",
        ),
        (
            {"mesh.fsdp": 8, "model.width": 36, "model.heads": 2, "model.kv_heads": 2},
            "config.mesh.fsdp: 8; must divide the 36 embed of gpt",
        ),
        (
            {"mesh.context": 8, "data.sequence_length": 24},
            "config.mesh.context: 8; twice that must divide the sequence length, 24",
        ),
        (
            {"mesh.context": 8, "model.dropout": 0.1},
            "config.mesh.context: 8; must be 1 with config.model.dropout above 0",
        ),
        ({"mesh.stage": 8}, "config.mesh.stage: 8; must divide the 2 layers of gpt"),
        (
            {"mesh.data": 4, "mesh.slice": 2, "batch_size": 4},
            "config.batch_size: 4; must be a multiple of slice x data = 8",
        ),
        (
            {"mesh.expert": 8, "accumulate": 2},
            "config.batch_size: 8; must be a multiple of expert x accumulate = 16",
        ),
        (
            {"mesh.fsdp": 8, "evaluation.batch_size": 12},
            "config.evaluation.batch_size: 12; must be a multiple of fsdp = 8",
        ),
    ],
)
def test_what_cannot_be_split_is_one_clear_line(monkeypatch, changes, says):
    devices = [object()] * 8
    monkeypatch.setattr(
        jax, "make_mesh", lambda sizes, names, **_: jax.sharding.AbstractMesh(sizes, names)
    )
    config = run_config(**{"mesh.data": 1} | changes)
    with pytest.raises(InputError, match="^" + re.escape(says)):
        step.compile_for(config, before.open_data(config).eval_batch(0, 1), devices)


def test_a_family_that_a_mesh_axis_does_nothing_for_is_refused():
    config = linear.get_config()
    config.mesh.update(data=1, tensor=2)
    config = configuration.resolve(config.to_dict())
    mesh = jax.sharding.AbstractMesh((1, 1, 1, 1, 1, 1, 2), sharding.AXES)
    example = {"x": np.zeros((1, 1024), np.float32), "y": np.zeros(1), "weight": np.ones(1)}
    params = step.abstract_variables(config, example)[0]
    with pytest.raises(InputError, match=r"config\.mesh\.tensor: 2; linear has nothing to split"):
        sharding.check(config, params, example, mesh)


def test_slices_are_the_outer_axis():
    devices = [
        SimpleNamespace(slice_index=i // 4, process_index=i // 4, platform="tpu", id=i)
        for i in range(8)
    ]
    with pytest.raises(InputError, match=r"config\.mesh\.slice: 1; these devices are 2 slices"):
        sharding.make_mesh(configuration.Mesh(**ONE | {"fsdp": 8}), devices)


def test_what_an_optimizer_does_not_keep_needs_no_place():
    box = nn.LogicallyPartitioned(np.ones((4, 2)), ("embed", None))
    tree = {"kept": box, "not": box.replace(value=optax.MaskedNode()), "bare": np.ones(3)}
    found = sharding.of_tree(tree, sharding.make_mesh(configuration.Mesh(**ONE)))
    assert found["not"] == optax.MaskedNode()
    assert all(isinstance(found[name], jax.sharding.NamedSharding) for name in ("kept", "bare"))
