"""What `python -m scaling.fit` does with its flags."""

from typing import TYPE_CHECKING, Any

from scaling.console import tables
from scaling.fit import valley
from scaling.fit.bias import judged
from scaling.fit.fitting import check_choice, fit
from scaling.fit.noise import better
from scaling.fit.show import print_fit
from scaling.laws import LAWS
from scaling.report import write_fit_page
from scaling.runs.schedules import read_curves
from scaling.runs.table import matching, read_csv
from train.cache import use_cache
from train.cli import InputError

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.fitted import Fit
    from scaling.fit.solve import Objective


def run(given: Any) -> None:
    """Entry point: reads the CSV, fits, prints, writes law.json."""
    if given.runs is None:
        raise InputError("--runs: not given; a CSV file with one row a run")

    use_cache()
    runs = _read(given)
    held = _fixed(given.fixed)
    result = fit(
        runs,
        given.law,
        given.objective,
        given.delta,
        given.starts,
        given.bootstrap,
        given.seed,
        given.weights,
        resample=given.resample,
        level=given.level,
        tau=given.tau,
        fixed=held or None,
        backtest=True,
    )
    if given.out:
        result.save(given.out)
    if given.report:
        write_fit_page(result, runs, given.report)
    minima = _minima(result, runs, given.seed, given.minima)
    print_fit(result, runs, given.out, minima, None if given.weights else _better(result, held))


def _fixed(given: list[str]) -> dict[str, float]:
    """Parameters held at values, of NAME=VALUE."""
    held = {}
    for name, value in tables.pairs("--fixed", given, "NAME=VALUE").items():
        try:
            held[name] = float(value)
        except ValueError:
            raise InputError(f"--fixed: {name}={value!r}; a number") from None
    return held


def _better(result: "Fit", held: dict[str, float]) -> "Objective | None":
    """The objective that the noise found asks for, where it clearly is another."""
    if result.law.schedules:  # along one training, residuals follow one another
        return None
    return better(result.residuals, len(result.params) - len(held), result.objective)


def _read(given) -> "pd.DataFrame":
    """The runs of the flags, with the columns that the law reads."""
    check_choice("--law", given.law, LAWS)
    law = LAWS[given.law]
    if law.schedules:
        several = len(matching(given.runs)) > 1
        if several or law.wide or not set(law.columns) <= set(read_csv(given.runs).columns):
            tables.refuse_units(given, f"law {law.name!r} of schedules")
            return read_curves(given.runs, given.loss, given.warmup, given.decay)
    wanted = (*law.columns, law.target)
    if law.target in valley.SETTINGS:
        # A sweep needs the loss and may hold the other setting: which of the rates was best?
        there = set(read_csv(given.runs).columns)
        named = tables.pairs("--columns", given.columns, "NAME=COLUMN")
        wanted += tuple(name for name in valley.SETTINGS if named.get(name, name) in there)
        wanted += ("loss",) * (given.loss in there)
        wanted = tuple(dict.fromkeys(wanted))
    more = [c for c in wanted if c not in ("N", "D", "loss", *law.nonnegative)]
    return tables.runs_of(given, extra=more, reads=wanted)


def _minima(result: "Fit", runs: "pd.DataFrame", seed: int, method: str):
    """Approach 2 on the same runs, with its bias there; None where they have no minima."""
    if result.law.columns != ("N", "D") or result.law.target != "loss":
        return None

    try:
        return judged(runs, result, method=method, seed=seed, level=result.level)
    except InputError:
        return None
