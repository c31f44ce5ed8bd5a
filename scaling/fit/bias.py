"""What approach 2 gets wrong on a grid of runs, were a law the truth."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.fit import optimum
from scaling.fit.fitted import noise_of
from scaling.fit.isoflop import MIN_BUDGETS, IsoflopFit, isoflop, lines
from scaling.runs.table import fit_rows, validate
from train.cli import InputError

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.fitted import Fit

_MOST_LOSSES = 300_000  # of all simulated studies: large tables get fewer


def judged(runs: "pd.DataFrame", law: "Fit", **options: Any) -> IsoflopFit:
    """Approach 2 on runs, and its bias there by a law: see `isoflop`, whose options it takes.

    The bias is said in `warnings` as well, where the intervals do not hold it.

    Raises:
      InputError: as `isoflop`.
    """
    made = isoflop(runs, **options)
    if made.method != "parabola":
        return made
    bias, words = _bias(law, fit_rows(validate(runs)), options.get("seed", 0))
    if not (bias and len(made.draws) and _inside_intervals(bias, made)):
        made = dataclasses.replace(made, warnings=(*made.warnings, words))
    return dataclasses.replace(made, bias=bias)


def trusted(law: "Fit", minima: IsoflopFit | None) -> str:
    """Which best size to trust, the law's or approach 2's, and why, in one sentence.

    The law uses all runs and is wrong where its form is or where they do not identify its
    exponents; approach 2 takes no form over the budgets and is wrong where its minima are.
    """
    unknown = [name for name in law.diagnostics.flat if name in ("alpha", "beta")]
    doubt = f"{' and '.join(unknown)} not identified" if unknown else ""
    if minima is None:
        words = "fewer than two budgets have a minimum, so that only the law tells a best size"
        return f"best size: {words}{f'; with {doubt}, hardly' if doubt else ''}"
    good = sum(not b.problem for b in minima.budgets)
    if minima.method != "parabola":
        why = "Akima minima have no bias of form, but the noise of single runs"
        return f"best size: trust {'approach 2' if doubt else 'the law'}, {doubt or why}"
    if minima.bias is None:
        why = "the law has no best size at these budgets"
        return f"best size: trust approach 2, {why}"
    if not (len(minima.draws) and _inside_intervals(minima.bias, minima)):
        if not doubt:
            why = "approach 2's bias on this grid is as wide as its intervals"
            return f"best size: trust the law, {why}"
        return f"best size: trust neither far from the runs, approach 2 is biased here and {doubt}"
    if doubt or good > MIN_BUDGETS:
        return (
            f"best size: trust approach 2, {doubt or f'{good} budgets have a minimum'} and its "
            "bias lies within its intervals"
        )
    return f"best size: trust the law, approach 2 has {good} budgets, a line through which fits"


def parabola_bias(
    fit: "Fit",
    runs: "pd.DataFrame",
    C: float | None = None,
    noise: float | None = None,
    studies: int = 60,
    seed: int = 0,
) -> dict[str, Any]:
    """What approach 2 would get wrong on these very runs if `fit` were the truth.

    A parabola is symmetric in log N, the loss is not, and grids are not centred: approach 2 is off
    even without noise. It is run on the law's own losses at the runs' N and D, once without noise
    and `studies` times with it.

    Args:
      fit: a law of N and D. runs: the actual grid (N, D, C or budget), as for `isoflop`.
      C: compute at which N* is compared; default the largest budget with a minimum.
      noise: of one loss; default that of the fit's residuals, 0 if it has none.

    Returns:
      exponent (the law's over those budgets), exponent_bias and N_bias (approach 2's N* over the
      law's, minus 1, at `C`) without noise, the same `_noisy` as means over the studies with
      `_spread` their standard deviation, `C`, `noise`, and `lost`, the share of studies that had no
      two budgets with a minimum.

    Raises:
      InputError: approach 2 has no result on these runs even without noise, or the law has none.
    """
    columns = ("N", "D", "loss")
    grid = fit_rows(validate(runs if "loss" in runs.columns else runs.assign(loss=1.0), columns))
    grid = grid[[c for c in ("N", "D", "C", "budget") if c in grid.columns]]
    exact = np.asarray(fit.predict(grid["N"].to_numpy(), grid["D"].to_numpy()))
    clean = isoflop(grid.assign(loss=exact), bootstrap=0)
    # A budget's N* and D* multiply to the runs' N D; the law is asked at that very product.
    good = [b for b in clean.budgets if not b.problem]
    C = float(C) if C is not None else max(b.C for b in good)
    on = optimum.surface(fit)
    truth = optimum.best(on, np.array([on.flops_per_nd * b.N * b.D for b in good])).N
    at_C = float(optimum.best(on, C).N[0])
    if not np.isfinite([*truth, at_C]).all():
        raise InputError(f"law: {fit.law.name!r} has no best size at some of these budgets")
    exponent = float(np.polyfit(np.log([b.C for b in good]), np.log(truth), 1)[0])
    if noise is None:
        noise = noise_of(fit) or 0.0
    studies = min(studies, max(_MOST_LOSSES // len(grid), 1)) if noise > 0 else 0
    found = _noisy_lines(grid.assign(loss=exact), noise, studies, seed)
    found = [(a - exponent, float(scale * C**a) / at_C - 1) for a, scale in found]
    result = {
        "C": C,
        "noise": float(noise),
        "exponent": exponent,
        "exponent_bias": clean.N_exponent - exponent,
        "N_bias": float(clean.N_coefficient * C**clean.N_exponent) / at_C - 1,
        "lost": (studies - len(found)) / max(studies, 1),
    }
    for name, values in zip(("exponent_bias", "N_bias"), np.transpose(found)):
        result |= {f"{name}_noisy": float(np.mean(values)), f"{name}_spread": float(np.std(values))}
    return result


def _noisy_lines(exact: "pd.DataFrame", noise: float, studies: int, seed: int) -> list[np.ndarray]:
    """Exponent and coefficient of N* [2] on each noisy copy of the losses that has a result."""
    rng, loss = np.random.default_rng([seed, 7]), exact["loss"].to_numpy()
    drawn = (loss * np.exp(noise * rng.standard_normal(len(loss))) for _ in range(studies))
    return [line[:2] for line in lines(exact, drawn) if line is not None]


def _inside_intervals(bias: dict[str, float], made: IsoflopFit) -> bool:
    """Whether the parabola's bias is less than the intervals are wide, on either side."""
    low, high = made.intervals["N_exponent"]
    smallest, largest = made.optimum(bias["C"])["intervals"]["N"]
    shift, N = abs(bias["exponent_bias"]), abs(np.log1p(bias["N_bias"]))
    return bool(high - low >= 2 * shift and np.log(largest / smallest) >= 2 * N)


def _bias(law: "Fit", table: "pd.DataFrame", seed: int) -> tuple[dict[str, float] | None, str]:
    """What a parabola gets wrong on this grid if `law` is the truth, and the same in words."""
    try:
        found = parabola_bias(law, table, seed=seed)
    except InputError as error:
        return None, f"approach 2: its bias on this grid is not known ({error})"
    noisy = found.get("N_bias_noisy", found["N_bias"])
    return found, (
        f"approach 2 on this grid, were {law.law.name} the truth: exponent off by "
        f"{found['exponent_bias']:+.4f}, N* at {found['C']:.3g} by {found['N_bias']:+.1%} without "
        f"noise and {noisy:+.1%} on average with it"
    )
