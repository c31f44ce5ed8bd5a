"""The forecast of a metric beside the fitted one: accuracy, BLEU, an error rate.

It is the forecast of the loss (scaling.forecast.forecasting) of another number: how far the metric
lies from the best value there is. Such a number levels off at both ends, at chance for models that
know nothing and at a floor, so that a law with two plateaus is among those that the back-test
weighs. Evaluation errors are a larger share of a small distance; those of the dearest runs count.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.forecast import words
from scaling.forecast.forecasting import forecast
from scaling.runs.measure import Measure
from train.cli import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from scaling.forecast.forecasting import Forecast

CANDIDATES = ("tied", "chinchilla", "no_floor", "two_plateaus")
WIDEST = 0.5  # of the distance from the best value: an error of 2% +- 1% does say something


def forecast_lack(runs: "pd.DataFrame", targets: "pd.DataFrame", measure: Measure) -> "Forecast":
    """Forecasts how far a metric lies from its best value.

    Args:
      runs: as `forecast` takes them, with the metric as a column, and its errors as NAME_se.
      targets: as `forecast` takes them.
      measure: the metric.

    Raises:
      InputError: see `forecast`; or no run has the metric.
    """
    name = measure.name
    if name not in runs.columns:
        known = [column for column in runs.columns if f"{column}_se" in runs.columns]
        raise InputError(f"{name}: no run has this metric; {nearest(name, known)}")
    have = runs[runs[name].notna()]
    values = have[name].to_numpy(np.float64)
    measure.side(values)
    own = have.assign(loss=measure.lack(values), loss_se=have.get(f"{name}_se", np.nan))
    own.attrs["columns"] = {**runs.attrs.get("columns", {}), "loss": measure.label}
    return forecast(own, targets, candidates=CANDIDATES, widest=WIDEST)


def sealed(runs: "pd.DataFrame", targets: "pd.DataFrame", measure: Measure) -> dict[str, Any]:
    """The same as JSON values, in the metric's own units; or {"best", "refused": why not}."""
    try:
        made = words.to_json(forecast_lack(runs, targets, measure))
    except InputError as error:
        return {"best": measure.best, "refused": str(error)}
    side = measure.side(runs[measure.name].dropna().to_numpy(np.float64))
    for target in made["targets"]:
        target["median"] = measure.value(target["median"], side)
        for ends in ("interval50", "interval90"):
            target[ends] = sorted(measure.value(end, side) for end in target[ends])
        for law, lack in target["by_law"].items():
            target["by_law"][law] = measure.value(lack, side)
    return {"best": measure.best} | made
