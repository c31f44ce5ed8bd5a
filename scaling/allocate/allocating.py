"""The best N and D for a budget by each approach, and what it costs to choose otherwise."""

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scaling.fit import optimum, origins
from scaling.fit.bias import parabola_bias
from scaling.fit.envelope import envelope
from scaling.fit.fitting import fit
from scaling.fit.isoflop import isoflop
from scaling.forecast import calibration
from scaling.runs.table import fit_rows, validate
from train.cli import LARGEST, InputError

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.fitted import Fit
    from scaling.fit.optimum import Points
    from scaling.forecast.calibration import Calibration

WRONG = (0.5, 2.0)  # times N*
_BOOTSTRAP = 400
_REFITS = 200  # draws that the costlier questions are asked of
_OPTIMUM = ("N", "D", "loss")
_FAR = 10.0  # a budget this many times the largest run's is said to be extrapolated

Ends = tuple[float, float]


@dataclass(frozen=True)
class Allocation:
    """The best use of C training FLOPs by one way of estimating it.

    Attributes:
      way: the approach or law. N, D: the optimum. loss: there, NaN where the way gives none.
      intervals: 90% interval of N, D, loss; missing where there is nothing to make them from.
    """

    way: str
    C: float
    N: float
    D: float
    loss: float
    intervals: dict[str, Ends] = field(default_factory=dict)


@dataclass(frozen=True)
class Wrong:
    """Training `factor` times N* on what C then buys.

    Attributes:
      loss: there, against `best` at N*.
      extra: FLOPs, as a share of C, to bring that size to the best loss; infinite if none does.
      interval: of `extra`, None without draws.
    """

    factor: float
    N: float
    loss: float
    best: float
    extra: float
    interval: Ends | None


@dataclass(frozen=True)
class Serving:
    """The cheapest model of one loss over its life (Sardana et al. 2024), against the one of N*.

    FLOPs: `training`, `serving`; `plain` is the sum for the compute-optimal model. `interval` is
    of N, None without draws.
    """

    tokens: float
    loss: float
    N: float
    D: float
    training: float
    serving: float
    plain: float
    interval: Ends | None


def by_law(fit: "Fit", C: float, unique: float | None = None) -> Allocation:
    """The optimum by a law; `unique` examples can be had before they repeat.

    Raises:
      InputError: the law has no best size at C.
    """
    if not 1 < C < LARGEST:
        raise InputError(f"--C: {C!r}; a number of FLOPs above 1, below {LARGEST:g}")
    if unique is not None and not (np.isfinite(unique) and unique > 0):
        raise InputError(f"--unique_tokens: {unique!r}; a positive number")
    point = optimum.best(optimum.surface(fit, unique=unique), C)
    if not np.isfinite(point.N[0]):
        raise InputError(
            f"--C: {C:g}; law {fit.law.name!r} with these parameters has no best size there "
            "(the loss keeps falling towards one end)"
        )
    intervals = {}
    if len(fit.draws):
        drawn = optimum.best(optimum.surface(fit, draws=True, unique=unique), C)
        intervals = {k: _interval(fit, getattr(drawn, k)) for k in _OPTIMUM}
    way = f"law {fit.law.name}"
    return Allocation(way, C, *(float(getattr(point, k)[0]) for k in _OPTIMUM), intervals)


def cost_of_wrong(fit: "Fit", C: float, factor: float) -> Wrong:
    """What it costs to train `factor` times the best size at C."""

    def extra(on: "optimum.Surface") -> tuple["Points", np.ndarray, np.ndarray]:
        best = optimum.best(on, C)
        N = factor * best.N[:, None]
        there = on.loss(N, C / on.flops_per_nd / N)[:, 0]
        needed = optimum.data_needed(on, best.loss[:, None], N)
        return best, there, on.flops_per_nd * (N * needed)[:, 0] / C - 1

    best, there, more = extra(optimum.surface(fit))
    interval = None
    if len(fit.draws):
        # N* is where each draw puts it: this is the cost of the factor, not of an estimate's error.
        interval = _interval(fit, extra(_some_draws(fit))[2])
    N = factor * float(best.N[0])
    return Wrong(factor, N, float(there[0]), float(best.loss[0]), float(more[0]), interval)


def for_serving(fit: "Fit", C: float, tokens: float) -> Serving:
    """Least training plus serving FLOPs for the loss that C buys at its best."""
    if not 0 <= tokens < LARGEST:
        raise InputError(f"--serve_tokens: {tokens!r}; from 0 to below {LARGEST:g}")
    on = optimum.surface(fit)
    best = optimum.best(on, C)
    found = optimum.serve(on, best.loss, tokens, best.N)
    interval = None
    if len(fit.draws):
        drawn = _some_draws(fit)
        at = optimum.best(drawn, C)
        interval = _interval(fit, optimum.serve(drawn, at.loss, tokens, at.N).N)
    N, D, k = float(found.N[0]), float(found.D[0]), on.flops_per_nd
    plain = C + k / 3 * float(best.N[0]) * tokens
    return Serving(
        tokens, float(best.loss[0]), N, D, k * N * D, k / 3 * N * tokens, plain, interval
    )


def by_runs(
    runs: "pd.DataFrame", C: list[float], law: str | None = None, seed: int = 0
) -> tuple[list[Allocation], "Fit", list[str]]:
    """Every approach that the runs can carry, at each C.

    Args:
      runs: a table of runs (see scaling.runs.table). law: default the best in a back-test.

    Returns:
      The allocations, the fit of the chosen law, and notes: which approaches the runs cannot
      carry and why, and what approach 2 gets wrong on this grid.
    """
    judged, notes = (None, []) if law is not None else _judged(runs, seed)
    chosen = law or ("chinchilla" if judged is None else _heaviest(judged))
    fits = {name: fit(runs, name, bootstrap=_BOOTSTRAP) for name in {chosen, "chinchilla"}}
    found, more = _without_law(runs, C, fits[chosen], seed)
    for one in C:
        for name in sorted(fits, key=lambda name: name == chosen):
            try:
                made = by_law(fits[name], one)
            except InputError as error:
                if name == chosen:
                    raise
                notes.append(f"approach 3: {error}")
                continue
            if name == "chinchilla":
                way = "approach 3" + (" (chosen law)" if name == chosen else "")
            else:
                way = f"chosen law ({name})"
            found.append(Allocation(way, one, made.N, made.D, made.loss, made.intervals))
        if judged is not None:
            try:
                found.append(by_average(judged, one))
            except InputError as error:
                notes.append(f"law average: {error}")
    notes.append(
        "every interval takes its approach as right; where they disagree, that is the larger doubt"
    )
    return sorted(found, key=lambda a: a.C), fits[chosen], notes + more


def _without_law(runs, C: list[float], fit: "Fit", seed: int) -> tuple[list[Allocation], list[str]]:
    """Approaches 1 and 2."""
    found, notes = [], []
    for name, estimate in (("approach 1", envelope), ("approach 2", isoflop)):
        try:
            line = estimate(runs, bootstrap=_BOOTSTRAP, seed=seed)
        except InputError as error:
            notes.append(f"{name}: {error}")
            continue
        for one in C:
            at = line.optimum(one)
            ends = {k: tuple(map(float, at["intervals"][k])) for k in ("N", "D")}
            found.append(Allocation(name, one, float(at["N"]), float(at["D"]), float("nan"), ends))
        if name == "approach 2":
            notes.append(_bias_in_words(fit, runs, max(C), seed))
    return found, notes


def _bias_in_words(fit: "Fit", runs: "pd.DataFrame", C: float, seed: int) -> str:
    try:
        bias = parabola_bias(fit, runs, C, seed=seed)
    except InputError as error:
        return f"approach 2: its bias on this grid is not known ({error})"
    noisy = bias.get("N_bias_noisy", bias["N_bias"])
    return (
        f"approach 2 on this grid, were {fit.law.name} the truth: N* at {C:.3g} off by "
        f"{bias['N_bias']:+.1%} without noise, {noisy:+.1%} on average with it; the exponent by "
        f"{bias['exponent_bias']:+.4f}"
    )


def by_average(judged: "Calibration", C: float) -> Allocation:
    """The optimum of a forecast's weighted laws; its interval holds their spread and each's draws.

    Raises:
      InputError: the average has no best size at C.
    """
    runs, refits = judged.backtest.runs, judged.backtest.refits
    ratio = float(np.exp(np.log(runs["C"] / runs["N"] / runs["D"]).mean()))

    laws = tuple(optimum.over(r.full, ratio) for r in refits)
    point = optimum.best(optimum.Mixture(laws, judged.weights), C)
    if not np.isfinite(point.N[0]):
        raise InputError(f"--C: {C:g}; the loss keeps falling towards one end")
    drawn = [optimum.best(optimum.over(r.draws, ratio), C) for r in refits]
    share = np.concatenate([np.full(len(d.N), w / len(d.N)) for d, w in zip(drawn, judged.weights)])
    intervals = {}
    for name in _OPTIMUM:
        values = np.concatenate([getattr(d, name) for d in drawn])
        intervals[name] = _weighted_interval(values, share)
    return Allocation("law average", C, *(float(getattr(point, k)[0]) for k in _OPTIMUM), intervals)


def _weighted_interval(values: np.ndarray, weights: np.ndarray) -> Ends:
    """90% interval of weighted draws; those without an optimum are left out."""
    kept = np.isfinite(values)
    if not kept.any():
        return (float("nan"), float("nan"))
    order = np.argsort(values[kept])
    below = np.cumsum(weights[kept][order])
    # The middle of each draw's share, so that equal weights give the usual quantiles.
    place = (below - weights[kept][order] / 2) / below[-1]
    low, high = np.interp([0.05, 0.95], place, values[kept][order])
    return float(low), float(high)


def _judged(runs: "pd.DataFrame", seed: int) -> tuple["Calibration | None", list[str]]:
    """The back-tested size laws with their weights; None where there can be no back-test."""
    try:
        judged = calibration.calibrate(origins.backtest(fit_rows(validate(runs)), seed=seed))
    except InputError as error:
        return None, [f"no back-test chose the law: {error}"]
    shares = sorted(zip(judged.weights, judged.backtest.laws), reverse=True)
    said = ", ".join(f"{name} {weight:.0%}" for weight, name in shares if weight >= 0.005)
    return judged, [f"weights of the size laws, by a back-test: {said}"]


def _heaviest(judged: "Calibration") -> str:
    return judged.backtest.laws[int(np.argmax(judged.weights))]


def _some_draws(fit: "Fit"):
    some = dataclasses.replace(fit, draws=fit.draws[:_REFITS])
    return optimum.surface(some, draws=True)


def _interval(fit: "Fit", values: np.ndarray) -> Ends:
    """At the fit's level; draws without an optimum count as beyond both ends."""
    values = values[~np.isnan(values)]
    if not len(values):
        return (float("nan"), float("nan"))
    # 'nearest' draws: interpolation between a number and infinity is not one.
    ends = np.quantile(values, [fit.tail, 1 - fit.tail], method="nearest")
    return float(ends[0]), float(ends[1])


def extrapolation(fit: "Fit", C: float) -> str | None:
    """In words, how far C lies beyond the runs; None inside or unknown."""
    largest = fit.data_range.get("C", (0.0, np.inf))[1]
    if _FAR * largest >= C:
        return None
    return f"C {C:.3g} lies {np.log10(C / largest):.1f} decades beyond the largest run"
