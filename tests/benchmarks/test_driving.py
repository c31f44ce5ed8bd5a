import functools

import jax
import numpy as np
import pytest

from benchmarks import driving as wheel
from configs import cnn, driver
from data import driving
from data.sources import road
from train import config as configuration
from train import run
from train.cli import InputError


@pytest.fixture(scope="module", autouse=True)
def short():
    """Episodes of five decisions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(road, "episode", functools.partial(road.episode, decisions=5))
        yield


def test_drivers_of_equal_starts_are_told_apart():
    idle, again, fast = (
        wheel.drive(lambda world, seen, key, a=action: jax.numpy.int32(a), episodes=6)
        for action in (0, 0, 1)
    )
    np.testing.assert_array_equal(idle.metres, again.metres)
    assert (fast.metres > idle.metres)[fast.crashed == 0].all()
    name, crashes, metres, *_, behind = wheel.row("idle", idle, fast)
    assert name == "idle"
    assert crashes.startswith(f"{idle.crashed.mean():.3f}")
    error = idle.metres.std(ddof=1) / 6**0.5
    assert metres == f"{idle.metres.mean():.0f} +- {error:.0f}"
    assert behind.startswith(f"{(fast.earned - idle.earned).mean():.2f}")


@pytest.mark.slow
def test_an_imitator_does_what_its_model_finds_likeliest(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    decisions = {
        "cars": rng.normal(size=(40, 1 + road.SEEN, road.FEATURES)).astype(np.float32),
        "label": rng.integers(5, size=40).astype(np.int32),
    }
    monkeypatch.setattr(driving, "decisions", lambda *_: decisions)
    config = driver.recipe(8, 1000)
    config.update_from_flattened_dict(
        {"steps": 3, "batch_size": 8, "evaluation.batch_size": 40, "log_every": 1}
    )
    config = configuration.resolve(config.to_dict())
    said = run.run(config, tmp_path).metrics["accuracy"][0]
    _, decide = wheel.imitator(tmp_path)
    actions = jax.vmap(lambda seen: decide(None, seen, None))(decisions["cars"])
    assert np.mean(actions == decisions["label"]) == pytest.approx(said)


def test_a_run_on_other_data_is_refused(tmp_path, monkeypatch):
    other = cnn.get_config().to_dict()
    monkeypatch.setattr(wheel.workdirs, "read", lambda path: {"config": other})
    with pytest.raises(InputError, match="is on images; allowed: driving"):
        wheel.imitator(tmp_path)
