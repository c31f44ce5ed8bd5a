"""Where to put the runs of a study: IsoFLOP grids, random ones, and D- or V-optimal ones.

All designs spend one budget in one region: compute from `budget / 10^decades` upwards, and sizes
within `spread` of the prior's best at each compute. Optimal designs are exact (whole runs) and made
by exchange (Fedorov 1972) under the cost of runs; see Atkinson, Donev and Tobias 2007, chapters 10
(D: least volume of the parameters' ellipsoid) and 12 (V: least variance of one prediction). They
are optimal if the law is right, and leave few distinct points to see that it is not.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scaling.design.expect import Target, jacobian
from scaling.fit import optimum
from train.cli import InputError

if TYPE_CHECKING:
    from scaling.fit.fitted import Fit

CRITERIA = ("D", "V")
LARGEST_SHARE = 0.5  # of the budget that one run of an optimal design may take
MAX_RUNS = 1000  # of a design
_COMPUTES, _SIZES = 15, 9  # of the pool that optimal designs choose from
_PASSES, _RESTARTS = 30, 3
_RIDGE = 1e-10


@dataclass(frozen=True)
class Region:
    """Where runs may lie, and what they may cost together.

    Attributes:
      flops: cost of all runs. decades: from `flops` down to the cheapest run.
      spread: largest factor between a run's N and the prior's N* at its C.
    """

    flops: float
    decades: float
    spread: float

    def __post_init__(self):
        if not (np.isfinite(self.flops) and self.flops > 0):
            raise InputError(f"--flops: {self.flops!r}; a positive number")
        if not 0 < self.decades <= 12:
            raise InputError(f"--decades: {self.decades!r}; above 0, at most 12")
        if not 1 < self.spread <= 1e4:
            raise InputError(f"--spread: {self.spread!r}; above 1, at most 1e4")

    @property
    def cheapest(self) -> float:
        """C of the cheapest run."""
        return self.flops * 10**-self.decades


@dataclass(frozen=True)
class Design:
    """R runs: N, D, C [R] each, with a name for people."""

    name: str
    N: np.ndarray
    D: np.ndarray
    C: np.ndarray

    @property
    def cost(self) -> float:
        """FLOPs of all runs."""
        return float(self.C.sum())


def isoflop_grid(prior: "Fit", region: Region, budgets: int, sizes: int) -> Design:
    """`budgets` levels of compute, evenly spaced in log C, with `sizes` sizes around N* at each."""
    if budgets < 2 or sizes < 3:
        raise InputError(f"--budgets, --sizes: {budgets}, {sizes}; at least 2 budgets and 3 sizes")
    _check_count(budgets * sizes)
    level = np.repeat(np.linspace(0.0, 1.0, budgets), sizes)
    place = np.tile(np.linspace(-1.0, 1.0, sizes), budgets)
    name = f"isoflop {budgets}x{sizes} spread {region.spread:g}"
    return _design(prior, name, _computes(region, level), region.spread**place)


def random_design(prior: "Fit", region: Region, count: int, seed: int = 0) -> Design:
    """`count` runs, uniform in log C and in log N around N*."""
    _check_count(count)
    rng = np.random.default_rng([seed, 9])
    level, place = rng.uniform(0, 1, count), rng.uniform(-1, 1, count)
    # The region's ends are taken: what is random is the inside.
    level[np.argmin(level)], level[np.argmax(level)] = 0.0, 1.0
    return _design(prior, f"random {count}", _computes(region, level), region.spread**place)


def optimal(
    prior: "Fit", region: Region, count: int, target: Target, criterion: str, seed: int = 0
) -> Design:
    """The best `count` runs of a grid over the region; D for the parameters, V for the target."""
    _check_count(count)
    pool = _pool(prior, region, LARGEST_SHARE * region.flops)
    rows, goal = _sensitivities(prior, pool, target)
    if not count * pool.C.min() < region.flops:
        raise InputError(
            f"--decades: {region.decades:g}; {count} runs of the smallest cost exceed the budget"
        )
    rng = np.random.default_rng([seed, 10])
    found = []
    for _ in range(_RESTARTS):
        start = _affordable(pool.C, region.flops, count, rng)
        found.append(_exchange(rows, pool.C, region.flops, start, criterion, goal))
    chosen = min(found, key=lambda f: f[0])[1]
    order = chosen[np.lexsort((pool.N[chosen], pool.C[chosen]))]
    name = f"{criterion}-optimal {count}"
    return Design(name, pool.N[order], pool.D[order], pool.C[order])


def most_informative(
    prior: "Fit", known: Design, region: Region, count: int, target: Target
) -> Design:
    """The next `count` runs, one by one; each may cost an equal share of `region.flops`.

    Each is the run after which the variance of the loss at the target is least, the known runs
    taken as done. None is cheaper than the cheapest known one: there the law was never seen.
    """
    _check_count(count)
    share = region.flops / count
    pool = _pool(prior, region, share)
    seen = min(float(known.C.min()), share) <= pool.C * (1 + 1e-9)
    pool = Design("pool", pool.N[seen], pool.D[seen], pool.C[seen])
    both = Design(
        "", *(np.concatenate([getattr(known, k), getattr(pool, k)]) for k in ("N", "D", "C"))
    )
    rows, goal = _sensitivities(prior, both, target)
    done, new = rows[: len(known.N)], rows[len(known.N) :]
    information, chosen = done.T @ done, []
    for _ in range(count):
        place = int(np.argmin(_after_adding(information, new, "V", goal)))
        information = information + np.outer(new[place], new[place])
        chosen.append(place)
    return Design("next", pool.N[chosen], pool.D[chosen], pool.C[chosen])


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_RUNS:
        raise InputError(f"runs: {count}; a design has from 1 to {MAX_RUNS}")


def _design(prior: "Fit", name: str, C: np.ndarray, factor: np.ndarray) -> Design:
    on = optimum.surface(prior)
    N = optimum.best(on, C).N * factor
    if not np.isfinite(N).all():
        raise InputError(
            f"--law: {prior.law.name!r} has no best size between {C.min():.3g} and {C.max():.3g} "
            "FLOPs; a design is laid around it"
        )
    return Design(name, N, C / (on.flops_per_nd * N), C)


def _computes(region: Region, level: np.ndarray) -> np.ndarray:
    """C = cheapest * exp(g level) with g such that all runs together cost the budget."""
    if len(level) * region.cheapest >= region.flops:
        raise InputError(
            f"--decades: {region.decades:g}; {len(level)} runs that cost at least 10^-"
            f"{region.decades:g} of the budget each exceed it; give more decades or fewer runs"
        )
    low, high = 0.0, np.log(10) * region.decades
    for _ in range(100):
        middle = (low + high) / 2
        over = region.cheapest * np.exp(middle * level).sum() > region.flops
        low, high = (low, middle) if over else (middle, high)
    return region.cheapest * np.exp(low * level)


def _pool(prior: "Fit", region: Region, largest: float) -> Design:
    C = np.repeat(np.geomspace(min(region.cheapest, largest), largest, _COMPUTES), _SIZES)
    place = np.tile(np.linspace(-1.0, 1.0, _SIZES), _COMPUTES)
    return _design(prior, "pool", C, region.spread**place)


def _sensitivities(prior: "Fit", design: Design, target: Target):
    """Jacobians of log loss at the design [R, P] and at the target [P], columns of similar size."""
    at = jacobian(prior, np.append(design.N, target.N), np.append(design.D, target.D))
    size = np.linalg.norm(at[:-1], axis=0)
    at = at / np.where(size > 0, size, 1.0)
    return at[:-1], at[-1]


def _affordable(cost: np.ndarray, flops: float, count: int, rng) -> np.ndarray:
    """`count` random places of the pool that cost no more than the budget together."""
    chosen = rng.integers(len(cost), size=count)
    while cost[chosen].sum() > flops:
        dearest = np.argmax(cost[chosen])
        chosen[dearest] = rng.choice(np.flatnonzero(cost < cost[chosen[dearest]]))
    return chosen


def _exchange(rows, cost, flops: float, chosen, criterion: str, goal) -> tuple[float, np.ndarray]:
    """Swaps one run after another for the best the budget allows, until no swap helps."""
    chosen = chosen.copy()
    value = np.inf
    for _ in range(_PASSES):
        before = value
        for place in range(len(chosen)):
            others = np.delete(chosen, place)
            information = rows[others].T @ rows[others]
            able = np.flatnonzero(cost[others].sum() + cost <= flops * (1 + 1e-9))
            after = _after_adding(information, rows[able], criterion, goal)
            chosen[place], value = able[np.argmin(after)], float(after.min())
        if before - value <= 1e-9 * abs(value):
            break
    return value, chosen


def _after_adding(information, rows, criterion: str, goal) -> np.ndarray:
    """The criterion (less is better) after each of the rows [M, P] is added: rank-one updates."""
    size = len(information)
    solid = information + _RIDGE * max(np.trace(information), 1e-30) / size * np.eye(size)
    inverse = np.linalg.inv(solid)
    gain = 1 + np.einsum("mp,pq,mq->m", rows, inverse, rows)
    if criterion == "D":
        return -(np.linalg.slogdet(solid)[1] + np.log(gain))
    towards = inverse @ goal
    return np.maximum(goal @ towards - (rows @ towards) ** 2 / gain, 0.0)
