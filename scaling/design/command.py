"""What `python -m scaling.design` does with its flags."""

from typing import TYPE_CHECKING, Any

from scaling.console import budget, tables
from scaling.design.designing import (
    COUNT,
    FARTHER,
    Compared,
    compare,
    next_runs,
    noise_or_guess,
    to_csv,
    to_json,
)
from scaling.design.expect import target_at
from scaling.design.points import Design, Region
from scaling.design.show import print_compared
from scaling.fit.fitting import fit
from scaling.fit.ready import ready_made
from scaling.laws import LAWS, PUBLISHED
from scaling.runs.files import write_text
from train.cache import use_cache
from train.cli import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.fitted import Fit


def run(given: Any) -> None:
    """Entry point: compares designs, or suggests the next runs."""
    rate = budget.rate_of(given)
    for name, value in (("count", given.count), ("studies", given.studies)):
        if value is not None and not 1 <= value <= 100_000:
            raise InputError(f"--{name}: {value!r}; between 1 and 100000")
    flops = budget.budget_of(given, rate)
    if flops is None:
        raise InputError("--flops, --hours, --days, --money: none given; one is the budget")
    if given.next and not given.runs:
        raise InputError("--next: needs --runs, the records so far")
    if not (given.runs or given.law):
        raise InputError("--law: not given; a published law, a law.json, or --runs to fit one")
    if given.out and not given.out.endswith((".csv", ".json")):
        raise InputError(f"--out: {given.out!r}; a name that ends in .csv or .json")

    use_cache()
    region = Region(flops, given.decades, max(given.spread))
    prior, runs = _prior(given)
    noise, source = noise_or_guess(given.noise, prior)
    target = target_at(prior, given.target if given.target is not None else FARTHER * flops)
    if given.next:
        found = next_runs(prior, runs, region, noise, target, given.count or 1, given.seed)
        chosen = found[-1]
    else:
        shape = tuple(map(tuple, (given.budgets, given.sizes, given.spread)))
        count = given.count or COUNT
        found = compare(prior, region, noise, target, *shape, count, given.studies, given.seed)
        chosen = _choose(found, given.choose)
    print_compared(found, chosen, prior, target, noise, source, rate, given.next)
    if given.out:
        made = chosen.design
        if given.next:
            known = len(found[0].design.N)
            made = Design("next", made.N[known:], made.D[known:], made.C[known:])
            chosen = Compared(made, chosen.promise, None)
        text = to_json(chosen, target, noise) if given.out.endswith(".json") else to_csv(made)
        write_text(given.out, text)
        planned = f"; scaling.plan --points={given.out} plans these runs"
        print(f"written: {given.out}{planned if given.out.endswith('.csv') else ''}")


def _prior(given: Any) -> tuple["Fit", "pd.DataFrame | None"]:
    """The prior law: ready-made, or fitted to the runs."""
    if not given.runs:
        return ready_made(given.law), None
    runs = tables.runs_of(given)
    law = given.law or "chinchilla"
    if law in PUBLISHED or law.endswith(".json"):
        return ready_made(law), runs
    if law not in LAWS:
        raise InputError(f"--law: {law!r}; {nearest(law, [*LAWS, *PUBLISHED])}, or a law.json")
    return fit(runs, law, bootstrap=0), runs


def _choose(found: list["Compared"], name: str | None) -> "Compared":
    if name is None:
        return min(found, key=lambda c: c.promise.loss_width)
    names = {compared.design.name: compared for compared in found}
    if name not in names:
        raise InputError(f"--choose: {name!r}; {nearest(name, names)}")
    return names[name]
