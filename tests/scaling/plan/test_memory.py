"""Memory of a run against what the compiler says of the compiled step."""

import jax
import numpy as np
import pytest

from configs import gpt, linear
from scaling.plan import memory
from train import before, step
from train import config as configuration


def resolved(config, **changes):
    values = config.to_dict() | {"steps": 1} | changes
    return configuration.resolve(values)


@pytest.mark.parametrize("remat", [pytest.param("none", marks=pytest.mark.slow), "full"])
def test_the_estimate_is_near_what_the_compiler_needs(remat):
    config = gpt.recipe(32, 1e5)
    config.model.remat = remat
    config = resolved(config, batch_size=8)
    example = before.open_data(config).eval_batch(0, 1)
    found = memory.of_run(config, example)
    functions = step.compile_for(config, example)
    batch = {k: jax.ShapeDtypeStruct((8, *v.shape[1:]), v.dtype) for k, v in example.items()}
    lowered = functions.train.lower(functions.abstract, batch, step.hyper_of(config))
    needed = lowered.compile().memory_analysis()
    assert 0.5 < found.activations / needed.temp_size_in_bytes < 2
    # Gradients and the step counter aside, the state is what goes in.
    kept = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(functions.abstract))
    gradients = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(functions.abstract.params))
    assert found.state == pytest.approx(kept + gradients, abs=8)


def test_activations_grow_with_the_batch_and_state_does_not():
    one, many = (
        memory.of_runs([resolved(linear.recipe(64, 1e4), batch_size=b)])[0] for b in (8, 80)
    )
    assert one.state == many.state == 2 * 4 * 64  # plain SGD keeps nothing
    assert many.activations == pytest.approx(10 * one.activations, rel=0.05)


def test_runs_of_one_shape_are_traced_once(monkeypatch):
    calls = []
    real = memory.of_run
    monkeypatch.setattr(memory, "of_run", lambda *given: calls.append(1) or real(*given))
    configs = [resolved(linear.recipe(8, 1e4), seed=seed, steps=seed + 1) for seed in range(3)]
    found = memory.of_runs([*configs, resolved(linear.recipe(16, 1e4))])
    assert len(calls) == 2
    assert found[0] == found[1] == found[2] != found[3]
    assert np.isfinite(found[0].total)


def test_a_batch_in_parts_fits_where_the_whole_does_not():
    config = resolved(linear.recipe(64, 1e4), batch_size=96)
    (whole,) = memory.of_runs([config])
    assert memory.parts_that_fit(config, 1.01 * whole.total) == 1
    # A half and a sum of gradients are too much, a quarter is not.
    assert memory.parts_that_fit(config, whole.state * 1.5 + whole.activations / 2) == 4
    assert memory.parts_that_fit(config, whole.state) is None
