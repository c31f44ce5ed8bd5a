import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import gpt, linear
from tests.models.test_gpt import config
from train import accounting

L = 24


def abstract(c: gpt.Config):
    batch = {"tokens": jnp.zeros((1, L), jnp.int32)}
    model = gpt.Model(c)
    params = nn.meta.unbox(jax.eval_shape(model.init, jax.random.key(0), batch))["params"]
    return (lambda p, b: model.apply({"params": p}, b)), params, batch


def by_hand(c: gpt.Config) -> tuple[dict, dict]:
    """The count that a person makes with pencil and paper, for one sequence."""
    K, V, D, F = c.width // c.heads, c.vocab_size, c.width, c.hidden
    matrices = (
        D * D + 2 * D * c.kv_heads * K + D * D + (3 if c.activation == "swiglu" else 2) * D * F
    )
    norms = 2 * D + (2 * K if c.qk_norm else 0)
    body = c.layers * (matrices + norms) + 2 * D
    head = 0 if c.tied else V * D
    total = V * D + body + head
    N = {"embedding": V * D, "body": body, "head": head, "total": total, "active": total}
    weights = 2 * L * (c.layers * matrices + V * D)
    return N, {"weights": weights, "attention": c.layers * 2 * 2 * L * L * D}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"remat": "none"},
        {"tied": False},
        {"kv_heads": 1, "activation": "swiglu"},
        {"layers": 1},
    ],
)
def test_gpt_equals_the_count_by_hand(changes):
    c = config(**changes)
    function, params, batch = abstract(c)
    N, flops = by_hand(c)
    assert accounting.count_parameters(params) == N
    assert accounting.forward_flops(function, params, batch) == flops


def test_close_to_what_xla_counts_for_one_layer():
    # XLA counts the body of a scan once, so only a model of one layer can be compared; and it
    # counts norms and softmax too, which is what the tolerance is for.
    c = config(layers=1, width=64, heads=2, hidden=256, vocab_size=257)
    function, params, batch = abstract(dataclasses.replace(c, kv_heads=2))
    ours = sum(accounting.forward_flops(function, params, batch).values())
    theirs = jax.jit(function).lower(params, batch).compile().cost_analysis()["flops"]
    assert ours <= theirs <= 1.15 * ours


def test_a_scan_counts_every_trip():
    w = jnp.ones((5, 4, 4))

    def function(w, x):
        return jax.lax.scan(lambda x, m: (x @ m, None), x, w)[0]

    assert accounting.forward_flops(function, w, jnp.ones((3, 4))) == {
        "weights": 5 * 2 * 3 * 4 * 4,
        "attention": 0,
    }


def test_a_carry_that_becomes_an_activation_later_counts_as_one():
    def function(w, x):
        def body(carry, _):
            return (carry[1], carry[1] @ x), None

        return jax.lax.scan(body, (w, w), None, length=3)[0]

    flops = accounting.forward_flops(function, jnp.ones((2, 2)), jnp.ones((2, 2)))
    assert flops == {"weights": 0, "attention": 3 * 16}


def test_a_branch_counts_as_the_dearest():
    def function(w, x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ w @ w, lambda x: x @ w, x)

    assert (
        accounting.forward_flops(function, jnp.ones((2, 2)), jnp.ones((2, 2)))["weights"] == 2 * 16
    )


def test_an_unknown_trip_count_is_refused():
    def function(w, x):
        return jax.lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ w, x)

    with pytest.raises(ValueError, match="while_loop"):
        accounting.forward_flops(function, jnp.ones((2, 2)), jnp.ones((2, 2)))


def test_convolution():
    x, kernel = jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3, 5))

    def function(kernel, x):
        return jax.lax.conv_general_dilated(
            x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    assert accounting.forward_flops(function, kernel, x)["weights"] == 2 * (4 * 4 * 5) * (3 * 3 * 3)


def test_linear_regression_costs_what_6nd_says():
    model = linear.Model(linear.Config(features=7, bias=False))
    x = {"x": np.ones((1, 9), np.float32)}
    params = model.init(jax.random.key(0), x)["params"]
    N = accounting.count_parameters(nn.meta.unbox(params))
    forward = accounting.forward_flops(lambda p, b: model.apply({"params": p}, b), params, x)
    C = accounting.training_flops(N, forward, 100)
    assert N["total"] == 7
    assert C["forward"] == C["6nd"] == 6 * 7 * 100


def test_conventions():
    N = {"embedding": 10, "body": 30, "head": 5, "total": 45, "active": 35}
    C = accounting.training_flops(N, {"weights": 100, "attention": 40}, 2)
    assert C == {"forward": 840, "causal": 720, "weights": 600, "6nd": 420, "6nd_body": 240}
