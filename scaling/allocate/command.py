"""What `python -m scaling.allocate` does with its flags."""

from typing import TYPE_CHECKING, Any

from scaling.allocate import show
from scaling.allocate.allocating import (
    WRONG,
    by_law,
    by_runs,
    cost_of_wrong,
    extrapolation,
    for_serving,
)
from scaling.console import budget, tables
from scaling.fit.ready import ready_made
from scaling.laws import LAWS, PUBLISHED
from scaling.runs.files import write_text
from train.cache import use_cache
from train.cli import InputError, nearest, numbers

if TYPE_CHECKING:
    from scaling.allocate.allocating import Allocation
    from scaling.fit.fitted import Fit


def run(given: Any) -> None:
    """Entry point: allocates the budgets of the flags."""
    rate = budget.rate_of(given)
    C, flops = numbers("C", given.C), budget.budget_of(given, rate)
    if not C and flops is None:
        raise InputError("--C, --flops, --hours, --money: none given; one is the budget")
    if C and flops is not None:
        raise InputError("--C: is the budget as --flops, --hours and --money are; give one")
    C = C or [flops]
    if not (given.runs or given.law):
        raise InputError("--law: not given; a published law, a law.json, or give --runs")

    use_cache()
    found, fit, notes = _estimates(given, C)
    notes += [words for one in C if (words := extrapolation(fit, one))]
    limited = (
        [by_law(fit, one, given.unique_tokens) for one in C]
        if given.unique_tokens is not None
        else []
    )
    wrong = {one: [cost_of_wrong(fit, one, factor) for factor in WRONG] for one in C}
    serving = {}
    if given.serve_tokens is not None:
        serving = {one: for_serving(fit, one, given.serve_tokens) for one in C}
    result = show.Result(fit, found, wrong, serving, limited, given.unique_tokens, tuple(notes))
    show.print_result(result, rate)
    if given.out:
        write_text(given.out, show.to_json(result))
        print(f"written: {given.out}")


def _estimates(given: Any, C: list[float]) -> tuple[list["Allocation"], "Fit", list[str]]:
    """The allocations that the flags ask for, the law behind the other tables, and notes."""
    if not given.runs:
        fit = ready_made(given.law)
        source = list(fit.diagnostics.warnings) if given.law in PUBLISHED else []
        return [by_law(fit, one) for one in C], fit, source
    if given.law is not None and given.law not in LAWS:
        raise InputError(f"--law: {given.law!r} with --runs; {nearest(given.law, LAWS)}")
    return by_runs(tables.runs_of(given), C, given.law, given.seed)
