import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from data.sources import road

ALONE = {"y": 0.0, "lane": 0, "v": 20.0, "wish": 25.0}


def world(x, **columns):
    """Cars at `x`, others of their columns for all alike where they are not lists."""
    cars = {k: np.broadcast_to(v, len(x)) for k, v in (ALONE | columns).items()}
    kinds = {name: jnp.int32 if name == "lane" else jnp.float32 for name in cars}
    arrays = {name: jnp.asarray(column, kinds[name]) for name, column in cars.items()}
    return road.World(x=jnp.asarray(x, jnp.float32), alive=jnp.bool_(True), **arrays)


def test_equal_cars_on_a_ring_end_in_the_equilibrium_of_idm():
    def later(world, _):
        return road.advance(world, jnp.float32(jnp.nan)), None

    run = jax.jit(lambda world: jax.lax.scan(later, world, length=1500)[0])
    end = run(world([0.0, 30.0, 150.0, 170.0], v=[10.0, 15.0, 20.0, 12.0]))
    gap = road.RING / 4 - road.LENGTH
    wanted = lambda v: (road.NEAREST + v * road.HEADWAY) / (1 - (v / 25) ** 4) ** 0.5  # noqa: E731
    speed = optimize.brentq(lambda v: wanted(v) - gap, 1, 24.9)
    np.testing.assert_allclose(end.v, speed, rtol=1e-3)
    gaps = np.diff(np.sort(np.asarray(end.x)), append=min(end.x) + road.RING)
    np.testing.assert_allclose(gaps - road.LENGTH, gap, rtol=1e-2)
    assert end.alive


@jax.jit
def driven(key):
    """An episode at random: the world before each decision, and what was earned."""

    def decide(world, key):
        after, earned = road.step(world, jax.random.randint(key, (), 0, len(road.ACTIONS)))
        return after, (world, earned)

    first, later = jax.random.split(key)
    return jax.lax.scan(decide, road.start(first), jax.random.split(later, road.DECISIONS))[1]


@pytest.fixture(scope="module")
def episodes():
    return jax.device_get(jax.vmap(driven)(jax.random.split(jax.random.key(3), 48)))


def overlaps(worlds):
    """Whether two cars touch, bool [E, T, V, V]."""
    metres = worlds.x[..., None] - worlds.x[..., None, :]
    metres = abs((metres + road.RING / 2) % road.RING - road.RING / 2)
    lanes = abs(worlds.y[..., None] - worlds.y[..., None, :])
    touch = (metres < road.LENGTH) & (lanes < road.BESIDE)
    return touch & ~np.eye(road.CARS, dtype=bool)


def test_no_cars_overlap_but_where_the_flag_says_so(episodes):
    worlds, _ = episodes
    touch = overlaps(worlds)
    assert not touch[..., 1:, 1:].any()
    of_driver = touch[..., 0, :].any(axis=-1)
    assert not (of_driver & worlds.alive).any()
    ended = ~worlds.alive[:, -1]
    assert 0.4 < ended.mean() < 0.95  # there is something to see
    assert of_driver[~worlds.alive].mean() > 0.5  # the others went through a car in between


def test_nothing_moves_and_nothing_is_earned_after_the_end(episodes):
    worlds, earned = episodes
    over = ~worlds.alive
    assert not earned[over].any()
    crash = worlds.alive[:, :-1] & over[:, 1:]
    assert (earned[:, :-1][crash] <= 1 - road.CRASH).all()
    assert crash.sum(axis=1).max() == 1
    still = over[:, :-1] & over[:, 1:]
    for column in (worlds.x, worlds.y, worlds.v, worlds.lane):
        np.testing.assert_array_equal(column[:, 1:][still], column[:, :-1][still])


def test_traffic_changes_lanes_and_stays_on_the_road(episodes):
    lane = episodes[0].lane[..., 1:]
    assert (np.diff(lane, axis=1) != 0).any()
    assert lane.min() >= 0
    assert lane.max() < road.LANES
    assert abs(episodes[0].y - episodes[0].lane).max() == 0  # at decisions no change is under way


def test_an_episode_is_a_function_of_its_key(episodes):
    worlds, earned = jax.device_get(driven(jax.random.split(jax.random.key(3), 48)[5]))
    np.testing.assert_allclose(worlds.x, episodes[0].x[5], rtol=1e-4)
    np.testing.assert_allclose(earned, episodes[1][5], rtol=1e-4)
    assert abs(episodes[0].x[5] - episodes[0].x[6]).max() > 1


def test_the_expert_speeds_up_keeps_its_speed_and_does_not_hit_who_stands():
    own = {"wish": road.FASTEST}
    cases = [
        world([0.0, 200.0, 200.0], lane=[0, 3, 3], y=[0, 3, 3], v=[20, 25, 25], **own),
        world([0.0, 200.0, 200.0], lane=[0, 3, 3], y=[0, 3, 3], v=[road.FASTEST, 30, 30], **own),
        world([0.0, 45.0, 0.0], lane=[0, 0, 1], y=[0, 0, 1], v=[20, 0, 20], wish=[34, 1, 20]),
    ]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *cases)
    said = jax.jit(jax.vmap(road.expert))(stacked)
    assert [road.ACTIONS[i] for i in said] == ["faster", "idle", "slower"]


def test_what_is_seen_is_told_from_the_own_car():
    seen = np.asarray(
        road.observe(
            world(
                [390.0, 15.0, *np.linspace(100, 300, 8)],
                lane=[1, 2, *[0] * 8],
                y=[1, 2, *[0] * 8],
                v=[20.0, 30.0, *[25.0] * 8],
            )
        )
    )
    assert seen.shape == (1 + road.SEEN, road.FEATURES)
    np.testing.assert_allclose(seen[0], [1, 0, -0.5, 0, -0.5, 0], atol=1e-5)
    np.testing.assert_allclose(seen[1], [0, 0.5, 0.5, 1, 0.5, 1], atol=1e-5)
