"""From a back-test to a distribution: which law to trust, and how far.

The laws' log forecasts are averaged by weights

    w ~ odds / m^2,  m^2 = (PRIOR_RUNS m0^2 + runs miss^2) / (PRIOR_RUNS + runs)

with `miss` a law's mean back-test error and m0 the geometric mean of all laws': by the precision
that each has shown, which few runs show less well than many. The log loss of a run that was not
seen is taken as Student-t around that mean with scale s,

    s^2 = (NOISE noise)^2 + ((GROWTH g)^2 + STRUCTURE^2) d^2
          + (SPREAD spread)^2 + (BOOTSTRAP bootstrap)^2

    noise      robust standard deviation of the residuals of the dearer half of the runs (cheap ones
               scatter more), at least that of seeds and evaluation
    g          median error per decade that the same mixture made beyond the back-test's origins
    d          decades by which the run lies beyond those known (see scaling.fit.origins.beyond)
    spread     standard deviation of the laws' forecasts, by weight
    bootstrap  standard deviation of the forecast over resamples of the runs

The constants are the same for every table. They were chosen by the log score of forecasts of
held-out runs, leaving one source out at a time, on 130 cuts of 31 public tables of 13 sources, see
LOG.md; there the term in SPREAD could go, and is for tables unlike those. A skew of the interval,
the sign of the back-test's own misses and origins weighed by distance added nothing once a run
counted by its compute. DRIFT is half of what it came to there.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from scaling.fit.origins import Backtest, beyond

# What no back-test shows: a law that fits its runs perfectly still errs by this much a decade.
STRUCTURE = 0.009
NOISE, GROWTH, SPREAD, BOOTSTRAP = 1.2, 0.35, 0.2, 0.4
DRIFT = 0.002  # a decade, by which a loss comes out below the average of the laws
DEGREES = 4  # of freedom of Student's t: errors beyond the data have heavy tails
# Odds before the back-test, of a metric's laws alone (scaling.forecast.metric): those of a loss are
# even, two with a floor against two without.
ODDS = {"chinchilla": 0.25, "no_floor": 0.03, "two_plateaus": 4.0}
PRIOR_RUNS = 20.0  # what the belief that all laws err alike is worth
_NEAR = 0.2  # decades; the error of an origin nearer than this is not stretched to a whole decade


@dataclass(frozen=True)
class Calibration:
    """A mixture of laws and the size of its errors. `miss` is each law's mean back-test error.

    `structure` is what the best fit errs by in a decade, of which its runs say nothing.
    """

    backtest: Backtest
    weights: np.ndarray  # [L]
    miss: np.ndarray  # [L]
    noise: float
    growth: float  # per decade
    structure: float = STRUCTURE  # per decade

    def by_law(self, targets: pd.DataFrame) -> np.ndarray:
        """Log forecasts [L, T] of every law."""
        return np.stack([r.full.log(targets) for r in self.backtest.refits])

    def centre_and_variances(self, targets: pd.DataFrame) -> tuple[np.ndarray, ...]:
        """Centre [T] of the log loss at targets (N, D, C and what laws read), and the variances [T]
        between laws and over resamples."""
        each = self.by_law(targets)
        centre = self.weights @ each
        spread = self.weights @ (each - centre) ** 2
        draws = np.stack([r.draws.over(1).log(targets) for r in self.backtest.refits])
        # Robust: one resample in a hundred lands at an absurd optimum.
        low, high = np.nanquantile(draws, [0.16, 0.84], axis=1)
        return centre, spread, self.weights @ ((high - low) / 2) ** 2

    def centre_and_scale(self, targets: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Centre [T] and scale [T] of the log loss at targets."""
        centre, spread, bootstrap = self.centre_and_variances(targets)
        decades = beyond(targets, self.backtest.runs)
        return centre, scale(self.noise, self.growth, decades, bootstrap, spread, self.structure)


def scale(
    noise: float,
    growth: float,
    decades: float | np.ndarray,
    bootstrap: float | np.ndarray,
    spread: float | np.ndarray = 0.0,
    structure: float = STRUCTURE,
) -> np.ndarray:
    """Scale s [T] of the log loss; `bootstrap` and `spread` [T] are variances."""
    distance = ((GROWTH * growth) ** 2 + structure**2) * np.square(decades)
    fit = SPREAD**2 * spread + BOOTSTRAP**2 * bootstrap
    return np.sqrt((NOISE * noise) ** 2 + distance + fit)


def interval(centre: np.ndarray, scale: np.ndarray, level: float) -> np.ndarray:
    """Central interval [T, 2] of the loss."""
    reach = special.stdtrit(DEGREES, (1 + level) / 2) * scale
    return np.exp(np.stack([centre - reach, centre + reach], axis=1))


def calibrate(
    found: Backtest, least_noise: float = 0.0, structure: float = STRUCTURE
) -> Calibration:
    """Weighs the laws of a back-test and sizes the errors of their mixture.

    `least_noise` is the relative noise of a loss known otherwise (seeds, evaluation); for
    `structure` see `Calibration`.
    """
    miss = found.misses().mean(axis=1)
    runs = found.runs
    odds = np.array([ODDS.get(name, 1.0) for name in found.laws])
    square = np.maximum(miss, 1e-6) ** 2
    alike = np.exp(odds @ np.log(square) / odds.sum())
    weights = odds * (PRIOR_RUNS + len(runs)) / (PRIOR_RUNS * alike + len(runs) * square)
    weights /= weights.sum()
    spare = max(len(runs) - weights @ [r.full.theta.size for r in found.refits], 1.0)
    dear = np.argsort(runs["C"].to_numpy(), kind="stable")[len(runs) // 2 :]
    residual = np.abs(weights @ found.residual)[dear]
    noise = float(np.quantile(residual, 0.683) * np.sqrt(len(runs) / spare))
    noise = max(noise, least_noise)
    beyond_origins = [_one_sigma(weights, error) for error in np.moveaxis(found.error, 1, 0)]
    extra = np.sqrt(np.maximum(np.square(beyond_origins) - noise**2, 0))
    growth = float(np.median(extra / np.maximum(found.distances(), _NEAR)))
    return Calibration(found, weights, miss, noise, growth, structure)


def _one_sigma(weights: np.ndarray, error: np.ndarray) -> float:
    """68.3% quantile of the mixture's |error| [L, R]; laws without a forecast there drop out."""
    able = np.isfinite(error).any(axis=1)
    share = weights * able / max((weights * able).sum(), 1e-300)
    mixed = share[able] @ error[able]
    return float(np.quantile(np.abs(mixed[np.isfinite(mixed)]), 0.683))
