"""Sharding changes where numbers are computed and not which."""

import json
import os
import re
import subprocess
import sys

import jax
import pytest

from tests.conftest import ROOT
from train import config as configuration
from train import sharding
from train.cli import InputError

LOSSES = """
import dataclasses, json, sys
from train import compilation, config, run, step
compilation.use_cache()
base = config.resolve(json.loads(sys.argv[1]))
for sizes in json.loads(sys.argv[2]):
    c = dataclasses.replace(base, mesh=config.Mesh(**sizes))
    dataset = run.open_data(c)
    functions, hyper = step.compile_for(c, dataset.eval_batch(0, 1)), step.hyper_of(c)
    state, losses = functions.init(hyper), []
    for now in range(5):
        batch = dataset.train_batch(c.seed, now, c.batch_size)
        state, metrics = functions.train(state, batch, hyper)
        losses.append(float(metrics["loss"]))
    specs = {str(leaf.sharding.spec) for leaf in __import__("jax").tree.leaves(state)}
    print(json.dumps([losses, sorted(specs)]))
"""


def test_any_mesh_gives_the_losses_of_one_device(tiny):
    config = tiny(batch_size=8, **{"model.heads": 2, "model.kv_heads": 2, "model.vocab_size": 264})
    meshes = [(8, 1, 1), (1, 8, 1), (2, 2, 2)]
    meshes = [dict(zip(("data", "fsdp", "tensor"), sizes)) for sizes in meshes]

    def run(devices: int, meshes) -> list:
        values = json.dumps(configuration.to_dict(config))
        done = subprocess.run(
            [sys.executable, "-c", LOSSES, values, json.dumps(meshes)],
            cwd=ROOT,
            env=os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)},
            capture_output=True,
            text=True,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    ((expected, _),) = run(1, [{"data": 1, "fsdp": 1, "tensor": 1}])
    results = run(8, meshes)
    for losses, _ in results:
        assert losses == pytest.approx(expected, rel=1e-5)
    (_, (_, fsdp), (_, mixed)) = results
    assert any("fsdp" in spec for spec in fsdp)
    assert any("tensor" in spec for spec in mixed)


def test_a_mesh_that_does_not_fit_is_one_clear_line():
    with pytest.raises(InputError, match=re.escape("data=3 x fsdp=1 x tensor=1; must multiply to")):
        sharding.make_mesh(configuration.Mesh(data=3, fsdp=1, tensor=1))


def test_a_batch_that_cannot_be_split_is_one_clear_line():
    mesh = jax.sharding.AbstractMesh((2, 2, 2), ("data", "fsdp", "tensor"))
    sharding.check_batch("config.batch_size", 8, mesh)
    with pytest.raises(InputError, match=r"config.batch_size: 6; must be a multiple of .* 4"):
        sharding.check_batch("config.batch_size", 6, mesh)
