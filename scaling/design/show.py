"""Prints designs, what they cost and what they promise."""

import math
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape
from rich.table import Table

from scaling.console.printed import console, show, table
from scaling.design.expect import Promise, Target
from scaling.plan import prices
from scaling.runs.numbers import count, plain

if TYPE_CHECKING:
    from scaling.design.designing import Compared
    from scaling.fit.fitted import Fit

_FIXED = 1e-4  # a width of the exponent that is rounding


def print_compared(
    found: "list[Compared]",
    chosen: "Compared",
    prior: "Fit",
    target: Target,
    noise: float,
    source: str,
    rate: prices.Rate | None,
    following: bool,
) -> None:
    """The table of designs, what the numbers mean, and the chosen design's runs."""
    on = console()
    say = lambda line: on.print(escape(line), highlight=False)  # noqa: E731
    say(
        f"prior: {prior.law.name}, {_numbers(prior.params)}; noise of a loss {noise:.3%} ({source})"
    )
    say(f"target: C {target.C:.3g}, N {count(target.N)}, D {count(target.D)}")
    if rate is not None:
        say(f"rate: {rate.words}")
    show(on, _next_table(found) if following else _designs(found, chosen, rate))
    say(
        "a: exponent of N* ~ C^a at the target. Widths are of 90% intervals over simulated studies."
    )
    if max(compared.promise.exponent_width for compared in found) < _FIXED:
        say(f"law {prior.law.name!r} has the same exponent a whatever its parameters")
    without = max(compared.promise.without for compared in found)
    if without > 0:
        say(f"open: up to {without:.0%} of the simulated studies find no best size at the target")
    if not following:
        say("bias: what approach 2 (parabolas) adds to a, and to N* at the target, without noise")
        say(f"* {chosen.design.name}: written with --out; --choose takes another")
        if "optimal" in chosen.design.name:
            say("optimal if the law is right: it leaves few distinct points to see that it is not")
        for line in _memory(chosen, rate):
            say(line)


def _numbers(params) -> str:
    return " ".join(f"{name}={plain(value)}" for name, value in params.items())


def _columns(promised: Promise) -> list[str]:
    low, high = promised.N
    size = "open" if not math.isfinite(high) else f"{low:.2f}-{high:.2f} x"
    width = promised.exponent_width
    exponent = "open" if not math.isfinite(width) else f"{width:.3f}"
    return [size, exponent, f"{promised.loss_width:.2%}"]


def _designs(found: "list[Compared]", chosen: "Compared", rate: prices.Rate | None) -> Table:
    cost = ("FLOPs",) if rate is None else ("wall time", "cost")
    widths = ("N* 90%", "a width", "loss width", "bias of a, N*")
    shown = table("Designs", "", "runs", "largest C", *cost, *widths)
    for compared in found:
        made = compared.design
        name = f"{'* ' if compared is chosen else ''}{made.name}"
        row = [name, str(len(made.N)), f"{made.C.max():.2e}"]
        row += [f"{made.cost:.2e}"] if rate is None else prices.spent(rate, made.cost)
        bias = "" if compared.bias is None else "{:+.4f}, {:+.1%}".format(*compared.bias)
        shown.add_row(*row, *_columns(compared.promise), bias)
    return shown


def _next_table(found: "list[Compared]") -> Table:
    widths = ("N* 90%", "a width", "loss width")
    shown = table("Most informative next runs", "", "N", "D", "C", *widths)
    shown.add_row(found[0].design.name, "", "", "", *_columns(found[0].promise))
    for compared in found[1:]:
        made = compared.design
        values = (count(made.N[-1]), count(made.D[-1]), f"{made.C[-1]:.3g}")
        shown.add_row(made.name, *values, *_columns(compared.promise))
    return shown


def _memory(chosen: "Compared", rate: prices.Rate | None) -> list[str]:
    """Whether the largest model's training state fits the devices."""
    if rate is None or rate.memory is None:
        return []
    largest = float(np.max(chosen.design.N))
    state, there = prices.STATE_BYTES * largest, rate.memory * rate.devices
    fits = "fits" if state < there else "does not fit: more devices, or smaller sizes"
    return [
        f"memory: the largest model, N {count(largest)}, has {state / 1e9:,.3g} GB of training "
        f"state ({prices.STATE_BYTES} bytes a parameter, activations not counted); "
        f"{there / 1e9:,.3g} GB there: {fits}"
    ]
