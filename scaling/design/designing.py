"""Designs of one cost, compared by what their studies will be able to say."""

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scaling.design import BUDGETS, SIZES, SPREADS, STUDIES, points
from scaling.design.expect import (
    Promise,
    Target,
    promise,
)
from scaling.fit.bias import parabola_bias
from scaling.fit.fitted import noise_of
from scaling.runs.table import fit_rows
from train.cli import InputError

if TYPE_CHECKING:
    import pandas as pd

    from scaling.design.points import Design, Region
    from scaling.fit.fitted import Fit

__all__ = [
    "Compared",
    "compare",
    "next_runs",
    "promise",
]

NOISE = 0.003  # relative, where nothing is known: seeds of small language models differ by about it
COUNT = 25
MAX_KNOWN = 2000
FARTHER = 10.0  # the default target, in budgets


@dataclass(frozen=True)
class Compared:
    """A design, what it promises, and approach 2's bias on it (IsoFLOP grids only).

    `bias` is what is added to the exponent, and relatively to N* at the target.
    """

    design: "Design"
    promise: Promise
    bias: tuple[float, float] | None


def compare(
    prior: "Fit",
    region: "Region",
    noise: float,
    target: Target,
    budgets: tuple[int, ...] = BUDGETS,
    sizes: tuple[int, ...] = SIZES,
    spreads: tuple[float, ...] = SPREADS,
    count: int = COUNT,
    studies: int = STUDIES,
    seed: int = 0,
) -> list[Compared]:
    """IsoFLOP grids of every combination, then a random, a D- and a V-optimal design of `count`.

    Args:
      prior: the law taken as true. region: budget and range of the runs.
      noise: relative standard deviation of one loss.
      spreads: of the IsoFLOP grids; the others use the region's.
    """
    designs = [
        points.isoflop_grid(prior, dataclasses.replace(region, spread=spread), b, s)
        for b in budgets
        for s in sizes
        for spread in spreads
    ]
    grids = len(designs)
    designs.append(points.random_design(prior, region, count, seed))
    designs += [
        points.optimal(prior, region, count, target, criterion, seed)
        for criterion in points.CRITERIA
    ]
    rows = max(len(design.N) for design in designs)
    result = []
    for place, made in enumerate(designs):
        promised = promise(prior, made.N, made.D, noise, target, studies, seed + place, rows)
        bias = _bias(prior, made, target) if place < grids else None
        result.append(Compared(made, promised, bias))
    return result


def next_runs(
    fit: "Fit",
    runs: "pd.DataFrame",
    region: "Region",
    noise: float,
    target: Target,
    count: int = 1,
    seed: int = 0,
) -> list[Compared]:
    """What the known runs promise, and what they do with each further run added.

    Args:
      fit: fitted to the runs. runs: N, D, C of those that are not held out are used.
      region: `flops` is what the new runs may cost together.
    """
    rows = fit_rows(runs)
    if len(rows) > MAX_KNOWN:
        raise InputError(f"--next: {len(rows)} runs to simulate; at most {MAX_KNOWN}")
    known = points.Design("known", *(rows[k].to_numpy(np.float64) for k in ("N", "D", "C")))
    new = points.most_informative(fit, known, region, count, target)
    result = []
    for more in range(count + 1):
        arrays = [np.append(getattr(known, k), getattr(new, k)[:more]) for k in ("N", "D", "C")]
        made = points.Design("the known runs" if not more else f"+ run {more}", *arrays)
        # The same seed: the known runs' noise is then the same, and only the new run differs.
        promised = promise(fit, made.N, made.D, noise, target, seed=seed, rows=len(rows) + count)
        result.append(Compared(made, promised, None))
    return result


def to_csv(design: "Design") -> str:
    """Columns N, D, C; whole numbers of parameters and examples."""
    lines = ["N,D,C"]
    lines += [f"{n:.0f},{d:.0f},{c:.6g}" for n, d, c in zip(design.N, design.D, design.C)]
    return "\n".join(lines) + "\n"


def to_json(found: Compared, target: Target, noise: float) -> str:
    """The design with what it promises."""
    promised = {k: [_finite(v) for v in getattr(found.promise, k)] for k in _PROMISED}
    fields = {
        "design": found.design.name,
        "target": {"C": target.C, "N": target.N, "D": target.D},
        "noise": noise,
        "interval90": promised,
        "runs": [
            {"N": float(n), "D": float(d), "C": float(c)}
            for n, d, c in zip(found.design.N, found.design.D, found.design.C)
        ],
    }
    return json.dumps(fields, indent=1, allow_nan=False)


_PROMISED = ("N", "exponent", "loss")


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _bias(prior: "Fit", made: "Design", target: Target) -> tuple[float, float] | None:
    import pandas as pd

    grid = pd.DataFrame({"N": made.N, "D": made.D, "C": made.C})
    try:
        found = parabola_bias(prior, grid, target.C, noise=0.0)
    except InputError:
        return None
    return found["exponent_bias"], found["N_bias"]


def noise_or_guess(given: float | None, prior: "Fit") -> tuple[float, str]:
    """Relative noise of one loss, and where it comes from: given, the law's residuals, a guess."""
    if given is not None:
        return given, "given"
    seen = noise_of(prior)
    return (NOISE, "assumed") if seen is None else (seen, "the law's residuals")
