"""How the best size grows with compute: by each approach, by published laws, and how surely."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling.fit import optimum
from scaling.fit.envelope import EnvelopeFit, envelope
from scaling.laws import PUBLISHED
from scaling.laws.at import At
from scaling.report import page
from scaling.report.drawing import BLUE, GREY, PINK, Axis, Figure, Series
from scaling.report.files import Study
from scaling.report.loss_curves import averaged
from scaling.report.marks import fitted
from scaling.report.page import Cell
from scaling.runs.numbers import NONE, count, number, scientific
from train.cli import InputError

_CLOUD = 400  # refits drawn, of each approach
_MIDDLE = [0.005, 0.995]  # share of the refits that is drawn: one in a hundred is absurd
_TAILS = [0.05, 0.95]
_REFERENCE = 1e21  # FLOPs at which a published law's exponent is read, where it depends on them
COLOURS = {"approach 1": PINK, "approach 2": BLUE, "approach 3": GREY}


@dataclass(frozen=True)
class Estimate:
    """N* ~ C^a by one approach.

    Attributes:
      way: a key of `COLOURS`. source: how, in words.
      a: the exponent. N: the best size at the budget asked for.
      draws: [K, 2] both, by the bootstrap.
    """

    way: str
    source: str
    a: float
    N: float
    draws: np.ndarray


def envelope_of(study: Study) -> EnvelopeFit | str:
    """Approach 1 on the longest training of each size; or why there is none, in words."""
    if study.target.label != "loss":
        return f"the curves are of the training loss, not of {study.target.label}"
    longest = {}
    for run in fitted(study):
        if run.record.curve and (longest[run.N].D if run.N in longest else 0) < run.D:
            longest[run.N] = run
    rows = []
    for run in longest.values():
        C, loss = averaged(run)
        rows += [(run.N, run.D * at / run.C, at, value) for at, value in zip(C, loss)]
    if not rows:
        return "no run has a loss curve"
    try:
        return envelope(pd.DataFrame(rows, columns=["N", "D", "C", "loss"]))
    except InputError as error:
        return str(error).removeprefix("--runs: ")


def estimates(study: Study, first: EnvelopeFit | str, C: float) -> tuple[Estimate, ...]:
    """What each approach that the study can carry says of N* around C."""
    found = []
    if isinstance(first, EnvelopeFit):
        size = np.exp(first.draws[:, 1] + first.draws[:, 0] * np.log(C / first.C0))
        draws = np.stack([first.draws[:, 0], size], axis=1)
        words = "envelope of the loss curves"
        found.append(Estimate("approach 1", words, first.exponent, first.optimum(C)["N"], draws))
    if iso := study.isoflop:
        size = np.exp(iso.draws[:, 1] + iso.draws[:, 0] * np.log(C / iso.C0))
        draws = np.stack([iso.draws[:, 0], size], axis=1)
        best = float(iso.optimum(C)["N"])
        found.append(Estimate("approach 2", "IsoFLOP minima", iso.N_exponent, best, draws))
    if study.fit:
        try:
            on, drawn = optimum.surface(study.fit), optimum.surface(study.fit, draws=True)
        except InputError:
            return tuple(found)
        a, best = float(optimum.elasticity(on, C)[0]), float(optimum.best(on, C).N[0])
        if np.isfinite([a, best]).all():
            many = np.zeros((0, 2))
            if len(study.fit.draws):
                sizes = optimum.best(drawn, C).N
                many = np.stack([optimum.elasticity(drawn, C), sizes], axis=1)
            many = many[np.isfinite(many).all(axis=1)]
            found.append(Estimate("approach 3", f"the law {study.fit.law.name}", a, best, many))
    return tuple(found)


def cloud(found: tuple[Estimate, ...], C: float) -> Figure | None:
    """Every bootstrap refit of every approach: its exponent and its best size at C."""
    series, marks = [], []
    for one in found:
        name = f"{one.way}: {one.source}"
        if len(one.draws):
            low, high = np.quantile(one.draws, _MIDDLE, axis=0)
            kept = one.draws[((one.draws >= low) & (one.draws <= high)).all(axis=1)][:_CLOUD]
            style = {"colour": COLOURS[one.way], "faint": True}
            series.append(Series(name, kept[:, 0], kept[:, 1], "points", **style))
        hover = f"{name}\nN* {count(one.N)}, exponent {one.a:.3f}"
        at = {"x": [one.a], "y": [one.N], "colour": COLOURS[one.way], "hover": hover}
        marks.append(Series("estimates", kind="points", marker="diamond", **at))
    if not series:
        return None
    axes = Axis("a, of N* ~ Cᵃ"), Axis(f"N* at C = {scientific(C, 2)}", True)
    return Figure("How sure the best size is", *axes, (*series, *marks))


def table(found: tuple[Estimate, ...]) -> str:
    """Exponents of this study beside those of published laws, as HTML."""
    rows, classes = [], []
    for one in found:
        ends = np.quantile(one.draws[:, 0], _TAILS) if len(one.draws) else ()
        interval = " – ".join(number(end, 3) for end in ends) or NONE
        row = [f"this study, {one.way}: {one.source}", number(one.a, 3), interval]
        rows.append([*row, number(1 - one.a, 3), NONE, NONE])
        classes.append("heldout")
    for name, entry in PUBLISHED.items():
        on = optimum.over(At.published(name), 6.0)  # C = 6 N D, as all of them count it
        a = float(optimum.elasticity(on, _REFERENCE)[0])
        tilts = [entry.params.get(k) for k in ("alpha", "beta")]
        tilts = [tilts[0], tilts[0] if entry.law == "tied" else tilts[1]]
        row = [f"{entry.law}: {entry.source}", number(a, 3), NONE, number(1 - a, 3)]
        rows.append([*row, *(NONE if tilt is None else number(tilt, 3) for tilt in tilts)])
        classes.append("")
    cells = [[row[0], *(Cell(text, 0.0) for text in row[1:])] for row in rows]
    columns = ("", "a, N* ~ Cᵃ", "90%", "b, D* ~ Cᵇ", "α", "β")
    return page.table(columns, cells, classes)
