"""Repeated data: what runs that pass more than once over their examples have seen, in new ones.

A further pass teaches less than the one before it (Muennighoff et al. 2023, arXiv:2305.16264,
section 3): U examples seen D / U times are worth U (1 + R (1 - exp(-(D / U - 1) / R))) new ones.
The law data_constrained has that in it; laws of N and D can be used on what D is worth.
"""

from typing import TYPE_CHECKING

import numpy as np

from scaling.fit import optimum, origins
from scaling.fit.fitting import fit
from train.cli import InputError

if TYPE_CHECKING:
    import pandas as pd

FEW = 1.01  # passes: less is as good as new
_MANY = 2.0  # passes that some runs must make for R to be looked for in them
_WIDE = 10.0  # R is not measured where its profile's ends differ by more than this factor


def unique(runs: "pd.DataFrame") -> np.ndarray:
    """Unique examples of each run: column U, or D / epochs; D where the table does not say."""
    D = runs["D"].to_numpy(np.float64)
    if "U" in runs.columns:
        found = runs["U"].to_numpy(np.float64)
    elif "epochs" in runs.columns:
        found = D / runs["epochs"].to_numpy(np.float64, na_value=np.nan)
    else:
        return D
    # A run that has not seen all of its data has seen what it saw.
    return np.where(found > 0, np.minimum(found, D), D)


def passes(runs: "pd.DataFrame") -> np.ndarray:
    """Passes over the data, at least 1."""
    return runs["D"].to_numpy(np.float64) / unique(runs)


def worth(runs: "pd.DataFrame", half_life: float) -> np.ndarray:
    """What each run's D is worth in new examples; D itself where nothing repeats."""
    again = passes(runs) - 1
    return unique(runs) * (1 + half_life * -np.expm1(-again / half_life))


def half_life(runs: "pd.DataFrame") -> float | None:
    """R by a fit of the law data_constrained; None where these runs do not identify it."""
    if passes(runs).max() <= _MANY:
        return None
    try:
        made = fit(runs.assign(U=unique(runs)), "data_constrained", bootstrap=0)
    except InputError:  # too few runs
        return None
    low, high = made.diagnostics.profiles.get("RD", (None, None))
    measured = None not in (low, high) and high < _WIDE * low
    return float(made.params["RD"]) if measured else None


def counted(
    known: "pd.DataFrame", targets: "pd.DataFrame", laws: tuple[str, ...] = origins.CANDIDATES
) -> tuple[tuple[str, ...], "pd.DataFrame", "pd.DataFrame", tuple[str, ...]]:
    """The laws to back-test, both tables as these read them, and in words how repeats count.

    `laws` are those of runs that do not tell what repeats are worth.
    """
    most = [float(passes(table).max()) for table in (known, targets)]
    if max(most) <= FEW:
        return laws, known, targets, ()
    told = f"repeated data: runs pass up to {most[0]:.2f} times over theirs, targets {most[1]:.2f}"
    R = half_life(known)
    if R is not None:
        known, targets = (each.assign(U=unique(each)) for each in (known, targets))
        told += f"; these runs tell what that is worth (R = {R:.3g}): law data_constrained"
        return ("data_constrained",), known, targets, (told,)
    R = optimum.REPEATS["RD"]
    known, targets = (each.assign(D=worth(each, R)) for each in (known, targets))
    told += f"; D counts as what it is worth in new data by Muennighoff et al. 2023 (R = {R:.3g})"
    return laws, known, targets, (told,)


def note(runs: "pd.DataFrame") -> list[str]:
    """In words, where runs repeat and a law of N and D takes all their D as new."""
    again = passes(runs) > FEW
    if not again.any():
        return []
    return [
        f"epochs: {int(again.sum())} of the {len(runs)} runs pass more than once over their data, "
        f"up to {passes(runs).max():.2f} times; this law takes all of it as new, "
        "data_constrained does not"
    ]
