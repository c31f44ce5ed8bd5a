"""The objective around a point: its slope, what may move there, the last steps to a minimum."""

from dataclasses import dataclass

import numpy as np

from scaling.fit import solve

_DIFFERENCE = 1e-6


@dataclass(frozen=True)
class Local:
    """The objective around one point: value, gradient [P], and the reweighted least-squares
    problem: residuals [runs], Jacobian [runs, P], curvature weights [runs]."""

    value: float
    gradient: np.ndarray
    residual: np.ndarray
    jacobian: np.ndarray
    curvature: np.ndarray


def evaluate(problem: solve.Problem, weights: np.ndarray, theta: np.ndarray) -> list[Local]:
    """Evaluates the objective and its gradient at points [K, P]."""
    r, jacobian = solve.residuals(problem, theta)
    with solve.double_precision():
        value = np.asarray(problem.objective.loss(r)) @ weights
        curvature = weights * np.asarray(problem.objective.curvature(r))
    value = np.where(np.isfinite(value), value, np.inf)
    gradient = np.einsum("knp,kn->kp", jacobian, curvature * r)
    return [
        Local(float(value[k]), gradient[k], r[k], jacobian[k], curvature[k]) for k in range(len(r))
    ]


def movable(problem: solve.Problem, at: Local, theta: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Which parameters [P] are free and not held by a bound that the objective pushes against."""
    low, high = solve.bounds(problem.law)
    return free & ~((theta <= low) & (at.gradient > 0)) & ~((theta >= high) & (at.gradient < 0))


def polish(
    problem: solve.Problem, weights: np.ndarray, theta: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, Local]:
    """Damped Newton from the end of `solve`: reweighting creeps where most residuals are large.

    The Hessian is differences of exact gradients, so only its rate depends on their step.
    """
    low, high = solve.bounds(problem.law)
    size, damping = len(theta), 1e-6
    near = _DIFFERENCE * np.concatenate([np.zeros((1, size)), np.eye(size), -np.eye(size)])
    here, *around = evaluate(problem, weights, theta + near)
    for _ in range(40):
        moves = np.flatnonzero(movable(problem, here, theta, free))
        if not len(moves) or np.abs(here.gradient[moves]).max() <= 1e-15 or damping > 1e8:
            break
        change = [a.gradient - b.gradient for a, b in zip(around[:size], around[size:])]
        hessian = np.array(change) / (2 * _DIFFERENCE)
        squares = np.sum(here.curvature[:, None] * here.jacobian**2, axis=0)
        matrix = (hessian + hessian.T)[np.ix_(moves, moves)] / 2
        matrix = matrix + damping * np.diag(squares[moves] + 1e-300)
        if not np.all(np.isfinite(matrix)):
            break
        step = np.linalg.lstsq(matrix, -here.gradient[moves], rcond=None)[0]
        trial = theta.copy()
        trial[moves] = np.clip(theta[moves] + step, low[moves], high[moves])
        there, *beyond = evaluate(problem, weights, trial + near)
        if there.value < here.value:
            theta, here, around, damping = trial, there, beyond, damping * 0.1
        else:
            damping = max(damping, 1e-12) * 10
    return theta, here
