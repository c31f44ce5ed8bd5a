"""The numerics of a fit: many robust least-squares problems at once, in float64.

One problem is a lane: a start, a weight for every run, and which parameters may move. Random starts
differ in the start, bootstrap refits in the weights (a resample is a vector of counts), points of a
profile in what is held; so all three are the same compiled program. Rows are padded with
weight zero and lanes come in chunks of one size, so that a program is compiled once for a law and
not once for a table.

The step is Levenberg-Marquardt on iteratively reweighted squares: J' W J with W = psi(r)/r
majorises the Huber and quantile losses, so the objective never rises.
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scaling.laws import Law
from scaling.laws.law import to_coordinate, values_of

OBJECTIVES = ("huber_log", "mse_log", "mse", "quantile")
_LANES = 64
# Lanes x rows of one chunk: a Jacobian of 5 MB for ten parameters, which a cache can hold.
_MAX_CELLS = 2**16
_ITERATIONS = 400
# As `to_coordinate`, where it is differentiated.
_COORDINATE = {"log": jnp.log, "logit": jax.scipy.special.logit, "identity": lambda value: value}
_SMALLEST_RESIDUAL = 1e-9  # below this the quantile loss counts as flat; it has a kink at 0


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """float64 on the CPU, whatever the process is set to: accelerators may have none, and these
    problems are too small for one."""
    with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield


@dataclass(frozen=True)
class Objective:
    """What is minimised over residuals r = log prediction - log target ('mse': the difference).

    'huber_log' is the sum of Huber losses (quadratic within `delta`), as in Hoffmann et al. 2022;
    'mse_log' and 'mse' are means of squares; 'quantile' is the mean pinball loss of quantile `tau`.
    """

    name: str = "huber_log"
    delta: float = 1e-3
    tau: float = 0.5

    @property
    def logarithmic(self) -> bool:
        """Whether residuals are differences of logarithms."""
        return self.name != "mse"

    def loss(self, r):
        """Loss of each residual."""
        size = jnp.abs(r)
        if self.name == "huber_log":
            outside = self.delta * (size - 0.5 * self.delta)
            return jnp.where(size <= self.delta, 0.5 * r**2, outside)
        if self.name == "quantile":
            return jnp.where(r < 0, self.tau, 1 - self.tau) * size
        return r**2

    def curvature(self, r):
        """psi(r) / r: the weight of each residual in the reweighted squares."""
        size = jnp.abs(r)
        if self.name == "huber_log":
            return self.delta / jnp.maximum(size, self.delta)
        if self.name == "quantile":
            return jnp.where(r < 0, self.tau, 1 - self.tau) / jnp.maximum(size, _SMALLEST_RESIDUAL)
        return 2 * jnp.ones_like(r)


@dataclass(frozen=True)
class Problem:
    """A law, what is minimised, and the data in centred units, padded to a shared shape [rows]."""

    law: Law
    objective: Objective
    columns: dict[str, np.ndarray]
    target: np.ndarray
    centres: dict[str, float]  # what columns and target were divided by
    runs: int  # rows that are not padding

    def pad(self, weights: np.ndarray) -> np.ndarray:
        """Weights [.., runs] -> [.., rows], zero on the padding."""
        width = len(self.target) - self.runs
        return np.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, width)])


@dataclass(frozen=True)
class Solution:
    """Where every lane ended: coordinates [K, P] and objective [K]."""

    theta: np.ndarray
    value: np.ndarray


def make_problem(
    law: Law,
    objective: Objective,
    columns: dict[str, np.ndarray],
    target: np.ndarray,
    centres: dict[str, float],
) -> Problem:
    """Centres the columns and the target and pads them to a multiple that programs share."""
    columns = {name: np.asarray(columns[name], np.float64) / centres[name] for name in law.columns}
    return _padded(law, objective, columns, np.asarray(target) / centres[law.target], centres)


def part(problem: Problem, rows: np.ndarray) -> Problem:
    """The same problem with some of its rows alone, by number."""
    columns = {name: values[rows] for name, values in problem.columns.items()}
    return _padded(problem.law, problem.objective, columns, problem.target[rows], problem.centres)


def _padded(law: Law, objective: Objective, columns, target, centres) -> Problem:
    runs = len(target)
    rows = 16
    while rows < runs:
        rows *= 2
    rows = rows if rows - runs < rows // 4 or rows == 16 else rows * 3 // 4

    def pad(values):
        return np.concatenate([values, np.repeat(values[:1], rows - runs, axis=0)])

    columns = {name: pad(values) for name, values in columns.items()}
    return Problem(law, objective, columns, pad(target), centres, runs)


def bounds(law: Law) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest coordinates [P] that a fit may reach."""
    low, high = np.array([to_coordinate(p, np.array(p.bounds)) for p in law.parameters]).T
    return low, high


def random_starts(law: Law, count: int, seed: int) -> np.ndarray:
    """Starts [count, P], uniform over each start range in the coordinates of the fit."""
    low, high = np.array([to_coordinate(p, np.array(p.start)) for p in law.parameters]).T
    return np.random.default_rng([seed, 0]).uniform(low, high, (count, len(low)))


class Held(NamedTuple):
    """A parameter that stays where it is in natural units, while all others move."""

    place: Any  # which; none: -1
    value: Any  # its coordinate, in natural units


def natural(law: Law, theta, centres):
    """Coordinates [P] of the natural values at coordinates [P] of the fit.

    A coefficient in natural units is one in centred units times powers of the centres:
    A = a c^alpha; its coordinate is that of a, shifted by what the other parameters say.
    """
    values = law.natural(values_of(law, theta), centres)
    return jnp.stack([_COORDINATE[p.transform](values[p.name]) for p in law.parameters])


def _residual(law: Law, objective: Objective, columns, target, theta):
    prediction = law.form(values_of(law, theta), columns)
    if objective.logarithmic:
        return jnp.log(prediction) - jnp.log(target)
    return prediction - target


def _descend(
    law: Law, objective: Objective, columns, centres, target, weights, free, held: Held, theta
):
    """Levenberg-Marquardt of one lane from `theta`; returns theta and value."""
    low, high = map(jnp.asarray, bounds(law))
    here = jnp.arange(len(law.parameters)) == held.place

    def onto(t):
        # Along this curve of coordinates the others take the one that is held with them.
        return t + jnp.where(here, held.value - natural(law, t, centres), 0.0)

    def residual(t):
        r = _residual(law, objective, columns, target, onto(t))
        return r, r

    def evaluate(t):
        jacobian, r = jax.jacfwd(residual, has_aux=True)(t)
        value = jnp.sum(weights * objective.loss(r))
        curvature = weights * objective.curvature(r)
        weighted = jacobian * curvature[:, None]
        value = jnp.where(jnp.isfinite(value), value, jnp.inf)
        return value, weighted.T @ r, weighted.T @ jacobian

    def step(state):
        t, value, gradient, normal, damping, calm, count = state
        moves = free & ~((t <= low) & (gradient > 0)) & ~((t >= high) & (gradient < 0))
        move = _damped(gradient, normal, damping, moves)
        trial = jnp.clip(t + jnp.clip(move, -2.0, 2.0), low, high)
        new_value, new_gradient, new_normal = evaluate(trial)
        better = new_value < value
        small = (value - new_value) <= 1e-11 * value
        calm = jnp.where(better & ~small, 0, calm + 1)
        damping = jnp.where(better, damping * 0.2, damping * 5.0)
        keep = lambda new, old: jnp.where(better, new, old)  # noqa: E731
        return (
            keep(trial, t),
            keep(new_value, value),
            keep(new_gradient, gradient),
            keep(new_normal, normal),
            jnp.clip(damping, 1e-10, 1e14),
            calm,
            count + 1,
        )

    def going(state):
        return (state[5] < 6) & (state[6] < _ITERATIONS)

    size = len(law.parameters)
    # The first step stands still and evaluates the start: one copy of `evaluate` to compile.
    nothing = (jnp.asarray(jnp.inf), jnp.zeros(size), jnp.eye(size))
    start = (
        jnp.clip(theta, low, high),
        *nothing,
        jnp.asarray(5e-3),
        jnp.asarray(0),
        jnp.asarray(0),
    )
    t, value, *_ = jax.lax.while_loop(going, step, start)
    return onto(t), value


def _damped(gradient, normal, damping, moves):
    """The damped step [P]; 0 where nothing moves."""
    diagonal = jnp.diagonal(normal)
    scale = damping * diagonal + 1e-12 * jnp.max(diagonal) + 1e-300
    matrix = jnp.where(moves[:, None] & moves[None, :], normal, 0.0)
    matrix = matrix + jnp.diag(jnp.where(moves, scale, 1.0))
    return _eliminate(matrix, jnp.where(moves, -gradient, 0.0))


def _eliminate(matrix, vector):
    """Solves a small positive definite system by Gauss-Jordan steps, which need no pivoting there.

    Written out because LAPACK calls, one a lane, take longer than the sums themselves.
    """
    size = vector.shape[0]
    rows = jnp.concatenate([matrix, vector[:, None]], axis=1)
    for k in range(size):
        pivot = jnp.maximum(rows[k, k], 1e-14 * matrix[k, k] + 1e-300)
        row = rows[k] / pivot
        rows = (rows - rows[:, k : k + 1] * row[None, :]).at[k].set(row)
    return rows[:, size]


@functools.partial(jax.jit, static_argnames=("law", "objective"))
def _solve_chunk(law, objective, columns, centres, *lanes):
    return jax.vmap(functools.partial(_descend, law, objective, columns, centres))(*lanes)


def _chunks(problem: Problem, count: int) -> list[np.ndarray]:
    """Lane numbers of each chunk, all of one length: the last lane repeats at the end."""
    cells = max(np.size(column) for column in problem.columns.values())
    lanes = int(max(1, min(_LANES, _MAX_CELLS // cells)))
    firsts = range(0, count, lanes)
    return [np.minimum(np.arange(first, first + lanes), count - 1) for first in firsts]


def solve(
    problem: Problem,
    weights: np.ndarray,
    theta: np.ndarray,
    free: np.ndarray | None = None,
    target: np.ndarray | None = None,
    held: Held | None = None,
) -> Solution:
    """Minimises the weighted objective in every lane.

    Args:
      problem: the law and the data.
      weights: [runs] shared by all lanes, or [K, runs].
      theta: starts [K, P] in the coordinates of the fit.
      free: [P] or [K, P], which parameters may move (default all).
      target: [K, runs] in centred units, where lanes differ in their data (residual bootstrap).
      held: a parameter of each lane, places [K] and values [K].

    Returns:
      The end of every lane. `value` is the weighted sum of losses.
    """
    count, size = theta.shape
    weights = problem.pad(np.broadcast_to(np.asarray(weights, np.float64), (count, problem.runs)))
    if target is None:
        target = np.broadcast_to(problem.target, weights.shape)
    else:
        target = np.pad(target, [(0, 0), (0, len(problem.target) - problem.runs)], mode="edge")
    free = np.broadcast_to(np.ones(size, bool) if free is None else free, (count, size))
    held = held or Held(np.full(count, -1), np.zeros(count))
    fixed = problem.law, problem.objective, problem.columns, problem.centres

    def chunk(taken):
        with double_precision():
            lanes = (target, weights, free, held, theta)
            out = _solve_chunk(*fixed, *jax.tree.map(lambda a: a[taken], lanes))
            return [np.asarray(a) for a in out]

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        parts = list(pool.map(chunk, _chunks(problem, count)))
    return Solution(*(np.concatenate(part)[:count] for part in zip(*parts)))


@functools.partial(jax.jit, static_argnames=("law", "objective"))
def _residual_chunk(law, objective, columns, target, theta):
    def residual(t):
        r = _residual(law, objective, columns, target, t)
        return r, r

    jacobian, r = jax.vmap(jax.jacfwd(residual, has_aux=True))(theta)
    return r, jacobian


def residuals(problem: Problem, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals [K, runs] and their Jacobians [K, runs, P] at coordinates [K, P]."""
    law, objective = problem.law, problem.objective
    parts = []
    for taken in _chunks(problem, len(theta)):
        with double_precision():
            out = _residual_chunk(law, objective, problem.columns, problem.target, theta[taken])
            parts.append([np.asarray(a)[:, : problem.runs] for a in out])
    r, jacobian = (np.concatenate(part)[: len(theta)] for part in zip(*parts))
    return r, jacobian


def project(problem: Problem, weights: np.ndarray, theta: np.ndarray, free: np.ndarray):
    """Variable projection: moves the linear parameters of starts [K, P] to their best values.

    The best is weighted least squares relative to the target. A linear parameter moves in its
    logarithm, so its column of the prediction's Jacobian is its whole term; what is solved for is
    the factor on each term. Terms that come out negative restart small.
    """
    places = np.array([problem.law.names.index(name) for name in problem.law.linear], int)
    places = places[free[places]]
    if not len(places):
        return theta
    target, root = problem.target[: problem.runs], np.sqrt(weights)
    with np.errstate(all="ignore"):
        r, jacobian = residuals(problem, theta)
        if problem.objective.logarithmic:
            ratio = slope = np.exp(r)  # prediction / target, and its derivative by r
        else:
            ratio, slope = 1 + r / target, np.broadcast_to(1 / target, r.shape)
        terms = jacobian[:, :, places] * (slope * root)[:, :, None]
        rest = (1 - ratio) * root + terms.sum(axis=-1)
        length = np.linalg.norm(terms, axis=1)
        terms = terms / length[:, None, :]
        normal = np.swapaxes(terms, 1, 2) @ terms + 1e-9 * np.eye(len(places))
        right = np.einsum("knp,kn->kp", terms, rest)
        sound = np.all(np.isfinite(normal), axis=(1, 2)) & np.all(np.isfinite(right), axis=1)
        factors = np.ones_like(right)
        solved = np.linalg.solve(normal[sound], right[sound, :, None])[..., 0]
        factors[sound] = solved / length[sound]
    moved = theta.copy()
    moved[:, places] += np.log(np.maximum(factors, 1e-3))
    return np.clip(moved, *bounds(problem.law))
