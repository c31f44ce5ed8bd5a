"""Profile-likelihood intervals of a law's parameters, in natural units.

A coefficient in natural units is one in centred units times powers of the centres: A = a c^alpha.
Holding it while all others move, the exponents included, is a curve in the coordinates of the fit.
There the coefficient's own coordinate follows from the others, which descend by Levenberg-Marquardt
on the reweighted squares of scaling.fit.solve, all lanes at once.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from scaling.fit import solve
from scaling.laws.at import double_precision
from scaling.laws.law import to_value, values_of

_NO_NOISE = 1e-9  # residuals this small are rounding: an interval would be one of rounding
_STEPS = np.array([0.5, 1, 1.5, 2, 3, 4, 6, 9, 14, 25, 60, 200])  # profile points, standard errors
_ITERATIONS, _CALM = 100, 4
_ROUNDS = 2  # in which an end is looked for between two points

# As `to_coordinate`, where it is differentiated.
_COORDINATE = {"log": jnp.log, "logit": jax.scipy.special.logit, "identity": lambda value: value}

Ends = tuple[float | None, float | None]


def covariance(at: solve.Local, moves: np.ndarray, runs: int) -> np.ndarray:
    """Gauss-Newton covariance [P, P] of the coordinates; 0 where they do not move."""
    found = np.zeros((len(moves), len(moves)))
    if moves.any() and runs > moves.sum():
        jacobian = at.jacobian[:, moves] * np.sqrt(at.curvature)[:, None]
        variance = np.sum(at.curvature * at.residual**2) / (runs - moves.sum())
        found[np.ix_(moves, moves)] = np.linalg.pinv(jacobian.T @ jacobian, rcond=1e-15) * variance
    return found


def deviance(at: solve.Local, value, dof: int):
    """Twice the loss of log-likelihood at objective `value`, the noise scale profiled out.

    Residuals with density exp(-loss(r) / s), where the loss grows as |r|^h, give
    2 dof / h * log(value / minimum); h = 2 for squares, between 1 and 2 for Huber, measured as
    sum(psi r) / sum(loss) (Euler's theorem).
    """
    total = max(at.value, 1e-300)
    degree = float(np.clip(np.sum(at.curvature * at.residual**2) / total, 1.0, 2.0))
    return 2 * dof / degree * np.log(np.maximum(value, total) / total)


@dataclass(frozen=True)
class _Held:
    """A problem whose parameters, in natural units, are held one at a time."""

    problem: solve.Problem
    weights: np.ndarray
    centres: Mapping[str, float]
    free: np.ndarray

    def natural(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates [K, P] of the natural values at coordinates [K, P] of the fit, and their
        derivatives [K, P, P] by these."""
        with double_precision():
            values, slopes = _natural(self.problem.law, theta, dict(self.centres))
        return np.asarray(values), np.asarray(slopes)

    def descend(self, theta: np.ndarray, place: np.ndarray, held: np.ndarray):
        """The least objective [K] and where it lies [K, P], from starts [K, P]."""
        low, high = solve.bounds(self.problem.law)
        lanes = np.arange(len(theta))

        def onto(theta):
            theta = np.clip(theta, low, high)
            theta[lanes, place] += held - self.natural(theta)[0][lanes, place]
            return theta

        theta = onto(theta.copy())
        value, gradient, normal = self._around(theta, place)
        damping, calm = np.full(len(theta), 1e-3), np.zeros(len(theta), int)
        for _ in range(_ITERATIONS):
            if (calm >= _CALM).all():
                break
            step = _step(normal, gradient, damping, theta, low, high)
            trial = onto(theta + step)
            there = self._around(trial, place)
            better = there[0] < value
            calm = np.where(there[0] < (1 - 1e-8) * value, 0, calm + 1)
            damping = np.clip(np.where(better, damping * 0.2, damping * 5), 1e-10, 1e14)
            theta = np.where(better[:, None], trial, theta)
            value = np.where(better, there[0], value)
            gradient = np.where(better[:, None], there[1], gradient)
            normal = np.where(better[:, None, None], there[2], normal)
        return value, theta

    def _around(self, theta: np.ndarray, place: np.ndarray):
        """Objective [K], gradient [K, P] and normal matrix [K, P, P] along what is not held."""
        objective = self.problem.objective
        r, jacobian = solve.residuals(self.problem, theta)
        lanes = np.arange(len(theta))
        slope = self.natural(theta)[1][lanes, place]
        follow = -jacobian[lanes, :, place][:, :, None] * slope[:, None, :]
        jacobian = np.where(self.free, jacobian + follow, 0.0)
        jacobian[lanes, :, place] = 0.0
        with double_precision():
            loss, curvature = np.asarray(objective.loss(r)), np.asarray(objective.curvature(r))
        value = loss @ self.weights
        value = np.where(np.isfinite(value), value, np.inf)
        weighted = jacobian * (self.weights * curvature)[:, :, None]
        with np.errstate(all="ignore"):
            gradient = np.einsum("knp,kn->kp", weighted, r)
            normal = np.swapaxes(weighted, 1, 2) @ jacobian
        return value, np.nan_to_num(gradient), np.nan_to_num(normal)


@functools.partial(jax.jit, static_argnames="law")
def _natural(law, theta, centres):
    def one(t):
        values = law.natural(values_of(law, t), centres)
        found = jnp.stack([_COORDINATE[p.transform](values[p.name]) for p in law.parameters])
        return found, found

    slopes, values = jax.vmap(jax.jacfwd(one, has_aux=True))(theta)
    return values, slopes


def _step(normal, gradient, damping, theta, low, high) -> np.ndarray:
    """Damped Gauss-Newton steps [K, P] that leave what is held by a bound or does not move."""
    diagonal = np.einsum("kpp->kp", normal)
    moves = (diagonal > 0) & ~((theta <= low) & (gradient > 0))
    moves &= ~((theta >= high) & (gradient < 0))
    matrix = np.where(moves[:, :, None] & moves[:, None, :], normal, 0.0)
    extra = damping[:, None] * diagonal + 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-300
    matrix = matrix + np.eye(normal.shape[1]) * np.where(moves, extra, 1.0)[:, None, :]
    # Scaled to a unit diagonal: coefficients and exponents differ by orders.
    unit = 1 / np.sqrt(np.einsum("kpp->kp", matrix))
    scaled = matrix * unit[:, :, None] * unit[:, None, :]
    right = np.where(moves, -gradient, 0.0) * unit
    move = np.linalg.solve(scaled + 1e-14 * np.eye(len(unit[0])), right[:, :, None])[..., 0] * unit
    return np.clip(np.nan_to_num(move), -2.0, 2.0)


@dataclass(frozen=True)
class _Point:
    """A value held, the root of the deviance there, and the coordinates [P] of the fit."""

    held: float
    rise: float
    theta: np.ndarray


def profile(
    problem: solve.Problem,
    weights: np.ndarray,
    theta: np.ndarray,
    at: solve.Local,
    free: np.ndarray,
    level: float,
    centres: Mapping[str, float],
) -> dict[str, Ends]:
    """Profile-likelihood interval of every free parameter, in natural units.

    Each parameter is held at points on both sides of its estimate while all others are fitted
    again; the interval ends where the deviance passes the `level` quantile of F(1, dof). A side is
    None where that never happens before the parameter's bound.
    """
    names, parameters = problem.law.names, problem.law.parameters
    held = _Held(problem, weights, centres, free)
    best = held.natural(theta[None])[0][0]
    if np.sqrt(np.mean(at.residual**2)) < _NO_NOISE:
        exact = {p.name: float(to_value(p, x)) for p, x in zip(parameters, best)}
        return {name: (exact[name],) * 2 for name, move in zip(names, free) if move}
    moves = solve.movable(problem, at, theta, free)
    dof = problem.runs - int(free.sum())
    limit = np.sqrt(special.fdtri(1, dof, level))
    spread = covariance(at, moves, problem.runs)
    places, values, starts = _grid(held, theta, best, spread)
    value, ended = held.descend(starts, places, values)
    rise = np.sqrt(deviance(at, value, dof))
    sides = {}
    which = np.flatnonzero(free)
    for i in which:
        for side in (-1, 1):
            here = np.flatnonzero((places == i) & (side * (values - best[i]) > 0))
            order = here[np.argsort(np.abs(values[here] - best[i]))]
            first = _Point(best[i], 0.0, theta)
            points = [first, *(_Point(values[k], rise[k], ended[k]) for k in order)]
            past = next((k for k, point in enumerate(points) if point.rise > limit), None)
            sides[i, side] = None if past is None else (points[past - 1], points[past])
    for _ in range(_ROUNDS):
        sides = _narrowed(held, sides, limit, lambda value: np.sqrt(deviance(at, value, dof)))
    result = {}
    for i in which:
        found = (sides[i, -1], sides[i, 1])
        ends = (None if pair is None else _crossing(*pair, limit) for pair in found)
        result[names[i]] = tuple(
            None if x is None else float(to_value(parameters[i], x)) for x in ends
        )
    return result


def _grid(held: _Held, theta: np.ndarray, best: np.ndarray, spread: np.ndarray):
    """Which parameter [K] to hold at which natural coordinate [K], and starts [K, P]."""
    low, high = solve.bounds(held.problem.law)
    slopes = held.natural(theta[None])[1][0]
    places, values, starts = [], [], []
    for i in np.flatnonzero(held.free):
        along = slopes[i]
        variance = along @ spread @ along
        path = spread @ along / max(variance, 1e-300)
        # What no other parameter shifts has a range of its own.
        alone = np.abs(np.delete(along, i)).max(initial=0.0) < 1e-9
        for side, edge in ((-1, theta[i] - low[i]), (1, high[i] - theta[i])):
            step = min(np.sqrt(variance), max(edge, 1e-3) / 2) if variance > 0 else 0.05
            reach = np.unique(np.minimum(_STEPS * step, edge if alone else np.inf))
            for distance in side * reach[reach > 0]:
                places.append(i)
                values.append(best[i] + distance)
                starts.append(theta + path * distance)
    return np.array(places), np.array(values), np.array(starts)


def _crossing(inside: _Point, outside: _Point, limit: float) -> float:
    """Where the root of the deviance, nearly linear between two points, passes the limit."""
    share = (limit - inside.rise) / max(outside.rise - inside.rise, 1e-300)
    return inside.held + np.clip(share, 0.0, 1.0) * (outside.held - inside.held)


def _narrowed(held: _Held, sides: dict, limit: float, root: Callable) -> dict:
    """The same pairs of points, one of each moved to where the limit seemed to be passed."""
    pairs = {key: pair for key, pair in sides.items() if pair is not None}
    if not pairs:
        return sides
    between = np.array([_crossing(*pair, limit) for pair in pairs.values()])
    place = np.array([i for i, _ in pairs])
    start = np.stack([inside.theta for inside, _ in pairs.values()])
    value, theta = held.descend(start, place, between)
    moved = {}
    for (key, pair), x, y, ended in zip(pairs.items(), between, root(value), theta):
        point = _Point(float(x), float(y), ended)
        moved[key] = (pair[0], point) if y > limit else (point, pair[1])
    return sides | moved
