"""Profile-likelihood intervals of a law's parameters, in natural units.

Holding one while all others move, the exponents included, is a curve in the coordinates of the fit,
see `scaling.fit.solve.natural`. A value held is a lane there.
"""

import dataclasses
import functools
import itertools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from scipy import special

from scaling.fit import local, solve
from scaling.laws.law import to_value

_NO_NOISE = 1e-9  # residuals this small are rounding: an interval would be one of rounding
_STEPS = np.array([0.5, 1, 1.5, 2, 3, 4, 6, 9, 14, 25, 60, 200])  # profile points, standard errors
_NEAR = 6  # of them are enough for most
_ROUNDS = 2  # in which an end is looked for between two points

Ends = tuple[float | None, float | None]


def covariance(at: local.Local, moves: np.ndarray, runs: int) -> np.ndarray:
    """Gauss-Newton covariance [P, P] of the coordinates; 0 where they do not move."""
    found = np.zeros((len(moves), len(moves)))
    if moves.any() and runs > moves.sum():
        jacobian = at.jacobian[:, moves] * np.sqrt(at.curvature)[:, None]
        variance = np.sum(at.curvature * at.residual**2) / (runs - moves.sum())
        found[np.ix_(moves, moves)] = np.linalg.pinv(jacobian.T @ jacobian, rcond=1e-15) * variance
    return found


def deviance(at: local.Local, value, dof: int):
    """Twice the loss of log-likelihood at objective `value`, the noise scale profiled out.

    Residuals with density exp(-loss(r) / s), where the loss grows as |r|^h, give
    2 dof / h * log(value / minimum); h = 2 for squares, between 1 and 2 for Huber, measured as
    sum(psi r) / sum(loss) (Euler's theorem).
    """
    total = max(at.value, 1e-300)
    degree = float(np.clip(np.sum(at.curvature * at.residual**2) / total, 1.0, 2.0))
    return 2 * dof / degree * np.log(np.maximum(value, total) / total)


@functools.partial(jax.jit, static_argnames="law")
def _natural(law, theta, centres):
    """Coordinates of the natural values and their derivatives [P, P] by those of the fit [P]."""

    def twice(t):
        found = solve.natural(law, t, centres)
        return found, found

    slopes, values = jax.jacfwd(twice, has_aux=True)(theta)
    return values, slopes


class _Point(NamedTuple):
    """A value held, the root of the deviance there, and the coordinates [P] of the fit."""

    held: float
    rise: float
    theta: np.ndarray


@dataclass(frozen=True)
class _Side:
    """The way from an estimate to one end of its interval, in coordinates of natural values."""

    place: int  # of the parameter
    reach: np.ndarray  # distances at which it is looked for, first to last
    path: np.ndarray  # [P] how the coordinates of the fit move along, about
    inside: _Point
    outside: _Point | None = None  # until one is found

    def ahead(self, steps: slice) -> list[tuple[float, np.ndarray]]:
        """Values to hold and where to begin, from the estimate on."""
        return [
            (self.inside.held + way, self.inside.theta + self.path * way)
            for way in self.reach[steps]
        ]

    def crossing(self, limit: float) -> float:
        """Where the root of the deviance, nearly linear between two points, passes the limit."""
        (x, low, _), (y, high, _) = self.inside, self.outside
        return x + np.clip((limit - low) / max(high - low, 1e-300), 0.0, 1.0) * (y - x)

    def met(self, points: list[_Point], limit: float) -> "_Side":
        """Between the first of the points, ordered from the inside, that is past the limit and
        the one before."""
        path = [self.inside, *points, *([self.outside] if self.outside else [])]
        past = next((k for k, point in enumerate(path) if point.rise > limit), None)
        if past is None:
            return self
        return dataclasses.replace(self, inside=path[past - 1], outside=path[past])


def profile(
    problem: solve.Problem,
    weights: np.ndarray,
    theta: np.ndarray,
    at: local.Local,
    free: np.ndarray,
    level: float,
) -> dict[str, Ends]:
    """Profile-likelihood interval of every free parameter, in natural units.

    Each parameter is held at points on both sides of its estimate while all others are fitted
    again; the interval ends where the deviance passes the `level` quantile of F(1, dof). A side is
    None where that never happens before the parameter's bound.
    """
    parameters, which = problem.law.parameters, np.flatnonzero(free)
    with solve.double_precision():
        best, slopes = map(np.asarray, _natural(problem.law, theta, problem.centres))
    if np.sqrt(np.mean(at.residual**2)) < _NO_NOISE:
        return {parameters[i].name: (float(to_value(parameters[i], best[i])),) * 2 for i in which}
    moves = local.movable(problem, at, theta, free)
    dof = problem.runs - int(free.sum())
    limit = np.sqrt(special.fdtri(1, dof, level))
    spread = covariance(at, moves, problem.runs)
    start = [_Point(x, 0.0, theta) for x in best]
    sides = [s for i in which for s in _sides(problem, i, start[i], slopes[i], spread)]

    def look(sides: list[_Side], ahead: list[list[tuple[float, np.ndarray]]]) -> list[_Side]:
        values, starts = map(np.array, zip(*(pair for pairs in ahead for pair in pairs)))
        places = np.repeat([side.place for side in sides], [len(pairs) for pairs in ahead])
        held = solve.Held(places, values)
        found = solve.solve(problem, weights, starts, free, held=held)
        rises = np.sqrt(deviance(at, found.value, dof))
        points = map(_Point, values, rises, found.theta)
        return [s.met(list(itertools.islice(points, len(p))), limit) for s, p in zip(sides, ahead)]

    ends = []
    for steps in (slice(_NEAR), slice(_NEAR, None)):
        ahead = [side.ahead(steps) for side in sides]
        if any(ahead):  # a bound that is near leaves nothing beyond the first steps
            sides = look(sides, ahead)
        ends += [side for side in sides if side.outside]
        sides = [side for side in sides if not side.outside]
    for _ in range(_ROUNDS if ends else 0):
        ends = look(ends, [[(side.crossing(limit), side.inside.theta)] for side in ends])
    result = {parameters[i].name: [None, None] for i in which}
    for side in ends:
        parameter = parameters[side.place]
        end = float(to_value(parameter, side.crossing(limit)))
        result[parameter.name][int(side.reach[0] > 0)] = end
    return {name: tuple(pair) for name, pair in result.items()}


def _sides(problem: solve.Problem, place: int, at: _Point, along: np.ndarray, spread: np.ndarray):
    """Both ways from an estimate, where `along` [P] is how the fit's coordinates move its own."""
    low, high = (bound[place] for bound in solve.bounds(problem.law))
    variance = along @ spread @ along
    path = spread @ along / max(variance, 1e-300)
    # What no other parameter shifts has a range of its own.
    alone = np.abs(np.delete(along, place)).max(initial=0.0) < 1e-9
    for sign, edge in ((-1, at.theta[place] - low), (1, high - at.theta[place])):
        step = min(np.sqrt(variance), max(edge, 1e-3) / 2) if variance > 0 else 0.05
        reach = np.unique(np.minimum(_STEPS * step, edge if alone else np.inf))
        if (reach := reach[reach > 0]).size:
            yield _Side(place, sign * reach, path, at)
