"""Runs that no law explains and that a reason exists for: found, left out, and said.

A run with fewer examples than parameters, or with a handful of steps, may not have left its start,
and a law bends to reach it: the others then lie off. Such runs are left out where that mends the
law, and only then: in most tables laws hold for them.
"""

from typing import TYPE_CHECKING

import numpy as np

from scaling.fit import origins

if TYPE_CHECKING:
    import pandas as pd

MENDS = 2.5  # by this factor the others must come nearer to their law without them
MOST = 0.4  # of the runs: more are no exception
_LEAST = origins.FEWEST_RUNS + 6  # runs that must be left
_FEW_PER_PARAMETER = 1.0
_FAR_BELOW = {"D/N": 3.0, "steps": 10.0}  # the median of the runs, by this factor
_ADVICE = {
    "D/N": "train such sizes on more data, or leave those sizes away",
    "steps": "train such runs for more steps, with smaller batches",
}


def left_out(runs: "pd.DataFrame", seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Which runs [R] stay, and what was left out, in sentences.

    Args:
      runs: N, D, C and loss, and steps where they are known.
      seed: of the fits' random starts.
    """
    stay, said = np.ones(len(runs), bool), []
    for what, value in _reasons(runs).items():
        bound = np.median(value) / _FAR_BELOW[what]
        bound = min(bound, _FEW_PER_PARAMETER) if what == "D/N" else bound
        kept = stay & (value >= bound)
        gone = int((stay & ~kept).sum())
        law = next((n for n in ("coupled", "tied") if not origins.too_few(n, runs, kept)), None)
        if not gone or gone > MOST * len(runs) or kept.sum() < _LEAST or law is None:
            continue
        with_them, without = (_stray(law, runs, by, kept, seed) for by in (stay, kept))
        if with_them < MENDS * without:
            continue
        said.append(
            f"left out: {gone} of {len(runs)} runs have {what} below {bound:.2g}, far below the "
            f"rest: with them the others lie {with_them:.2%} off their law, without them "
            f"{without:.2%}; {_ADVICE[what]}"
        )
        stay = kept
    return stay, said


def _stray(law: str, runs: "pd.DataFrame", fitted: np.ndarray, of: np.ndarray, seed: int) -> float:
    """One sigma of the residuals of some runs by a law fitted to others, outliers aside."""
    return float(np.quantile(np.abs(origins.residuals(law, runs, fitted, seed)[of]), 0.683))


def _reasons(runs: "pd.DataFrame") -> dict[str, np.ndarray]:
    found = {"D/N": (runs["D"] / runs["N"]).to_numpy(np.float64)}
    if "steps" in runs.columns:
        steps = np.asarray(runs["steps"], np.float64)
        if np.isfinite(steps).all():
            found["steps"] = steps
    return found
