"""Which objective the noise of the runs asks for.

An estimate of a law scatters in proportion to V = E[psi^2] / E[psi']^2 over the residuals, psi
being the derivative of the loss (Huber 1964): small for squares where noise is Gaussian, and for a
Huber loss where there are outliers. V is taken from the residuals of a robust fit.
"""

from collections.abc import Callable

import numpy as np

from scaling.fit.solve import Objective

# Huber's, in robust standard deviations; an infinite one is squares.
_DELTAS = np.array([np.inf, 0.5, 0.7, 1.0, 1.345, 2.0])
_GAIN = 0.9  # V of an objective that is clearly better is this much less
_DRAWS, _SURE = 100, 0.9  # of residuals, and in how many of them it is to be less at all


def objective_for(residuals: np.ndarray, free: int) -> Objective:
    """The objective with the least V for residuals [n] of a robust fit; squares where in doubt.

    Such a fit goes through about as many runs as it has `free` parameters, whatever the noise: so
    many of the smallest residuals say nothing, and left in they look like a sharp peak.
    """
    r = _telling(residuals, free)
    if not _scale(r) > 0:
        return Objective()
    # Of five deltas the luckiest nearly always beats squares: it has to in what is drawn anew, too.
    best = int(np.argmin(_variances(r, _DELTAS * _scale(r))[1:])) + 1
    if _clearly(r, lambda drawn: _variances(drawn, _DELTAS[[0, best]] * _scale(drawn))):
        return Objective(delta=float(_DELTAS[best] * _scale(r)))
    return Objective("mse_log")


def better(residuals: np.ndarray, free: int, used: Objective) -> Objective | None:
    """The objective of `objective_for`, where it is clearly better than the one used; else None.

    As sure as that one is. Of a Huber loss that turns linear among the very smallest residuals V
    cannot be read off: the smallest delta that is tried stands for it, which flatters it where the
    noise is Gaussian.
    """
    r = _telling(residuals, free)
    if used.name not in ("huber_log", "mse_log") or not _scale(r) > 0:
        return None
    chosen = objective_for(residuals, free)
    deltas = np.array([o.delta if o.name == "huber_log" else np.inf for o in (used, chosen)])
    deltas[0] = max(deltas[0], _DELTAS[1] * _scale(r))
    return chosen if _clearly(r, lambda drawn: _variances(drawn, deltas)) else None


def _telling(residuals: np.ndarray, free: int) -> np.ndarray:
    return residuals[np.argsort(np.abs(residuals))][free:]


def _clearly(r: np.ndarray, pair: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Whether the second of a pair of V [2] is less, by the gain and in what is drawn anew."""
    rng, found = np.random.default_rng(0), pair(r)
    drawn = (pair(rng.choice(r, len(r))) for _ in range(_DRAWS))
    return found[1] < _GAIN * found[0] and bool(np.mean([v[1] < v[0] for v in drawn]) >= _SURE)


def _scale(r: np.ndarray) -> float:
    """A robust standard deviation; 0 of nothing."""
    return float(np.quantile(np.abs(r - np.median(r)), 0.683)) if len(r) else 0.0


def _variances(r: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """V of the Huber loss of each delta; of squares where it is infinite."""
    r, deltas = r - np.median(r), deltas[:, None]
    inside = np.mean(np.abs(r) <= deltas, axis=1)
    clipped = np.mean(np.clip(r, -deltas, deltas) ** 2, axis=1)
    return clipped / np.maximum(inside, 1e-12) ** 2
