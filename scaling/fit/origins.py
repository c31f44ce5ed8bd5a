"""Refits of the candidate laws on parts of the runs: what would each have forecast, from where?

Two kinds of origin, as in back-tests of forecasters (Tashman 2000, Int. J. Forecasting 16): one
rolls in compute (train on the cheapest runs, forecast all dearer ones) and one in size (train on
the smallest models, forecast the larger ones). Every law, origin and start is one lane of the same
compiled program (see scaling.fit.solve).

A law is an approximation that need not hold from the cheapest run to the dearest and beyond. Where
it is to forecast, a run counts the more the nearer it lies to what is asked: by `lean`, its weight
is its compute to that power.
"""

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.fit import solve
from scaling.laws import LAWS, Law
from scaling.laws.at import At
from train.cli import InputError

CANDIDATES = ("tied", "coupled", "kaplan", "coupled_no_floor")
LEAN = 1.0  # of a forecast: a run of ten times the compute counts ten times as much
MAX_RUNS = 1024  # of larger tables a random part is used
FEWEST_RUNS = 6  # that an origin trains on
_SHARES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the runs, that the origins train on
_SAME = 1.01  # runs this close in compute are of one budget, which no origin splits
_STARTS, _STARTS_EACH, RESAMPLES = 32, 3, 48
_ROWS = (32, 96, 256, MAX_RUNS)  # a program is compiled for each and each law
_OBJECTIVE = solve.Objective()
_COLUMNS = ("N", "D", "C", "loss")


@dataclass(frozen=True)
class Origin:
    """Where a back-test stands: it knows the runs `trained` [R] and forecasts the others."""

    kind: str  # "compute" | "size"
    trained: np.ndarray
    decades: np.ndarray  # [R], how far each run lies beyond those trained


@dataclass(frozen=True)
class Refits:
    """One law, fitted to all runs, to every origin's [F] and to resamples [K].

    Where an origin's runs do not identify the law, its parameters are NaN.
    """

    full: At
    origins: At
    draws: At


@dataclass(frozen=True)
class Backtest:
    """All candidate laws at all origins of one table of runs.

    Attributes:
      runs: the R runs, columns N, D, C, loss and what else the laws read.
      laws: the L laws that these runs can carry; `left_out` says why the others are not among them.
      error: [L, F, R] log loss - log forecast of the runs beyond each origin; NaN elsewhere.
      residual: [L, R] the same of the fit to all runs.
    """

    runs: pd.DataFrame
    origins: tuple[Origin, ...]
    laws: tuple[str, ...]
    refits: tuple[Refits, ...]
    error: np.ndarray
    residual: np.ndarray
    left_out: dict[str, str]

    def misses(self) -> np.ndarray:
        """[L, F] median |error| beyond each origin; where its runs do not identify a law, the
        largest of the other laws'."""
        with np.errstate(all="ignore"):
            found = _nan_median(np.abs(self.error))
        return np.where(np.isnan(found), np.nanmax(found, axis=0), found)

    def distances(self) -> np.ndarray:
        """[F] median decades from each origin to the runs beyond it."""
        return np.array([np.median(o.decades[~o.trained]) for o in self.origins])


def beyond(points: pd.DataFrame, known: pd.DataFrame) -> np.ndarray:
    """Decades [T] by which points leave the known runs: the largest over C, N and D; 0 inside."""
    return np.max(
        [np.maximum(np.log10(points[k].to_numpy() / known[k].max()), 0) for k in ("C", "N", "D")],
        axis=0,
    )


def backtest(
    runs: pd.DataFrame,
    laws: Sequence[str] = CANDIDATES,
    seed: int = 0,
    objective: solve.Objective = _OBJECTIVE,
    resamples: int = RESAMPLES,
    lean: float = LEAN,
) -> Backtest:
    """Refits every law at every origin.

    Args:
      runs: the runs that may be known, with columns N, D, C, loss (see scaling.runs.table) and what
        else the laws read.
      laws: names of laws of the loss, of one number a run and column.
      seed: of the starts and the resamples.
      objective: what the refits minimise.
      resamples: of all runs, for `Refits.draws`.
      lean: power of a run's compute that it counts by; 0 counts all the same.

    Raises:
      InputError: the runs are too few or too alike for any law to be fitted and back-tested.
    """
    kept = dict.fromkeys((*_COLUMNS, *(c for name in laws for c in LAWS[name].columns)))
    runs = runs.loc[:, list(kept)].astype(np.float64).reset_index(drop=True)
    if len(runs) > MAX_RUNS:
        runs = runs.sample(MAX_RUNS, random_state=seed).sort_index().reset_index(drop=True)
    places = _origins(runs, laws)
    everything = np.ones(len(runs), bool)
    left_out = {name: why for name in laws if (why := too_few(name, runs, everything))}
    able = [name for name in laws if name not in left_out]
    if not able or not places:
        why = next(
            iter(left_out.values()), "no part of them identifies a law and leaves runs to forecast"
        )
        raise InputError(
            f"--runs: {len(runs)} runs, {runs['N'].nunique()} sizes: too few to forecast from "
            f"({why}); add runs at other N and D, {len(_SHARES) + FEWEST_RUNS} or more in all"
        )
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        refits = tuple(
            pool.map(
                lambda name: _refit(name, runs, places, seed, objective, resamples, lean), able
            )
        )
    target = np.log(runs["loss"].to_numpy())
    error = np.stack([target - r.origins.over(1).log(runs) for r in refits])
    error[:, np.stack([o.trained for o in places])] = np.nan
    used = [i for i in range(len(places)) if np.isfinite(error[:, i]).any()]
    residual = np.stack([target - r.full.log(runs) for r in refits])
    return Backtest(
        runs,
        tuple(places[i] for i in used),
        tuple(able),
        refits,
        error[:, used],
        residual,
        left_out,
    )


def _nan_median(values: np.ndarray) -> np.ndarray:
    """Median over the last axis of what is finite; NaN where nothing is."""
    masked = np.ma.masked_invalid(values)
    return np.ma.median(masked, axis=-1).filled(np.nan)


def too_few(name: str, runs: pd.DataFrame, kept: np.ndarray) -> str:
    """Why the runs kept cannot identify a law; "" if they can."""
    law = LAWS[name]
    if kept.sum() <= len(law.parameters):
        return f"{name} has {len(law.parameters)} parameters, there are {int(kept.sum())} runs"
    for column, needed in law.distinct.items():
        if (found := runs[column][kept].nunique()) < needed:
            return f"{name} needs {needed} different {column}, there are {found}"
    return ""


def _origins(runs: pd.DataFrame, laws: Sequence[str]) -> list[Origin]:
    places: dict[tuple, Origin] = {}
    for kind, column in (("compute", "C"), ("size", "N")):
        values = runs[column].to_numpy()
        for share in _SHARES:
            cut = np.sort(values)[int(np.ceil(share * len(values))) - 1] * _SAME
            if (values <= cut).all():  # the last level is large: it alone lies beyond
                below = values[values < values.max() / _SAME]
                cut = below.max() if len(below) else 0.0
            trained = values <= cut
            enough = trained.sum() >= FEWEST_RUNS and any(
                not too_few(name, runs, trained) for name in laws
            )
            if enough:
                decades = np.where(trained, 0.0, beyond(runs, runs[trained]))
                places.setdefault((kind, trained.sum()), Origin(kind, trained, decades))
    return list(places.values())


def _refit(
    name: str,
    runs: pd.DataFrame,
    places: list[Origin],
    seed: int,
    objective: solve.Objective,
    resamples: int,
    lean: float,
) -> Refits:
    law, one = LAWS[name], leaning(runs, lean)
    problem, centres, starts, full = _everything(law, runs, one, seed, objective)
    starts = np.concatenate([full[None], starts[:_STARTS_EACH]])
    weights = np.repeat([o.trained * one for o in places], len(starts), axis=0)
    found = solve.solve(problem, weights, np.tile(starts, (len(places), 1)))
    origins = _best(found, len(places))
    for place, origin in enumerate(places):
        if too_few(name, runs, origin.trained):
            origins[place] = np.nan
    draws = np.zeros((0, len(full)))
    if resamples:
        rng = np.random.default_rng([seed, 1])
        counts = rng.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), resamples)
        draws = solve.solve(problem, counts * one, np.tile(full, (resamples, 1))).theta
    return Refits(*(At.coordinates(law, theta, centres) for theta in (full, origins, draws)))


def residuals(name: str, runs: pd.DataFrame, fitted: np.ndarray, seed: int = 0) -> np.ndarray:
    """[R] log loss - log law of all runs, by a law fitted to some of them."""
    some = runs[fitted].reset_index(drop=True)
    law = LAWS[name]
    _, centres, _, theta = _everything(law, some, leaning(some, LEAN), seed, _OBJECTIVE)
    return np.log(runs["loss"].to_numpy()) - At.coordinates(law, theta, centres).log(runs)


def _everything(law: Law, runs: pd.DataFrame, weight: np.ndarray, seed: int, objective):
    """The problem of all runs, its centres, the starts [K, P] and the best end [P]."""
    columns = {k: runs[k].to_numpy() for k in runs.columns}
    centres = law.centres(columns)
    problem = _one_size(solve.make_problem(law, objective, columns, columns["loss"], centres))
    free = np.ones(len(law.parameters), bool)
    starts = solve.project(problem, weight, solve.random_starts(law, _STARTS, seed), free)
    return problem, centres, starts, _best(solve.solve(problem, weight, starts), 1)[0]


def leaning(runs: pd.DataFrame, lean: float) -> np.ndarray:
    """What each run counts [R], 1 on average."""
    weight = (runs["C"] / runs["C"].max()).to_numpy(np.float64) ** lean
    return weight / weight.mean()


def _best(found: solve.Solution, groups: int) -> np.ndarray:
    """The best start [groups, P] of each group of lanes."""
    value = np.where(np.isfinite(found.value), found.value, np.inf).reshape(groups, -1)
    theta = found.theta.reshape(groups, value.shape[1], -1)
    return theta[np.arange(groups), value.argmin(axis=1)].copy()


def _one_size(problem: solve.Problem) -> solve.Problem:
    """Pads to one of a few sizes, so that a whole collection of tables shares their programs."""
    rows = next(rows for rows in _ROWS if rows >= problem.runs)
    more = max(rows - len(problem.target), 0)

    def pad(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.repeat(values[:1], more)])

    columns = {name: pad(values) for name, values in problem.columns.items()}
    return dataclasses.replace(problem, columns=columns, target=pad(problem.target))
