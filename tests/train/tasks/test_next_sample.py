import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from data.audio import encode
from models import wavenet
from tests.data.test_audio import opened
from tests.data.test_speech import write_recordings
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

    kept = next_sample.examine(next_sample.Config(), lambda _: jnp.asarray(LOGITS), batch, None)
    rows = {name: np.asarray(x)[:2] for name, x in kept.items()}
    said = next_sample.summarise(next_sample.Config(), rows, {})
    loud, soft = [*nats[0, 4:], nats[1, 3]], [*nats[0, 2:4], nats[1, 4]]
    assert said == {
        "spoken": 0.5,
        "spoken_loss": pytest.approx(np.mean(loud), rel=1e-5),
        "silent_loss": pytest.approx(np.mean(soft), rel=1e-5),
    }
    # Where there is no silence there is no loss of it.
    rows = {"nats": np.array([[3.0, 0]]), "samples": np.array([[2, 0]])}
    none = next_sample.summarise(next_sample.Config(), rows, {})
    assert none == {"spoken": 1.0, "spoken_loss": 1.5}
    bits = next_sample.derived(next_sample.Config(), {"loss": np.log(2) * 3}, {"rate": 8000})
    assert bits == {"bits_per_second": pytest.approx(24_000)}


def test_windows_score_each_sample_as_one_pass_over_the_recording_does(tmp_path):
    write_recordings(tmp_path)
    options = {"labels": "none", "unique": 1, "eval_rows": 1, "context": 80, "crop": 720}
    dataset = opened(source=f"folder:{tmp_path}", **options)
    batch = dataset.train_batch(0, 0, dataset.train_rows)
    size = {"vocab_size": 256, "labels": 2, "hop": 80, "stacks": 1, "dilations": 3, "width": 3}
    model = wavenet.Model(wavenet.Config(**size))
    params = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), batch))
    params = jax.tree.map(lambda w: w + 0.3 * jax.random.normal(jax.random.key(1), w.shape), params)
    found = next_sample.losses(
        next_sample.Config(), lambda b: jax.jit(model.apply)(params, b), batch, None
    )

    levels = encode(dataset._train.held.samples).astype(np.int32)[None]
    pad = -(levels.shape[1] - 1) % 80
    tokens = np.pad(levels[:, :-1], ((0, 0), (0, pad)))
    hops = tokens.shape[1] // 80
    labels = {"phonemes": np.zeros((1, hops, 3), int), "places": np.zeros((1, hops), np.float32)}
    logits = jax.jit(model.apply)(params, {"tokens": tokens} | labels)
    log_p = log_softmax(np.asarray(logits)[0, : levels.shape[1] - 1], axis=-1)
    nats = -np.take_along_axis(log_p, levels[0, 1:, None], axis=-1)
    assert sum(found.units) == len(nats) - 80
    assert sum(found.sums["loss"]) == pytest.approx(nats[80:].sum(), rel=1e-5)
