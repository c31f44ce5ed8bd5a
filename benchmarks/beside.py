"""Two families side by side: what compute buys in each, and where in a text each gains.

    python -m benchmarks.beside --tables=A/runs.csv,B/runs.csv [--runs=RUN_A,RUN_B] --out=beside.png

Of the tables, as studies write them, a Chinchilla law each; beside them how many times the compute
of the first the second takes for the loss that the first has at its best size, with the interval
over pairs of bootstrap draws. Of runs of language models, which lie in folders, the loss at every
place of their rows (Kaplan et al. 2020, figure 7), and the place from which on a model gains
nothing more: rows are cut into stretches, each as long as all before it, and the last one counts
over which the mean loss falls by more than twice its standard error. All is printed, and drawn to
one sheet.
"""

import itertools
from pathlib import Path

import numpy as np
from absl import flags

from scaling.fit.fitted import Fit
from scaling.fit.fitting import fit
from scaling.fit.optimum import best, surface
from scaling.report.drawing import BLUE, VERMILION, Axis, Figure, Series
from scaling.report.drawing_files import to_sheet
from scaling.report.marks import COMPUTE
from scaling.runs.numbers import number, scientific
from scaling.runs.table import fit_rows, read_runs
from train.cli import InputError, define_path, run_main
from train.examine import again

POINTS, REACH = 5, 1e3  # budgets; the other's compute is looked for within so many times
COLOURS = (BLUE, VERMILION)


def multiplier(a: Fit, b: Fit, budgets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute of `b` over that of `a` at equal loss, each at its best size: [n], interval [n, 2].

    NaN where `b` has no such loss within `REACH`.
    """
    point = _ratios(a, b, budgets, draws=False)[:, 0]
    drawn = _ratios(a, b, budgets, draws=True)
    ends = [a.interval(x[np.isfinite(x)]) if np.isfinite(x).any() else (np.nan,) * 2 for x in drawn]
    return point, np.array(ends)


def _ratios(a: Fit, b: Fit, budgets: np.ndarray, draws: bool) -> np.ndarray:
    """[n, K], of each pair of draws."""
    grid = np.geomspace(budgets.min() / REACH, budgets.max() * REACH, 97)
    there = np.stack([best(surface(b, draws), C).loss for C in grid])
    found = []
    for C in budgets:
        wanted = best(surface(a, draws), C).loss
        pairs = zip(wanted, there.T)
        found.append([_at(loss, curve, grid) / C for loss, curve in pairs])
    return np.array(found)


def _at(loss: float, curve: np.ndarray, grid: np.ndarray) -> float:
    """The compute at which a falling curve over the grid has a loss."""
    known = np.isfinite(curve)
    order = -curve[known]
    if not (np.isfinite(loss) and known.sum() > 1 and order[0] <= -loss <= order[-1]):
        return np.nan
    return float(np.exp(np.interp(-loss, order, np.log(grid[known]))))


def positions(nats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss and its standard error at each place, of [n, L]."""
    return nats.mean(axis=0), nats.std(axis=0, ddof=1) / len(nats) ** 0.5


def stretches(nats: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Where each stretch of [n, L] ends, and its mean loss in each row, [n]."""
    L = nats.shape[1]
    edges = [0, *(2**i for i in range(L.bit_length()) if 2**i < L), L]
    return [(high, nats[:, low:high].mean(axis=1)) for low, high in itertools.pairwise(edges)]


def gains_until(nats: np.ndarray) -> int:
    """The end of the last stretch of [n, L] whose loss is lower than that of the one before, in the
    same rows."""
    last = 1
    for (_, before), (end, after) in itertools.pairwise(stretches(nats)):
        fall = before - after
        if fall.mean() > 2 * fall.std(ddof=1) / len(fall) ** 0.5:
            last = end
    return last


def laws(tables: list[str]) -> Figure:
    """The figure of both laws; prints the multiplier."""
    runs = [fit_rows(read_runs(path, split="role")) for path in tables]
    fits = [fit(table) for table in runs]
    names, series = [Path(path).parent.name for path in tables], []
    low = max(table["C"].min() for table in runs)
    budgets = np.geomspace(low, max(table["C"].max() for table in runs), POINTS)
    for name, table, own, colour in zip(names, runs, fits, COLOURS):
        ends = own.intervals["alpha"], own.intervals["beta"]
        said = (
            f"{number(x, 2)} ({number(lo, 2)} to {number(hi, 2)})"
            for x, (lo, hi) in zip((own.params["alpha"], own.params["beta"]), ends)
        )
        print(f"{name}: alpha, beta {', '.join(said)}")
        curve = np.array([best(surface(own), C).loss[0] for C in budgets])
        series.append(Series(f"{name}, best by its law", budgets, curve, colour=colour))
        faint = {"kind": "points", "colour": colour, "faint": True}
        series.append(
            Series(f"{name}, runs", table["C"].to_numpy(), table["loss"].to_numpy(), **faint)
        )
    ratio, ends = multiplier(*fits, budgets)
    for C, x, (lo, hi) in zip(budgets, ratio, ends):
        told = f"{number(x, 3)} times the compute ({number(lo, 3)} to {number(hi, 3)})"
        print(f"C {scientific(C)} of {names[0]}: {names[1]} takes {told}")
    return Figure("What compute buys", Axis(COMPUTE, True), Axis("loss", True), (*series,))


def places(runs: list[str]) -> Figure:
    """The figure of losses by place; prints where each run ceases to gain, and how far the second
    is behind the first in the same stretches of the same rows."""
    series, both = [], []
    for path, colour in zip(runs, COLOURS):
        found = again.evaluate(Path(path), 0)
        nats = found.kept["nats"][found.units > 0].astype(np.float64)
        mean, error = positions(nats)
        at, name = np.arange(1, len(mean) + 1), found.config.model.name
        shown = np.unique(np.geomspace(1, len(at), 40).astype(int)) - 1
        ends = {"y_low": (mean - 2 * error)[shown], "y_high": (mean + 2 * error)[shown]}
        series.append(Series(name, at[shown], mean[shown], "points", colour=colour, **ends))
        print(f"{name}, rows of {len(at)} tokens: gains until token {gains_until(nats)}")
        both.append(stretches(nats))
    if len({(len(parts), len(parts[0][1])) for parts in both}) > 1:
        raise InputError("--runs: their rows differ; allowed: runs that are evaluated on the same")
    first = 1
    for (end, one), (_, other) in zip(*both):
        told = (_mean(x) for x in (one, other, other - one))
        print(f"  tokens {first} to {end}: {', '.join(told)} apart")
        first = end + 1
    return Figure(
        "Where in a row", Axis("token of the row", True), Axis("loss per token"), (*series,)
    )


def _mean(x: np.ndarray) -> str:
    return f"{x.mean():.4f} +- {x.std(ddof=1) / len(x) ** 0.5:.4f}"


def main() -> None:
    """Prints and draws."""
    given = flags.FLAGS
    for flag, allowed in (("tables", (2,)), ("runs", (0, 2))):
        if len(getattr(given, flag)) not in allowed:
            raise InputError(f"--{flag}: {','.join(getattr(given, flag))!r}; allowed: two of them")
    figures = [laws(given.tables)]
    if given.runs:
        figures.append(places(given.runs))
    to_sheet(figures, given.out)
    print(given.out)


if __name__ == "__main__":
    flags.DEFINE_list("tables", [], "Two tables of runs, NAME/runs.csv.")
    flags.DEFINE_list("runs", [], "Two folders of runs of language models; none: laws alone.")
    define_path("out", "beside.png", "File of the figure.")
    run_main(main)
