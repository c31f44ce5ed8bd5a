"""The constants of a forecast's intervals, refitted leaving out one source of tables at a time.

    python -m benchmarks.calibration --runs='tables/*.csv'

Each table is forecast as it is split and from two cuts by compute. What its back-test says (noise,
growth, spread, resamples, distance) stays fixed; the constants of scaling.forecast.calibration are
fitted to the log score of the outcomes of all sources but one, each source counting the same, and
scored on that one. A source is a column `source`, or the table's name up to an underscore.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from train.cli import InputError, define_path, run_main

if TYPE_CHECKING:
    import pandas as pd

_SHARES = (0.45, 0.65)  # of the runs, by compute, that a cut knows
_LEAST = 12  # runs that it must know
NAMES = ("NOISE", "GROWTH", "STRUCTURE", "SPREAD", "BOOTSTRAP", "DRIFT")


@dataclass(frozen=True)
class Outcomes:
    """T held-out runs of one table: log loss - centre, decades, and the variances of `scale`."""

    source: str
    error: np.ndarray
    decades: np.ndarray
    noise: float
    growth: float
    spread: np.ndarray
    bootstrap: np.ndarray


def outcomes(source: str, known: "pd.DataFrame", held: "pd.DataFrame") -> Outcomes:
    """What a forecast of the held-out runs is made of. Raises InputError as the forecast does."""
    from scaling.fit import origins
    from scaling.forecast import calibration, illtrained

    known = known[illtrained.left_out(known)[0]]
    judged = calibration.calibrate(origins.backtest(known))
    centre, spread, bootstrap = judged.centre_and_variances(held)
    return Outcomes(
        source,
        np.log(held["loss"].to_numpy()) - centre,
        origins.beyond(held, known),
        judged.noise,
        judged.growth,
        spread,
        bootstrap,
    )


def standard(of: Outcomes, constants: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Standardised errors [T] and scales [T]."""
    noise, growth, structure, spread, bootstrap, drift = constants
    far = ((growth * of.growth) ** 2 + structure**2) * of.decades**2
    fit = spread**2 * of.spread + bootstrap**2 * of.bootstrap
    scale = np.sqrt((noise * of.noise) ** 2 + far + fit + 1e-7)
    return (of.error + drift * of.decades) / scale, scale


def score(tables: Sequence[Outcomes], constants: Sequence[float]) -> float:
    """Mean log score: over the runs of a table, the tables of a source, the sources."""
    from scipy import stats

    from scaling.forecast.calibration import DEGREES

    by_source: dict[str, list[float]] = {}
    for of in tables:
        z, scale = standard(of, constants)
        each = stats.t.logpdf(z, DEGREES) - np.log(scale)
        by_source.setdefault(of.source, []).append(float(each.mean()))
    return float(np.mean([np.mean(each) for each in by_source.values()]))


def fitted(tables: Sequence[Outcomes], start: Sequence[float]) -> np.ndarray:
    """The constants with the best score; all but the drift are positive."""
    from scipy import optimize

    def loss(x: np.ndarray) -> float:
        return -score(tables, [*np.abs(x[:-1]), x[-1]])

    found = optimize.minimize(loss, start, method="Nelder-Mead", options={"maxfev": 600}).x
    return np.array([*np.abs(found[:-1]), found[-1]])


def cover(tables: Sequence[Outcomes], constants: Sequence[float], level: float) -> float:
    """Share of the runs inside their interval, each table counting the same."""
    from scipy import stats

    from scaling.forecast.calibration import DEGREES

    reach = stats.t.ppf((1 + level) / 2, DEGREES)
    return float(np.mean([np.mean(np.abs(standard(of, constants)[0]) <= reach) for of in tables]))


def cuts(path: str) -> list[Outcomes]:
    """A table's own split and cuts of all its runs by compute; those that are refused left out."""
    from scaling.runs.table import fit_rows, heldout_rows, read_runs

    runs = read_runs(path)
    source = runs["source"].iloc[0] if "source" in runs else Path(path).stem.split("_")[0]
    pairs = [(fit_rows(runs), heldout_rows(runs))] if "split" in runs else []
    for bound in runs["C"].quantile(_SHARES) * 1.01:
        pairs.append((runs[runs["C"] <= bound], runs[runs["C"] > bound]))
    found = []
    for known, held in pairs:
        if len(known) >= _LEAST and len(held):
            try:
                found.append(outcomes(str(source), known, held))
            except InputError as error:
                print(f"{path}: {error}")
    return found


def main() -> None:
    """Prints the constants without each source and how they do on it."""
    from scaling.console.printed import console, show, table
    from scaling.forecast import calibration
    from scaling.runs.table import matching

    tables = [each for path in matching(flags.FLAGS.runs or "") for each in cuts(path)]
    sources = sorted({of.source for of in tables})
    if len(sources) < 2:
        raise InputError(f"--runs: tables of {len(sources)} sources; two or more are needed")
    now = [getattr(calibration, name) for name in NAMES]
    shown = table("", "left out", "cuts", *NAMES, "log score", "now", "50%", "90%")
    rows = []
    for source in [*sources, ""]:
        left = [of for of in tables if of.source == source] or tables
        constants = fitted([of for of in tables if of.source != source], now)
        rows.append(
            [score(left, constants), score(left, now)]
            + [cover(left, constants, level) for level in (0.5, 0.9)]
        )
        texts = [f"{value:.3g}" for value in constants]
        scores = [f"{rows[-1][0]:.2f}", f"{rows[-1][1]:.2f}", *(f"{x:.0%}" for x in rows[-1][2:])]
        shown.add_row(source or "none", str(len(left)), *texts, *scores)
    show(console(), shown)
    mean = np.mean(rows[:-1], axis=0)
    print(
        f"left out, mean over {len(sources)} sources: log score {mean[0]:.3f} (now {mean[1]:.3f}), "
        f"covered {mean[2]:.0%} of 50% and {mean[3]:.0%} of 90% intervals"
    )


if __name__ == "__main__":
    define_path("runs", None, "CSV of runs, or a pattern for many.")
    run_main(main)
