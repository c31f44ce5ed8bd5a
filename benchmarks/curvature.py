"""How much a wrong size costs at a fixed budget: how flat the IsoFLOP curves of families are.

    python -m benchmarks.curvature [--families=wavenet,ctc]

Of each family's study two answers, with 90% intervals. By its runs: the curvature c of
ln L = a + c (ln N - ln N*)^2, a parabola through the runs of each budget, and Student's t over
budgets. By its law, at the budget in the middle: how much more loss a model has that is four times
too large or too small, over the draws of the fit. A curvature of 0 is a flat curve.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from absl import flags
from scipy import stats

from scaling.fit import fitted
from scaling.fit.fitted import Fit
from scaling.runs.table import fit_rows, read_runs
from train.cli import InputError, run_main

FOLDER = Path("benchmarks/results/families")
OFF = 4.0
SIZES = 400  # at which a law is looked at, over SPAN each way
SPAN = 100.0
BUDGET = 1.03  # runs whose compute differs by less have one budget


def main() -> int:
    """Prints a line for each family."""
    names = flags.FLAGS.families or sorted(path.parent.name for path in FOLDER.glob("*/law.json"))
    for name in names:
        place = FOLDER / name
        if not (place / "law.json").exists():
            raise InputError(f"--families: {name}; {place}/law.json is not there")
        fit = fitted.load(str(place / "law.json"))
        runs = fit_rows(read_runs(str(place / "runs.csv"), split="role"))
        low, middle, high = curvature(runs)
        large, small = (interval(x) for x in costs(fit, float(np.exp(np.log(runs["C"]).mean()))))
        print(f"{name}: c {middle:.4f} ({low:.4f} to {high:.4f}); {large} too large, {small} small")
    return 0


def curvature(runs: pd.DataFrame) -> tuple[float, float, float]:
    """The lower end, the mean and the upper end of the curvature; NaN where there is no error."""
    runs = runs.sort_values("C")
    budgets = (np.log(runs["C"]).diff() > np.log(BUDGET)).cumsum()
    found = []
    for _, rows in runs.groupby(budgets):
        if rows["N"].nunique() >= 3:
            found.append(np.polyfit(np.log(rows["N"]), np.log(rows["loss"]), 2)[0])
    mean, n = float(np.mean(found)), len(found)
    if n < 2:
        return np.nan, mean, np.nan
    half = stats.t.ppf(0.95, n - 1) * np.std(found, ddof=1) / n**0.5
    return mean - half, mean, mean + half


def costs(fit: Fit, C: float) -> tuple[np.ndarray, np.ndarray]:
    """How much more loss a model has at compute C that is OFF times too large, and too small;
    relative, of the estimate and then of each draw."""
    centre = np.sqrt(C / fit.flops_per_nd)
    N = centre * np.geomspace(1 / SPAN, SPAN, SIZES)
    D = C / fit.flops_per_nd / N
    loss = np.vstack([fit.predict(N, D)[None], fit.predict_draws(N, D)])
    log = np.log(loss)
    best, steps = log.argmin(axis=1), round(np.log(OFF) / np.log(N[1] / N[0]))
    rows = np.arange(len(log))
    ends = np.clip(best + steps, 0, SIZES - 1), np.clip(best - steps, 0, SIZES - 1)
    return tuple(np.exp(log[rows, end] - log[rows, best]) - 1 for end in ends)


def interval(cost: np.ndarray) -> str:
    """An estimate and the middle 90% of its draws, in percent."""
    low, high = np.quantile(cost[1:], [0.05, 0.95])
    return f"{cost[0]:.1%} ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    flags.DEFINE_list("families", [], "Names of folders; all that have a law.")
    run_main(main)
