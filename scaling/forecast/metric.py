"""The forecast of a metric beside the fitted one: accuracy, BLEU, an error rate.

It is the forecast of the loss (scaling.forecast.forecasting) of another number: how far the metric
lies from the best value there is. Such a number levels off at both ends, at chance for models that
know nothing and at a floor, so that a law with two plateaus is among those that the back-test
weighs. Where the bend lies, a back-test inside the runs cannot show: intervals are wider than those
of a loss. How much wider, and how much the law of two plateaus weighs beforehand, was chosen by the
log score on 80 simulated studies of four worlds, see LOG.md; no public table of runs was at hand.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.forecast import words
from scaling.forecast.forecasting import Number, forecast
from scaling.runs.measure import Measure
from scaling.runs.records import column
from train.cli import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from scaling.forecast.forecasting import Forecast

LACK = Number(
    ("tied", "chinchilla", "no_floor", "two_plateaus"),
    widest=0.5,  # an error of 2% +- 1% does say something
    structure=0.06,
    lean=0.0,  # the bend is in the cheap runs
)


def forecast_lack(runs: "pd.DataFrame", targets: "pd.DataFrame", measure: Measure) -> "Forecast":
    """Forecasts how far a metric lies from its best value.

    Args:
      runs: as `forecast` takes them, with the metric as a column, and its errors as NAME_se.
      targets: as `forecast` takes them.
      measure: the metric.

    Raises:
      InputError: see `forecast`; or no run has the metric.
    """
    name = column(runs, measure.name)
    if name not in runs.columns:
        known = [column for column in runs.columns if f"{column}_se" in runs.columns]
        raise InputError(f"{name}: no run has this metric; {nearest(name, known)}")
    have = runs[runs[name].notna()]
    values = have[name].to_numpy(np.float64)
    measure.side(values)
    own = have.assign(loss=measure.lack(values), loss_se=have.get(f"{name}_se", np.nan))
    own.attrs["columns"] = {**runs.attrs.get("columns", {}), "loss": measure.label}
    if at_best := int((own["loss"] == 0).sum()):
        words = f"{name}: {at_best} of {len(own)} runs reach the best value, {measure.best:g}"
        if at_best == len(own):
            raise InputError(f"{words}: nothing is left to forecast")
        # Their distance has no logarithm, and how small it may be no error of theirs tells.
        notes = [*runs.attrs.get("notes", ()), f"{words}: left out, as laws are of logarithms"]
        own, own.attrs["notes"] = own[own["loss"] != 0], notes
    return forecast(own, targets, number=LACK)


def clip(made: dict[str, Any], measure: Measure, side: float) -> None:
    """Lets no distance of a forecast (see `words.to_json`) pass the worst value; warns if one did.

    `side` is where values lie, see `Measure.side`: the worst value bounds no other.
    """
    most, past = measure.most if side * (measure.worst - measure.best) > 0 else math.inf, 0
    for target in made["targets"]:
        past += any(end > most for ends in ("interval50", "interval90") for end in target[ends])
        target["median"] = min(target["median"], most)
        for ends in ("interval50", "interval90"):
            target[ends] = [min(end, most) for end in target[ends]]
        target["by_law"] = {law: min(lack, most) for law, lack in target["by_law"].items()}
    if past:
        made["warnings"].append(
            f"{measure.name}: intervals of {past} of {len(made['targets'])} targets went past the "
            f"worst value there can be, {measure.worst:g}, and end at it"
        )


def sealed(runs: "pd.DataFrame", targets: "pd.DataFrame", measure: Measure) -> dict[str, Any]:
    """The same as JSON values, in the metric's own units; or {"best", "refused": why not}."""
    try:
        made = words.to_json(forecast_lack(runs, targets, measure))
    except InputError as error:
        return {"best": measure.best, "refused": str(error)}
    values = runs[column(runs, measure.name)].dropna()
    side = measure.side(values.to_numpy(np.float64))
    clip(made, measure, side)
    for target in made["targets"]:
        target["median"] = measure.value(target["median"], side)
        for ends in ("interval50", "interval90"):
            target[ends] = sorted(measure.value(end, side) for end in target[ends])
        for law, lack in target["by_law"].items():
            target["by_law"][law] = measure.value(lack, side)
    return {"best": measure.best} | made
