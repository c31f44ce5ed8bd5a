"""What `python -m scaling.forecast` does with its flags."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.console import tables
from scaling.fit.ready import ready_made
from scaling.forecast import scoring, sealing, show, words
from scaling.forecast.forecasting import check_law, forecast, forecast_by
from scaling.laws import LAWS, PUBLISHED
from scaling.runs.table import heldout_rows
from train.cache import use_cache
from train.cli import InputError, nearest, numbers
from train.record import save_json

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.fitted import Fit
    from scaling.forecast.forecasting import Forecast


def run(given: Any) -> None:
    """Entry point: seals or scores a study, or forecasts from a CSV or a ready-made law."""
    if given.score and not given.workdir:
        raise InputError("--score: needs --workdir, the folder of a sealed study")

    use_cache()
    if given.workdir:
        folder = Path(given.workdir)
        check_law(given.law)
        asked = given.allow_missing, given.law
        path = scoring.score(folder) if given.score else sealing.seal(folder, *asked)
        show.print_study(folder)
        print(path)
        return
    made, fit = _from_flags(given)
    show.print_forecast(made)
    if fit is not None:
        show.print_allocation(fit, made.targets)
    if given.out:
        save_json(Path(given.out), words.to_json(made))


def _targets(given) -> "pd.DataFrame | None":
    """The targets of the flags; None where none are given."""
    import pandas as pd

    wanted = {"N": "N", "D": "D", "C": "C", "U": "unique"}
    columns = {k: numbers(f, given[f].value) for k, f in wanted.items() if given[f].value}
    if not set(columns) - {"U"}:
        if columns:
            raise InputError("--unique: needs --N and --D; held-out rows have a column U")
        return None
    if not {"N", "D"} <= set(columns):
        raise InputError("--N, --D: give both")
    lengths = {len(values) for values in columns.values()}
    if len(lengths - {1}) > 1:
        raise InputError("--N, --D, --C, --unique: as many values each, or one for all")
    most = max(lengths)
    return pd.DataFrame({k: v if len(v) == most else v * most for k, v in columns.items()})


def _from_flags(given) -> tuple["Forecast", "Fit | None"]:
    """The forecast that the flags ask for, and the law if it was given ready-made."""
    targets, law = _targets(given), given.law
    if law is not None and (law in PUBLISHED or law.endswith(".json")):
        if given.runs:
            raise InputError("--law: a ready-made law needs no --runs; give one of the two")
        if targets is None:
            raise InputError("--N, --D: not given; where to forecast")
        fit = ready_made(law)
        return forecast_by(fit, targets), fit
    if not given.runs:
        named = (
            nearest(law, PUBLISHED)
            if law
            else "a CSV file with one row a run, or a published --law"
        )
        raise InputError(f"--runs: not given{f' and --law is {law!r}' if law else ''}; {named}")
    check_law(law)
    more = [c for c in (LAWS[law].columns if law else ()) if c not in ("N", "D")]
    runs = tables.runs_of(given, extra=more)
    if targets is None:
        targets = heldout_rows(runs)
        if targets.empty:
            raise InputError(
                "--N, --D: not given, and the table holds no run out; where to forecast"
            )
    return forecast(runs, targets, law), None
