"""How far each run lies from the law: along compute, size and data."""

import numpy as np

from scaling.report.drawing import GREY, VERMILION, Axis, Figure, Series
from scaling.report.files import Study
from scaling.report.marks import COMPUTE, SIZE, describe, shades
from scaling.runs.numbers import percent


def figures(study: Study) -> dict[str, Figure]:
    """The residuals of the study's law, three times; none without a law or its runs."""
    if not study.fit:
        return {}
    errors = dict(zip(study.fit.runs, np.expm1(study.fit.residuals)))
    if not any(run.name in errors for run in study.runs):
        return {}
    labels = {"C": COMPUTE, "N": SIZE, "D": f"D, training {study.unit}s"}
    names = {"C": "residuals", "N": "residuals_by_N", "D": "residuals_by_D"}
    return {names[across]: _figure(study, errors, across, labels[across]) for across in names}


def _figure(study: Study, errors: dict[str, float], across: str, label: str) -> Figure:
    fit = study.fit
    runs = [run for run in study.runs if run.name in errors]
    held = [run for run in study.role("heldout") if run.ok]
    places = [getattr(run, across) for run in [*runs, *held]]
    ends, spread = [min(places) / 1.2, max(places) * 1.2], fit.residual_std
    band = {"kind": "band", "y_low": [-spread] * 2, "y_high": [spread] * 2, "colour": GREY}
    series = [Series("± residual standard deviation", ends, **band)]
    series.append(Series("", ends, [0.0, 0.0], colour=GREY, hover="on the law"))
    sizes = sorted({run.N for run in runs})
    for size, shade in zip(sizes, shades(sizes)):
        mine = [run for run in runs if size == run.N]
        off = [errors[run.name] for run in mine]
        hover = [f"{describe(run)}\n{percent(e)} against the law" for run, e in zip(mine, off)]
        at = {"x": [getattr(run, across) for run in mine], "y": off, "hover": hover}
        series.append(Series("", kind="points", shade=shade, **at))
    if held and {"N", "D"} >= set(fit.law.columns):
        law = fit.predict([run.N for run in held], [run.D for run in held])
        off = [run.loss / value - 1 for run, value in zip(held, law)]
        hover = [f"{describe(run)}\n{percent(e)} against the law" for run, e in zip(held, off)]
        at = {"x": [getattr(run, across) for run in held], "y": off, "hover": hover}
        star = {"kind": "points", "marker": "star", "colour": VERMILION}
        series.append(Series("held-out run, not fitted", **at, **star))
    title = f"Residuals of {fit.law.name} along {across}"
    return Figure(title, Axis(label, True), Axis("loss / law − 1", percent=True), (*series,))
