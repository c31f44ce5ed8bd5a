import functools
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from benchmarks import driving as wheel
from configs import cnn, driver
from data import driving
from data.sources import road, road_view
from train import config as configuration
from train import run
from train.cli import InputError


@pytest.fixture(scope="module", autouse=True)
def short():
    """Episodes of five decisions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(road, "DECISIONS", 5)
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


def test_a_film_shows_a_drive_and_says_what_it_earned():
    pictures = wheel.film({"idle": wheel.PLAIN["idle"]}, 3)
    height = wheel.VIEW.height + wheel.LABEL
    assert pictures.shape == (1 + 4 * road_view.RATE, height, wheel.VIEW.width, 3)
    for part in (slice(wheel.LABEL), slice(wheel.LABEL, height)):
        assert (pictures[0, part] != pictures[-1, part]).any()


@pytest.mark.slow
def test_a_run_drives_as_its_record_says(tmp_path, monkeypatch):
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
    config.evals.wheel.data.eval_starts = 12
    found = run.run(configuration.resolve(config.to_dict()), tmp_path).metrics
    _, decide = wheel.learnt(tmp_path)
    actions = jax.vmap(lambda seen: decide(None, seen, None))(decisions["cars"])
    assert np.mean(actions == decisions["label"]) == pytest.approx(found["accuracy"][0])
    driven = wheel.drive(decide, episodes=12)
    for name, x in (
        ("return", driven.earned),
        ("metres", driven.metres),
        ("crashed", driven.crashed),
    ):
        expected = x.mean(), x.std(ddof=1) / 12**0.5
        assert found[f"wheel/{name}"] == pytest.approx(expected, rel=1e-4)


def test_a_run_of_another_family_is_refused(monkeypatch):
    other = SimpleNamespace(config=configuration.resolve(cnn.get_config().to_dict()))
    monkeypatch.setattr(wheel.saved, "open_run", lambda *_: other)
    monkeypatch.setattr(wheel.saved, "folder", lambda given: given)
    with pytest.raises(InputError, match="is of cnn; allowed: driver"):
        wheel.learnt("a")
