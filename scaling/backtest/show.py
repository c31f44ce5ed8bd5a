"""Prints back-tests, one row a table of runs and one a source."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from scaling.backtest.backtesting import Task, by_source, summary
from scaling.console.printed import console, show, table

_SCORES = ("|error|", "50%", "90%", "+-90%")


def print_progress(task: Task, done: int, of: int) -> None:
    """One line on standard error as a table is done."""
    how = f"refused: {task.refused}" if task.refused else f"|error| {task.error:.2%}"
    print(f"{done}/{of} {task.name}: {how} ({task.seconds:.1f} s)", file=sys.stderr, flush=True)


def print_tasks(tasks: Sequence[Task]) -> None:
    """The table of back-tests, that of their sources, and what they come to."""
    shown = table("", "task", "fit", "held", "decades", "law", *_SCORES, "far", "s")
    for task in tasks:
        counts = (escape(task.name), str(task.fitted), str(task.heldout))
        if task.refused:
            shown.add_row(*counts, "", "refused", *[""] * 5, f"{task.seconds:.1f}")
            continue
        shown.add_row(
            *counts,
            f"{task.decades:.2f}",
            task.law,
            f"{task.error:.2%}",
            f"{task.cover50:.0%}",
            f"{task.cover90:.0%}",
            f"{task.half_width90:.2%}",
            "warned" if task.warned else "",
            f"{task.seconds:.1f}",
        )
    on = console()
    show(on, shown)
    sources = by_source([task for task in tasks if task.fitted])
    if len(sources) > 1:
        shown = table("By source", "source", "tasks", "refused", *_SCORES)
        for name, each in sources.items():
            shown.add_row(escape(name), str(each["tasks"]), str(each["refused"]), *_scores(each))
        show(on, shown)
    total = summary(tasks)
    if total["refused"] < total["tasks"]:
        error, cover50, cover90, width = _scores(total)
        on.print(
            f"{total['tasks']} tasks: median |error| {error}, mean cover {cover50} of 50% and "
            f"{cover90} of 90% intervals, median half-width of 90% {width}; {total['seconds']:.0f} "
            "s",
            highlight=False,
        )
        covered = [source for source in sources.values() if "mean_cover50" in source]
        means = [
            sum(source[key] for source in covered) / len(covered)
            for key in ("mean_cover50", "mean_cover90")
        ]
        on.print(
            f"{len(covered)} sources, each counting the same: mean cover {means[0]:.0%} of 50% and "
            f"{means[1]:.0%} of 90% intervals",
            highlight=False,
        )
    for task in tasks:
        if task.refused:
            on.print(f"{escape(task.name)}: {escape(task.refused)}", highlight=False)


def _scores(total: dict[str, Any]) -> tuple[str, ...]:
    """The four numbers of a summary as text; blank where nothing was forecast."""
    if "median_error" not in total:
        return ("",) * 4
    return (
        f"{total['median_error']:.2%}",
        f"{total['mean_cover50']:.0%}",
        f"{total['mean_cover90']:.0%}",
        f"{total['median_half_width90']:.2%}",
    )
