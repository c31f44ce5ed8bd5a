import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from data.sources import road, road_view
from train.examine import page
from train.tasks import control

CONFIG = control.Config(discount=0.5, entropy=0.0)
T, B = 6, 6


class Habit:
    """A driver that looks at nothing; as a task is given it."""

    def __init__(self, logits, train):
        self.logits, self.train = logits, train

    def __call__(self, batch):
        return jnp.broadcast_to(self.logits, (len(batch["cars"]), len(road.ACTIONS)))


@pytest.fixture(scope="module", autouse=True)
def short():
    """Drives of six decisions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(road, "DECISIONS", T)
        yield


@pytest.fixture(scope="module")
def batch():
    """Six drives from three starts; the last row is padding."""
    starts = jax.random.key_data(jax.random.split(jax.random.key(1), 3))
    return {
        "start": jnp.asarray(np.repeat(starts, 2, axis=0)),
        "weight": jnp.asarray([1.0] * 5 + [0.0]),
    }


KEYS = jax.random.split(jax.random.key(2), B)
LOGITS = jnp.asarray([0.5, 1.0, -0.3, 0.1, -0.6])


@pytest.fixture(scope="module")
def drawn(batch):
    """What is drawn in training, and the gradient of what is minimised by what is drawn from."""

    def objective(logits):
        model = Habit(logits, train=True)
        losses = control.losses(CONFIG, model, batch, KEYS)
        return losses.objective.sum(), (control.drive(model, batch["start"], KEYS), losses)

    grad, told = jax.jit(jax.grad(objective, has_aux=True))(LOGITS)
    return jax.device_get((grad, *told))


def test_a_drive_is_held_against_the_others_from_its_start():
    rng = np.random.default_rng(0)
    earned, group = rng.normal(size=(T, 5)), np.array([0, 1, 0, 0, 1])
    starts = jnp.asarray(np.stack([group, 7 * group], axis=1), jnp.uint32)
    found = control.advantage(CONFIG, jnp.asarray(earned, jnp.float32), starts)
    for t in range(T):
        later = [sum(0.5 ** (k - t) * earned[k, b] for k in range(t, T)) for b in range(5)]
        for b in range(5):
            others = [later[o] for o in range(5) if o != b and group[o] == group[b]]
            assert found[t, b] == pytest.approx(later[b] - np.mean(others), abs=1e-5)


def test_what_is_drawn_is_made_likelier_by_what_came_of_it(drawn, batch):
    grad, (driven, _), losses = drawn
    chance = np.asarray(jax.nn.softmax(LOGITS))
    action = np.abs(driven.chance[..., None] - np.log(chance)).argmin(-1)
    assert len(np.unique(action)) == 5
    better = control.advantage(CONFIG, jnp.asarray(driven.earned), batch["start"])
    expected = np.zeros(5)
    for t in range(T):
        for b in range(5):  # but for padding
            of_log = np.eye(5)[action[t, b]] - chance  # the slope of a softmax's logarithm
            expected -= driven.world.alive[t, b] * float(better[t, b]) * of_log
    np.testing.assert_allclose(grad, expected, rtol=1e-4, atol=1e-5)
    entropy = -(chance * np.log(chance)).sum()
    np.testing.assert_allclose(losses.sums["entropy"], entropy * np.asarray(batch["weight"]), 1e-5)


def test_what_comes_of_a_drive_is_that_of_an_episode(drawn, batch):
    model = Habit(LOGITS, train=False)  # the likeliest is to go faster
    tasks = (control.losses, control.examine)
    found, kept = jax.jit(lambda: [task(CONFIG, model, batch, KEYS) for task in tasks])()
    faster = road.ACTIONS.index("faster")

    @jax.jit
    @jax.vmap
    def episode(start):
        def decide(world, _):
            after, earned = road.step(world, jnp.int32(faster))
            return after, (earned, (after.x[0] - world.x[0]) % road.RING, world.y)

        world = road.start(jax.random.wrap_key_data(start))
        last, (earned, metres, y) = jax.lax.scan(decide, world, length=T)
        return {"return": earned.sum(), "metres": metres.sum(), "crashed": ~last.alive}, y

    weight = np.asarray(batch["weight"])
    np.testing.assert_array_equal(found.units, weight)
    expected, y = episode(batch["start"])
    np.testing.assert_allclose(kept["y"], y, atol=1e-5)
    for name, x in expected.items():
        np.testing.assert_allclose(found.sums[name], x * weight, rtol=1e-4)
    np.testing.assert_allclose(found.sums["loss"], (T - found.sums["return"]) * weight, rtol=1e-5)
    # The same start and no draw: the same drive. With draws drives from one start differ.
    assert found.sums["return"][0] == found.sums["return"][1]
    assert drawn[2].sums["return"][0] != drawn[2].sums["return"][1]


def test_bad_fields_and_other_data_are_named():
    for field, value in (("discount", 1.1), ("entropy", -1.0)):
        with pytest.raises(ValueError, match=f"{field}: {value}"):
            control.Config(**{"discount": 0.9, "entropy": 0.0} | {field: value})
    with pytest.raises(ValueError, match="it is for decisions idle, faster"):
        CONFIG.fits({"class_names": ("cat", "dog")})


def test_a_page_has_films_of_the_first_drives_and_of_the_worst():
    rng = np.random.default_rng(0)
    kept = {
        "x": rng.uniform(0, road.RING, (3, 4, 5)),
        "y": rng.integers(0, 4, (3, 4, 5)),
        "alive": np.ones((3, 4), bool),
        "earned": np.array([[1.0] * 4, [0.5] * 4, [0.75] * 4]),
    }
    first, worst = control.show(CONFIG, {}, kept, {})
    captions = [[film.caption for film in section.pictures] for section in (first, worst)]
    told = ["0: return 4.0", "1: return 2.0", "2: return 3.0"]
    assert captions == [told, [told[i] for i in (1, 2, 0)]]
    with Image.open(io.BytesIO(first.pictures[2].gif)) as file:
        assert file.n_frames == 1 + 3 * road_view.RATE
        assert file.info["duration"] * road_view.RATE == 1000
        shown = np.asarray(file.convert("RGB")).astype(int)
    # No edge is further from one of the colours than half of what lies between road and car.
    assert abs(shown - first.pictures[2].pixels).max() <= 80
    assert "data:image/gif;base64," in page._section(first)
