import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from train.tasks import draw

B, I, K, T = 5, 3, 7, 2


class Model:
    """Logits of each place are those of the words of the caption, added up."""

    table = jax.random.normal(jax.random.key(0), (11, I, K))

    def __call__(self, batch, text=None, method=None):
        if method is None:
            text = batch["tokens"][:, :T]
        elif text is None:
            text = jnp.full((B, T), 10)
        return self.table[text].sum(axis=1)


def batch():
    random = np.random.default_rng(0)
    return {
        "tokens": random.integers(0, 10, (B, T + I - 1)),
        "targets": random.integers(0, K, (B, I)),
        "others": random.integers(0, 10, (B, 4, T)),
        "weight": np.array([1, 1, 1, 1, 0], np.float32),
    }


def nats(text, targets):
    """Of one row, per code."""
    logits = log_softmax(np.asarray(Model.table)[text].sum(axis=0), axis=-1)
    return -np.mean([logits[place, code] for place, code in enumerate(targets)])


def test_losses_and_what_captions_are_worth():
    rows = batch()
    found = draw.losses(draw.Config(), Model(), rows, None)
    own = np.array([nats(text, x) for text, x in zip(rows["tokens"][:, :T], rows["targets"])])
    np.testing.assert_allclose(found.objective, own * I * rows["weight"], rtol=1e-5)
    assert found.units.tolist() == [I, I, I, I, 0]
    kept = draw.examine(draw.Config(), Model(), rows, None)
    kept = {name: np.asarray(x) for name, x in kept.items()}
    np.testing.assert_allclose(kept["nats"], own, rtol=1e-5)
    bare = np.array([nats(np.full(T, 10), x) for x in rows["targets"]])
    others = np.array(
        [[nats(t, x) for t in texts] for texts, x in zip(rows["others"], rows["targets"])]
    )
    summary = draw.summarise(draw.Config(), kept, {"places": I})
    assert summary["gain"] == pytest.approx((bare - own).mean(), rel=1e-4)
    assert summary["retrieval"] == pytest.approx(np.mean(own < others.min(axis=1)))
    likely = log_softmax(-I * np.concatenate([own[:, None], others], axis=1), axis=1)
    assert summary["caption_nats"] == pytest.approx(-likely[:, 0].mean(), rel=1e-4)


def test_without_other_captions_there_is_no_retrieval():
    rows = batch()
    rows.pop("others")
    kept = draw.examine(draw.Config(), Model(), rows, None)
    assert set(draw.summarise(draw.Config(), jax.device_get(kept), {})) == {"gain"}
