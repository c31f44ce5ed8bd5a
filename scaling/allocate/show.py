"""Prints allocations, and writes them as JSON."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape
from rich.table import Table

from scaling.console.printed import console, show, table
from scaling.plan import prices
from scaling.runs import files
from scaling.runs.numbers import count, plain

if TYPE_CHECKING:
    from scaling.allocate.allocating import Allocation, Serving, Wrong
    from scaling.fit.fitted import Fit


@dataclass(frozen=True)
class Result:
    """Everything one call found; `wrong` and `serving` by C, `limited` is with `unique` tokens."""

    fit: "Fit"
    found: "list[Allocation]"
    wrong: "Mapping[float, list[Wrong]]"
    serving: "Mapping[float, Serving]"
    limited: "list[Allocation]"
    unique: float | None
    notes: tuple[str, ...]


def print_result(result: Result, rate: prices.Rate | None) -> None:
    """All tables and notes."""
    on = console()
    fit = result.fit
    values = " ".join(f"{name}={plain(value)}" for name, value in fit.params.items())
    formula = f"{fit.law.name}: {fit.law.target} = {fit.law.formula}, {values}"
    on.print(escape(formula), highlight=False)
    known = any(a.intervals for a in result.found)
    brackets = "90% intervals in brackets" if known else "no intervals: the law has no draws"
    on.print(f"C = {fit.flops_per_nd:.4g} N D; {brackets}", highlight=False)
    if rate is not None:
        on.print(f"rate: {escape(rate.words)}", highlight=False)
    show(on, _optima("Best use of the budget", result.found, rate))
    if result.limited:
        show(on, _repeated(result))
    show(on, _wrong(result))
    if result.serving:
        show(on, _served(result))
    for line in result.notes:
        on.print(f"[yellow]note[/] {escape(line)}", highlight=False)


def to_json(result: Result) -> str:
    """All numbers; what is infinite or unknown is null."""
    fit = result.fit
    fields = {
        "law": fit.law.name,
        "params": dict(fit.params),
        "flops_per_nd": fit.flops_per_nd,
        "level": fit.level,
        "allocations": [dataclasses.asdict(a) for a in result.found],
        "unique_tokens": result.unique,
        "limited": [dataclasses.asdict(a) for a in result.limited],
        "wrong": [{"C": C, **dataclasses.asdict(w)} for C, ws in result.wrong.items() for w in ws],
        "serving": [{"C": C, **dataclasses.asdict(s)} for C, s in result.serving.items()],
        "notes": list(result.notes),
    }
    return files.to_json(fields)


def _with_ends(value: float, ends: "tuple[float, float] | None", words=count) -> str:
    if not np.isfinite(value):
        return ""
    if ends is None or np.isnan(ends[0]):
        return words(value)
    return f"{words(value)} [{words(ends[0])}, {words(ends[1])}]"


def _optima(title: str, found: "list[Allocation]", rate: prices.Rate | None) -> Table:
    cost = () if rate is None else ("wall time", "cost")
    shown = table(title, "C", "by", "N*", "D*", "D*/N*", "loss", *cost)
    for a in found:
        ends = a.intervals.get
        row = [f"{a.C:.3g}", a.way, _with_ends(a.N, ends("N")), _with_ends(a.D, ends("D"))]
        row += [f"{a.D / a.N:.3g}", _with_ends(a.loss, ends("loss"), plain)]
        # Brackets mean styles to rich.
        shown.add_row(*map(escape, row), *(prices.spent(rate, a.C) if rate is not None else ()))
    return shown


def _repeated(result: Result) -> Table:
    shown = table(
        "Where unique data is limited (Muennighoff et al. 2023)",
        *("C", "unique", "N", "D", "epochs", "loss", "loss if unlimited"),
    )
    law = {a.C: a for a in result.found if np.isfinite(a.loss)}
    for a in result.limited:
        ends = a.intervals.get
        row = [f"{a.C:.3g}", count(result.unique), _with_ends(a.N, ends("N"))]
        row += [_with_ends(a.D, ends("D")), f"{max(a.D / result.unique, 1):.3g}"]
        row += [_with_ends(a.loss, ends("loss"), plain), plain(law[a.C].loss)]
        shown.add_row(*map(escape, row))
    return shown


def _wrong(result: Result) -> Table:
    shown = table(
        "The cost of a wrong size",
        *("C", "N / N*", "N", "loss at the same C", "FLOPs to reach the best loss"),
    )
    for C, wrong in result.wrong.items():
        for w in wrong:
            extra = f"{w.extra:+.1%} ({w.extra * C:.3g})" if np.isfinite(w.extra) else "never"
            if w.interval is not None and np.isfinite(w.extra):
                high = f"{w.interval[1]:+.1%}" if np.isfinite(w.interval[1]) else "never"
                extra += f" [{w.interval[0]:+.1%}, {high}]"
            rise = f"{w.loss:.4g} ({w.loss / w.best - 1:+.2%})"
            shown.add_row(f"{C:.3g}", f"{w.factor:g}", count(w.N), rise, escape(extra))
    return shown


def _served(result: Result) -> Table:
    shown = table(
        "Least training plus serving FLOPs for the same loss (Sardana et al. 2024)",
        *("C", "tokens served", "loss", "N", "D", "training", "serving", "saved"),
    )
    for C, s in result.serving.items():
        saved = 1 - (s.training + s.serving) / s.plain
        row = [f"{C:.3g}", count(s.tokens), plain(s.loss), _with_ends(s.N, s.interval)]
        row += [count(s.D), f"{s.training:.3g}", f"{s.serving:.3g}", f"{saved:.1%}"]
        shown.add_row(*map(escape, row))
    return shown
