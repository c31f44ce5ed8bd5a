"""A road of four lanes to drive on, simulated: no recording of real traffic.

The road is a ring, so that traffic never ends. Traffic follows by the intelligent driver model
(Treiber, Hennecke and Helbing 2000, arXiv:cond-mat/0002177, equations 2 and 3) and changes lanes by
MOBIL (Kesting, Treiber and Helbing 2007, doi:10.3141/1999-10, equations 2 and 3). Car 0 is driven
by one of ACTIONS a second; each car has a speed of its own that it wishes, which no other sees.
An episode ends where car 0 crashes: from then on nothing moves and nothing is earned.

All functions are of one world; `jax.vmap` makes them of many. Shape letters: V cars, K cars seen,
F features, T decisions, E episodes.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

VERSION = 1  # of the world and its expert: a part of what is cached
ACTIONS = ("idle", "faster", "slower", "left", "right")
FACTS = {"classes": len(ACTIONS), "class_names": ACTIONS}  # of data of decisions, see data.facts
PUSH = (0.0, 2.5, -4.0, 0.0, 0.0)  # m/s^2 of each action
TURN = (0, 0, 0, -1, 1)  # lanes of each
LANES, CARS, SEEN, FEATURES = 4, 20, 8, 6
DECISIONS = 40  # of an episode, one a second
STEPS = 2  # of the simulation, to a decision
DT = 1 / STEPS  # s
RING, LENGTH = 400.0, 5.0  # m: of the road and of a car
BESIDE = 0.6  # lanes: cars less far apart overlap sideways
SIDEWAYS = 1.0  # lanes a second
FASTEST = 34.0  # m/s, what car 0 can and wishes
WISHES = (17.0, 28.0)  # m/s, of traffic
PULL, BRAKE, HARDEST, HEADWAY, NEAREST = (
    1.5,
    2.0,
    8.0,
    1.2,
    2.0,
)  # IDM: a, b, floor of -dv/dt, T, s0
POLITE, GAIN, SAFE = 0.3, 0.2, 3.0  # MOBIL: p, threshold, b_safe
CRASH = 10.0  # what a crash costs, in decisions at full speed
AHEAD = 5  # decisions that the expert looks ahead
CHANGE = 0.05  # what a change of lane costs it


class World(NamedTuple):
    """All there is: [V] each, but for `alive` []."""

    x: jax.Array  # m along the ring
    y: jax.Array  # lanes from the leftmost; not whole while a car changes
    lane: jax.Array  # int32, where it is or is going
    v: jax.Array  # m/s
    wish: jax.Array  # m/s, the speed on an empty road
    alive: jax.Array  # whether car 0 has not crashed


class Around(NamedTuple):
    """What is before and behind each car in a lane, [V] each; one alone meets itself a ring off."""

    gap: jax.Array  # m, bumper to bumper; negative where cars overlap
    leader: jax.Array
    gap_behind: jax.Array
    follower: jax.Array


def start(key: jax.Array) -> World:
    """A world: cars evenly in each lane, moved a little, car 0 in any of them."""
    jitter, wish, speed, shift = jax.random.split(key, 4)
    place = jax.random.permutation(shift, CARS)
    per_lane = CARS // LANES
    spread = jax.random.uniform(jitter, (CARS,), minval=-0.3, maxval=0.3)
    lane = place % LANES
    x = (place // LANES + spread + lane / LANES) * (RING / per_lane)
    wishes = jax.random.uniform(wish, (CARS,), minval=WISHES[0], maxval=WISHES[1])
    v = wishes * jax.random.uniform(speed, (CARS,), minval=0.8, maxval=1.0)
    y = lane.astype(jnp.float32)
    return World(x % RING, y, lane, v, wishes.at[0].set(FASTEST), jnp.bool_(True))


def idm(v: jax.Array, wish: jax.Array, gap: jax.Array, v_leader: jax.Array) -> jax.Array:
    """Acceleration, m/s^2, of cars that follow others; at least -HARDEST."""
    closing = v * (v - v_leader) / (2 * (PULL * BRAKE) ** 0.5)
    wanted = NEAREST + jnp.maximum(0, v * HEADWAY + closing)
    push = PULL * (1 - (v / wish) ** 4 - (wanted / jnp.maximum(gap, 0.1)) ** 2)
    return jnp.maximum(push, -HARDEST)


def around(world: World, lane: jax.Array, beside: bool = False) -> Around:
    """Neighbours of each car as if it were in `lane` [V]; `beside`: also those next to it now."""
    cars = jnp.arange(world.x.shape[0])
    there = world.lane[None] == lane[:, None]
    there |= jnp.abs(world.y[None] - lane[:, None]) < BESIDE
    if beside:
        there |= jnp.abs(world.y[None] - world.y[:, None]) < BESIDE
    there &= cars[None] != cars[:, None]
    forward = (world.x[None] - world.x[:, None]) % RING
    ahead = jnp.where(there, forward, RING)
    behind = jnp.where(there, RING - forward, RING)
    leader, follower = jnp.argmin(ahead, axis=1), jnp.argmin(behind, axis=1)
    alone = ~there.any(axis=1)
    return Around(
        ahead.min(axis=1) - LENGTH,
        jnp.where(alone, cars, leader),
        behind.min(axis=1) - LENGTH,
        jnp.where(alone, cars, follower),
    )


def mobil(world: World) -> jax.Array:
    """The lane of each car, int32 [V], after those change that gain by it and harm nobody much."""
    v, wish = world.v, world.wish

    def follows(car: jax.Array, gap: jax.Array, leader: jax.Array) -> jax.Array:
        return idm(v[car], wish[car], gap, v[leader])

    cars = jnp.arange(v.shape[0])
    old = around(world, world.lane)
    own = follows(cars, old.gap, old.leader)
    closed = follows(old.follower, old.gap + old.gap_behind + LENGTH, old.leader)
    relief = closed - follows(old.follower, old.gap_behind, cars)
    lane = world.lane[None] + jnp.array((-1, 1))[:, None]

    def change(lane: jax.Array) -> jax.Array:
        """What each gains by being there; -inf where it may not."""
        new = around(world, lane)
        pressed = follows(new.follower, new.gap_behind, cars)
        before = follows(new.follower, new.gap + new.gap_behind + LENGTH, new.leader)
        there = follows(cars, new.gap, new.leader)
        gain = there - own + POLITE * (pressed - before + relief)
        free = (jnp.minimum(new.gap, new.gap_behind) > NEAREST) & (pressed > -SAFE)
        free &= there > -SAFE  # MOBIL asks this of the follower alone
        return jnp.where(free & (lane >= 0) & (lane < LANES), gain, -jnp.inf)

    gain = jax.vmap(change)(lane)
    lanes = jnp.where(gain.max(axis=0) > GAIN, lane[gain.argmax(axis=0), cars], world.lane)
    wants = (lanes != world.lane) & (jnp.abs(world.y - world.lane) < 1e-3) & (cars > 0)
    # Of two that want the same place the one of the lower number has it.
    near = jnp.abs(offset(world.x[None] - world.x[:, None])) < RING / 10
    rival = near & wants[None] & (lanes[None] == lanes[:, None]) & (cars[None] < cars[:, None])
    return jnp.where(wants & ~rival.any(axis=1), lanes, world.lane)


def step(world: World, action: jax.Array) -> tuple[World, jax.Array]:
    """One decision (int []) and what it earns: distance in that at full speed, less CRASH."""
    lane = jnp.clip(world.lane[0] + jnp.array(TURN)[action], 0, LANES - 1)
    moved = world._replace(lane=world.lane.at[0].set(lane))
    moved = moved._replace(lane=mobil(moved))
    push = jnp.array(PUSH)[action]

    def go(world: World, _: None) -> tuple[World, jax.Array]:
        after = advance(world, push)
        return after, after.alive * after.v[0] * DT / FASTEST

    moved, distances = jax.lax.scan(go, moved, length=STEPS)
    earned = distances.sum() - CRASH * ~moved.alive
    after = jax.tree.map(lambda new, old: jnp.where(world.alive, new, old), moved, world)
    return after, jnp.where(world.alive, earned, 0)


def advance(world: World, push: jax.Array) -> World:
    """DT later; car 0 accelerates by `push` m/s^2, or as traffic does where that is NaN."""
    near = around(world, world.lane, beside=True)
    pushes = idm(world.v, world.wish, near.gap, world.v[near.leader])
    pushes = pushes.at[0].set(jnp.where(jnp.isnan(push), pushes[0], push))
    v = jnp.clip(world.v + pushes * DT, 0, FASTEST)
    x = (world.x + (world.v + v) / 2 * DT) % RING
    y = world.y + jnp.clip(world.lane - world.y, -SIDEWAYS * DT, SIDEWAYS * DT)
    moved = world._replace(x=x, y=y, v=v)
    return moved._replace(alive=world.alive & ~hit(world, moved))


def hit(before: World, after: World) -> jax.Array:
    """Whether car 0 touches another, or went through one in between."""
    was, now = (offset(world.x[1:] - world.x[0]) for world in (before, after))
    through = (was * now < 0) & (jnp.abs(was) < RING / 10)
    beside = jnp.abs(after.y[1:] - after.y[0]) < BESIDE
    return (beside & ((jnp.abs(now) < LENGTH) | through)).any()


def offset(metres: jax.Array) -> jax.Array:
    """Along the ring, the shorter way."""
    return (metres + RING / 2) % RING - RING / 2


def observe(world: World) -> jax.Array:
    """What a driver sees, float32 [1 + K, F]: car 0, then the K nearest along the road.

    Of each whether it is car 0, metres ahead / 50, lanes from the middle of the road and from car
    0, and speed beyond 25 m/s and beyond that of car 0, / 10. No action and no wish is among them:
    a change of lanes takes a decision, so that none is under way.
    """
    metres = offset(world.x - world.x[0])
    chosen = jnp.argsort(jnp.abs(metres).at[0].set(-1.0))[: 1 + SEEN]
    middle = (LANES - 1) / 2
    columns = (
        jnp.arange(world.x.shape[0]) == 0,
        metres / 50,
        world.y - middle,
        world.y - world.y[0],
        (world.v - 25) / 10,
        (world.v - world.v[0]) / 10,
    )
    return jnp.stack(columns, axis=-1).astype(jnp.float32)[chosen]


def expert(world: World) -> jax.Array:
    """The best action, int32 []: each is tried in the world, then car 0 follows as traffic does.

    It knows all wishes, and takes traffic to keep its lanes. What is earned counts, a crash as in
    `step`, less the squared lack of a second's distance to those before and behind, and CHANGE.
    """

    def worth(action: jax.Array) -> jax.Array:
        lane = jnp.clip(world.lane[0] + jnp.array(TURN)[action], 0, LANES - 1)
        tried = world._replace(lane=world.lane.at[0].set(lane))
        free = jnp.arange(STEPS * AHEAD) >= STEPS
        pushes = jnp.where(free, jnp.nan, jnp.array(PUSH)[action])
        tried, earned = jax.lax.scan(_tried, tried, pushes)
        return earned.sum() - CRASH * ~tried.alive - CHANGE * (lane != world.lane[0])

    return jnp.argmax(jax.vmap(worth)(jnp.arange(len(ACTIONS)))).astype(jnp.int32)


def _tried(world: World, push: jax.Array) -> tuple[World, jax.Array]:
    after = advance(world, push)
    near = around(after, after.lane, beside=True)
    front = near.gap[0] / jnp.maximum(after.v[0], 1)
    back = near.gap_behind[0] / jnp.maximum(after.v[near.follower[0]], 1)
    lack = sum(jnp.clip(1 - seconds, 0, 1) ** 2 for seconds in (front, back))
    return after, after.alive * DT * (after.v[0] / FASTEST - lack)


class Episode(NamedTuple):
    """One drive, [T, ...]; where its world is not `alive` it had ended before."""

    world: World  # before each decision
    seen: jax.Array  # float32 [T, 1 + K, F]
    action: jax.Array  # int32 [T]
    earned: jax.Array  # float32 [T]
    metres: jax.Array  # float32 [T]
    crashed: jax.Array  # bool [], by the end


Policy = Callable[[World, jax.Array, jax.Array], jax.Array]  # of a world, what is seen, and a key


def episode(policy: Policy, key: jax.Array, decisions: int = DECISIONS) -> Episode:
    """A drive by a policy, from the world of a key."""

    def decide(world: World, key: jax.Array) -> tuple[World, tuple[jax.Array, ...]]:
        seen = observe(world)
        action = policy(world, seen, key)
        after, earned = step(world, action)
        metres = (after.x[0] - world.x[0]) % RING
        return after, (world, seen, action, earned, metres)

    first, later = jax.random.split(key)
    last, told = jax.lax.scan(decide, start(first), jax.random.split(later, decisions))
    return Episode(*told, crashed=~last.alive)
