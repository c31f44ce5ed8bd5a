"""Which objective the noise of the runs asks for.

An estimate of a law scatters in proportion to V = E[psi^2] / E[psi']^2 over the residuals, psi
being the derivative of the loss (Huber 1964): small for squares where noise is Gaussian, and for a
Huber loss where there are outliers. V is taken from the residuals of a robust fit.
"""

import numpy as np

from scaling.fit.solve import Objective

_DELTAS = np.array([0.5, 0.7, 1.0, 1.345, 2.0])  # Huber's, in robust standard deviations
_GAIN = 0.9  # V of a Huber loss must be this much less than that of squares
_DRAWS, _SURE = 100, 0.9  # of residuals, and in how many of them it is to be less at all


def objective_for(residuals: np.ndarray, free: int) -> Objective:
    """The objective with the least V for residuals [n] of a robust fit; squares where in doubt.

    Such a fit goes through about as many runs as it has `free` parameters, whatever the noise: so
    many of the smallest residuals say nothing, and left in they look like a sharp peak.
    """
    r = residuals[np.argsort(np.abs(residuals))][free:]
    if not _scale(r) > 0:
        return Objective()
    # Of five deltas the luckiest nearly always beats squares: it has to in what is drawn anew, too.
    found = _variances(r)
    best = int(np.argmin(found[1:])) + 1
    rng = np.random.default_rng(0)
    drawn = (_variances(rng.choice(r, len(r))) for _ in range(_DRAWS))
    if found[best] < _GAIN * found[0] and np.mean([v[best] < v[0] for v in drawn]) >= _SURE:
        return Objective(delta=float(_DELTAS[best - 1] * _scale(r)))
    return Objective("mse_log")


def _scale(r: np.ndarray) -> float:
    """A robust standard deviation."""
    return float(np.quantile(np.abs(r - np.median(r)), 0.683))


def _variances(r: np.ndarray) -> np.ndarray:
    """V [1 + deltas] of squares and of each Huber loss."""
    r, deltas = r - np.median(r), _DELTAS[:, None] * _scale(r)
    inside = np.mean(np.abs(r) <= deltas, axis=1)
    clipped = np.mean(np.clip(r, -deltas, deltas) ** 2, axis=1)
    return np.array([np.mean(r**2), *(clipped / np.maximum(inside, 1e-12) ** 2)])
