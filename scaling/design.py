"""Compares designs of a study by what they will be able to say, before any compute is spent.

    python -m scaling.design --law=besiroglu2024 --flops=1e21 --target=1e23 --noise=0.003
    python -m scaling.design --law=law.json --money=500 --device=h100 --out=design.csv
    python -m scaling.design --next --runs=my.csv --flops=1e19 --target=1e21

Every design spends the same budget. From a prior law and the noise of one loss, studies are
simulated and refitted; the table shows the 90% width to expect of N*, of the exponent a of
N* ~ C^a and of the loss at the target.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from scaling import inputs, prices
from scaling.promise import (
    STUDIES,
    Promise,
    Target,
    noise_of,
    parabola_bias,
    promise,
    target_at,
)
from train.cli import InputError, define_path, nearest, run_main

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fitted import Fit
    from scaling.layout import Design, Region

__all__ = [
    "Compared",
    "compare",
    "next_runs",
    "parabola_bias",
    "promise",
    "ready_made",
]

NOISE = 0.003  # relative, where nothing is known: seeds of small language models differ by about it
DECADES, SPREAD = 3.0, 4.0
BUDGETS, SIZES, SPREADS = (3, 5), (5, 7), (2.0, 4.0)
COUNT = 25
MAX_KNOWN = 2000
_FARTHER = 10.0  # the default target, in budgets


@dataclass(frozen=True)
class Compared:
    """A design, what it promises, and approach 2's bias on it (IsoFLOP grids only).

    `bias` is what is added to the exponent, and relatively to N* at the target.
    """

    design: "Design"
    promise: Promise
    bias: tuple[float, float] | None


def ready_made(name: str, field: str = "--law") -> "Fit":
    """A published law by name or a law.json by path. Raises InputError for anything else."""
    from scaling.fitted import load
    from scaling.forecast import published
    from scaling.laws import PUBLISHED

    if name.endswith(".json"):
        return load(name)
    if name not in PUBLISHED:
        raise InputError(f"{field}: {name!r}; {nearest(name, PUBLISHED)}, or a law.json")
    return published(name)


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
    from scaling import layout

    designs = [
        layout.isoflop_grid(prior, dataclasses.replace(region, spread=spread), b, s)
        for b in budgets
        for s in sizes
        for spread in spreads
    ]
    grids = len(designs)
    designs.append(layout.random_design(prior, region, count, seed))
    designs += [
        layout.optimal(prior, region, count, target, criterion, seed)
        for criterion in layout.CRITERIA
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
    from scaling import layout
    from scaling.table import fit_rows

    rows = fit_rows(runs)
    if len(rows) > MAX_KNOWN:
        raise InputError(f"--next: {len(rows)} runs to simulate; at most {MAX_KNOWN}")
    known = layout.Design("known", *(rows[k].to_numpy(np.float64) for k in ("N", "D", "C")))
    new = layout.most_informative(fit, known, region, count, target)
    result = []
    for more in range(count + 1):
        arrays = [np.append(getattr(known, k), getattr(new, k)[:more]) for k in ("N", "D", "C")]
        made = layout.Design("the known runs" if not more else f"+ run {more}", *arrays)
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


def _prior(given: Any) -> tuple["Fit", "pd.DataFrame | None"]:
    """The prior law: ready-made, or fitted to the runs."""
    from scaling.fit import fit
    from scaling.laws import LAWS, PUBLISHED

    if not given.runs:
        return ready_made(given.law), None
    runs = inputs.runs_of(given)
    law = given.law or "chinchilla"
    if law in PUBLISHED or law.endswith(".json"):
        return ready_made(law), runs
    if law not in LAWS:
        raise InputError(f"--law: {law!r}; {nearest(law, [*LAWS, *PUBLISHED])}, or a law.json")
    return fit(runs, law, bootstrap=0), runs


def noise_or_guess(given: float | None, prior: "Fit") -> tuple[float, str]:
    """Relative noise of one loss, and where it comes from: given, the law's residuals, a guess."""
    if given is not None:
        return given, "given"
    seen = noise_of(prior)
    return (NOISE, "assumed") if seen is None else (seen, "the law's residuals")


def _choose(found: list[Compared], name: str | None) -> Compared:
    if name is None:
        return min(found, key=lambda c: c.promise.loss_width)
    names = {compared.design.name: compared for compared in found}
    if name not in names:
        raise InputError(f"--choose: {name!r}; {nearest(name, names)}")
    return names[name]


def _define_flags() -> None:
    prices.define_flags()
    prices.define_budget_flags()
    define_path("law", None, "Prior: a published law, a law.json, or with --runs a law's name.")
    flags.DEFINE_float("noise", None, "Relative noise of one loss; default the law's residuals.")
    flags.DEFINE_float("target", None, "Training FLOPs at which the law will be used.")
    flags.DEFINE_multi_integer("budgets", BUDGETS, "Budgets of the IsoFLOP grids.")
    flags.DEFINE_multi_integer("sizes", SIZES, "Sizes per budget of the IsoFLOP grids.")
    flags.DEFINE_multi_float("spread", SPREADS, "Largest factor from N* of the IsoFLOP grids.")
    flags.DEFINE_float("decades", DECADES, "Decades from the budget down to the cheapest run.")
    flags.DEFINE_integer(
        "count", None, "Runs of the other designs (25); with --next, new runs (1)."
    )
    flags.DEFINE_integer("studies", STUDIES, "Simulated studies a design.")
    flags.DEFINE_integer("seed", 0, "Seed of the simulation.", **inputs.SEED)
    flags.DEFINE_string(
        "choose", None, "Design to write; default the narrowest loss at the target."
    )
    define_path("out", None, "CSV or JSON file for the chosen design.")
    flags.DEFINE_bool("next", False, "Suggest the most informative next runs for --runs.")
    inputs.define_flags()


def main() -> None:
    """Entry point: compares designs, or suggests the next runs."""
    given = flags.FLAGS
    rate = prices.rate_of(given)
    for name, value in (("count", given.count), ("studies", given.studies)):
        if value is not None and not 1 <= value <= 100_000:
            raise InputError(f"--{name}: {value!r}; between 1 and 100000")
    flops = prices.budget_of(given, rate)
    if flops is None:
        raise InputError("--flops, --hours, --days, --money: none given; one is the budget")
    if given.next and not given.runs:
        raise InputError("--next: needs --runs, the records so far")
    if not (given.runs or given.law):
        raise InputError("--law: not given; a published law, a law.json, or --runs to fit one")
    if given.out and not given.out.endswith((".csv", ".json")):
        raise InputError(f"--out: {given.out!r}; a name that ends in .csv or .json")
    from scaling import design_print, layout
    from train.compilation import use_cache

    use_cache()
    region = layout.Region(flops, given.decades, max(given.spread))
    prior, runs = _prior(given)
    noise, source = noise_or_guess(given.noise, prior)
    target = target_at(prior, given.target if given.target is not None else _FARTHER * flops)
    if given.next:
        found = next_runs(prior, runs, region, noise, target, given.count or 1, given.seed)
        chosen = found[-1]
    else:
        shape = tuple(map(tuple, (given.budgets, given.sizes, given.spread)))
        count = given.count or COUNT
        found = compare(prior, region, noise, target, *shape, count, given.studies, given.seed)
        chosen = _choose(found, given.choose)
    design_print.print_compared(found, chosen, prior, target, noise, source, rate, given.next)
    if given.out:
        from scaling.fitted import write_text

        made = chosen.design
        if given.next:
            known = len(found[0].design.N)
            made = layout.Design("next", made.N[known:], made.D[known:], made.C[known:])
            chosen = Compared(made, chosen.promise, None)
        text = to_json(chosen, target, noise) if given.out.endswith(".json") else to_csv(made)
        write_text(given.out, text)
        planned = f"; scaling.plan --points={given.out} plans these runs"
        print(f"written: {given.out}{planned if given.out.endswith('.csv') else ''}")


if __name__ == "__main__":
    _define_flags()
    run_main(main)
