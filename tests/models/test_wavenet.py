import flax.linen as nn
import jax
import numpy as np
import pytest

from models import wavenet
from train import accounting

B, L, D, V, P, HOP = 2, 24, 4, 16, 5, 4
CONFIG = wavenet.Config(vocab_size=V, labels=P, hop=HOP, stacks=2, dilations=3, width=D)
MODEL = wavenet.Model(CONFIG)
FIELD = 15  # 1 + 2 (1 + 2 + 4)


def batch():
    rng = np.random.default_rng(0)
    return {
        "tokens": rng.integers(0, V, (B, L)),
        "phonemes": rng.integers(0, P, (B, L // HOP, 3)),
        "places": rng.random((B, L // HOP), np.float32),
    }


@pytest.fixture(scope="module")
def variables():
    """Not those of the start, where the head is 0."""
    made = nn.meta.unbox(jax.jit(MODEL.init)(jax.random.key(1), batch()))
    return jax.tree.map(lambda w: w + 0.3 * jax.random.normal(jax.random.key(2), w.shape), made)


apply = jax.jit(MODEL.apply)


def test_queues_say_what_a_pass_over_all_samples_does(variables):
    whole, rows = apply(variables, batch()), batch()
    memory = MODEL.apply(variables, rows, method="begin")
    step = jax.jit(lambda memory, tokens: MODEL.apply(variables, memory, tokens, method="step"))
    place = 0
    for size in (5, *[1] * 10, 9):
        memory, logits = step(memory, rows["tokens"][:, place : place + size])
        np.testing.assert_allclose(logits, whole[:, place : place + size], rtol=1e-5, atol=1e-5)
        place += size
    assert place == L == memory.place


def test_a_layer_is_the_dilated_convolution_of_the_paper(variables):
    """By XLA's own convolution, without what is being said."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(B, L, D)).astype(np.float32)
    own = jax.tree.map(np.asarray, variables["params"]["layer_2"])
    kernel = own["pair"]["kernel"].reshape(2, D, 2 * D)
    z = jax.lax.conv_general_dilated(
        x, kernel, (1,), [(4, 0)], rhs_dilation=(4,), dimension_numbers=("NWC", "WIO", "NWC")
    )
    z = np.asarray(z) + own["pair"]["bias"] + own["said"]["bias"]
    gated = np.tanh(z[..., :D]) / (1 + np.exp(-z[..., D:]))
    wanted = gated @ own["on"]["kernel"] + own["on"]["bias"]
    past = np.pad(x, ((0, 0), (4, 0), (0, 0)))[:, :L]
    found = wavenet._Layer().apply({"params": own}, past, x, np.zeros((B, 1, D), np.float32))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_sample_hears_its_receptive_field_and_its_own_label(variables):
    assert CONFIG.receptive_field == FIELD
    rows, at = batch(), 20
    found = apply(variables, rows)[0]
    for place in range(L):
        other = rows["tokens"].copy()
        other[0, place] = (other[0, place] + 7) % V
        changed = np.abs(apply(variables, rows | {"tokens": other})[0] - found).max(axis=1) > 1e-6
        assert changed[at] == (at - FIELD < place <= at)
    for hop in range(L // HOP):
        other = rows["places"].copy()
        other[0, hop] += 0.5
        changed = np.abs(apply(variables, rows | {"places": other})[0] - found).max(axis=1) > 1e-6
        # Its hop begins with sample 20; earlier labels are in what earlier layers made of the past.
        assert changed[at] == (hop * HOP <= at and hop * HOP + HOP - 1 > at - FIELD)
        assert not changed[: hop * HOP].any()


def test_its_size_and_its_first_guess():
    made = jax.jit(MODEL.init)(jax.random.key(1), batch())["params"]
    layer = (2 * D * 2 * D + 2 * D) + (D * 2 * D + 2 * D) * 2
    said = 3 * P * D + 2 * D
    counts = accounting.count_parameters(made)
    assert counts["body"] == 6 * layer + said + 2 * D + D * D + D
    assert (counts["embedding"], counts["head"]) == (V * D, D * V + V)
    np.testing.assert_array_equal(MODEL.apply({"params": made}, batch()), 0)  # all are as likely


def test_it_is_refused_on_data_that_score_what_has_no_past():
    CONFIG.fits({"hop": HOP, "context": FIELD - 1})
    with pytest.raises(ValueError, match="15 samples are read; allowed: at most data"):
        CONFIG.fits({"hop": HOP, "context": FIELD - 2})
    with pytest.raises(ValueError, match="hop: 4; must be that of the data, 5"):
        CONFIG.fits({"hop": 5, "context": 99})
    with pytest.raises(ValueError, match="width: 0; must be at least 1"):
        wavenet.Config(vocab_size=V, labels=P, hop=HOP, stacks=2, dilations=3, width=0)
