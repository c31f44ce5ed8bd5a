import numpy as np
import pytest

from benchmarks import voices
from tests.data.test_audio import opened
from tests.data.test_speech import write_recordings


def pairs(batch):
    counted = batch["counted"]
    return zip(batch["tokens"][counted].tolist(), batch["targets"][counted].tolist())


def test_orders_are_counts_of_what_follows_what(tmp_path):
    write_recordings(tmp_path)
    dataset = opened(source=f"folder:{tmp_path}", labels="none", unique=0)
    counts = {}
    for before, after in pairs(dataset.train_batch(0, 0, dataset.train_rows)):
        for key in (None, before):
            counts.setdefault(key, np.zeros(256))[after] += 1
    alone = (counts[None] + 1) / (counts[None] + 1).sum()
    nats = []
    for before, after in pairs(dataset.eval_batch(0, dataset.eval_rows)):
        own = counts.get(before, np.zeros(256)) + voices.BLEND * alone
        nats.append([-np.log(alone[after]), -np.log(own[after] / own.sum())])
    found = [mean for mean, _ in voices.orders(dataset)]
    np.testing.assert_allclose(found, np.mean(nats, axis=0), rtol=1e-6)


def test_ten_times_as_loud_is_twenty_decibels_away():
    noise = np.random.default_rng(0).normal(0, 300, 4000)
    assert voices.log_spectral_distance(noise, noise) == 0
    assert voices.log_spectral_distance(noise, 10 * noise) == pytest.approx(20, abs=0.2)
