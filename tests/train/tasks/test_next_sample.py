import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from train.tasks import next_sample

B, L, V = 3, 6, 5
LOGITS = np.random.default_rng(0).normal(size=(B, L, V)).astype(np.float32)
TARGETS = np.random.default_rng(1).integers(0, V, (B, L))


def test_samples_that_count_and_those_that_are_spoken():
    counted, spoken = np.zeros((B, L), bool), np.zeros((B, L), bool)
    counted[0, 2:], counted[1, 3:5], counted[2, 2:] = True, True, True
    spoken[0, 4:], spoken[1, 3] = True, True
    weight = np.array([1, 1, 0], np.float32)  # the last row is padding
    batch = {"targets": TARGETS, "counted": counted, "spoken": spoken, "weight": weight}
    found = next_sample.losses(next_sample.Config(), lambda _: jnp.asarray(LOGITS), batch, None)
    nats = -np.take_along_axis(log_softmax(LOGITS, axis=-1), TARGETS[..., None], axis=-1)[..., 0]
    wanted = [nats[0, 2:].sum(), nats[1, 3:5].sum(), 0]
    np.testing.assert_allclose(found.objective, wanted, rtol=1e-5)
    assert found.units.tolist() == [4, 2, 0]

    means = {name: float(sum(x)) / 6 for name, x in found.sums.items()}
    said = next_sample.derived(next_sample.Config(), means, {"rate": 8000})
    loud = [*nats[0, 4:], nats[1, 3]]
    soft = [*nats[0, 2:4], nats[1, 4]]
    assert said["spoken_loss"] == pytest.approx(np.mean(loud), rel=1e-5)
    assert said["silent_loss"] == pytest.approx(np.mean(soft), rel=1e-5)
    assert said["bits_per_second"] == pytest.approx(np.mean(loud + soft) * 8000 / np.log(2))
    # Where there is no silence there is no loss of it.
    none = next_sample.derived(None, {"loss": 1.0, "spoken": 1.0, "in_speech": 1.0}, {"rate": 1})
    assert none == {"bits_per_second": pytest.approx(1 / np.log(2)), "spoken_loss": 1.0}
