"""Which objective the noise of the runs asks for.

An estimate of a law scatters in proportion to V = E[psi^2] / E[psi']^2 over the residuals, psi
being the derivative of the loss (Huber 1964): small for squares where noise is Gaussian, and for a
Huber loss where there are outliers. V is taken from the residuals of a robust fit.
"""

import numpy as np

from scaling.fit.solve import Objective

_GAIN = 0.9  # V of a Huber loss must be this much less: the least of several is so by luck
_DELTAS = (0.5, 0.7, 1.0, 1.345, 2.0)  # Huber's, in robust standard deviations


def objective_for(residuals: np.ndarray) -> Objective:
    """The objective with the least V for residuals [n] of a robust fit; squares where in doubt."""
    r = residuals - np.median(residuals)
    scale = float(np.quantile(np.abs(r), 0.683))
    if not scale > 0:
        return Objective()
    squares, found = float(np.mean(r**2)), {}
    for factor in _DELTAS:
        delta = factor * scale
        inside = np.mean(np.abs(r) <= delta)
        variance = np.mean(np.clip(r, -delta, delta) ** 2) / max(inside, 1e-12) ** 2
        found[Objective(delta=delta)] = float(variance)
    best = min(found, key=found.__getitem__)
    return best if found[best] < _GAIN * squares else Objective("mse_log")
