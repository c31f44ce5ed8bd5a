"""Prints back-tests, one row a table of runs."""

from collections.abc import Sequence

from rich.markup import escape

from scaling.backtest.backtesting import Task, summary
from scaling.console.printed import console, show, table


def print_tasks(tasks: Sequence[Task]) -> None:
    """The table of back-tests, and what they come to."""
    columns = ("task", "fit", "held", "decades", "law", "|error|", "50%", "90%", "+-90%", "s")
    shown = table("", *columns)
    for task in tasks:
        counts = (escape(task.name), str(task.fitted), str(task.heldout))
        if task.refused:
            shown.add_row(*counts, "", "refused", "", "", "", "", f"{task.seconds:.1f}")
            continue
        shown.add_row(
            *counts,
            f"{task.decades:.2f}",
            task.law,
            f"{task.error:.2%}",
            f"{task.cover50:.0%}",
            f"{task.cover90:.0%}",
            f"{task.half_width90:.2%}",
            f"{task.seconds:.1f}",
        )
    on = console()
    show(on, shown)
    total = summary(tasks)
    if total["refused"] < total["tasks"]:
        on.print(
            f"{total['tasks']} tasks: median |error| {total['median_error']:.2%}, mean cover "
            f"{total['mean_cover50']:.0%} of 50% and {total['mean_cover90']:.0%} of 90% intervals, "
            f"median half-width of 90% {total['median_half_width90']:.2%}; "
            f"{total['seconds']:.0f} s",
            highlight=False,
        )
    for task in tasks:
        if task.refused:
            on.print(f"{escape(task.name)}: {escape(task.refused)}", highlight=False)
