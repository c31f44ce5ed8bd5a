"""The numerics of a fit: many robust least-squares problems at once, in float64.

One problem is a lane: a start, a weight for every run, and which parameters may move. Random starts
differ in the start, bootstrap refits in the weights (a resample is a vector of counts), points of a
profile in what is held fixed; so all three are the same compiled program. Rows are padded with
weight zero and lanes come in chunks of one size, so that a program is compiled once for a law and
not once for a table.

The step is Levenberg-Marquardt on iteratively reweighted squares: J' W J with W = psi(r)/r
majorises the Huber and quantile losses, so the objective never rises.
"""

import contextlib
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from scaling.laws import Law
from scaling.laws.law import to_coordinate, to_value

OBJECTIVES = ("huber_log", "mse_log", "mse", "quantile")
_LANES = 64
_MAX_CELLS = 2**19  # lanes x rows of one chunk: about 40 MB of Jacobian for ten parameters
_ITERATIONS = 400
_SMALLEST_RESIDUAL = 1e-9  # below this the quantile loss counts as flat; it has a kink at 0


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
    runs: int  # rows that are not padding

    def pad(self, weights: np.ndarray) -> np.ndarray:
        """Weights [.., runs] -> [.., rows], zero on the padding."""
        width = len(self.target) - self.runs
        return np.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, width)])


@dataclass(frozen=True)
class Solution:
    """Where every lane ended: coordinates [K, P], objective [K], largest gradient [K]."""

    theta: np.ndarray
    value: np.ndarray
    gradient: np.ndarray


@contextlib.contextmanager
def double_precision():
    """float64 on the CPU, whatever the process is set to: accelerators may have none, and these
    problems are too small for one."""
    with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield


def make_problem(
    law: Law,
    objective: Objective,
    columns: dict[str, np.ndarray],
    target: np.ndarray,
    centres: dict[str, float],
) -> Problem:
    """Centres the columns and the target and pads them to a multiple that programs share."""
    runs = len(target)
    rows = 16
    while rows < runs:
        rows *= 2
    rows = rows if rows - runs < rows // 4 or rows == 16 else rows * 3 // 4

    def pad(values, centre):
        values = np.asarray(values, np.float64) / centre
        return np.concatenate([values, np.repeat(values[:1], rows - runs, axis=0)])

    return Problem(
        law,
        objective,
        {name: pad(columns[name], centres[name]) for name in law.columns},
        pad(target, centres[law.target]),
        runs,
    )


def bounds(law: Law) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest coordinates [P] that a fit may reach."""
    low, high = np.array([to_coordinate(p, np.array(p.bounds)) for p in law.parameters]).T
    return low, high


def random_starts(law: Law, count: int, seed: int) -> np.ndarray:
    """Starts [count, P], uniform over each start range in the coordinates of the fit."""
    low, high = np.array([to_coordinate(p, np.array(p.start)) for p in law.parameters]).T
    return np.random.default_rng([seed, 0]).uniform(low, high, (count, len(low)))


def values_of(law: Law, theta) -> dict:
    """Coordinates [P, ..] -> parameters in centred units, by name."""
    return {p.name: to_value(p, theta[i]) for i, p in enumerate(law.parameters)}


def _residual(law: Law, objective: Objective, columns, target, theta):
    prediction = law.form(values_of(law, theta), columns)
    if objective.logarithmic:
        return jnp.log(prediction) - jnp.log(target)
    return prediction - target


def _solve_linear(law: Law, columns, target, weights, theta, low, high):
    """Moves the start's linear parameters to their weighted least-squares values."""
    if not law.linear:
        return theta
    places = np.array([law.names.index(name) for name in law.linear])

    def form(linear):
        values = {**values_of(law, theta), **dict(zip(law.linear, linear))}
        return law.form(values, columns)

    zero = jnp.zeros(len(places))
    offset, basis = form(zero), jax.jacfwd(form)(zero)
    weight = jnp.sqrt(weights) / jnp.abs(target)
    basis, rest = basis * weight[:, None], (target - offset) * weight
    normal = basis.T @ basis
    ridge = 1e-9 * jnp.trace(normal) * jnp.eye(len(places))
    solution = _eliminate(normal + ridge, basis.T @ rest)
    coordinates = []
    for k, place in enumerate(places):
        parameter = law.parameters[place]
        if parameter.transform == "log":  # a negative coefficient restarts from a small one
            coordinates.append(jnp.log(jnp.maximum(solution[k], 1e-3)))
        else:
            coordinates.append(solution[k])
    moved = theta.at[places].set(jnp.stack(coordinates))
    moved = jnp.clip(moved, low, high)
    return jnp.where(jnp.all(jnp.isfinite(moved)), moved, theta)


def _descend(law: Law, objective: Objective, columns, target, weights, free, theta, low, high):
    """Levenberg-Marquardt of one lane from `theta`; returns theta, value, gradient."""

    def residual(t):
        r = _residual(law, objective, columns, target, t)
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
        diagonal = jnp.diagonal(normal)
        scale = damping * diagonal + 1e-12 * jnp.max(diagonal) + 1e-300
        matrix = jnp.where(moves[:, None] & moves[None, :], normal, 0.0)
        matrix = matrix + jnp.diag(jnp.where(moves, scale, 1.0))
        move = _eliminate(matrix, jnp.where(moves, -gradient, 0.0))
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
    start = (theta, *nothing, jnp.asarray(5e-3), jnp.asarray(0), jnp.asarray(0))
    t, value, gradient, *_ = jax.lax.while_loop(going, step, start)
    inside = free & ~((t <= low) & (gradient > 0)) & ~((t >= high) & (gradient < 0))
    return t, value, jnp.max(jnp.where(inside, jnp.abs(gradient), 0.0))


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
def _solve_chunk(law, objective, columns, target, weights, free, theta):
    low, high = map(jnp.asarray, bounds(law))

    def lane(y, w, f, t):
        return _descend(law, objective, columns, y, w, f, jnp.clip(t, low, high), low, high)

    return jax.vmap(lane)(target, weights, free, theta)


@functools.partial(jax.jit, static_argnames=("law",))
def _project_chunk(law, columns, target, weights, free, theta):
    low, high = map(jnp.asarray, bounds(law))

    def lane(y, w, f, t):
        return jnp.where(f, _solve_linear(law, columns, y, w, t, low, high), t)

    return jax.vmap(lane)(target, weights, free, theta)


def solve(
    problem: Problem,
    weights: np.ndarray,
    theta: np.ndarray,
    free: np.ndarray | None = None,
    project: bool = False,
    target: np.ndarray | None = None,
) -> Solution:
    """Minimises the weighted objective in every lane.

    Args:
      problem: the law and the data.
      weights: [runs] shared by all lanes, or [K, runs].
      theta: starts [K, P] in the coordinates of the fit.
      free: [P] or [K, P], which parameters may move (default all).
      project: solve for the linear parameters before the first step.
      target: [K, runs] in centred units, where lanes differ in their data (residual bootstrap).

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
    cells = max(np.size(column) for column in problem.columns.values())
    lanes = int(max(1, min(_LANES, _MAX_CELLS // cells)))

    def chunk(first):
        taken = np.minimum(np.arange(first, first + lanes), count - 1)
        law, columns, start = problem.law, problem.columns, theta[taken]
        lane = (target[taken], weights[taken], free[taken])
        with double_precision():
            if project:
                start = _project_chunk(law, columns, *lane, start)
            out = _solve_chunk(law, problem.objective, columns, *lane, start)
            return [np.asarray(a)[: count - first] for a in out]

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        parts = list(pool.map(chunk, range(0, count, lanes)))
    return Solution(*(np.concatenate(part) for part in zip(*parts)))


@dataclass(frozen=True)
class Local:
    """The objective around one point: value, gradient [P], Hessian [P, P], and the reweighted
    least-squares problem: residuals [runs], Jacobian [runs, P], curvature weights [runs]."""

    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    residual: np.ndarray
    jacobian: np.ndarray
    curvature: np.ndarray


@functools.partial(jax.jit, static_argnames=("law", "objective"))
def _local(law, objective, columns, target, weights, theta):
    def residual(t):
        return _residual(law, objective, columns, target, t)

    def total(t):
        return jnp.sum(weights * objective.loss(residual(t)))

    r = residual(theta)
    value, gradient = jax.value_and_grad(total)(theta)
    curvature = weights * objective.curvature(r)
    return value, gradient, jax.hessian(total)(theta), r, jax.jacfwd(residual)(theta), curvature


def local(problem: Problem, weights: np.ndarray, theta: np.ndarray) -> Local:
    """Evaluates the objective, its derivatives and the residuals at one point [P]."""
    with double_precision():
        out = _local(
            problem.law,
            problem.objective,
            problem.columns,
            problem.target,
            problem.pad(np.asarray(weights, np.float64)),
            np.asarray(theta, np.float64),
        )
        value, gradient, hessian, *rows = [np.asarray(a) for a in out]
    return Local(float(value), gradient, hessian, *(a[: problem.runs] for a in rows))


def movable(problem: Problem, at: Local, theta: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Which parameters [P] are free and not held by a bound that the objective pushes against."""
    low, high = bounds(problem.law)
    return free & ~((theta <= low) & (at.gradient > 0)) & ~((theta >= high) & (at.gradient < 0))


def polish(
    problem: Problem, weights: np.ndarray, theta: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, Local]:
    """Damped Newton from the end of `solve`: reweighting creeps where most residuals are large."""
    low, high = bounds(problem.law)
    here = local(problem, weights, theta)
    damping = 1e-6
    for _ in range(60):
        moves = np.flatnonzero(movable(problem, here, theta, free))
        grid = np.ix_(moves, moves)
        if not len(moves) or np.abs(here.gradient[moves]).max() <= 1e-15 or damping > 1e8:
            break
        squares = (here.jacobian * here.curvature[:, None]).T @ here.jacobian
        matrix = here.hessian[grid] + damping * np.diag(np.diag(squares)[moves] + 1e-300)
        step = np.linalg.lstsq(matrix, -here.gradient[moves], rcond=None)[0]
        trial = theta.copy()
        trial[moves] = np.clip(theta[moves] + step, low[moves], high[moves])
        there = local(problem, weights, trial)
        if there.value < here.value:
            theta, here, damping = trial, there, damping * 0.1
        else:
            damping = max(damping, 1e-12) * 10
    return theta, here
