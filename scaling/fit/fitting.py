"""Fits a law to a table of runs: `python -m scaling.fit --runs=my.csv --n=params --d=tokens`."""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from scaling.fit import LEVEL, RESAMPLES, bootstrap, diagnosis, local, solve
from scaling.fit.fitted import Fit, load
from scaling.fit.hindsight import hindsight
from scaling.fit.noise import objective_for
from scaling.fit.solve import OBJECTIVES, Objective
from scaling.fit.valley import valleys
from scaling.fit.valley import words as in_words
from scaling.laws import LAWS
from scaling.laws.at import At
from scaling.laws.law import values_of
from scaling.runs import replicates
from scaling.runs.table import fit_rows, validate
from train.cli import SEED, InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.local import Local
    from scaling.fit.solve import Problem
    from scaling.laws import Law

__all__ = ["Fit", "fit", "load"]

MANY_RUNS = 5_000  # starts are tried on so many; the best ends go on to all runs
_BEST_ENDS = 8
FOLLOWING = "auto"  # the objective follows the noise, see scaling.fit.noise


def fit(
    runs: "pd.DataFrame",
    law: str = "chinchilla",
    objective: str = "huber_log",
    delta: float = 1e-3,
    starts: int | None = None,
    bootstrap: int | None = None,
    seed: int = 0,
    weights: Any = None,
    *,
    resample: str = "pairs",
    level: float = LEVEL,
    tau: float = 0.5,
    fixed: dict[str, float] | None = None,
    backtest: bool = False,
) -> Fit:
    """Fits `law` to the runs of the table that are not held out.

    Args:
      runs: table with the columns the law reads (see `scaling.runs.table.read_runs`).
      law: a name in `scaling.laws.LAWS`.
      objective: 'huber_log' (sum of Huber losses of log residuals), 'mse_log', 'mse', 'quantile';
        'auto': squares of log residuals, or Huber with the delta that the noise found asks for.
      delta: where the Huber loss turns from quadratic to linear, in nats of log loss.
      starts: random starts; None: 256, or 32 for a law whose rows are vectors, which is dear.
      bootstrap: refits, 0 gives no intervals; None: 1000, or 100 for such a law or many runs.
      seed: of the starts and the resamples.
      weights: a positive weight for every row of `runs`, or the name of a column with them.
      resample: 'pairs' draws whole runs, or where runs differ in seed alone their points and then
        seeds (scaling.runs.replicates); 'residual' keeps (N, D) and redraws the residuals, blown up
        by sqrt(n / (n - P)): for designed grids of few runs.
      level: nominal level of all intervals.
      tau: the quantile of 'quantile'.
      fixed: parameters held at given natural values.
      backtest: also refit from origins inside the runs (scaling.fit.hindsight; about doubles the
      time).

    Raises:
      InputError: for unknown names, too few runs, or a column that does not vary enough.
    """
    check_choice("--law", law, LAWS)
    check_choice("--objective", objective, (*OBJECTIVES, FOLLOWING))
    check_choice("--resample", resample, RESAMPLES)
    dear = bool(LAWS[law].wide)
    starts = (32 if dear else 256) if starts is None else starts
    bootstrap = (100 if dear or len(runs) > MANY_RUNS else 1000) if bootstrap is None else bootstrap
    _check_numbers(delta, starts, bootstrap, seed, level, tau)
    how = {"starts": starts, "seed": seed, "weights": weights, "resample": resample}
    how |= {"level": level, "fixed": fixed}
    with solve.double_precision():
        if objective == FOLLOWING:
            robust = _fit(runs, LAWS[law], Objective(), refits=0, backtest=False, **how)
            chosen = objective_for(robust.residuals, len(robust.law.names) - len(fixed or {}))
        else:
            chosen = Objective(objective, delta, tau)
        return _fit(runs, LAWS[law], chosen, refits=bootstrap, backtest=backtest, **how)


@dataclasses.dataclass(frozen=True)
class _Solved:
    """A law on its rows, at the best coordinates.

    Attributes:
      table: the rows [n]. weight: [n] of them.
      centres: that the coordinates are centred on. free: [P] which are not held.
      best: [P] the coordinates. at: the objective around them.
    """

    problem: "Problem"
    table: "pd.DataFrame"
    weight: np.ndarray
    centres: dict[str, float]
    free: np.ndarray
    best: np.ndarray
    at: "Local"


def _fit(
    runs,
    entry: "Law",
    objective: Objective,
    *,
    starts: int,
    refits: int,
    seed: int,
    weights: Any,
    resample: str,
    level: float,
    fixed: dict[str, float] | None,
    backtest: bool,
) -> Fit:
    table, weight, notes = _rows(runs, entry, weights)
    if (sweep := valleys(table, entry)) is not None:
        table, weight = sweep.table, np.ones(len(sweep.table))
    columns = {
        name: _vectors(table, name) if name in entry.wide else table[name].to_numpy(np.float64)
        for name in (*entry.columns, entry.target)
    }
    centres = entry.centres(columns)
    free = _free(entry, fixed)
    _check_design(entry, columns, int(free.sum()), table.attrs.get("columns", {}))
    problem = solve.make_problem(entry, objective, columns, columns[entry.target], centres)
    theta = _starts(problem, starts, seed, fixed, centres)
    theta, reached = _searched(problem, weight, theta, free, seed)
    best, at = local.polish(problem, weight, theta, free)
    many = problem.runs > MANY_RUNS
    notes += [f"starts were tried on {MANY_RUNS} of the runs, the best on all"] if many else []
    share = diagnosis.start_share(reached, reached.min() if many else at.value)
    if sweep is not None:
        notes += in_words(sweep, At.coordinates(entry, best, centres).predict(table), entry)
    clusters = replicates.clusters(table, entry)
    notes += [] if entry.schedules else replicates.mixed(table)
    notes += [clusters.words] if clusters else []
    if resample == "pairs":
        draws, redrawn = bootstrap.resample_pairs(
            problem, weight, best, free, refits, seed, clusters
        )
    else:
        draws, redrawn = (
            bootstrap.resample_residuals(problem, weight, best, at, free, refits, seed),
            0,
        )
    noise = None if entry.schedules else replicates.seed_noise(table, entry.columns, entry.target)
    report = diagnosis.diagnose(
        problem, weight, best, at, free, level, share, redrawn, refits, tuple(notes), noise
    )
    past = hindsight(entry, table, objective, seed) if backtest else None
    independent = clusters.point.max() + 1 if clusters and resample == "pairs" else len(table)
    solved = _Solved(problem, table, weight, centres, free, best, at)
    return _assemble(solved, draws, report, level, independent, past)


def check_choice(flag: str, given: Any, allowed: Any) -> None:
    if given not in allowed:
        raise InputError(f"{flag}: {given!r}; {nearest(given, allowed)}")


def _check_numbers(delta, starts, bootstrap, seed, level, tau) -> None:
    between = {"starts": (starts, 1, 100_000), "bootstrap": (bootstrap, 0, 100_000)}
    between |= {"seed": (seed, 0, SEED["upper_bound"]), "delta": (delta, 1e-12, 1e12)}
    for name, (value, low, high) in between.items():
        if not low <= value <= high:
            raise InputError(f"--{name}: {value!r}; between {low:g} and {high:g}")
    for name, value in (("level", level), ("tau", tau)):
        if not 0 < value < 1:
            raise InputError(f"--{name}: {value!r}; between 0 and 1")


def _rows(runs, law: "Law", weights: Any):
    """The rows to fit [n], their weights [n], and notes about what was left out."""
    wanted = tuple(name for name in (*law.columns, law.target) if name not in law.wide)
    table = validate(runs, wanted, law.nonnegative)
    for name in law.columns:
        if name not in table.columns:
            raise InputError(
                f"--{name.lower()}: the table has no {name}; law {law.name!r} needs it"
            )
    notes = list(table.attrs["notes"])
    if weights is None:
        weight = np.ones(len(table))
    elif isinstance(weights, str):
        weight = validate(runs, columns=(weights,))[weights].to_numpy()
    else:
        weight = np.asarray(weights, np.float64)
    if weight.shape != (len(table),) or not np.all(np.isfinite(weight) & (weight > 0)):
        raise InputError(f"--weights: shape {weight.shape}; {len(table)} positive numbers")
    weight = weight / weight.mean() if weights is not None else weight
    chosen = fit_rows(table)
    weight = weight[np.isin(np.arange(len(table)), table.index.get_indexer(chosen.index))]
    if len(chosen) < len(table):
        notes.append(f"{len(table) - len(chosen)} held-out runs are not fitted")
    return chosen, weight, notes


def _vectors(table, name: str) -> np.ndarray:
    """A column of equally long vectors as [n, K]."""
    try:
        values = np.stack([np.asarray(cell, np.float64) for cell in table[name]])
    except (ValueError, TypeError):
        values = np.zeros(0)
    if values.ndim != 2 or not np.all(np.abs(values) < 1e60):
        raise InputError(
            f"{name}: not vectors of numbers of one length; see scaling.runs.schedules"
        )
    return values


def _free(law: "Law", fixed: dict[str, float] | None) -> np.ndarray:
    for name, value in (fixed or {}).items():
        check_choice("fixed", name, law.names)
        if not np.isfinite(value):
            raise InputError(f"fixed: {name}={value!r}; a finite number")
    return np.array([name not in (fixed or {}) for name in law.names])


def _check_design(law: "Law", columns: dict[str, np.ndarray], parameters: int, names) -> None:
    """Refuses tables that cannot determine the law whatever the noise."""
    count = len(columns[law.target])
    if count <= parameters:
        raise InputError(
            f"--runs: {count} runs to fit; law {law.name!r} has {parameters} free parameters and "
            f"needs at least {parameters + 1} runs"
        )
    for name, needed in law.distinct.items():
        found = len(np.unique(columns[name]))
        if found < needed:
            raise InputError(
                f"--runs: {names.get(name) or name} takes {found} different "
                f"value{'s' * (found > 1)}; law {law.name!r} needs at least {needed}"
            )


def _starts(problem: "Problem", count: int, seed: int, fixed, centres) -> np.ndarray:
    law = problem.law
    theta = solve.random_starts(law, count, seed)
    if not fixed:
        return theta
    inverse = {name: 1 / value for name, value in centres.items()}
    places = [law.names.index(name) for name in fixed]
    settings = []
    for start in solve.random_starts(law, 2, seed + 1):
        values = {name: float(v) for name, v in values_of(law, start).items()}
        centred = dict(law.natural({**values, **fixed}, inverse))
        settings.append(diagnosis.coordinates(problem, centred)[places])
    if not np.allclose(settings[0], settings[1]):
        raise InputError(
            f"fixed: {', '.join(fixed)}; where a coefficient is fixed its exponent must be as well"
        )
    theta[:, places] = settings[0]
    return theta


def _searched(problem: "Problem", weight, theta: np.ndarray, free, seed: int):
    """The best end [P] of starts [K, P], and the objective [K] that each of them reached.

    Of many runs a random part is searched first; its best ends go on from there.
    """
    reached = None
    if problem.runs > MANY_RUNS:
        pick = np.random.default_rng([seed, 3]).choice(problem.runs, MANY_RUNS, replace=False)
        some, counts = solve.part(problem, pick), weight[pick]
        found = solve.solve(some, counts, solve.project(some, counts, theta, free), free)
        reached, theta = found.value, found.theta[np.argsort(found.value)[:_BEST_ENDS]]
    else:
        theta = solve.project(problem, weight, theta, free)
    found = solve.solve(problem, weight, theta, free)
    if not np.isfinite(found.value).any():
        raise InputError(
            f"--law: {problem.law.name!r} gives no finite loss for these runs from any start"
        )
    best = found.theta[np.argmin(found.value)]
    return best, found.value if reached is None else reached


def _intervals(law: "Law", runs: int, free, params, spread, level: float):
    """The share of draws cut off at each end, and the interval of every parameter."""
    # Percentiles of a bootstrap are too narrow by sqrt((n - P) / n) and by z against t: the
    # "expanded percentile" interval of Hesterberg 2015 (arXiv:1411.5279).
    dof = max(runs - int(free.sum()), 1)
    tail = special.ndtr(-special.stdtrit(dof, (1 + level) / 2) * np.sqrt(runs / dof))
    intervals = {}
    for name in law.names:
        held = not free[law.names.index(name)]
        if held or not len(spread[name]):
            intervals[name] = (params[name],) * 2 if held else (-np.inf, np.inf)
        else:
            intervals[name] = tuple(map(float, np.quantile(spread[name], [tail, 1 - tail])))
    return float(tail), intervals


def _assemble(solved: _Solved, draws, report, level: float, independent: int, past) -> Fit:
    """Puts the pieces together in natural units.

    Args:
      solved: the estimate.
      draws: [B, P] coordinates of the refits.
      report: its diagnostics.
      level: of the intervals.
      independent: how many runs, or clusters of them, count for the intervals.
      past: the refits from origins inside the runs; None where there are none.
    """
    problem, table, at, centres = solved.problem, solved.table, solved.at, solved.centres
    law, runs = problem.law, problem.runs
    estimate, drawn = (At.coordinates(law, theta, centres) for theta in (solved.best, draws))
    params = {name: float(v) for name, v in estimate.natural().values.items()}
    spread = drawn.natural().values
    tail, intervals = _intervals(law, independent, solved.free, params, spread, level)
    value = at.value
    if problem.objective.name != "huber_log":
        value = value / (runs * np.mean(solved.weight))
    if problem.objective.name == "mse":
        value = value * centres[law.target] ** 2
    ratio = None
    if {"N", "D", "C"} <= set(table.columns):
        ratio = np.exp(np.mean(np.log(table["C"] / table["N"] / table["D"])))
    prediction_error = at.residual
    if not problem.objective.logarithmic:
        target = problem.target[:runs]
        prediction_error = np.log(np.maximum(target + at.residual, 1e-300) / target)
    seen = [name for name in ("N", "D", "C", *law.columns, law.target) if name in table.columns]
    seen = [name for name in seen if name not in law.wide]
    return Fit(
        law=law,
        params=params,
        intervals=intervals,
        objective=problem.objective,
        value=float(value),
        n=runs,
        diagnostics=report,
        residuals=-prediction_error,
        runs=tuple(_labels(law, table)),
        draws=drawn.theta,
        centred={name: float(v) for name, v in estimate.values.items()},
        centres=dict(centres),
        data_range={k: (float(table[k].min()), float(table[k].max())) for k in dict.fromkeys(seen)},
        level=level,
        tail=tail,
        flops_per_nd=float(ratio) if ratio is not None else 6.0,
        c_convention=table.attrs.get("c_convention", "C = 6 N D"),
        backtest=past,
    )


def _labels(law: "Law", table) -> Iterable[str]:
    """What each row is called."""
    if law.schedules and {"schedule", "step"} <= set(table.columns):
        return table["schedule"].astype(str) + " step " + table["step"].astype(int).astype(str)
    if "run" in table.columns:
        return table["run"].astype(str)
    if table.attrs.get("lines"):
        return [f"line {row + 2}" for row in table.index]
    return [f"row {row}" for row in table.index]
