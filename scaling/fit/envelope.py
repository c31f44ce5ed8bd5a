"""Approach 1 (Hoffmann et al. 2022, section 3.1): the best size on the envelope of training curves.

At every compute the curves of all sizes are read off, each linear in log loss over log C between
its points; the size with the least loss is N*, and power laws go through these. It needs several D
for every size; and where these are points along one training whose learning rate had not decayed
yet, their losses are too high and N* comes out too small.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.runs.table import fit_rows, validate
from train.cli import InputError

MIN_POINTS = 3  # of a curve
MIN_CURVES = 4
_COMPUTES = 300
_SAME_SIZE = 1e-6


@dataclass(frozen=True)
class EnvelopeFit:
    """N* = exp(height + exponent log(C / C0)).

    Attributes:
      draws: [K, 2] exponent and height over resamples of whole curves.
      flops_per_nd: C / (N D) of the runs. computes: [M] where N* was read, with `sizes` [M].
    """

    exponent: float
    height: float
    C0: float
    draws: np.ndarray
    flops_per_nd: float
    computes: np.ndarray
    sizes: np.ndarray

    def optimum(self, C: float, level: float = 0.9) -> dict:
        """N*, D* at C and their intervals at `level`."""
        away = np.log(C / self.C0)
        N = float(np.exp(self.height + self.exponent * away))
        tail = (1 - level) / 2
        lines = self.draws[:, 1] + self.draws[:, 0] * away
        low, high = np.exp(np.quantile(lines, [tail, 1 - tail])) if len(lines) else (np.nan, np.nan)
        D = C / self.flops_per_nd
        intervals = {"N": (float(low), float(high)), "D": (D / float(high), D / float(low))}
        return {"N": N, "D": D / N, "intervals": intervals}


def envelope(runs: pd.DataFrame, bootstrap: int = 300, seed: int = 0) -> EnvelopeFit:
    """Fits approach 1 to the runs that are not held out.

    Raises:
      InputError: fewer than `MIN_CURVES` sizes have `MIN_POINTS` runs of different D each, or no
        size but the smallest and the largest is ever the best.
    """
    table = fit_rows(validate(runs)).sort_values(["N", "C"])
    sizes = np.log(table["N"].to_numpy())
    groups = np.split(np.arange(len(table)), np.flatnonzero(np.diff(sizes) > _SAME_SIZE) + 1)
    log_C, log_loss = np.log(table["C"].to_numpy()), np.log(table["loss"].to_numpy())
    curves = [rows for rows in groups if len(np.unique(log_C[rows])) >= MIN_POINTS]
    if len(curves) < MIN_CURVES:
        raise InputError(
            f"--runs: {len(curves)} sizes were trained on {MIN_POINTS} or more amounts of data; "
            f"approach 1 needs {MIN_CURVES}"
        )
    grid = np.linspace(log_C.min(), log_C.max(), _COMPUTES)
    at = np.stack(
        [np.interp(grid, log_C[r], log_loss[r], left=np.nan, right=np.nan) for r in curves]
    )
    size = np.array([sizes[rows[0]] for rows in curves])
    found = _winners(grid, at, size)
    if found is None:
        raise InputError(
            "--runs: at no compute is a size between the smallest and the largest the best; "
            "approach 1 needs curves that cross"
        )
    C0 = float(np.exp(found[0].mean()))
    rng, draws = np.random.default_rng([seed, 8]), []
    for _ in range(bootstrap):
        pick = np.unique(rng.integers(len(curves), size=len(curves)))
        drawn = _winners(grid, at[pick], size[pick])
        if drawn is not None:
            draws.append(np.polyfit(drawn[0] - np.log(C0), drawn[1], 1))
    exponent, height = np.polyfit(found[0] - np.log(C0), found[1], 1)
    ratio = float(np.exp(np.mean(np.log(table["C"] / table["N"] / table["D"]))))
    return EnvelopeFit(
        float(exponent),
        float(height),
        C0,
        np.array(draws).reshape(-1, 2),
        ratio,
        np.exp(found[0]),
        np.exp(found[1]),
    )


def _winners(grid: np.ndarray, at: np.ndarray, size: np.ndarray):
    """log C and log N* where a size won over a smaller and a larger one; None if hardly ever."""
    there = np.isfinite(at)
    covered = np.flatnonzero(there.sum(axis=0) >= MIN_POINTS)
    best = np.nanargmin(at[:, covered], axis=0)
    smaller = np.array([there[:b, c].any() for b, c in zip(best, covered)], bool)
    larger = np.array([there[b + 1 :, c].any() for b, c in zip(best, covered)], bool)
    kept = smaller & larger
    if len(np.unique(best[kept])) < 2:
        return None
    return grid[covered[kept]], size[best[kept]]
