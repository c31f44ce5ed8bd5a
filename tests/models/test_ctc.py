import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import ctc
from models.layers import recurrent
from train import accounting

B, F, M, D, K, STRIDE = 3, 24, 5, 8, 7, 2
GIVEN = {"classes": K, "stride": STRIDE, "layers": 2, "width": D, "dropout": 0.0}
GIVEN |= {"dtype": "float32", **ctc.NEWER}
CONFORMER = {"block": "conformer", "heads": 2, "hidden": 12, "kernel": 5}
CONFIG = ctc.Config(**GIVEN)
MODELS = {"lstm": ctc.Model(CONFIG), "conformer": ctc.Model(ctc.Config(**GIVEN | CONFORMER))}


def batch(frames: int = F) -> dict[str, jax.Array]:
    """The second recording ends early, in the middle of a step."""
    speech = jax.random.normal(jax.random.key(0), (B, F, M)).at[1, 13:].set(0)
    speech = jnp.pad(speech, ((0, 0), (0, frames - F), (0, 0)))
    return {"speech": speech, "frames": jnp.array([F, 13, F])}


@pytest.fixture(scope="module", params=MODELS)
def trained(request):
    """A model and variables, not those of the start, where the head is 0."""
    model = MODELS[request.param]
    made = nn.meta.unbox(jax.jit(model.init)(jax.random.key(1), batch()))
    made = jax.tree.map(lambda w: w + jax.random.normal(jax.random.key(2), w.shape), made)
    return model, made


def test_what_follows_a_recording_is_not_heard(trained):
    model, variables = trained
    apply = jax.jit(model.apply)
    found = apply(variables, batch())
    longer = apply(variables, batch(F + 10))
    np.testing.assert_allclose(longer[:, : F // STRIDE], found, rtol=1e-4, atol=1e-5)
    loud = batch()
    loud["speech"] = loud["speech"].at[1, 12:].set(9.0)  # the last frame is of no whole step
    np.testing.assert_allclose(apply(variables, loud)[1, :6], found[1, :6], rtol=1e-5, atol=1e-6)


def test_every_step_hears_all_of_its_recording_and_nothing_of_others(trained):
    model, variables = trained

    def one(speech, row, step):
        return model.apply(variables, batch() | {"speech": speech})[row, step].sum()

    for row, step in ((0, 0), (1, 5)):
        felt = jax.jit(jax.grad(one), static_argnums=(1, 2))(batch()["speech"], row, step)
        heard = np.abs(felt).sum(axis=2) > 0
        assert heard[row, : 24 if row == 0 else 12].all()
        heard[row] = False
        assert not heard.any()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_layer_that_skips_is_the_recurrence_of_flax_over_what_is_left(reverse):
    made, x = (
        recurrent.LSTM(4, jnp.float32, reverse),
        jax.random.normal(jax.random.key(3), (2, 9, D)),
    )
    params = nn.meta.unbox(made.init(jax.random.key(4), x, None))["params"]
    lengths, theirs = jnp.array([9, 5]), {}
    for place, gate in enumerate("ifgo"):
        own = {name: w[..., place, :] for name, w in params.items()}
        theirs[f"i{gate}"] = {"kernel": own["input"]}
        theirs[f"h{gate}"] = {"kernel": own["recurrent"], "bias": own["bias"]}
    peer = nn.RNN(nn.OptimizedLSTMCell(4), reverse=reverse, keep_order=True)
    expected = peer.apply({"params": {"cell": theirs}}, x, seq_lengths=lengths)
    found, _ = made.apply({"params": params}, x, None, jnp.arange(9)[None] < lengths[:, None])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1, :5], expected[1, :5], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("block", MODELS)
def test_its_size_its_cost_and_its_first_guess(block):
    model = MODELS[block]
    made = jax.jit(model.init)(jax.random.key(1), batch())["params"]
    H, step, L = D // 2, 2 * STRIDE * M, F // STRIDE
    if block == "lstm":
        matrices, attended = 2 * (D * 4 * H + H * 4 * H), 0
        vectors = D + 2 * 4 * H
    else:  # perceptrons, attention, a gated unit in and out with a kernel between
        matrices = 2 * 2 * D * 12 + 4 * D * D + 3 * D * D + 5 * D
        attended = 2 * L * D  # of each step, scores and what they weigh
        vectors = 6 * D + 2 * D // 2  # norms, of which two are of a head's queries and keys
    body = step * D + D + D + 2 * (matrices + vectors) + D
    counts = accounting.count_parameters(made)
    assert (counts["body"], counts["head"]) == (body, D * K + K)
    flops = accounting.forward_flops(lambda p, b: model.apply({"params": p}, b), made, batch())
    a_step = step * D + 2 * (matrices + attended) + D * K
    assert sum(flops.values()) == 2 * B * L * a_step
    np.testing.assert_array_equal(model.apply({"params": made}, batch()), 0)  # all are as likely


def test_it_is_refused_on_data_of_another_stride():
    with pytest.raises(ValueError, match="stride: 2; must be that of the data, 3"):
        CONFIG.fits({"stride": 3})
    for wrong, says in (
        ({"width": 7}, "width: 7; must be even"),
        ({"block": "gru"}, "block: 'gru'; allowed: lstm, conformer"),
        ({"heads": 2}, "heads: 2; must be 0 with block 'lstm'"),
        (CONFORMER | {"kernel": 0}, "kernel: 0; must be at least 1 with block 'conformer'"),
        (CONFORMER | {"kernel": 4}, "kernel: 4; must be odd"),
        (CONFORMER | {"heads": 8}, "heads: 8; width 8 / heads must be even and whole"),
    ):
        with pytest.raises(ValueError, match=says):
            ctc.Config(**GIVEN | wrong)
